"""The explorer without a kernel: one picture for each computed λ, and a row of buttons between them, in plain HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from ..result import Result
from .explorer import Explorer, sweeps
from .looks import name
from .panels import controls, numbers, picture, rows_told
from .summary import Markup

_STYLE = (
    ".sparseguard-stepper>input{{position:absolute;opacity:0}}"
    ".sparseguard-stepper>label{{display:inline-block;border:1px solid #9aa0a6;padding:.2em .8em;margin:0 .3em .4em 0;"
    "cursor:pointer}}.sparseguard-stepper>section{{display:none}}{shown}"
)


def lambda_stepper(results: Sequence[Result], index: int = 0, layer: int = 1) -> Markup:
    """One image at each computed λ: its code, what the code gives back, the attacker's; a button a λ shows it.

    Args:
        results: cells of one data set; the last sparse defense among them is shown, its first seed, and controls.
        index: which of the images that a result keeps is shown large.
        layer: whose code is shown.

    Raises:
        ValueError: no cell has a sparse layer.
    """
    swept = list(sweeps(results).values())[-1]
    explorer = Explorer([r for group in swept.values() for r in group])
    views = explorer.path(sorted(explorer.cells), layer)
    beside = controls(views[0], results)
    buttons, sections, shown = "", "", ""
    for i, view in enumerate(views):
        checked = " checked" if i == 0 else ""
        buttons += f'<input type="radio" name="sparseguard-lam" id="sparseguard-lam-{i}"{checked}>'
        buttons += f'<label for="sparseguard-lam-{i}">λ = {view.lam:g}</label>'
        alt = f"image {index + 1}, its code at λ = {view.lam:g}, the image from the code alone, and the attacker's"
        source = f"data:image/png;base64,{_png(picture(view, index, list(beside.values())))}"
        drawn = f'<img alt="{alt}" src="{source}" style="width:100%">'
        sections += f'<section style="max-width:690px">{numbers(view, index)}{drawn}</section>'
        place = f"#sparseguard-lam-{i}:checked"
        shown += f"{place}~section:nth-of-type({i + 1}){{display:block}}"
        shown += f"{place}+label{{background:#0b5c8f;color:#fff}}"
        shown += f"#sparseguard-lam-{i}:focus-visible+label{{outline:3px solid}}"
    e = views[0].coder.result.experiment
    where = f"{name(e, strength=False)}, {e.dataset_name}, scale {e.scale}, seed {e.seed}"
    head = f"<p><small>{where}. {rows_told(beside)}</small></p>"
    style = _STYLE.format(shown=shown)
    return Markup(f'<style>{style}</style><div class="sparseguard-stepper">{head}{buttons}{sections}</div>')


def _png(pixels: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(128, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)  # type: ignore[arg-type]
    return base64.b64encode(buffer.getvalue()).decode()
