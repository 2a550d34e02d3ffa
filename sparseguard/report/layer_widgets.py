"""The layer to play with: a code along its trajectory, and two features that compete for one input."""

from __future__ import annotations

import math
from functools import cache

import ipywidgets as ipw
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..studies.competition import duel, resting_codes
from ..studies.layer import LayerStudy
from ..studies.trace import Moment, moments
from .figures import show
from .layer_figures import mosaic
from .played import Axis, play
from .summary import Markup

TIMES = (0.1, 0.13, 0.16, 0.2, 0.25, 0.32, 0.4, 0.5, 0.63, 0.8, 1, 1.3, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8, 10, 13, 16, 20,
         math.inf)  # fmt: skip
"""Time constants, ten steps to a tenfold; in the end the code settles."""


def _time(time: float) -> str:
    return "settled" if math.isinf(time) else f"{time:g} τ"


def trajectory(study: LayerStudy) -> ipw.Widget | Markup:
    """The first image's code, what it stands for, its energy and its active share, after a time that a slider chooses.

    Args:
        study: whose layer of the first seed is looked at, at its ``lam`` and its ``lams``.
    """
    layer, image = study.layer(study.seeds[0], study.lam, None), study.image()
    canvas = layer.canvas(image)[0]

    @cache
    def course(lam: float) -> list[Moment]:
        layer.lam = lam
        return moments(layer, image, TIMES)

    def draw(time: float, lam: float) -> tuple[Figure, str]:
        found, at = course(lam), TIMES.index(time)
        now = found[at]
        figure = plt.figure(figsize=(9.8, 2.7), dpi=100)
        axes = [figure.add_axes((left, 0.06, 0.18, 0.78)) for left in (0.005, 0.195, 0.385)]
        limits = {"vmin": float(canvas.min()), "vmax": float(canvas.max())}
        show(axes[0], canvas.mean(0).numpy(), **limits)
        largest = max(float(found[-1].code.max()), 1e-12)
        show(axes[1], mosaic(now.code.sqrt()), vmin=0, vmax=largest**0.5, cmap="viridis")
        show(axes[2], now.image.mean(0).numpy(), **limits)
        for axis, title in zip(axes, ("input", f"code at {_time(time)}, λ = {lam:g}", "what the code stands for")):
            axis.set_title(title, fontsize=9)
        lines = (
            (0.64, "energy / zero code's", [m.energy for m in found], f"{now.energy:.3f}"),
            (0.85, "active (%)", [100 * m.active for m in found], f"{now.active:.1%}"),
        )
        for left, title, values, value in lines:
            _over_time(figure.add_axes((left, 0.2, 0.14, 0.62)), values, at, f"{title}: {value}")
        told = (
            f"After {_time(time)} at λ = {lam:g} {now.active:.1%} of the neurons are active, and the energy is "
            f"{now.energy:.3f} of the zero code's ({found[-1].energy:.3f} settled). Left to right: input, code, "
            "one tile a feature, what it stands for, energy and active share over time."
        )
        plt.close(figure)
        return figure, told

    lams = sorted({study.lam, *study.lams})
    time = Axis("time along eq. 2", TIMES, 0.5, _time, (0.25, 0.5, 1, 2, 5, math.inf))
    return play("trajectory", draw, [time, Axis("λ", lams, study.lam)])


def _over_time(axis: Axes, values: list[float], at: int, title: str) -> None:
    axis.plot(values, color="C0", lw=1.5)
    axis.plot([at], [values[at]], "o", color="C1", ms=8)
    ticks = [TIMES.index(t) for t in (0.1, 1, 5)]
    axis.set_xticks([*ticks, len(TIMES) - 1], ["0.1", "1", "5", "settled"], fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("time (τ)", fontsize=8, labelpad=1)
    axis.set_title(title, fontsize=8.5)


def competition() -> ipw.Widget | Markup:
    """Two features at an angle, one input of length 1 between them, and both codes over time.

    Lines are the closed form, marks the layer's own steps, dots at the right the exact minimiser of eq. 1.
    """

    def draw(angle: float, between: float, lam: float) -> tuple[Figure, str]:
        wide, own = math.radians(angle), math.radians(angle * between)
        one = duel((math.cos(own), math.cos(wide - own)), math.cos(wide), lam, tau=20.0)
        ends = resting_codes(one.drives, one.similarity, lam)
        figure = plt.figure(figsize=(9.8, 3.2), dpi=100)
        plane, time = figure.add_axes((0.02, 0.06, 0.3, 0.82)), figure.add_axes((0.4, 0.16, 0.58, 0.72))
        features = [(1.0, 0.0), (math.cos(wide), math.sin(wide))]
        stands = [sum(r * f[i] for r, f in zip(ends, features)) for i in (0, 1)]
        arrows = (((math.cos(own), math.sin(own)), "black", "input"), (stands, "C2", "what the codes stand for"),
                  (features[0], "C0", "first feature"), (features[1], "C1", "second feature"))  # fmt: skip
        for end, colour, name in arrows:
            plane.plot([0, end[0]], [0, end[1]], color=colour, lw=2, marker="o", markevery=[1], label=name)
        plane.set(xlim=(-0.08, 1.12), ylim=(-0.08, 1.42), aspect="equal", xticks=[], yticks=[])
        plane.legend(fontsize=7, loc="upper right", ncols=2)
        plane.set_title(f"angle {angle:g}°: similarity {one.similarity:.2f}", fontsize=9)
        for i, (name, marker) in enumerate((("first", "o"), ("second", "X"))):
            exact, steps = ((p[:, i] - lam).relu() for p in (one.exact, one.simulated))
            time.plot(one.times, exact, color=f"C{i}", lw=1.5, label=f"{name}, drive {one.drives[i]:.2f}")
            time.plot(one.times[::12], steps[::12], marker, color=f"C{i}", ms=5)
            time.plot([10.4], [ends[i]], marker, color=f"C{i}", ms=9, clip_on=False)
        time.set(xlabel="time (time constants); at the right: the minimum of eq. 1", ylabel="code", xlim=(0, 10.4))
        time.set_ylim(-0.02, max(0.1, 1.15 * (max(one.drives) - lam)))
        time.legend(fontsize=8, loc="lower right")
        told = (
            f"Two features at {angle:g}°, an input with drives {one.drives[0]:.2f} and {one.drives[1]:.2f}, "
            f"λ = {lam:g}: in the end the first code is {ends[0]:.2f}, the second {ends[1]:.2f}."
        )
        time.set_title(f"λ = {lam:g}: in the end {ends[0]:.2f} and {ends[1]:.2f}", fontsize=9)
        plt.close(figure)
        return figure, told

    tenths = [i / 10 for i in range(1, 10)]
    axes = [
        Axis("angle of the features", range(10, 95, 5), 40, "{:g}°".format, (15, 30, 45, 60, 90)),
        Axis("input, from the first", tenths, 0.3, "{:.0%} of the angle".format),
        Axis("λ", tenths, 0.5),
    ]
    return play("competition", draw, axes)
