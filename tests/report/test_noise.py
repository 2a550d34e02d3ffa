from collections.abc import Sequence

import pytest

from sparseguard.report import noise_curves, noise_reading
from sparseguard.result import Result
from tests.report.test_report import fake


def rows(psnrs: Sequence[float]) -> list[Result]:
    """Three seeds of none, laplace 0.5 and 1.0, and sparse_guard, with PSNRs of these means."""
    cells = [("none", None), ("laplace", 0.5), ("laplace", 1.0), ("sparse_guard", 0.5)]
    accuracies = [0.9, 0.9, 0.7, 0.9]
    return [
        fake(name, seed, psnr + 0.1 * seed, strength if name == "sparse_guard" else None, accuracy + 0.01 * seed,
             options={"b": strength} if name == "laplace" else {})
        for (name, strength), psnr, accuracy in zip(cells, psnrs, accuracies)
        for seed in (0, 1, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("psnrs", "sentence"),
    [
        ((30, 20, 15, 20.05), "`laplace b=0.5` hides as much or more at accuracy 0.91 ± 0.01 (cannot be told apart)"),
        ((30, 20, 15, 17), "`laplace b=1.0` hides as much or more at accuracy 0.71 ± 0.01 (differs)"),
        ((30, 20, 15, 12), "no `laplace` here hides as much"),
    ],
)
def test_the_reading_names_the_weakest_noise_that_hides_as_much(psnrs: tuple[float, ...], sentence: str) -> None:
    text = noise_reading({"split": rows(psnrs)})
    assert sentence in text
    assert "`laplace` from 0.5 to 1.0: accuracy 0.91 ± 0.01 and 0.71 ± 0.01 (differ), PSNR 20.1 ± 0.1 and 15.1" in text
    assert "p < 0.05" in text


def test_with_one_seed_nothing_is_a_difference() -> None:
    one = [r for r in rows((30, 20, 15, 17)) if r.experiment.seed == 0]
    text = noise_reading({"split": one})
    assert "(differ" not in text
    assert "`laplace b=1.0` hides as much or more" in text  # 15 dB; the weaker one leaves 20, the sparse row 17


def test_curves_show_measured_and_printed_values() -> None:
    figure = noise_curves({"split": rows((30, 20, 15, 17)), "end_to_end": rows((30, 20, 15, 17))})
    assert len(figure.axes) == 4
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.5", "1"]
    assert axis.get_legend_handles_labels()[1] == ["Laplace noise", "sparse-guard"]
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
    assert [list(map(float, line.get_ydata())) for line in hollow] == [[25.40, 22.63], [14.98]]  # type: ignore[arg-type]
