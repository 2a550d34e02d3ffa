"""Privacy against utility: which rows nothing else beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, pairwise
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..result import Result
from .about import about, by_cell
from .compare import measured, values
from .figures import HEADLINE, VARIANTS
from .labels import place_labels
from .looks import base_name, ink, look, row_names

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
    rows and the headline's, where there is room; the legend names the defenses. Cells that lack one of the two numbers
    are left out.
    """
    figure, axis = plt.subplots(figsize=(9.5, 5.4))
    found = measured(results, METRICS)[0]
    kinds, names = (row_names([r.experiment for r in found], strength) for strength in (False, True))
    curves: dict[str, dict[str, list[list[Result]]]] = {}
    for group in by_cell(found).values():
        e = group[0].experiment
        curves.setdefault(e.defense, {}).setdefault(e.variant, []).append(group)
    for defense, variants in curves.items():
        colour, marker = look(defense)
        for (fill, line), groups in zip(cycle(VARIANTS), variants.values()):
            groups.sort(key=lambda group: s if isinstance(s := group[0].experiment.strength, float) else 0.0)
            both = [np.array([values(group, metric) for metric in METRICS]) for group in groups]
            axis.plot(*np.array([of.mean(1) for of in both]).T, color=colour, ls=line, lw=1)
            for of, size in zip(both, np.linspace(5, 10, len(both)) if len(both) > 1 else [7]):
                (x, y), (xerr, yerr) = of.mean(1), of.std(1, ddof=1) if of.shape[1] > 1 else (0, 0)
                axis.errorbar(
                    x, y, xerr=xerr, yerr=yerr, label=kinds[groups[0][0].experiment.label], color=colour,
                    marker=marker, fillstyle=fill, ls="none", ms=size, capsize=0, lw=0.7,
                )  # fmt: skip
    rows = [group for variants in curves.values() for groups in variants.values() for group in groups]
    points = [(mean(values(group, "psnr")), mean(values(group, "accuracy"))) for group in rows]
    front = sorted(undominated(points), key=lambda i: points[i])
    axis.plot(*zip(*(points[i] for i in front)), color="0.75", lw=6, zorder=0, solid_capstyle="round")
    _references(axis, found, points)
    axis.set_xlabel("PSNR of the attack's reconstructions in dB (left: more private)")
    axis.set_ylabel("accuracy on the hold-out (up: more useful)")
    axis.set_title(f"Privacy and utility: {about(results)}", fontsize=10)
    ends = [i for i, group in enumerate(rows) if group[0].experiment.variant in HEADLINE and _last(i, rows)]
    wanted = list(dict.fromkeys([*front, *ends]))
    handles = [
        Line2D([], [], color=look(d)[0], marker=look(d)[1], ls="none", label=base_name(d)) for d in curves
    ] + [Line2D([], [], color="0.75", lw=6, label="beaten by no row")]  # fmt: skip
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


def _references(axis: Axes, found: Sequence[Result], points: Sequence[tuple[float, float]]) -> None:
    """Lines at what needs no leak, the mean image, and at what the judge reads in the originals; room for them."""
    floors = [v for r in found if (v := r.metrics["psnr_mean_image"]) is not None]
    originals = [v for r in found if (v := r.metrics["judge_accuracy_originals"]) is not None]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if floors:
        xs.append(mean(floors))
        axis.axvline(mean(floors), color="0.4", ls=":", lw=1)
        axis.text(mean(floors), 0.02, " the mean image, without a leak", transform=axis.get_xaxis_transform(),
                  rotation=90, ha="right", va="bottom", fontsize=7, color="0.35")  # fmt: skip
    if originals:
        ys.append(mean(originals))
        axis.axhline(mean(originals), color="0.4", ls=":", lw=1)
        axis.text(0.995, mean(originals), "independent classifier, originals", transform=axis.get_yaxis_transform(),
                  ha="right", va="bottom", fontsize=7, color="0.35")  # fmt: skip
    for low, high, limit in ((min(xs), max(xs), axis.set_xlim), (min(ys), max(ys), axis.set_ylim)):
        room = max(0.12 * (high - low), 1e-3)
        limit(low - room, high + room)
