"""The λ explorer without a browser, its static stand-ins, and what is said about λ."""

import math
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from sparseguard.data import Split
from sparseguard.experiment import Experiment
from sparseguard.progress import is_live
from sparseguard.report import lambda_curves, lambda_explorer, lambda_multiples, lambda_reading, save
from sparseguard.report.explorer import PACE, STEPS, TOL, Coder, Explorer, sweeps
from sparseguard.report.panels import GAP, PANEL, VIRIDIS, activity, picture, png
from sparseguard.report.widgets import REFINE, LambdaExplorer
from sparseguard.result import METRICS, Result
from sparseguard.scales import SCALES
from sparseguard.sparse import SparseCoding2d, operators

IMAGES = 5


@pytest.fixture
def images(fashion: torch.Tensor) -> torch.Tensor:
    return fashion[:IMAGES]


def cell(
    images: torch.Tensor,
    defense: str,
    lam: float,
    seed: int = 0,
    psnr: float = 20.0,
    dataset: str = "mnist",
    tau: float | None = None,
) -> Result:
    """A cell whose dictionaries are random and whose attacker blurs."""
    torch.manual_seed(1)
    counts = [1, 4, 6] if defense == "sparse_guard" else [1, 4]
    layers = [SparseCoding2d(a, b) for a, b in zip(counts, counts[1:])]  # noqa: RUF007
    exhibits = {f"dictionary {i}": layer.dictionary.detach().clone() for i, layer in enumerate(layers, start=1)}
    numbers: dict[str, float | None] = dict.fromkeys(METRICS, 0.5)
    numbers["psnr"] = psnr
    blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
    e = Experiment(dataset, "end_to_end", defense, lam, scale="smoke", seed=seed, options={"tau": tau})
    return Result(e, numbers, {}, images, blurred, {}, exhibits)


@pytest.fixture
def guard(images: torch.Tensor) -> list[Result]:
    return [cell(images, "sparse_guard", lam) for lam in (0.1, 0.25, 0.5, 0.75)]


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("lam", [0.15, 0.4])
def test_a_view_holds_the_minimiser_and_true_numbers(guard: list[Result], lam: float, layer: int) -> None:
    view = Explorer(guard).view(lam, layer)
    coder = view.coder
    assert coder.result.experiment.lam == {0.15: 0.1, 0.4: 0.5}[lam]
    canvas = coder.layer.canvas(coder.inputs)
    gap = operators.relative_gap(canvas, view.code, coder.layer.dictionary, lam, (1, 1), True)
    assert float(gap.max()) < 1e-2
    assert view.active.tolist() == pytest.approx([float((c > 0).float().mean()) for c in view.code])
    for i in range(IMAGES):
        original, decoded = coder.images[i].double().numpy(), view.decoded[i].double().numpy()
        assert float(view.psnr[i]) == pytest.approx(peak_signal_noise_ratio(original, decoded, data_range=1))
    assert float(view.decoded.min()) >= 0
    assert float(view.decoded.max()) <= 1


def test_the_decoder_undoes_the_coder_where_the_code_keeps_everything(guard: list[Result]) -> None:
    explorer = Explorer(guard)
    path = explorer.path([0.1, 0.3, 1.0])
    assert float(path[0].psnr.min()) > 22  # four features that cannot be subtracted, and λ's shrinking
    assert path[0].psnr.mean() > path[1].psnr.mean() > path[2].psnr.mean()
    assert path[0].active.mean() > path[1].active.mean() > path[2].active.mean()
    nothing = explorer.view(1e6)
    assert not bool(nothing.code.any())
    assert torch.allclose(
        nothing.decoded, nothing.coder.images.mean((1, 2, 3), keepdim=True).expand_as(nothing.decoded)
    )


