"""The layer to play with: a code along its trajectory, and two features that compete for one input."""

from __future__ import annotations

import math
from functools import cache

import ipywidgets as ipw
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Text

from ..studies.competition import duel, resting_codes
from ..studies.layer import LayerStudy
from ..studies.trace import Moment, moments
from .figures import show
from .layer_figures import mosaic
from .stepper import Axis, play
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
    def panels(lam: float) -> tuple[list[Moment], Figure, list[AxesImage], list[Line2D], list[Text]]:
        """What is drawn once for each λ: moving what changes in it takes half the time of drawing it anew."""
        layer.lam = lam
        found = moments(layer, image, TIMES)
        figure = plt.figure(figsize=(9.8, 2.7), dpi=100)
        axes = [figure.add_axes((left, 0.06, 0.18, 0.78)) for left in (0.005, 0.195, 0.385)]
        limits = {"vmin": float(canvas.min()), "vmax": float(canvas.max())}
        show(axes[0], canvas.mean(0).numpy(), **limits)
        brightest = max(float(found[-1].code.max()), 1e-12) ** 0.5
        show(axes[1], mosaic(found[-1].code.sqrt()), vmin=0, vmax=brightest, cmap="viridis")
        show(axes[2], found[-1].image.mean(0).numpy(), **limits)
        axes[0].set_title("input", fontsize=9)
        axes[2].set_title("what the code stands for", fontsize=9)
        titles, dots = [axes[1].set_title("", fontsize=9)], []
        for left, values in ((0.63, [m.energy for m in found]), (0.835, [100 * m.active for m in found])):
            axis = figure.add_axes((left, 0.2, 0.14, 0.62))
            axis.plot(values, color="C0", lw=1.5)
            dots += axis.plot([0], [0], "o", color="C1", ms=8)
            axis.set_xticks([*map(TIMES.index, (0.1, 1, 5)), len(TIMES) - 1], ["0.1", "1", "5", "settled"])
            axis.tick_params(labelsize=7)
            axis.set_ylim(bottom=0)
            axis.set_xlabel("time (τ)", fontsize=8, labelpad=1)
            titles.append(axis.set_title("", fontsize=8.5))
        plt.close(figure)
        return found, figure, [axes[1].images[0], axes[2].images[0]], dots, titles

    def draw(time: float, lam: float) -> tuple[Figure, str]:
        found, figure, (code, stands), dots, titles = panels(lam)
        at = TIMES.index(time)
        now = found[at]
        code.set_data(mosaic(now.code.sqrt()))
        stands.set_data(now.image.mean(0).numpy())
        for dot, height in zip(dots, (now.energy, 100 * now.active)):
            dot.set_data([at], [height])
        active, value = f"{now.active:.1%}", f"{now.energy:.3f}"
        heads = f"code at {_time(time)}, λ = {lam:g}", f"energy / zero code's: {value}", f"{active} active"
        for title, text in zip(titles, heads):
            title.set_text(text)
        when = "Settled" if math.isinf(time) else f"After {_time(time)}"
        return figure, (
            f"{when} at λ = {lam:g} {active} of the neurons are active, and the energy is {value} of the zero code's "
            f"({found[-1].energy:.3f} settled). Left to right: input, code, one tile a feature, what it stands for, "
            "energy and active share over time."
        )

    lams = sorted({study.lam, *study.lams})
    time = Axis("time along eq. 2", TIMES, 0.5, _time, (0.25, 0.5, 1, 2, 5, math.inf))
    return play("trajectory", draw, [time, Axis("λ", lams, study.lam)])


def competition() -> ipw.Widget | Markup:
    """Two features at an angle, one input of length 1 between them, and both codes over time.

    Lines are the closed form, marks the layer's own steps, large marks at the right the exact minimiser of eq. 1.
    """
    figure = plt.figure(figsize=(9.8, 3.2), dpi=100)
    plane, time = figure.add_axes((0.02, 0.06, 0.3, 0.82)), figure.add_axes((0.4, 0.16, 0.58, 0.72))
    names = {"input": "black", "what the codes stand for": "C2", "first feature": "C0", "second feature": "C1"}
    arrows = [plane.plot([], [], color=c, lw=2, marker="o", markevery=[1], label=n)[0] for n, c in names.items()]
    plane.set(xlim=(-0.08, 1.12), ylim=(-0.08, 1.55), aspect="equal", xticks=[], yticks=[])
    plane.legend(fontsize=7, loc="upper right")
    looks = (("C0", "o"), ("C1", "X"))
    lines = [time.plot([], [], c, lw=1.5)[0] for c, _ in looks]
    marks = [time.plot([], [], m, color=c, ms=5)[0] for c, m in looks]
    rests = [time.plot([10.4], [0], m, color=c, ms=9)[0] for c, m in looks]
    time.set(xlabel="time (time constants); at the right: the minimum of eq. 1", ylabel="code", xlim=(0, 10.8))
    plt.close(figure)

    def draw(angle: float, between: float, lam: float) -> tuple[Figure, str]:
        wide, own = math.radians(angle), math.radians(angle * between)
        one = duel((math.cos(own), math.cos(wide - own)), math.cos(wide), lam, tau=20.0)
        ends = resting_codes(one.drives, one.similarity, lam)
        features = (1.0, 0.0), (math.cos(wide), math.sin(wide))
        stands = ends[0] + ends[1] * features[1][0], ends[1] * features[1][1]
        for arrow, (x, y) in zip(arrows, ((math.cos(own), math.sin(own)), stands, *features)):
            arrow.set_data([0, x], [0, y])
        for i in (0, 1):
            exact, steps = ((p[:, i] - lam).relu() for p in (one.exact, one.simulated))
            lines[i].set_data(one.times, exact)
            lines[i].set_label(f"{('first', 'second')[i]}, drive {one.drives[i]:.2f}")
            marks[i].set_data(one.times[::12], steps[::12])
            rests[i].set_ydata([ends[i]])
        time.set_ylim(-0.02, max(0.1, 1.15 * (max(one.drives) - lam)))
        time.legend(handles=lines, fontsize=8, loc="upper left")
        plane.set_title(f"angle {angle:g}°: similarity {one.similarity:.2f}", fontsize=9)
        time.set_title(f"λ = {lam:g}: in the end {ends[0]:.2f} and {ends[1]:.2f}", fontsize=9)
        return figure, (
            f"Two features at {angle:g}°, an input with drives {one.drives[0]:.2f} and {one.drives[1]:.2f}, "
            f"λ = {lam:g}: in the end the first code is {ends[0]:.2f}, the second {ends[1]:.2f}."
        )

    tenths = [i / 10 for i in range(1, 10)]
    axes = [
        Axis("angle of the features", range(10, 95, 5), 40, "{:g}°".format, (15, 30, 45, 60, 90)),
        Axis("input, from the first", tenths, 0.3, "{:.0%} of the angle".format),
        Axis("λ", tenths, 0.5),
    ]
    return play("competition", draw, axes)
