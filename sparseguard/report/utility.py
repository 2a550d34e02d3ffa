"""Privacy against utility: which rows nothing else beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from ..result import Result
from .about import about, by_cell
from .compare import average, values
from .figures import HEADLINE, VARIANTS
from .looks import ink, look, row_names

# where a label may stand, in points from its mark: (x, y, horizontal, vertical alignment), the best first
_PLACES = [
    (x * step, y * step, h, v)
    for step in (7, 13, 22, 34)
    for x, y, h, v in (
        (1, 0, "left", "center"), (-1, 0, "right", "center"), (0, 1, "center", "bottom"), (0, -1, "center", "top"),
        (0.8, 0.8, "left", "bottom"), (0.8, -0.8, "left", "top"), (-0.8, 0.8, "right", "bottom"),
        (-0.8, -0.8, "right", "top"),
    )
]  # fmt: skip


def place_labels(
    figure: Figure,
    axis: Axes,
    wanted: Sequence[tuple[str, tuple[float, float], str]],
    marks: Sequence[tuple[float, float]],
    size: float = 8,
) -> list[Annotation]:
    """Write each label beside its mark where it covers no other text and no mark; one that fits nowhere is left out.

    Args:
        wanted: text, place of its mark in data, and colour; the most important first.
        marks: places of all marks, in data; limits and scales of the axis must be final.
        size: of the font, in points.
    """
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    half = 5 * figure.dpi / 72
    points = axis.transData.transform(np.reshape(marks, (-1, 2)))
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in points]
    taken += [text.get_window_extent(renderer) for text in axis.texts]
    inside = axis.get_window_extent(renderer)
    placed = []
    for text, at, colour in wanted:
        line = {"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkB": 4}
        for x, y, horizontal, vertical in _PLACES:
            label = axis.annotate(
                text, at, (x, y), textcoords="offset points", ha=horizontal, va=vertical, fontsize=size, color=colour,
                arrowprops=line if abs(x) + abs(y) > 15 else None,
            )  # fmt: skip
            box = text_box(label, renderer)
            if (
                inside.x0 <= box.x0
                and box.x1 <= inside.x1
                and inside.y0 <= box.y0
                and box.y1 <= inside.y1
                and not any(box.overlaps(other) for other in taken)
            ):
                taken.append(box)
                placed.append(label)
                break
            label.remove()
    return placed


def text_box(label: Annotation, renderer: RendererBase) -> Bbox:
    """Of the text alone, without the line to its mark, in pixels."""
    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer)


def apart(places: Sequence[float], least: float) -> list[float]:
    """Places moved as little as it takes to lie at least so far from each other, in their order.

    >>> apart([1.0, 1.0, 5.0], 1.0)
    [0.5, 1.5, 5.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[tuple[list[int], float]] = []  # those that touch, and their first place
    for i in order:
        block, start = [i], places[i]
        while blocks and blocks[-1][1] + least * len(blocks[-1][0]) > start:
            block = blocks.pop()[0] + block
            start = sum(places[k] - least * j for j, k in enumerate(block)) / len(block)
        blocks.append((block, start))
    moved = {i: start + least * j for block, start in blocks for j, i in enumerate(block)}
    return [moved[i] for i in range(len(places))]


METRICS = ("psnr", "accuracy")


def undominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points for which no other has a lower first number and a higher second one, ties aside.

    >>> undominated([(20.0, 0.9), (25.0, 0.95), (26.0, 0.9), (20.0, 0.8)])
    [0, 1]
    """

    def beaten(a: tuple[float, float]) -> bool:
        return any(b[0] <= a[0] and b[1] >= a[1] and b != a for b in points)

    return [i for i, point in enumerate(points) if not beaten(point)]


def privacy_utility(results: Sequence[Result]) -> Figure:
    """Accuracy against the PSNR of what the attack rebuilt: a mark a row, bars one standard deviation over seeds.

    Strengths of one defense with the same further options are joined by a line, along which marks grow with the
    strength. Up and to the left is better: the grey line joins the rows that no other beats in both. Named are its
    rows and the headline's, where there is room; the legend names the defenses and their options.
    """
    figure, axis = plt.subplots(figsize=(9.5, 5.4))
    kinds, names = (row_names([r.experiment for r in results], strength) for strength in (False, True))
    curves: dict[str, dict[str, list[list[Result]]]] = {}
    handles: list[Line2D] = []
    for group in by_cell(results).values():
        e = group[0].experiment
        curves.setdefault(e.defense, {}).setdefault(e.variant, []).append(group)
    for defense, variants in curves.items():
        colour, marker = look(defense)
        for (fill, line), groups in zip(cycle(VARIANTS), variants.values()):
            groups.sort(key=lambda group: s if isinstance(s := group[0].experiment.strength, float) else 0.0)
            both = [np.array([values(group, metric) for metric in METRICS]) for group in groups]
            axis.plot(*np.array([of.mean(1) for of in both]).T, color=colour, ls=line, lw=1)
            named = kinds[groups[0][0].experiment.label]
            handles.append(Line2D([], [], color=colour, marker=marker, fillstyle=fill, ls=line, lw=1, label=named))
            for of, size in zip(both, np.linspace(5, 10, len(both)) if len(both) > 1 else [7]):
                (x, y), (xerr, yerr) = of.mean(1), of.std(1, ddof=1) if of.shape[1] > 1 else (0, 0)
                axis.errorbar(
                    x, y, xerr=xerr, yerr=yerr, color=colour, marker=marker, fillstyle=fill, ls="none", ms=size,
                    capsize=0, lw=0.7, label=named,
                )  # fmt: skip
    rows = [group for variants in curves.values() for groups in variants.values() for group in groups]
    points = [(average(group, "psnr"), average(group, "accuracy")) for group in rows]
    front = sorted(undominated(points), key=lambda i: points[i])
    axis.plot(*zip(*(points[i] for i in front)), color="0.75", lw=6, zorder=0, solid_capstyle="round")
    _references(axis, results, points)
    axis.set_xlabel("PSNR of the attack's reconstructions in dB (left: more private)")
    axis.set_ylabel("accuracy on the hold-out (up: more useful)")
    axis.set_title(f"Privacy and utility: {about(results)}", fontsize=10)
    ends = [i for i, of in enumerate(rows) if of[0].experiment.unattacked().variant in HEADLINE and _last(i, rows)]
    wanted = list(dict.fromkeys([*front, *ends]))
    handles.append(Line2D([], [], color="0.75", lw=6, label="beaten by no row"))
    axis.legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    figure.tight_layout()
    place_labels(
        figure, axis,
        [(names[rows[i][0].experiment.label], points[i], ink(rows[i][0].experiment.defense)) for i in wanted],
        [*points, *_along([points[i] for i in front])],
    )  # fmt: skip
    plt.close(figure)
    return figure


def _along(points: Sequence[tuple[float, float]], steps: int = 12) -> list[tuple[float, float]]:
    """Places on the line through some points, so that no label lies on it."""
    return [tuple(row) for a, b in pairwise(points) for row in np.linspace(a, b, steps).tolist()]


def _last(i: int, rows: Sequence[Sequence[Result]]) -> bool:
    """Whether a row is the end of its curve."""
    return i + 1 == len(rows) or rows[i + 1][0].experiment.variant != rows[i][0].experiment.variant


def _references(axis: Axes, results: Sequence[Result], points: Sequence[tuple[float, float]]) -> None:
    """Lines at what needs no leak, the mean image, and at what the judge reads in the originals; room for them."""
    floor, originals = average(results, "psnr_mean_image"), average(results, "judge_accuracy_originals")
    xs, ys = [*(x for x, _ in points), floor], [*(y for _, y in points), originals]
    axis.axvline(floor, color="0.4", ls=":", lw=1)
    axis.text(floor, 0.02, " the mean image, without a leak", transform=axis.get_xaxis_transform(),
              rotation=90, ha="right", va="bottom", fontsize=7, color="0.35")  # fmt: skip
    axis.axhline(originals, color="0.4", ls=":", lw=1)
    axis.text(0.995, originals, "independent classifier, originals", transform=axis.get_yaxis_transform(),
              ha="right", va="bottom", fontsize=7, color="0.35")  # fmt: skip
    for low, high, limit in ((min(xs), max(xs), axis.set_xlim), (min(ys), max(ys), axis.set_ylim)):
        room = max(0.12 * (high - low), 1e-3)
        limit(low - room, high + room)
