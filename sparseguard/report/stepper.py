"""Pictures without a kernel: a row of buttons, each of which shows one, in plain HTML; and the explorer so."""

from __future__ import annotations

import base64
import html
import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as ipw
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..data import dataset_title
from ..progress import is_live
from ..result import Result
from .explorer import Explorer, sweeps
from .figures import few_colours
from .looks import name
from .panels import controls, described, numbers, picture, png, rows_told
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


_STYLE = (
    ".sparseguard-stepper>input{position:absolute;opacity:0}.sparseguard-stepper>label{display:inline-block;"
    "border:1px solid #9aa0a6;padding:.2em .8em;margin:0 .3em .4em 0;cursor:pointer}.sparseguard-stepper>section"
    "{display:none}.sparseguard-stepper>input:checked+label{background:#0b5c8f;color:#fff}"
    ".sparseguard-stepper>input:focus-visible+label{outline:3px solid}"
)

LIVE = "In JupyterLab (<code>make lab</code>) there are sliders in the buttons' place."


@dataclass(frozen=True)
class Step:
    """What a button says and shows: a PNG, what it shows in words, and HTML above it."""

    button: str
    picture: bytes
    alternative: str
    above: str = ""


def drawn(png: bytes, alternative: str) -> str:
    """A PNG and its alternative text as HTML, as wide as there is place; its height is known before it is decoded."""
    width, height = struct.unpack(">II", png[16:24])
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    size = f'width="{width}" height="{height}" style="display:block;width:100%;height:auto"'
    return f'<img alt="{html.escape(alternative)}" decoding="sync" {size} src="{source}">'


def stepper(key: str, steps: Sequence[Step], head: str, width: int) -> Markup:
    """A button a step; the first one's picture is shown until another is chosen, by mouse or by the arrow keys.

    Args:
        key: distinguishes this one among those of a page.
        head: HTML above the buttons.
        width: most that a picture takes, in pixels.
    """
    buttons, sections, shown = "", "", ""
    for i, step in enumerate(steps):
        own = f"sparseguard-{key}-{i}"
        checked = " checked" if i == 0 else ""
        buttons += f'<input type="radio" name="sparseguard-{key}" id="{own}"{checked}>'
        buttons += f'<label for="{own}">{html.escape(step.button)}</label>'
        picture = drawn(few_colours(step.picture), step.alternative)
        sections += f'<section style="max-width:{width}px">{step.above}{picture}</section>'
        shown += f"#{own}:checked~section:nth-of-type({i + 1}){{display:block}}"
    head = f"<p><small>{head}</small></p>"
    return Markup(f'<style>{_STYLE}{shown}</style><div class="sparseguard-stepper">{head}{buttons}{sections}</div>')


def lambda_stepper(results: Sequence[Result], index: int = 0, layer: int = 1) -> Markup:
    """One image at each computed λ: its code, what the code gives back, the attacker's; a button a λ shows it.

    Args:
        results: cells of one data set; shown is the sparse defense with most λ, of equals the last, its first seed,
            and controls beside.
        index: which of the images that a result keeps is shown large.
        layer: whose code is shown.

    Raises:
        ValueError: no cell has a sparse layer.
    """
    swept = max(reversed(sweeps(results).values()), key=len)
    explorer = Explorer([r for group in swept.values() for r in group])
    views = explorer.path(explorer.lams, layer)
    beside = controls(views[0], results)
    steps = [
        Step(
            f"λ = {view.lam:g}", png(picture(view, index, beside)), described(view, index, beside), numbers(view, index)
        )
        for view in views
    ]
    e = views[0].coder.result.experiment
    where = f"{name(e, strength=False)}, {dataset_title(e.dataset)}, scale {e.scale}, seed {e.seed}"
    return stepper("lam", steps, f"{where}. {rows_told(beside)} {LIVE}", 690)
