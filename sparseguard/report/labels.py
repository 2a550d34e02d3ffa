"""Labels that do not lie on each other, nor on the marks that they name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

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