def test_the_second_layers_input_decodes_to_what_the_first_layers_code_does(guard: list[Result]) -> None:
    coder = Coder(guard[0], 2)
    hidden = coder.inputs * coder.std + coder.mean
    assert float(hidden.min()) > -1e-5
    layer = SparseCoding2d(1, 4, lam=0.1, solver="fista", tol=1e-5, iterations=3000)
    with torch.no_grad():
        layer.dictionary.copy_(guard[0].exhibits["dictionary 1"])
        assert float((hidden - layer(guard[0].originals)).norm() / hidden.norm()) < 0.1  # both to their gaps
    torch.testing.assert_close(coder.inputs.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("tau", [None, 1000.0, 100.0])
def test_at_a_computed_lambda_the_explorer_shows_what_the_target_codes(
    images: torch.Tensor, split: Split, tau: float | None
) -> None:
    shown = cell(images, "sparse_guard", 0.5, tau=tau)
    target = shown.experiment.make_defense().build(split, "end_to_end", SCALES["smoke"])
    deployed = target.front[0]
    assert isinstance(deployed, SparseCoding2d)
    with torch.no_grad():
        deployed.dictionary.copy_(shown.exhibits["dictionary 1"])
        code = deployed(images)
    explorer = Explorer([shown])
    for view in (explorer.view(0.5), explorer.view(0.5, start=explorer.view(0.6), quick=tau is not None)):
        energies = deployed.energy(images, code), deployed.energy(images, view.code)
        nothing = deployed.energy(images, torch.zeros_like(code))
        if tau is None:
            assert float(view.gap.max()) <= TOL
            assert bool(((energies[0] - energies[1]).abs() <= SCALES["smoke"].tol * nothing).all())
        else:
            torch.testing.assert_close(view.code, code)
            torch.testing.assert_close(view.gap, deployed.gap(images, code))
    other = Explorer([cell(images, "sparse_guard", 0.5, tau=None if tau else 1000.0)]).view(0.5).code
    assert float((other - view.code).norm() / view.code.norm()) > 0.1


def test_regimes_stand_on_one_axis_of_time_and_at_a_mark_is_the_computed_one(
    images: torch.Tensor, guard: list[Result]
) -> None:
    followed = [cell(images, "sparse_guard", 0.5, tau=tau) for tau in (1000.0, 100.0)]
    assert list(sweeps([*followed, *guard])) == ["sparse_guard tau=1000", "sparse_guard tau=100", "sparse_guard"]
    widget = LambdaExplorer([*followed, *guard])
    assert widget.defense.options == ("sparse_guard",)
    assert [cell for cell in widget.explorers["mnist"]["sparse_guard"].cells if cell[0] == 0.5] == [
        (0.5, 0.5), (0.5, 5.0), (0.5, math.inf)
    ]  # fmt: skip
    seen = {}
    for at, time in ((0.51, 0.5), (5.2, 5.0), (25.0, math.inf), (12.0, 12.0)):
        widget.time.value = at
        view = widget._view
        assert view is not None
        assert view.time == pytest.approx(time)
        seen[at] = view
    assert [view.coder.time for view in seen.values()] == [0.5, 5.0, math.inf, 5.0]
    assert float(seen[0.51].gap.mean()) > float(seen[5.2].gap.mean()) > float(seen[12.0].gap.mean())
    assert widget.marks[1].value.count("▲") == 3
    assert widget.marks[0].value.count("▲") == 1  # of these times there is one λ
    assert "settled" not in widget.numbers.value
    assert "time 12 τ" in widget.numbers.value


def test_a_click_on_a_thumbnail_shows_its_image_large(guard: list[Result]) -> None:
    widget = LambdaExplorer(guard)
    assert [button.tooltip for button in widget.thumbnails.children] == [f"show image {i + 1}" for i in range(IMAGES)]
    widget.thumbnails.children[3].click()
    assert widget.image.value == 4
    assert f"image 4 of {IMAGES}" in widget.numbers.value
    assert 'alt="Image 4, its code of layer 1 at λ = 0.5, settled' in widget.picture.value


def test_far_along_the_trajectory_the_code_is_the_settled_one(guard: list[Result]) -> None:
    explorer = Explorer(guard)
    minimum = explorer.view(0.5).code
    far = [float((explorer.view(0.5, time=t).code - minimum).norm() / minimum.norm()) for t in (0.5, 5.0, 100.0)]
    assert far[0] > 2 * far[1] > 4 * far[2]
    assert far[2] < 0.05


def test_a_trajectory_is_not_refined(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    class Loop:
        @staticmethod
        def call_later(seconds: float, *_: object) -> None:
            asked.append(seconds)

    monkeypatch.setattr("asyncio.get_running_loop", lambda: Loop)
    for tau, times in ((1000.0, 0), (None, 1)):
        asked.clear()
        widget = LambdaExplorer([cell(images, "sparse_guard", 0.5, tau=tau)])
        assert widget._view is not None
        assert float(widget._view.gap.max()) > REFINE
        assert len(asked) == times


def test_each_move_of_the_slider_changes_the_code_and_a_warm_start_comes_closer(guard: list[Result]) -> None:
    explorer = Explorer(guard)
    warm = explorer.view(0.3)
    moved = explorer.view(0.29, start=warm, quick=True)
    assert not torch.equal(moved.code, warm.code)
    assert float(moved.gap.max()) < float(explorer.view(0.29, quick=True).gap.max())
    other = explorer.view(0.29, 2, start=warm, quick=True)  # another layer's code is no start
    assert other.code.shape[1] == 6


def test_the_picture_shows_what_the_view_holds(guard: list[Result]) -> None:
    view = Explorer(guard).view(0.3)
    drawn = picture(view, 2)
    assert drawn.dtype == np.uint8
    scale = PANEL // 28
    for panel, image in ((0, view.coder.images[2]), (2, view.decoded[2]), (3, view.coder.result.reconstructions[2])):
        left = panel * (PANEL + GAP)
        shown = drawn[scale // 2 : PANEL : scale, left + scale // 2 : left + PANEL : scale, 0]
        np.testing.assert_allclose(shown / 255, image[0], atol=0.5 / 255 + 1e-6)
    tiles = activity(view, 2)
    active = (tiles[:28, :28] != VIRIDIS[0]).any(-1)
    assert active[(view.code[2, 0] > view.coder.strongest[2] / 255).numpy()].all()
    assert not active[(view.code[2, 0] == 0).numpy()].any()
    assert png(drawn)[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_widget_follows_its_controls(images: torch.Tensor, guard: list[Result]) -> None:
    other = [cell(images.flip(0), "sparse_standard", 0.5, dataset="fashion_mnist")]
    widget = LambdaExplorer([*guard, *other])
    for control, value in ((widget.lam, 0.31), (widget.image, 3), (widget.layer, 2), (widget.dataset, "fashion_mnist")):
        before, said = widget.picture.value, widget.numbers.value
        control.value = value
        assert widget.picture.value != before
        assert widget.numbers.value != said
    assert widget.layer.options == (1,)  # what the defense has
    assert widget.defense.value == "sparse_standard"
    assert "λ = 0.31" in widget.numbers.value
    assert "attacker, at λ = 0.5" in widget.numbers.value
    assert "image 3 of 5" in widget.numbers.value
    assert f">{widget.milliseconds:.0f}</span>" in widget.spent.value
    widget.dataset.value = "mnist"
    assert widget.layer.options == (1, 2)


def test_nobody_sits_at_a_test_and_a_batch_run_gets_the_steps(images: torch.Tensor, guard: list[Result]) -> None:
    assert not is_live()
    others = [cell(images, "sparse_guard", 0.5, tau=100.0), cell(images, "sparse_guard", 0.3, dataset="fashion_mnist")]
    assert re.findall(r">λ = ([\d.]+)</label>", str(lambda_explorer([*guard, *others]))) == [
        "0.1",
        "0.25",
        "0.5",
        "0.75",
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_live_is_where_the_user_can_be_asked(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        class kernel:
            @staticmethod
            def get_parent() -> dict[str, dict[str, bool]]:
                return {"content": {"allow_stdin": asked}}

    monkeypatch.setattr("IPython.get_ipython", lambda: Shell)
    assert is_live() is asked


def test_what_cannot_be_explored_is_a_sentence(images: torch.Tensor, guard: list[Result]) -> None:
    with pytest.raises(ValueError, match="needs a cell of a sparse defense"):
        LambdaExplorer([])
    with pytest.raises(ValueError, match="there is none among these results"):
        lambda_explorer([])
    with pytest.raises(ValueError, match="one sparse defense"):
        Explorer([*guard, cell(images, "sparse_standard", 0.5)])
    with pytest.raises(ValueError, match=r"\(1 and 2\), not 3"):
        Coder(guard[0], 3)
    with pytest.raises(ValueError, match="lam must be a finite number greater than 0"):
        Explorer(guard).view(math.nan)


def swept(images: torch.Tensor, psnrs: dict[float, float], defense: str = "sparse_standard") -> list[Result]:
    noise = (-0.1, 0.0, 0.1)
    return [cell(images, defense, lam, s, v + noise[s]) for lam, v in psnrs.items() for s in (0, 1, 2)]


def test_the_reading_says_what_lambda_does(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images[:1]
    both = lambda_reading(swept(images, {0.5: 24.0}) + swept(images, {0.5: 22.0}, "sparse_guard"))
    assert "`sparse_guard` against `sparse_standard`, PSNR at equal λ: 0.5 (-2.0 dB)" in both
    assert "the code of layer 2 gives back" in both
    monkeypatch.setattr("sparseguard.report.lambdas._codes", lambda *_: "")  # slow, and seen
    falling = lambda_reading(swept(images, {0.1: 24.0, 0.25: 22.0, 0.5: 20.0}))
    assert "PSNR is 24.0 ± 0.1 at 0.1, 22.0 ± 0.1 at 0.25, 20.0 ± 0.1 at 0.5" in falling
    assert "0.5 differs from 0.1 (-4.0)" in falling
    assert "falls from 0.1 to 0.25 and falls from 0.25 to 0.5, in one direction only" in falling
    assert "PSNR (23.45 at 0.1, 21.34 at 0.25, 22.16 at 0.5)" in falling  # as printed, not monotone
    valley = lambda_reading(swept(images, {0.1: 24.0, 0.25: 20.0, 0.5: 24.1}))
    assert "cannot be told apart from 0.1 (+0.1); it falls from 0.1 to 0.25 and rises" in valley
    assert "not monotone" in valley
    flat = lambda_reading(swept(images, {0.1: 24.0, 0.5: 23.8}))
    assert "no two neighbours differ" in flat
    agreeing = [
        cell(images, "sparse_standard", lam, seed, psnr) for lam, psnr in ((0.1, 24.0), (0.5, 20.0)) for seed in (0, 1)
    ]
    assert "0.5 differs from 0.1 (-4.0)" in lambda_reading(agreeing)  # and no warning
    one = [r for r in swept(images, {0.1: 24.0, 0.5: 20.0}) if r.experiment.seed == 0]
    assert "no two neighbours differ" in lambda_reading(one)


def test_the_figures_show_measured_and_printed_numbers(images: torch.Tensor, tmp_path: Path) -> None:
    results = swept(images, {0.1: 24.0, 0.25: 22.0}) + swept(images, {0.1: 21.0, 0.25: 20.0}, "sparse_guard")
    curves = lambda_curves(results)
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in curves.axes[0].lines}
    np.testing.assert_allclose(lines["sparse-standard, printed"], [23.45, 21.34])
    np.testing.assert_allclose(lines["sparse-guard, printed"], [19.54, 18.81])
    measured = [[float(y) for y in c.lines[0].get_ydata()] for c in curves.axes[0].containers]  # type: ignore[attr-defined]
    np.testing.assert_allclose(measured, [[24.0, 22.0], [21.0, 20.0]])
    multiples = lambda_multiples(results)
    grid = np.array(multiples.axes).reshape(10, 3)  # two images: two layers with two rows each, and the attacker
    titles = [axis.get_title() for axis in grid[4]]
    first = results[-1].originals[0].double().numpy(), results[-1].reconstructions[0].double().numpy()
    assert titles[1].startswith(f"{peak_signal_noise_ratio(*first, data_range=1):.1f} dB")
    for name, figure in (("curves", curves), ("multiples", multiples)):
        save(figure, tmp_path, name)
        assert matplotlib.image.imread(tmp_path / f"{name}.png").std() > 0


def test_quick_steps_are_fitted_to_the_machine(guard: list[Result]) -> None:
    coder = Explorer(guard).coder(0.5, 1)
    coder.quick = 20
    coder.pace(PACE)
    assert coder.quick == 20
    coder.pace(1.25 * PACE)
    assert coder.quick == 16
    coder.pace(100 * PACE)
    assert coder.quick == 8
    for _ in range(20):
        coder.pace(100 * PACE)
    assert coder.quick == STEPS[0]
    for _ in range(20):
        coder.pace(0.01 * PACE)
    assert coder.quick == STEPS[1]


def test_every_update_sets_the_pace(guard: list[Result], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(Coder, "pace", lambda _, milliseconds: told.append(milliseconds))
    explorer = LambdaExplorer(guard)
    explorer.lam.value = 0.3
    assert len(told) == 2
    assert told[-1] == explorer.milliseconds > 0
