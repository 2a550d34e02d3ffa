"""A view of the explorer drawn: one picture of panels, and the numbers above it. Fast, so without matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from ..result import Result
from .explorer import View
from .looks import name

PANEL, GAP = 168, 6
"""Side of a large panel, and the white between panels, in pixels."""
WHITE, CHOSEN = (255, 255, 255), (0, 114, 178)
"""Between panels, and the frame of the image shown large."""
VIRIDIS = (colormaps["viridis"](np.arange(256))[:, :3] * 255).astype(np.uint8)


def activity(view: View, index: int) -> np.ndarray:
    """Active features of one image: a square of tiles, one a feature, uint8 ``(h, w, 3)``.

    The darkest colour is not active; the brightest is the strongest drive of this image, whatever the λ.
    """
    maps = (view.code[index] / view.coder.strongest[index]).clamp(0, 1).sqrt()
    side, (height, width) = math.ceil(math.sqrt(len(maps))), maps.shape[1:]
    square = np.full((side * (height + 1) - 1, side * (width + 1) - 1, 3), WHITE, np.uint8)
    for i, tile in enumerate((maps * 255).byte().numpy()):
        top, left = i // side * (height + 1), i % side * (width + 1)
        square[top : top + height, left : left + width] = VIRIDIS[tile]
    return square


def _pixels(x: Tensor) -> np.ndarray:
    """``(C, H, W)`` in [0, 1] as uint8 ``(H, W, 3)``."""
    return np.asarray((x * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0))


def _enlarge(pixels: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (np.arange(side) * n // side for n in pixels.shape[:2])
    return np.asarray(pixels[rows][:, columns])


ROWS = "Below the panels, top to bottom: all inputs, from their codes, the attacker's"
CONTROLS = ("none", "none_conv")
"""What stands beside the sparse rows."""


def controls(view: View, results: Sequence[Result]) -> dict[str, Tensor]:
    """What the attacker rebuilt of the same images through :data:`CONTROLS`, by name, of those among ``results``."""
    own = view.coder.result.experiment
    found: dict[str, Tensor] = {}
    for defense in CONTROLS:
        same = replace(own, defense=defense, lam=None, options={})
        found |= {name(same): r.reconstructions for r in results if r.experiment == same}
    return found


def rows_told(beside: Mapping[str, Tensor]) -> str:
    """What the rows of thumbnails are."""
    return ROWS + (f"; the attacker's through: {', '.join(beside)}." if beside else ".")


def picture(view: View, index: int, beside: Sequence[Tensor] = ()) -> np.ndarray:
    """The explorer's picture, uint8 ``(h, w, 3)``.

    Large: image ``index``, its code, what the code gives back, what the attacker rebuilt. Below, for all images: the
    inputs, what the codes give back, the attacker's, and what is ``beside``, ``(N, C, H, W)`` each.
    """
    coder = view.coder
    groups = coder.images, view.decoded, coder.result.reconstructions, *beside
    large = [_pixels(groups[0][index]), activity(view, index), _pixels(groups[1][index]), _pixels(groups[2][index])]
    width, count = 4 * PANEL + 3 * GAP, len(coder.images)
    small = min((width + 2) // max(count, 8) - 2, PANEL // 2)
    canvas = np.full((PANEL + len(groups) * (GAP + small), width, 3), 255, np.uint8)
    for i, panel in enumerate(large):
        canvas[:PANEL, i * (PANEL + GAP) : i * (PANEL + GAP) + PANEL] = _enlarge(panel, PANEL)
    for row, images in enumerate(groups):
        top = PANEL + GAP + row * (small + GAP)
        for i, x in enumerate(images):
            thumbnail = _enlarge(_pixels(x), small)
            if i == index:
                thumbnail[:2] = thumbnail[-2:] = thumbnail[:, :2] = thumbnail[:, -2:] = CHOSEN
            canvas[top : top + small, i * (small + 2) : i * (small + 2) + small] = thumbnail
    return canvas


def png(pixels: np.ndarray) -> bytes:
    """An uint8 picture ``(h, w, 3)`` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png", compress_level=1)
    return file.getvalue()


def numbers(view: View, index: int) -> str:
    """What stands above the four large panels, as HTML: their names, PSNR, SSIM, active features and gap."""
    coder, count = view.coder, len(view.coder.images)
    every = f"all {count}: "
    cells = [
        ("input", f"image {index + 1} of {count}", ""),
        (
            f"code of layer {coder.number} at λ = {view.lam:.3g}",
            f"{float(view.active[index]):.1%} of features active",
            f"{every}{float(view.active.mean()):.1%}; duality gap at most {float(view.gap.max()):.1%}",
        ),
        ("from the code alone", *_both(view.psnr, view.ssim, index, every)),
        (f"attacker, at λ = {coder.result.experiment.strength:g}", *_attacked(view, index, every)),
    ]
    columns = "".join(
        f"<div><b>{head}</b><br>{first}<br><small>{second}</small></div>" for head, first, second in cells
    )
    style = f"display:grid;grid-template-columns:repeat(4,1fr);gap:{GAP}px;line-height:1.35"
    return f'<div class="sparseguard-numbers" style="{style}">{columns}</div>'


def _attacked(view: View, index: int, every: str) -> tuple[str, str]:
    """The attacker's quality, and the accuracy of the target that was attacked."""
    own, all_of = _both(*view.coder.attacked, index, every)
    accuracy = view.coder.result.metrics["accuracy"]
    return own, all_of + ("" if accuracy is None else f"; accuracy of the network {accuracy:.2f}")


def _both(psnr: Tensor, ssim: Tensor, index: int, every: str) -> tuple[str, str]:
    own = f"PSNR {float(psnr[index]):.1f} dB, SSIM {float(ssim[index]):.2f}"
    return own, f"{every}{float(psnr.mean()):.1f} dB, {float(ssim.mean()):.2f}"
