"""How far the code settles: the curves and what they say."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from sparseguard.grid import settling_cells
from sparseguard.report import save, settling_curves, settling_reading
from sparseguard.result import METRICS, Result

PSNRS = {"none_conv": 24.0, "none_frozen_conv": 22.0, "0.5": 24.2, "5": 23.0, "minimum": 22.1}
COSINES = {"0.5": 0.4, "5": 0.9, "minimum": 1.0}


def made(seeds: list[int]) -> list[Result]:
    images, results = torch.zeros(1, 1, 28, 28), []
    found = settling_cells("mnist", "split", [0.5, 5.0], 0.5, "smoke", seeds)
    for name, cells in zip(PSNRS, (found[i : i + len(seeds)] for i in range(0, len(found), len(seeds)))):
        for seed, e in enumerate(cells):
            numbers: dict[str, float | None] = dict.fromkeys(METRICS, 0.5)
            numbers["psnr"] = PSNRS[name] + 0.1 * (seed - 1)
            facts = {"active 1 (%)": 7.0, "cosine 1": COSINES[name]} if name in COSINES else {}
            results.append(Result(e, numbers, {}, images, images, {"facts": facts}, {}))
    return results


@pytest.fixture
def results() -> list[Result]:
    return made([0, 1, 2])


def test_the_curves_go_from_the_least_settled_to_the_minimum(results: list[Result], tmp_path: Path) -> None:
    figure = settling_curves(results[::-1])  # in any order
    psnr, _, _, active, cosine, legend = figure.axes
    drawn = [[float(y) for y in axis.containers[0].lines[0].get_ydata()] for axis in (psnr, cosine)]  # type: ignore[attr-defined]
    assert drawn == [pytest.approx([24.2, 23.0, 22.1]), [0.4, 0.9, 1.0]]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in psnr.lines}
    np.testing.assert_allclose(lines["convolutions"], 24.0)
    np.testing.assert_allclose(lines["frozen convolutions"], 22.0)
    bands = sorted(patch.get_extents().transformed(psnr.transData.inverted()).height for patch in psnr.patches)
    np.testing.assert_allclose(bands, 0.2)  # one standard deviation to each side
    assert [label.get_text() for label in active.get_xticklabels()] == ["0.5", "5", "minimum"]
    texts = [text.get_text() for text in legend.get_legend().get_texts()]  # type: ignore[union-attr]
    assert texts[0] == "sparse-guard, λ = 0.5"
    assert sorted(texts[1:]) == ["convolutions", "frozen convolutions", "layer 1"]
    save(figure, tmp_path, "settling")
    assert matplotlib.image.imread(tmp_path / "settling.png").std() > 0


def test_the_reading_says_what_settling_does(results: list[Result]) -> None:
    text = settling_reading(results)
    assert "PSNR is 24.2 ± 0.1 at 0.5, 23.0 ± 0.1 at 5, 22.1 ± 0.1 at the minimum" in text
    assert "the minimum differs from 0.5 (-2.1); it falls from 0.5 to 5 and falls from 5 to the minimum" in text
    assert "accuracy is" in text
    assert "the minimum cannot be told apart from 0.5 (+0.00)" in text
    assert "Layer 1, cosine with the minimiser: 0.40 ± 0.00 at 0.5, 0.90 ± 0.00 at 5, 1.00 ± 0.00 at the min" in text
    assert "Against `none_conv`: PSNR +0.2 at 0.5 (no difference) and -1.9 at the minimum; SSIM" in text
    assert "Against `none_frozen_conv`: PSNR +2.2 at 0.5 and +0.1 at the minimum (no difference)" in text


def test_one_seed_tells_no_difference() -> None:
    text = settling_reading(made([0]))
    assert "cannot be told apart from 0.5 (-2.1)" in text
    assert "differs from" not in text
    assert len(settling_curves(made([0])).axes) == 6


def test_one_time_alone_tells_nothing_of_settling(results: list[Result]) -> None:
    at_the_end = [r for r in results if r.experiment.options.get("tau") is None]
    assert "cannot be told" in str(settling_reading(at_the_end))
