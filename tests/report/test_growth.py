"""Large data in tables, a figure and sentences: means over seeds, blanks for what is lacking, and who is better."""

from itertools import product
from typing import Any

import pytest
import torch

from sparseguard import Experiment, Result
from sparseguard.report import growth_figure, growth_reading, growth_table, networks_table
from sparseguard.report.growth import row_of
from sparseguard.result import METRICS
from sparseguard.studies.growth import Grown

SIZES = [1000, 50_000]
OPTIONS: list[dict[str, Any]] = [
    {}, {"solver": "single"}, {"dictionary": "submodular"}, {"dictionary": "submodular", "solver": "single"}
]  # fmt: skip


def cells(scale: str = "smoke", seeds: tuple[int, ...] = (0, 1)) -> list[Experiment]:
    return [
        Experiment("mnist", "split", "sparse_guard", 0.5, scale=scale, seed=seed, options=options)
        for options, seed in product(OPTIONS, seeds)
    ]


def measured(e: Experiment, images: int) -> Grown:
    """Chosen dictionaries leave half the energy, single steps three times as much; a little less of more images."""
    energy = (0.1 if "dictionary" in e.options else 0.2) * (3 if "solver" in e.options else 1)
    making = (2.0 if "dictionary" in e.options else 10.0) * images / 1000
    speed = 1e-4 if "solver" in e.options else 1e-3
    return Grown(
        e, images, max(images - 40_000, 0), energy * (1 if images == 1000 else 0.9) + 0.01 * e.seed, 0.25, making,
        speed, "cpu",
    )  # fmt: skip


def attacked(e: Experiment, psnr: float) -> Result:
    metrics: dict[str, float | None] = dict.fromkeys(METRICS, 0.5)
    metrics.update(psnr=psnr + e.seed, accuracy=0.9, seconds_target=3.0)
    images = torch.zeros(1, 1, 28, 28)
    return Result(e, metrics, {}, images, images, {"train_images": 210, "device": "cpu"}, {})


FOUND = [measured(e, size) for size in SIZES for e in cells()]
RESULTS = [attacked(e, 20.0 if "solver" in e.options else 25.0 + 0.01 * e.seed) for e in cells()]


def test_tables_have_a_row_for_every_size_dictionary_and_solver() -> None:
    table = growth_table(cells(), SIZES, FOUND)
    assert table.frame.iloc[:, :3].to_numpy().tolist() == [
        [size, dictionary, solver]
        for size in ("1,000", "50,000")
        for dictionary in ("learned", "chosen")
        for solver in ("fista", "single")
    ]
    assert table.frame["energy"].tolist()[:4] == ["0.205 ± 0.007", "0.605 ± 0.007", "0.105 ± 0.007", "0.305 ± 0.007"]
    assert table.frame["all codes (s)"].tolist()[4:6] == ["50.00 ± 0.00", "5.00 ± 0.00"]
    assert "seeds 0, 1" in table.caption
    assert "10,000 of the 50,000 images" in table.footnotes[-1]
    networks = networks_table(cells(), RESULTS)
    assert networks.frame["PSNR ↓"].tolist() == ["25.51 ± 0.71", "20.50 ± 0.71"] * 2
    assert networks.frame["private images"].tolist() == ["210"] * 4
    assert "split leak, sparse_guard at λ = 0.5, attack inversion" in networks.caption


def test_what_was_not_measured_in_every_seed_is_blank() -> None:
    table = growth_table(cells(), SIZES, FOUND[1:])
    assert table.frame["energy"].tolist()[0] == "—"
    assert "—" not in table.frame["energy"].tolist()[1:]
    for empty in (growth_table(cells(), SIZES, []), networks_table(cells(), [])):
        assert "`measure = True` computes it" in empty.caption
        assert set(empty.frame.iloc[:, -1]) == {"—"}
    assert growth_figure([], []) is None
    assert "store has nothing" in growth_reading([], [])
    assert growth_table([], [], []).caption == networks_table([], []).caption == "Nothing was asked for."


def test_the_figure_has_a_line_a_row_through_the_means() -> None:
    figure = growth_figure(FOUND, RESULTS)
    assert figure is not None
    energy, _, seconds, psnr, accuracy, legend = figure.axes
    lines = {c.get_label(): c for c in energy.containers}
    assert list(lines) == ["learned, fista", "learned, single", "chosen, fista", "chosen, single"]
    assert lines["chosen, single"][0].get_xydata().flatten().tolist() == pytest.approx([1000, 0.305, 50_000, 0.275])
    assert seconds.containers[0][0].get_ydata().tolist() == pytest.approx([10 + 1, 500 + 50])
    assert (energy.get_xscale(), seconds.get_yscale()) == ("log", "log")
    high = growth_figure([Grown(**(vars(one) | {"energy": 900.0})) for one in FOUND], [])
    assert high is not None
    assert high.axes[0].get_ylim() == (0, 1)
    assert psnr.containers[1][0].get_xydata().flatten().tolist() == pytest.approx([210, 20.5])
    assert accuracy.get_xlim() == energy.get_xlim()
    assert legend.get_legend() is not None


def test_the_reading_says_which_dictionary_leaves_less_and_which_row_gives_more() -> None:
    text = growth_reading(FOUND, RESULTS)
    assert "energy: 0.10 and 0.19 by `fista` (lower), 0.28 and 0.55 by `single` (lower)." in text
    assert "A dictionary is learned of 50,000 images in 500 s" in text
    assert (
        "of 50,000 images in 100 s; the energy that it leaves by `fista` changes by -10 % from that of one of 1,000"
        in text
    )
    assert "1.000 ms by `fista`, 0.100 ms by `single`" in text
    assert "learned, `single`: -5.0 dB, +0.00 of accuracy (no difference)" in text
    assert "chosen, `fista`: +0.0 dB (no difference)" in text
    worse = [measured(e, 1000) for e in cells()]
    turned = [Grown(**(vars(one) | {"energy": 1 - one.energy})) for one in worse]
    assert "(higher)" in growth_reading(turned, [])
    assert "than none at all" not in text
    above = [Grown(**(vars(one) | {"energy": 2 * one.energy})) for one in worse]
    assert "Codes by `single` can have more energy than none at all" in growth_reading(above, [])
    assert "Networks" not in growth_reading(turned, [])


def test_a_row_is_its_dictionary_and_its_solver() -> None:
    found = [row_of(e) for e in cells(seeds=(0,))]
    assert found == [("learned", "fista"), ("learned", "single"), ("submodular", "fista"), ("submodular", "single")]
    assert row_of(Experiment(defense="sparse_standard", options={"tau": 50.0})) == ("learned", "lca")
