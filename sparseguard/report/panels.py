"""A view of the explorer drawn: one picture of panels, and the numbers above it. Fast, so without matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from .. import metrics
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


def controls(view: View, results: Sequence[Result]) -> list[Result]:
    """The cells of :data:`CONTROLS` among ``results`` whose attacker rebuilt the same images."""
    own = view.coder.result.experiment
    same = [replace(own, defense=defense, lam=None, options={}) for defense in CONTROLS]
    return [r for e in same for r in results if r.experiment == e][: len(same)]


def rows_told(beside: Sequence[Result]) -> str:
    """What the rows of thumbnails are."""
    told = []
    for r in beside:
        mean = float(metrics.psnr(r.originals, r.reconstructions).mean())
        told.append(f"{name(r.experiment)} (all {len(r.originals)}: {mean:.1f} dB{accuracy(r)})")
    return ROWS + (f"; the attacker's through: {', '.join(told)}." if beside else ".")


def accuracy(result: Result) -> str:
    """The accuracy of the network that was attacked, to stand behind other numbers."""
    value = result.metrics["accuracy"]
    return "" if value is None else f"; accuracy of the network {value:.2f}"


def point(lam: float, time: float) -> str:
    """λ and time in words.

    >>> point(0.5, math.inf), point(0.25, 0.5)
    ('λ = 0.5, settled', 'λ = 0.25, time 0.5 τ')
    """
    return f"λ = {lam:.3g}, " + ("settled" if math.isinf(time) else f"time {time:.2g} τ")


def described(view: View, index: int, beside: Sequence[Result]) -> str:
    """The picture's alternative text."""
    return (
        f"Image {index + 1}, its code of layer {view.coder.number} at {point(view.lam, view.time)}, the image from the "
        f"code alone, and the attacker's. {rows_told(beside)}"
    )


def thumbnail(count: int) -> tuple[int, int]:
    """Side of each of ``count`` thumbnails in a row, and the picture's width, in pixels; 2 lie between two."""
    width = 4 * PANEL + 3 * GAP
    return min((width + 2) // max(count, 8) - 2, PANEL // 2), width


def picture(view: View, index: int, beside: Sequence[Result] = ()) -> np.ndarray:
    """The explorer's picture, uint8 ``(h, w, 3)``.

    Large: image ``index``, its code, what the code gives back, what the attacker rebuilt. Below, for all images: the
    inputs, what the codes give back, the attacker's, and the attacker's of the cells ``beside``.
    """
    coder = view.coder
    groups = coder.images, view.decoded, coder.result.reconstructions, *(r.reconstructions for r in beside)
    large = [_pixels(groups[0][index]), activity(view, index), _pixels(groups[1][index]), _pixels(groups[2][index])]
    small, width = thumbnail(len(coder.images))
    canvas = np.full((PANEL + len(groups) * (GAP + small), width, 3), 255, np.uint8)
    for i, panel in enumerate(large):
        canvas[:PANEL, i * (PANEL + GAP) : i * (PANEL + GAP) + PANEL] = _enlarge(panel, PANEL)
    for row, images in enumerate(groups):
        top = PANEL + GAP + row * (small + GAP)
        for i, x in enumerate(images):
            shown = _enlarge(_pixels(x), small)
            if i == index:
                shown[:2] = shown[-2:] = shown[:, :2] = shown[:, -2:] = CHOSEN
            canvas[top : top + small, i * (small + 2) : i * (small + 2) + small] = shown
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
    own, all_of = _both(*coder.attacked, index, every)
    cells = [
        ("input", f"image {index + 1} of {count}", ""),
        (
            f"code of layer {coder.number} at {point(view.lam, view.time)}",
            f"{float(view.active[index]):.1%} of features active",
            f"{every}{float(view.active.mean()):.1%}; duality gap at most {float(view.gap.max()):.1%}",
        ),
        ("from the code alone", *_both(view.psnr, view.ssim, index, every)),
        (f"attacker, at {point(coder.result.experiment.strength, coder.time)}", own, all_of + accuracy(coder.result)),
    ]
    columns = "".join(
        f"<div><b>{head}</b><br>{first}<br><small>{second}</small></div>" for head, first, second in cells
    )
    style = f"display:grid;grid-template-columns:repeat(4,1fr);gap:{GAP}px;line-height:1.35"
    return f'<div class="sparseguard-numbers" style="{style}">{columns}</div>'


def _both(psnr: Tensor, ssim: Tensor, index: int, every: str) -> tuple[str, str]:
    own = f"PSNR {float(psnr[index]):.1f} dB, SSIM {float(ssim[index]):.2f}"
    return own, f"{every}{float(psnr.mean()):.1f} dB, {float(ssim.mean()):.2f}"
