"""Sliders and the picture that follows them; where nobody can move them, the picture at each of a few steps."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as ipw
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..progress import is_live
from .stepper import LIVE, Step, drawn, stepper
from .summary import Markup

Draw = Callable[..., tuple[Figure, str]]
"""Given a value of each axis, in their order: a picture, and what it shows in words."""
WIDTH = 980
"""Most that a picture takes, in pixels."""


@dataclass(frozen=True)
class Axis:
    """A slider.

    Attributes:
        name: beside it.
        values: that it can stand at, in their order.
        start: where it stands first.
        say: a value in words.
        steps: the values that are shown without a kernel.
    """

    name: str
    values: Sequence[float]
    start: float
    say: Callable[[float], str] = "{:g}".format
    steps: Sequence[float] = ()


class Player:
    """A picture that is drawn anew whenever one of its sliders moves, by mouse or by the arrow keys.

    Attributes:
        box: the widget to show.
    """

    def __init__(self, draw: Draw, axes: Sequence[Axis]) -> None:
        wide = ipw.Layout(width="100%", max_width=f"{WIDTH}px")
        style = {"description_width": "9em"}
        self.draw = draw
        self.sliders = [
            ipw.SelectionSlider(
                options=[(a.say(v), v) for v in a.values], value=a.start, description=a.name, layout=wide, style=style
            )
            for a in axes
        ]
        self.picture = ipw.HTML(layout=wide)
        self.box = ipw.VBox([*self.sliders, self.picture])
        for slider in self.sliders:
            slider.observe(self.update, "value")
        self.update()

    def update(self, change: Any = None) -> None:
        """Bring the picture and its alternative text to what the sliders say."""
        figure, told = self.draw(*(slider.value for slider in self.sliders))
        self.picture.value = drawn(_png(figure), told)


def play(key: str, draw: Draw, axes: Sequence[Axis]) -> ipw.Widget | Markup:
    """Live, a :class:`Player`; in a batch run a button for each of the first axis' steps, the others at their start.

    Args:
        key: distinguishes the buttons from others on a page.
    """
    if is_live():
        return Player(draw, axes).box
    first, *others = axes
    steps = []
    for value in first.steps:
        figure, told = draw(value, *(axis.start for axis in others))
        steps.append(Step(first.say(value), _png(figure), told))
    held = "".join(f"; {axis.name} {axis.say(axis.start)}" for axis in others)
    return stepper(key, steps, f"{first.name}{held}. {LIVE}", WIDTH)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]  # drawn once, not twice as by savefig
    return buffer.getvalue()
