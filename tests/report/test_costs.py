import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from sparseguard.grid import cells
from sparseguard.report import costs_figure, costs_reading, costs_table, provenance_of
from sparseguard.report.looks import row_names
from sparseguard.studies.costs import Cost

SECONDS = {  # of training the target, by defense; the other stages take 4 and 1 s
    "none": 5.0,
    "none_conv": 10.0,
    "gaussian": 5.0,
    "gan": 35.0,
    "gong": 45.0,
    "sparse_standard": 10.0,
    "sparse_guard": 25.0,
}
STAGES = ("target", "attack", "evaluation")


def fake(seconds: dict[str, float] = SECONDS, seeds: int = 3, dataset: str = "mnist") -> list[Cost]:
    """Seed s takes 1 + s / 100 times as long in every row, so that ratios within a seed are exact."""
    defenses = [name for name in seconds if name != "sparse_standard"]
    rows = cells(dataset, "end_to_end", defenses, 0.5, "smoke", list(range(seeds)))
    if "sparse_standard" in seconds:
        entry = {"defense": "sparse_standard", "lam": 0.25}
        rows += cells(dataset, "end_to_end", entry, 0.5, "smoke", list(range(seeds)))
    return [
        Cost(
            e,
            {stage: (1 + e.seed / 100) * s for stage, s in zip(STAGES, (seconds[e.defense], 4.0, 1.0))},
            {"target": 2 * seconds[e.defense], "attack": 20.0, "evaluation": 8.0},
            700.0, 1, 2, 0.5 + e.seed, "a processor (CPU)",
        )
        for e in rows
    ]  # fmt: skip


def column(costs: list[Cost], name: str) -> dict[str, str]:
    frame = costs_table(costs).frame
    return {str(label).split()[0]: str(value) for label, value in zip(frame["defense"], frame[name])}


def test_ratios_are_taken_within_a_seed() -> None:
    costs = fake()
    total = column(costs, "× none measured")
    assert total == {n: f"{(s + 5) / 10:.2f} ± 0.00" for n, s in SECONDS.items()}  # the spread of the seeds cancels
    assert column(costs, "training the target × none")["sparse_guard"] == "5.00 ± 0.00"
    assert column(costs, "training the attackers × none")["sparse_guard"] == "1.00 ± 0.00"
    assert column(costs, "seconds measured")["gan"] == "40.40 ± 0.40"
    assert column(costs, "measuring (s)")["gan"] == "1.01 ± 0.01"
    assert column(costs, "peak training the target (MiB)")["sparse_guard"] == "50.00 ± 0.00"
    assert column(costs, "largest peak × none")["sparse_guard"] == "2.50 ± 0.00"  # 50 and 20 MiB
    shuffled = sorted(costs, key=lambda c: -c.experiment.seed)
    assert column(shuffled, "× none measured") == total


def test_printed_seconds_stand_beside_them_for_mnist_alone() -> None:
    printed, ratios = (
        column(fake(), name) for name in ("seconds printed (Plug & Play)", "× none printed (Plug & Play)")
    )
    assert (printed["none"], printed["sparse_guard"], printed["none_conv"]) == ("10555.3", "17912.9", "—")
    assert (ratios["none"], ratios["sparse_guard"], ratios["none_conv"]) == ("1.00", f"{17912.9 / 10555.3:.2f}", "—")
    assert set(column(fake(dataset="fashion_mnist"), "seconds printed (Plug & Play)").values()) == {"—"}


def test_the_caption_says_where_and_how_busy() -> None:
    assert costs_table(fake()).caption == (
        "MNIST, end-to-end leak, attack inversion, scale smoke, seeds 0, 1, 2; mean ± standard deviation over seeds; "
        "a processor (CPU), threads: 1, load average at most 2.5 on 2 cores."
    )
    one = costs_table([replace(c, load=None) for c in fake(seeds=1)])
    assert one.caption.endswith(
        "seed 0; one seed, so no spread; a processor (CPU), threads: 1, load not known, 2 cores."
    )
    assert any("above the 700 ± 0 MiB that the process held" in note for note in costs_table(fake()).footnotes)
    assert (
        provenance_of(fake(seeds=1))
        == "7 cells: scale smoke; seed 0; a processor (CPU); 170 s when they were computed."
    )


def test_memory_that_was_not_measured_is_an_em_dash() -> None:
    nothing: dict[str, float | None] = {"target": None, "attack": None, "evaluation": None}
    unknown = [replace(c, peaks_by_stage=nothing, held=None) for c in fake()]
    assert set(column(unknown, "peak measuring (MiB)").values()) == {"—"}
    assert set(column(unknown, "largest peak × none").values()) == {"—"}
    notes = " ".join(costs_table(unknown).footnotes)
    assert "Peak memory was not measured" in notes
    assert "MiB above" not in notes
    assert "Memory was not measured" in costs_reading(unknown)
    assert [text.get_text() for text in costs_figure(unknown).axes[1].texts] == ["not measured on this system"]
    costs = [replace(c, peaks_by_stage=nothing) if c.experiment.defense == "none" else c for c in fake()]
    assert column(costs, "peak measuring (MiB)")["gan"] == "8.00 ± 0.00"
    assert column(costs, "largest peak × none")["gan"] == "—"


