"""The λ explorer: a slider, a few things to pick, and one picture. Live in a notebook, left out of a batch run."""

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
from .explorer import LAMS, Explorer, View, dictionaries, sweeps
from .panels import controls, numbers, picture, png, rows_told
from .reading import Reading

NOT_LIVE = Reading(
    "*The live explorer is left out of a batch run: open this notebook in JupyterLab (`make lab`) and run it there. "
    "The picture below shows the same at the computed λ.*"
)
REFINE, REFINEMENTS = 1e-2, 25
"""Duality gap above which a resting picture is refined, and how often at most."""


def lambda_explorer(results: Sequence[Result]) -> ipw.Widget | Reading:
    """The explorer of all sparse cells among ``results``; in a batch run the sentence that stands in its place.

    Raises:
        ValueError: none of them has a sparse layer.
    """
    return LambdaExplorer(results).box if is_live() else NOT_LIVE


class LambdaExplorer:
    """Controls, and the picture and numbers that follow them.

    Moving the slider codes all images anew, from the code before. ipywidgets sends one value at a time and, while it
    is worked on, keeps only the last one that the slider passed: values never queue up. A long jump is first answered
    from a few steps; the picture is refined, by as many at a time, while the slider rests.

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
                defense: Explorer([r for group in of.values() for r in group])
                for defense, of in sweeps([r for r in results if r.experiment.dataset_name == name]).items()
            }
            for name in names
        }
        if not names:
            raise ValueError("the explorer needs a cell of a sparse defense; none of the results is one.")
        low, high = (math.log10(lam) for lam in LAMS)
        self.lam = ipw.FloatLogSlider(
            0.5, base=10, min=low, max=high, step=0.02, description="λ", readout=False,
            style={"description_width": "2em"}, layout=ipw.Layout(width="100%", max_width="1026px"),
        )  # fmt: skip
        self.dataset = ipw.Dropdown(options=list(self.explorers), description="data set")
        self.defense = ipw.Dropdown(description="defense")
        self.layer = ipw.Dropdown(description="layer")
        self.image = ipw.Dropdown(description="image")
        self.picks = (self.dataset, self.defense, self.layer, self.image)
        for pick in self.picks:
            pick.layout.width = "auto"
        wide = ipw.Layout(width="100%", max_width="1026px")
        self.numbers, self.picture = ipw.HTML(layout=wide), ipw.Image(format="png", layout=wide)
        self.time = ipw.HTML()
        picks = ipw.HBox(self.picks, layout=ipw.Layout(flex_flow="row wrap", max_width="1026px"))
        self.marks = ipw.HTML(layout=wide)
        self.box = ipw.VBox([picks, self.lam, self.marks, self.numbers, self.picture, self.time])
        self.milliseconds = 0.0
        self._view: View | None = None
        self._busy = False
        self._refinements = 0
        for control in (*self.picks, self.lam):
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

    def update(self) -> None:
        """Bring picture and numbers to what the controls say."""
        start = time.perf_counter()
        self._busy = True
        try:
            defenses = self.explorers[self.dataset.value]
            # the most λ first; of equals the small multiples'
            _offer(self.defense, sorted(reversed(defenses), key=lambda name: -len(defenses[name].cells)))
            shown = defenses[self.defense.value]
            _offer(self.layer, shown.layers)
            _offer(self.image, range(1, len(next(iter(shown.cells.values())).originals) + 1))
        finally:
            self._busy = False
        self.marks.value = marks(list(shown.cells))
        self._view = shown.view(self.lam.value, self.layer.value, self._view, quick=True)
        index = self.image.value - 1
        beside = controls(self._view, self.results)
        self.picture.value = png(picture(self._view, index, list(beside.values())))
        self.numbers.value = numbers(self._view, index)
        self.milliseconds = 1000 * (time.perf_counter() - start)
        self._view.coder.pace(self.milliseconds)
        count = len(self._view.code)
        self.time.value = (
            f"<small>{rows_told(beside)} "
            f'{count} images coded and drawn in <span class="sparseguard-milliseconds">{self.milliseconds:.0f}</span> '
            "ms.</small>"
        )
        unsettled = self._view.coder.settles and float(self._view.gap.max()) > REFINE
        if unsettled and self._refinements < REFINEMENTS:
            with contextlib.suppress(RuntimeError):  # outside a kernel nothing runs later
                asyncio.get_running_loop().call_later(0.1, self._refine, self._view)


def marks(computed: Sequence[float]) -> str:
    """Where the computed λ lie on the slider, as HTML: there dictionary, attacker and accuracy are those of a cell."""
    low, high = (math.log10(lam) for lam in LAMS)
    shown = "".join(
        f'<span style="position:absolute;left:{100 * (math.log10(lam) - low) / (high - low):.1f}%;'
        f'transform:translateX(-50%)">▲ {lam:g}</span>'
        for lam in computed
        if LAMS[0] <= lam <= LAMS[1]
    )
    row = "position:relative;height:1.4em;margin:-.4em 12px 0 calc(2em + 16px);font-size:.85em"
    return f'<div class="sparseguard-marks" style="{row}">{shown}</div>'


def _offer(pick: ipw.Dropdown, options: Any) -> None:
    """Set what can be picked, keeping what is picked where it can be."""
    options = tuple(options)
    if pick.options != options:
        held = pick.value
        pick.options = options
        pick.value = held if held in options else options[0]
