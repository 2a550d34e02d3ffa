"""Figures of the sparse coding layer: what its neurons do, what solvers cost, what learning changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..studies.competition import Duel, resting_codes, winner_takes_all
from ..studies.learning import Learning
from ..studies.trace import EnergyCurve, Neurons
from ..studies.walkthrough import Stage
from .figures import COLOURS, MARKERS, finished, show

SOLVERS = {
    "euler": ("C0", "o", "textbook (Euler)"), "lca": ("C1", "X", "lca"), "fista": ("C2", "s", "fista"),
    "single": ("C3", "D", "single"),
}  # fmt: skip
"""Colour, mark and name of each."""
_SIDES = {"target": "black", "leak": "C3", "attack": "C3"}
_DASHES = ("-", "--", "-.", ":")


def mosaic(values: Tensor) -> np.ndarray:
    """Channels side by side, as square as can be, two pixels apart: ``(C, H, W) -> (h, w)``."""
    count, height, width = values.shape
    columns = int(np.ceil(np.sqrt(count * height / width)))
    rows = int(np.ceil(count / columns))
    sheet = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2), np.nan)
    for i, channel in enumerate(values.numpy()):
        y, x = divmod(i, columns)
        sheet[y * (height + 2) : y * (height + 2) + height, x * (width + 2) : x * (width + 2) + width] = channel
    return sheet


def pipeline(stages: Sequence[Stage], title: str) -> Figure:
    """The image, what each module makes of it, what leaks and what the attack rebuilds (paper, Figs. 2 and 5).

    Grey values run from the smallest entry of each stage to the one that 0.5 % exceed.
    """
    figure, axes = plt.subplots(1, len(stages), figsize=(1.75 * len(stages), 2.5), squeeze=False)
    cmap = plt.get_cmap("gray").with_extremes(bad="white")  # between and after the channels
    for axis, stage in zip(axes[0], stages):
        show(axis, mosaic(stage.values), cmap=cmap, vmax=float(stage.values.quantile(0.995)))
        colour = _SIDES[stage.side]
        axis.set_title(stage.name, fontsize=9, color=colour)
        axis.set_xlabel(" × ".join(map(str, stage.values.shape)), fontsize=8, color=colour)
        for spine in axis.spines.values():
            spine.set(color=colour, linewidth=1 if stage.side == "target" else 2.5)
    figure.subplots_adjust(wspace=0.3)
    for left, right in zip(axes[0], axes[0][1:]):
        a, b = left.get_position(), right.get_position()
        figure.text((a.x1 + b.x0) / 2, (a.y0 + a.y1) / 2, "→", ha="center", va="center", fontsize=14)
    figure.suptitle(title, fontsize=10, y=1.0)
    plt.close(figure)
    return figure


def _threshold_line(axis: Axes, lam: float) -> None:
    axis.axhline(lam, color="black", lw=1, ls=(0, (6, 3)))
    axis.text(1.01, lam, "λ", transform=axis.get_yaxis_transform(), va="center", fontsize=10)


def potentials(traces: Sequence[Neurons], image: Tensor, title: str) -> Figure:
    """Potentials of all neurons at one position over the textbook's iterations, one panel a time constant.

    Coloured lines end above the threshold (active), grey ones below. ``image``: ``(C, H, W)``, beside them, with the
    position framed.
    """
    figure, axes = plt.subplots(
        1, len(traces) + 1, figsize=(4.4 * len(traces) + 2.2, 3.3), width_ratios=[1.0, *[2.0] * len(traces)]
    )
    show(axes[0], image.mean(0).numpy())
    ever = sorted({f for trace in traces for f in (trace.codes[-1] > 0).nonzero().flatten().tolist()})
    spot = Rectangle((traces[0].column - 2.5, traces[0].row - 2.5), 5, 5, fill=False, color="C1", lw=2)
    axes[0].add_patch(spot)
    axes[0].set_xlabel("framed: what these\nneurons see", fontsize=9)
    for axis, trace in zip(axes[1:], traces):
        values = trace.potentials.numpy()
        active = (trace.codes[-1] > 0).nonzero().flatten().tolist()
        silent = [f for f in range(values.shape[1]) if f not in active]
        for i, f in enumerate(silent):
            axis.plot(values[:, f], color="0.72", lw=0.9, label="_" if i else f"{len(silent)} that end silent")
        for f in active:
            i = ever.index(f)  # the same look in every panel
            axis.plot(
                values[:, f], color=COLOURS[i % len(COLOURS)], ls=_DASHES[i % 4], lw=1.8, marker=MARKERS[i % 12],
                markevery=max(len(values) // 8, 1), ms=5, label=f"feature {f}",
            )  # fmt: skip
        _threshold_line(axis, trace.lam)
        axis.set_xlabel(f"iterations ({len(values) - 1} are {(len(values) - 1) / trace.tau:g} time constants)")
        axis.set_title(f"τ = {trace.tau:g}: {len(active)} of {values.shape[1]} active in the end", fontsize=10)
        axis.legend(fontsize=7, loc="upper left")
        axis.set_ylim(top=max(float(t.potentials.max()) for t in traces) * 1.45)
    axes[1].set_ylabel("membrane potential P")
    return finished(figure, title)


def competition(shown: Sequence[Duel], swept: Sequence[Duel]) -> Figure:
    """Two neurons over time for a few similarities, then their codes in the end against the similarity.

    Lines are the closed form, marks the layer's own steps.
    """
    figure, axes = plt.subplots(1, len(shown) + 1, figsize=(3.3 * len(shown) + 3.8, 3.4))
    for axis, one in zip(axes, shown):
        for i, (colour, marker, name) in enumerate((("C0", "o", "first"), ("C1", "X", "second"))):
            label = f"{name}, drive {one.drives[i]:g}"
            axis.plot(one.times, one.exact[:, i], color=colour, lw=1.5, label=label)
            axis.plot(one.times[::12], one.simulated[::12, i], marker, color=colour, ms=5)
        _threshold_line(axis, one.lam)
        axis.set(xlabel="time (time constants)", ylim=(0, 1.05 * max(one.drives)))
        axis.set_title(f"similarity {one.similarity:g}", fontsize=10)
    axes[0].set_ylabel("membrane potential P")
    axes[0].legend(fontsize=7.5, loc="lower right")
    last, first = axes[-1], swept[0]
    fine = np.linspace(0, max(d.similarity for d in swept), 200)
    for i, (colour, marker, name) in enumerate((("C0", "o", "first"), ("C1", "X", "second"))):
        last.plot(fine, [resting_codes(first.drives, c, first.lam)[i] for c in fine], color=colour, lw=1.5)
        last.plot([d.similarity for d in swept], [float(d.codes[i]) for d in swept], marker, color=colour, label=name)
    limit = winner_takes_all(first.drives, first.lam)
    last.axvline(limit, color="black", lw=1, ls=":")
    last.annotate(f" silent from {limit:.2g} on", (limit, 0.02), fontsize=8, va="bottom")
    last.set(xlabel="similarity of the two features", ylabel="code in the end")
    last.set_title("codes in the end", fontsize=10)
    last.legend(fontsize=7.5, loc="center right")
    return finished(figure, "Two similar features compete for one input (lines: closed form, marks: simulated)")


def energy_curves(curves: Mapping[float, Sequence[Sequence[EnergyCurve]]], title: str) -> Figure:
    """Energy of eq. 1 above its minimum against evaluations, one panel a time constant tau; both axes logarithmic.

    ``curves``: for each tau, those of each seed; the first seed's are shown.
    """
    figure, axes = plt.subplots(1, len(curves), figsize=(4.6 * len(curves), 3.5), squeeze=False, sharey=True)
    for axis, (tau, (group, *_)) in zip(axes[0], curves.items()):
        for curve in group:
            colour, marker, name = SOLVERS[curve.solver]
            x, y = curve.evaluations.numpy(), curve.excess.numpy()
            seen = (x > 0) & (y > 1e-7)  # what lies below is the accuracy of the minimum itself
            every = 0.08 if curve.solver != "fista" else 0.12
            axis.plot(x[seen], y[seen], color=colour, marker=marker, ms=5, markevery=every, lw=1.5, label=name)
        axis.axhline(float(group[0].excess[-1]), color="black", lw=0.8, ls=":")
        axis.set(xscale="log", yscale="log", xlabel="evaluations of both operators")
        axis.set_title(f"τ = {tau:g}", fontsize=10)
    axes[0][0].set_ylabel("energy above the minimum\n(1: the zero code's energy)", fontsize=9)
    axes[0][0].legend(fontsize=8, loc="lower left")
    return finished(figure, title)


def dictionary(runs: Sequence[Learning], labels: Sequence[str], title: str) -> Figure:
    """The first run's dictionary before and after learning, and the energy of fresh images in every run.

    A feature shows the mean over its channels; grey is 0. The share below a feature says at how many positions of the
    fresh images it is active.
    """
    first = runs[0]
    side = int(np.ceil(np.sqrt(len(first.after))))
    figure = plt.figure(figsize=(11, 3.7))
    parts: Any = figure.subfigures(1, 3, width_ratios=[1, 1, 1.4])
    names = ("before learning", f"after {int(first.updates[-1])} updates")
    for part, features, name in zip(parts, (first.before, first.after), names):
        axes = part.subplots(side, side, squeeze=False, gridspec_kw={"hspace": 0.45, "wspace": 0.1}).flatten()
        for f, axis in enumerate(axes):
            if f >= len(features):
                axis.set_axis_off()
                continue
            picture = features[f].mean(0).numpy()
            limit = max(float(np.abs(picture).max()), 1e-12)
            show(axis, picture, vmin=-limit, vmax=limit)
            if name.startswith("after"):
                axis.set_xlabel(f"{float(first.use[f]):.1%}", fontsize=7, labelpad=2)
        part.suptitle(f"{name} ({labels[0]})", fontsize=9, y=0.97)
    axis = parts[2].subplots()
    for i, (run, label) in enumerate(zip(runs, labels)):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axis.plot(run.updates, run.energy, color=colour, marker=marker, ms=5, label=label)
    axis.set(xlabel="dictionary updates", ylabel="energy of fresh images\n(1: the zero code's energy)")
    axis.legend(fontsize=8)
    parts[2].subplots_adjust(left=0.22, bottom=0.16, top=0.88)
    figure.suptitle(title, fontsize=10, y=1.04)
    plt.close(figure)
    return figure
