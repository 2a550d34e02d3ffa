"""Pictures: labels that lie on nothing, what nothing beats, differences with their intervals, best and worst."""

from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from scipy.stats import ttest_rel

from sparseguard import list_defenses
from sparseguard.report import best_and_worst, forest_plot, headline, privacy_utility, reconstruction_grid, slope_chart
from sparseguard.report.utility import apart, text_box, undominated
from sparseguard.result import Result
from tests.report.test_report import fake


def crowd() -> list[Result]:
    """Every defense, several of them at nearly the same place, three seeds."""
    places = {"sparse_guard": 20.2, "sparse_standard": 20.1, "none_conv": 20.0, "none": 30.0, "laplace": 18.0}
    return [
        fake(d, seed, places.get(d, 25.0 + i / 10) + 0.1 * seed * (1 + i % 3), 0.5 if d.startswith("sparse") else None,
             accuracy=0.9 + 0.003 * (i % 5) + 0.001 * seed)
        for i, d in enumerate(list_defenses()) for seed in (0, 1, 2)
    ]  # fmt: skip


def drawn(figure: Figure) -> RendererAgg:
    """The figure's renderer, once everything has its place."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer: RendererAgg = canvas.get_renderer()
    return renderer


def labels_of(figure: Figure) -> list[Annotation]:
    return [text for axis in figure.axes for text in axis.texts if isinstance(text, Annotation)]


def test_the_few_labels_of_the_privacy_plot_lie_on_no_other_and_on_no_mark() -> None:
    figure = privacy_utility(crowd())
    renderer = drawn(figure)
    labels, axis = labels_of(figure), figure.axes[0]
    boxes = [text_box(label, renderer) for label in labels]
    assert 2 <= len(labels) <= 9
    others = [text.get_window_extent(renderer) for text in axis.texts if not isinstance(text, Annotation)]
    assert not [pair for pair in combinations([*boxes, *others], 2) if pair[0].overlaps(pair[1])]
    marks = [container[0] for container in axis.containers]
    assert len(marks) == len(list_defenses())
    for mark in marks:
        x, y = axis.transData.transform(np.column_stack(mark.get_data()))[0]
        assert not [label.get_text() for label, box in zip(labels, boxes) if box.contains(x, y)]
    frame = axis.get_window_extent(renderer)
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    lines = {text.get_text().strip() for text in axis.texts}
    assert {"the mean image, without a leak", "independent classifier, originals"} <= lines


def test_the_legend_tells_the_options_of_one_defense_apart() -> None:
    usual = fake("gaussian", 0, 20.0)
    behind = replace(usual, experiment=replace(usual.experiment, options={"front": "conv"}))
    axis = privacy_utility([usual, behind, fake("none", 0, 30.0)]).axes[0]
    legend = axis.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["Gaussian noise", "Gaussian noise behind convolutions", "no defense", "beaten by no row"]
    known = [line.get_fillstyle() for line in legend.get_lines()]
    drawn_as = [container[0].get_fillstyle() for container in axis.containers]
    assert known[:3] == drawn_as == ["full", "none", "full"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats_in_both(points: list[tuple[int, int]]) -> None:
    front = {points[i] for i in undominated([(float(x), float(y)) for x, y in points])}
    for x, y in points:
        beaten = any((a < x and b >= y) or (a <= x and b > y) for a, b in points)
        assert ((x, y) in front) != beaten


@given(st.lists(st.floats(0, 10), min_size=1, max_size=15))
def test_labels_moved_apart_are_apart_and_in_order(places: list[float]) -> None:
    moved = apart(places, 1.0)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] > 1.0 - 1e-9 for a, b in pairwise(order))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    spread_out = [3.0 * i for i in range(len(places))]
    assert apart(spread_out, 1.0) == spread_out


def test_the_forest_shows_differences_to_convolutions_and_their_intervals_in_both_settings() -> None:
    results = crowd()
    figure = forest_plot({"split": results, "end_to_end": results[:9], "nothing": []})
    assert figure is not None
    left, right = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert "convolutions" not in names
    assert len(left.containers) == len(names) == len(list_defenses()) - 1
    assert len(right.containers) == 2
    assert left.get_xlim() == right.get_xlim()
    row = names.index("sparse-guard λ=0.5")
    (mark, _, (bars,)) = left.containers[row]
    psnr = {d: [r.metrics["psnr"] for r in results if r.experiment.defense == d] for d in ("sparse_guard", "none_conv")}
    test = ttest_rel(psnr["sparse_guard"], psnr["none_conv"])
    low, high = test.confidence_interval(0.95)
    assert mark.get_xdata()[0] == pytest.approx((low + high) / 2)
    assert bars.get_segments()[0][:, 0] == pytest.approx([low, high])
    assert forest_plot({"split": [r for r in results if r.experiment.defense != "none_conv"]}) is None


def test_slopes_go_from_the_printed_number_to_the_measured_one() -> None:
    results = crowd()
    figure = slope_chart(results)
    assert figure is not None
    ends = {tuple(np.asarray(line.get_ydata()).round(2).tolist()) for line in figure.axes[0].lines}
    assert (14.98, 20.3) in {(a, round(b, 1)) for a, b in ends}
    assert (31.21, 30.1) in {(a, round(b, 1)) for a, b in ends}
    renderer = drawn(figure)
    for axis in figure.axes:
        boxes = [text_box(text, renderer) for text in axis.texts if isinstance(text, Annotation)]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert slope_chart([r for r in results if r.experiment.defense == "none_conv"]) is None


def test_the_best_and_the_worst_of_the_kept_images_are_shown() -> None:
    r = fake("none", 0, 20.0)
    r.per_image["psnr"][:3] = r.per_image["psnr"].new_tensor([19.0, 30.0, 10.0])
    figure = best_and_worst([r], each=1)
    shown = [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]
    np.testing.assert_array_equal(shown[0], r.originals[1, 0])
    np.testing.assert_array_equal(shown[1], r.originals[2, 0])
    assert [axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()] == ["30.0 dB", "10.0 dB"]


@pytest.mark.parametrize("draw", [headline, reconstruction_grid, best_and_worst])
@pytest.mark.parametrize("count", [1, 8])
def test_no_title_lies_on_the_images(draw: object, count: int) -> None:
    assert callable(draw)
    figure = draw([r for r in crowd() if r.experiment.seed == 0][:count])
    renderer = drawn(figure)
    title: Text = figure._suptitle
    box = title.get_window_extent(renderer)
    heads = [axis.title.get_window_extent(renderer) for axis in figure.axes if axis.get_title()]
    assert not [other for other in heads if other.overlaps(box)]
    assert box.y0 >= max(axis.get_window_extent(renderer).y1 for axis in figure.axes)
