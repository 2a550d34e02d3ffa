"""The λ explorer: two sliders, a few things to pick, and one picture. Live in a notebook; a batch run has its steps."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw

from ..progress import is_live
from ..result import Result
from .explorer import LAMS, TIMES, Explorer, View, dictionaries, families
from .panels import GAP, PANEL, controls, described, numbers, picture, png, rows_told, thumbnail
from .stepper import drawn, lambda_stepper
from .summary import Markup

REFINE, REFINEMENTS = 1e-2, 25
"""Duality gap above which a resting picture is refined, and how often at most."""
WIDTH = {"width": "calc(100% - 30px)", "max_width": "996px"}
"""Of sliders: what is written below their right end has its place."""


def lambda_explorer(results: Sequence[Result]) -> ipw.Widget | Markup:
    """The explorer of all sparse cells among ``results``; in a batch run a button for each λ, of the first data set.

    Raises:
        ValueError: none of them has a sparse layer.
    """
    if is_live():
        return LambdaExplorer(results).box
    first = {r.experiment.dataset_name for r in results[:1]}
    return lambda_stepper([r for r in results if r.experiment.dataset_name in first])


class LambdaExplorer:
    """Controls, and the picture and numbers that follow them.

    Moving a slider codes all images anew, a settled code from the code before. ipywidgets sends one value at a time
    and, while it is worked on, keeps only the last one that the slider passed: values never queue up. A long jump is
    first answered from a few steps; the picture is refined, by as many at a time, while the slider rests. At a mark a
    slider stands at the computed value itself, and a click on a thumbnail shows its image large.

    Args:
        results: cells of sparse defenses, of any data sets; others are left out, and the first seed is shown.

    Attributes:
        box: the widget to show.
        milliseconds: what the last update took in the kernel, from the value to the finished PNG.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        names = dict.fromkeys(r.experiment.dataset_name for r in results if dictionaries(r))
        self.explorers = {
            name: {
                defense: Explorer(of)
                for defense, of in families([r for r in results if r.experiment.dataset_name == name]).items()
            }
            for name in names
        }
        if not names:
            raise ValueError("the explorer needs a cell of a sparse defense; none of the results is one.")
        furthest = max(time for of in self.explorers.values() for explorer in of.values() for time in explorer.times)
        self.lam, self.time = _slider("λ", LAMS, 0.5, 0.02), _slider("settles", TIMES, min(furthest, TIMES[1]), 0.05)
        self.dataset = ipw.Dropdown(options=list(self.explorers), description="data set")
        self.defense = ipw.Dropdown(description="defense")
        self.layer = ipw.Dropdown(description="layer")
        self.image = ipw.Dropdown(description="image")
        self.picks = (self.dataset, self.defense, self.layer, self.image)
        for pick in self.picks:
            pick.layout.width = "auto"
        wide = ipw.Layout(width="100%", max_width="1026px")
        self.numbers, self.spent = ipw.HTML(layout=wide), ipw.HTML()
        self.picture = ipw.HTML(layout=ipw.Layout(width="100%", margin="0", grid_area="1 / 1"))
        self.thumbnails = ipw.HBox(layout=ipw.Layout(width="100%", grid_area="1 / 1", align_self="flex-end"))
        shown = ipw.GridBox([self.picture, self.thumbnails], layout=wide)
        picks = ipw.HBox(self.picks, layout=ipw.Layout(flex_flow="row wrap", max_width="1026px"))
        self.marks = ipw.HTML(layout=ipw.Layout(**WIDTH)), ipw.HTML(layout=ipw.Layout(**WIDTH))
        sliders = [self.lam, self.marks[0], self.time, self.marks[1]]
        self.box = ipw.VBox([picks, *sliders, self.numbers, shown, self.spent])
        self.milliseconds = 0.0
        self._view: View | None = None
        self._busy = False
        self._refinements = 0
        for control in (*self.picks, self.lam, self.time):
            control.observe(self._changed, "value")
        self.update()

    def _changed(self, change: Any) -> None:
        if not self._busy:  # changing what can be picked changes what is picked
            self._refinements = 0
            self.update()

    def _refine(self, view: View) -> None:
        if view is self._view:  # nothing was moved meanwhile
            self._refinements += 1
            self.update()

    def _clickable(self, count: int, rows: int) -> None:
        """A button without a face over each column of thumbnails."""
        small, width = thumbnail(count)
        if len(self.thumbnails.children) != count:
            own = ipw.Layout(width=f"{100 * (small + 2) / width:.3f}%", height="auto", margin="0", padding="0")
            buttons = [ipw.Button(tooltip=f"show image {i + 1}", layout=own) for i in range(count)]
            for i, button in enumerate(buttons):
                button.style.button_color = "transparent"
                button.on_click(lambda _, i=i: setattr(self.image, "value", i + 1))
            self.thumbnails.children = buttons
        below = rows * (GAP + small)
        self.thumbnails.layout.height = f"{100 * below / (PANEL + below):.3f}%"

    def update(self) -> None:
        """Bring picture and numbers to what the controls say."""
        start = time.perf_counter()
        self._busy = True
        try:
            defenses = self.explorers[self.dataset.value]
            # the most cells first; of equals the small multiples'
            _offer(self.defense, sorted(reversed(defenses), key=lambda name: -len(defenses[name].cells)))
            shown = defenses[self.defense.value]
            _offer(self.layer, shown.layers)
            _offer(self.image, range(1, len(next(iter(shown.cells.values())).originals) + 1))
        finally:
            self._busy = False
        lam = _at(self.lam, shown.lams)
        settled = self.time.value > 0.999 * TIMES[1]
        after = math.inf if settled else _at(self.time, shown.times)
        self._view = shown.view(lam, self.layer.value, self._view, quick=True, time=after)
        coder, index = self._view.coder, self.image.value - 1
        near = coder.result.experiment.strength, coder.time
        self.marks[0].value = marks([lam for lam, of in shown.cells if of == near[1]], LAMS)
        self.marks[1].value = marks([of for lam, of in shown.cells if lam == near[0]], TIMES)
        beside = controls(self._view, self.results)
        self._clickable(len(coder.images), 3 + len(beside))
        self.picture.value = drawn(png(picture(self._view, index, beside)), described(self._view, index, beside))
        self.numbers.value = numbers(self._view, index)
        self.milliseconds = 1000 * (time.perf_counter() - start)
        coder.pace(self.milliseconds)
        self.spent.value = (
            f"<small>{rows_told(beside)} A click on a thumbnail shows it large. {len(coder.images)} images coded and "
            f'drawn in <span class="sparseguard-milliseconds">{self.milliseconds:.0f}</span> ms.</small>'
        )
        unsettled = settled and float(self._view.gap.max()) > REFINE
        if unsettled and self._refinements < REFINEMENTS:
            with contextlib.suppress(RuntimeError):  # outside a kernel nothing runs later
                asyncio.get_running_loop().call_later(0.1, self._refine, self._view)