def test_memory_that_was_not_measured_has_no_bar() -> None:
    nothing: dict[str, float | None] = {"target": None, "attack": None, "evaluation": None}
    unknown = [replace(c, peaks_by_stage=nothing, held=None) for c in fake()]
    bars = [patch for patch in costs_figure(unknown).axes[1].patches if isinstance(patch, Rectangle)]
    assert len(bars) == 3 * len(SECONDS)
    assert all(math.isnan(bar.get_width()) for bar in bars)


def test_the_picture_has_every_row_stage_and_printed_ratio() -> None:
    costs = fake()
    figure = costs_figure(costs)
    left, right = figure.axes
    labels = list(dict.fromkeys(c.experiment.label for c in costs))
    named = list(row_names([c.experiment for c in costs]).values())
    assert [text.get_text() for text in left.get_yticklabels()] == named
    for axis in (left, right):
        styles = {(to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in axis.patches}
        assert len(axis.patches) == 3 * len(labels)
        assert len({colour for colour, _ in styles}) == len({hatch for _, hatch in styles}) == len(styles) == 3
    ends = [bar.get_x() + bar.get_width() for bar in left.patches[-7:] if isinstance(bar, Rectangle)]
    assert ends == pytest.approx([1.01 * (SECONDS[name.split()[0]] + 5) for name in labels])
    marks = next(line for line in left.lines if line.get_marker() == "D")
    printed = {round(float(y)): float(x) for x, y in np.asarray(marks.get_xydata())}
    assert printed[labels.index("gan weight=1.0")] == pytest.approx(15762.4 / 10555.3 * 10.1)
    assert len(printed) == 6  # none_conv is not printed
    assert "MNIST, end-to-end leak, scale smoke, seeds 0, 1, 2" in figure.get_suptitle()


def test_the_reading_follows_the_numbers() -> None:
    text = costs_reading(fake())
    assert "in seconds of `none`: `none` 1.00, `gaussian sigma=0.5` 1.00, `none_conv` 1.50" in text
    assert (
        "All stages: of 5 pairs 5 differ that way, 0 the other way, 0 cannot be told apart: the claim holds here"
        in text
    )
    assert "Training the target: of 4 pairs 4 differ that way" in text
    assert (
        "`sparse_guard lam=0.5` takes 3.00 times `none`, printed 1.70 times; slower than `gaussian sigma=0.5` (3.00×); "
        "quicker than `gan weight=1.0` (0.75×), `gong weight=1.0` (0.60×)." in text
    )
    assert "of `none_conv`, which has convolutions in the sparse layers' place: `sparse_guard lam=0.5` 2.5, " in text
    share = sum(SECONDS.values()) / (sum(SECONDS.values()) + 35)
    assert f"training the target {share:.0%}" in text
    assert "takes more than half in `none_conv`, `gan weight=1.0`, `gong weight=1.0`, `sparse_guard lam=0.5`" in text
    assert "is 90 MiB (`gong weight=1.0`), the smallest 20 MiB (`none`); `none` needs 20 MiB" in text


def test_claims_that_do_not_show_or_hold_in_part() -> None:
    slow = costs_reading(fake(SECONDS | {"sparse_guard": 80.0, "sparse_standard": 70.0, "gaussian": 90.0}))
    assert (
        "of 5 pairs 1 differ that way, 4 the other way, 0 cannot be told apart: the claim is contradicted here" in slow
    )
    assert "Training the target: of 4 pairs 0 differ that way, 4 the other way" in slow
    some = costs_reading(fake(SECONDS | {"sparse_standard": 12.0, "sparse_guard": 11.0}))
    assert "0 cannot be told apart: the claim holds in part here" in some
    near = costs_reading(fake(SECONDS | {"gan": 25.0 * 1.04}))
    assert "not to be told apart from 1 of 3" in near  # 4 % are not called a difference


def test_one_seed_is_never_a_difference() -> None:
    text = costs_reading(fake(seeds=1))
    assert "5 cannot be told apart: the claim is not shown here" in text
    assert "not to be told apart from 3 of 3" in text
    assert "nan" not in text
    assert not any(math.isnan(c.seconds) for c in fake(seeds=1))


def test_none_alone_has_nothing_to_claim() -> None:
    text = costs_reading(fake({"none": 5.0}))
    assert "claim" not in text.split("*Rule")[0]
    assert "`none` 1.00." in text