def _slider(name: str, ends: tuple[float, float], value: float, step: float) -> ipw.FloatLogSlider:
    low, high = (math.log10(end) for end in ends)
    return ipw.FloatLogSlider(
        value, base=10, min=low, max=high, step=step, description=name, readout=False,
        style={"description_width": "52px"}, layout=ipw.Layout(**WIDTH),
    )  # fmt: skip


def _at(slider: ipw.FloatLogSlider, computed: Sequence[float]) -> float:
    """A slider's value, or the computed one that is less than a step away."""
    near = min(computed, key=lambda value: abs(math.log(value / slider.value)))
    return near if abs(math.log10(near / slider.value)) < slider.step else float(slider.value)


def marks(computed: Sequence[float], ends: tuple[float, float]) -> str:
    """Where the computed values lie on a slider, as HTML: there dictionary, attacker and accuracy are a cell's own."""
    low, high = (math.log10(end) for end in ends)
    shown = "".join(
        f'<span style="position:absolute;left:{100 * (math.log10(min(value, ends[1])) - low) / (high - low):.1f}%;'
        f'transform:translateX(-50%);white-space:nowrap">▲ {"settled" if math.isinf(value) else f"{value:g}"}</span>'
        for value in sorted(computed)
        if math.isinf(value) or ends[0] <= value <= ends[1]
    )
    row = "position:relative;height:1.4em;margin:-.9em 6px 0 69px;font-size:.85em"
    return f'<div class="sparseguard-marks" style="{row}">{shown}</div>'


def _offer(pick: ipw.Dropdown, options: Any) -> None:
    """Set what can be picked, keeping what is picked where it can be."""
    options = tuple(options)
    if pick.options != options:
        held = pick.value
        pick.options = options
        pick.value = held if held in options else options[0]
