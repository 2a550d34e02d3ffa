"""What one λ does to the images of a result: their code, what the code gives back, what the attacker made of them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from .. import metrics
from ..experiment import Result
from ..sparse import SparseCoding2d, operators, positive

TOL, ITERATIONS = 1e-2, 500
"""Relative duality gap that a code is solved to, and the most steps taken for it; the gap reached is always shown."""
LAMS = (0.02, 2.0)
"""Range of the slider."""
PANEL, GAP = 168, 6
"""Side of a large panel, and the white between panels, in pixels."""
WHITE, CHOSEN = (255, 255, 255), (0, 114, 178)
"""Between panels, and the frame of the image shown large."""
VIRIDIS = (colormaps["viridis"](np.arange(256))[:, :3] * 255).astype(np.uint8)


def dictionaries(result: Result) -> list[Tensor]:
    """Trained dictionaries of a result's target, from the first layer on: ``(F, C, kh, kw)`` each."""
    names = sorted(name for name in result.exhibits if name.startswith("dictionary "))
    return [result.exhibits[name] for name in names]


class Coder:
    """Codes the images that a result keeps with one sparse layer of its trained target, and decodes the code.

    The second layer's input is the first one's code, computed as the deployed target computes it. The batch norm
    between them is replaced by zero mean and unit variance of each feature over these images: its trained scale and
    shift are not kept with a result.

    Args:
        result: of a sparse defense; the images are ``result.originals``, ``(N, C, H, W)``.
        layer: 1 or 2.

    Attributes:
        quick: steps that two cores take in well under 100 ms: a first answer, to start the next from.
        attacked: PSNR and SSIM of the attacker's images, ``(N,)`` each.
        strongest: largest drive Ψ that any feature gets from an image, ``(N,)``: no entry of a code is much larger.

    Raises:
        ValueError: the target has no such sparse layer.
    """

    def __init__(self, result: Result, layer: int = 1) -> None:
        learned = dictionaries(result)
        if not 1 <= layer <= min(len(learned), 2):
            allowed = " and ".join(str(i + 1) for i in range(min(len(learned), 2))) or "none"
            raise ValueError(f"layer must be one that {result.experiment.label} has and this shows ({allowed}), "
                             f"not {layer!r}.")  # fmt: skip
        self.result, self.images = result, result.originals
        self.first, self.layer = _with(learned[0]), _with(learned[layer - 1])
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        self.inputs = self.images
        if layer == 2:
            hidden = _deployed(result, learned[0])(self.images)
            self.mean = hidden.mean(dim=(0, 2, 3), keepdim=True)
            self.std = (hidden.var(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
            self.inputs = (hidden - self.mean) / self.std
        self.number = layer
        self.quick = max(5, min(30, 2500 // self.layer.dictionary[:, :, 0, 0].numel()))
        self.attacked = _quality(self.images, result.reconstructions)
        canvas = self.layer.canvas(self.inputs)
        drive = operators.analysis(canvas, self.layer.dictionary, self.layer.stride)
        self.strongest = drive.flatten(1).amax(1).clamp_min(1e-12)

    def code(self, lam: float, start: Tensor | None = None, steps: int = ITERATIONS) -> tuple[Tensor, Tensor]:
        """Code ``(N, F, H, W)`` at ``lam``, from a warm start if there is one, and its duality gap ``(N,)``."""
        self.layer.lam, self.layer.iterations = positive("lam", lam), steps
        with torch.no_grad():
            code: Tensor = self.layer(self.inputs, start=start)
        assert self.layer.last_gap is not None
        return code, self.layer.last_gap

    def decode(self, code: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` in [0, 1] from nothing but a code and the dictionaries.

        A code of a standardised image holds neither brightness nor contrast: those that fit the original best are
        given back to it, so this is what whoever guesses them would see.
        """
        with torch.no_grad():
            image = _crop(self.layer.reconstruct(code), self.layer)
            if self.number == 2:
                scale = self.inputs.std(dim=(1, 2, 3), keepdim=True)
                hidden = (image * scale + self.inputs.mean(dim=(1, 2, 3), keepdim=True)) * self.std + self.mean
                image = _crop(self.first.reconstruct(hidden.clamp_min(0)), self.first)
            return _fit(image, self.images).clamp(0, 1)


def _with(dictionary: Tensor) -> SparseCoding2d:
    features, channels, height, width = dictionary.shape
    layer = SparseCoding2d(channels, features, (height, width), solver="fista", tol=TOL)
    layer.dictionary.requires_grad_(False).copy_(dictionary)
    return layer


def _deployed(result: Result, dictionary: Tensor) -> SparseCoding2d:
    """The first sparse layer as the target of ``result`` has it."""
    defense = result.experiment.make_defense()
    layer = _with(dictionary)
    for name in ("tau", "iterations", "solver"):
        setattr(layer, name, getattr(defense, name))
    lam = result.experiment.lam
    layer.lam = float(lam[0] if isinstance(lam, tuple) else lam or 0.0)
    return layer.requires_grad_(False)


def _crop(canvas: Tensor, layer: SparseCoding2d) -> Tensor:
    rows, columns = (k // 2 for k in layer.kernel_size)
    return canvas[:, :, rows : canvas.shape[2] - rows, columns : canvas.shape[3] - columns]


def _fit(image: Tensor, original: Tensor) -> Tensor:
    """Least squares: the brightness and contrast of ``image``, one each, that bring it closest to ``original``."""
    mean = original.mean(dim=(1, 2, 3), keepdim=True)
    centred = image - image.mean(dim=(1, 2, 3), keepdim=True)
    power = centred.square().sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    return mean + centred * (centred * original).sum(dim=(1, 2, 3), keepdim=True) / power


def _quality(images: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    return metrics.psnr(images, others), metrics.ssim(images, others)


@dataclass(frozen=True)
class View:
    """Everything that the explorer shows at one λ.

    Attributes:
        lam: the λ coded with; dictionary and attacker are those of ``coder.result``, at the nearest computed λ.
        code: ``(N, F, H, W)``; ``gap`` ``(N,)`` is its relative duality gap, ``active`` ``(N,)`` the share of its
            entries that are not zero.
        decoded: images from the code, ``(N, C, H, W)`` in [0, 1], and their ``psnr`` and ``ssim``, ``(N,)``.
    """

    lam: float
    coder: Coder
    code: Tensor
    gap: Tensor
    active: Tensor
    decoded: Tensor
    psnr: Tensor
    ssim: Tensor


class Explorer:
    """The cells of one data set, setting and sparse defense that differ in λ, ready to be looked at between them too.

    Args:
        results: of any number of seeds; the first seed is shown. Each has one λ for all its layers.

    Attributes:
        cells: a result for each computed λ.
        layers: the sparse layers that can be looked at.

    Raises:
        ValueError: there is none with a sparse layer, or they mix data sets, settings, defenses or scales.

    Example:
        >>> from sparseguard import Experiment
        >>> cell = Experiment(defense="sparse_guard", scale="smoke").run(store=None, progress=False)
        >>> view = Explorer([cell]).view(0.3)
        >>> tuple(view.code.shape), view.coder.result.experiment.lam
        ((4, 4, 28, 28), 0.5)
    """

    def __init__(self, results: Sequence[Result]) -> None:
        seed = min((r.experiment.seed for r in results), default=0)
        cells = [r for r in results if r.experiment.seed == seed and dictionaries(r)]
        kinds = {(e.dataset, e.setting, e.defense, e.scale) for e in (r.experiment for r in cells)}
        if len(kinds) != 1:
            raise ValueError(f"the explorer shows one data set, setting, sparse defense and scale, not {len(kinds)}.")
        self.cells = {float(r.experiment.strength): r for r in cells}
        self.layers = range(1, min(len(dictionaries(cells[0])), 2) + 1)
        self._coders: dict[tuple[float, int], Coder] = {}

    def coder(self, lam: float, layer: int) -> Coder:
        """The coder of the computed λ that is nearest to ``lam``, by ratio."""
        key = min(self.cells, key=lambda computed: abs(math.log(computed / positive("lam", lam)))), layer
        if key not in self._coders:
            self._coders[key] = Coder(self.cells[key[0]], layer)
        return self._coders[key]

    def view(self, lam: float, layer: int = 1, start: View | None = None, quick: bool = False) -> View:
        """Code all images at ``lam``, a finite number > 0.

        Args:
            start: a view to start from: at a λ near to this one that saves most of the steps. A view of another layer
                or of another explorer is not used.
            quick: take only as many steps as a moving slider has time for.
        """
        coder = self.coder(lam, layer)
        ours = start is not None and start.coder.number == layer and start.coder in self._coders.values()
        warm = start.code if ours and start is not None else None
        code, gap = coder.code(lam, warm, coder.quick if quick else ITERATIONS)
        decoded = coder.decode(code)
        active = (code != 0).float().mean(dim=(1, 2, 3))
        return View(lam, coder, code, gap, active, decoded, *_quality(coder.images, decoded))

    def path(self, lams: Sequence[float], layer: int = 1) -> list[View]:
        """A view at each λ, in their order; computed from large to small, each started from the one before."""
        views: dict[float, View] = {}
        last: View | None = None
        for lam in sorted(set(lams), reverse=True):
            last = views[lam] = self.view(lam, layer, last)
        return [views[lam] for lam in lams]


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


def picture(view: View, index: int) -> np.ndarray:
    """The explorer's picture, uint8 ``(h, w, 3)``.

    Large: image ``index``, its code, what the code gives back, what the attacker rebuilt. Below, for all images: the
    inputs, what the codes give back, the attacker's.
    """
    coder = view.coder
    groups = coder.images, view.decoded, coder.result.reconstructions
    large = [_pixels(groups[0][index]), activity(view, index), _pixels(groups[1][index]), _pixels(groups[2][index])]
    width, count = 4 * PANEL + 3 * GAP, len(coder.images)
    small = min((width + 2) // max(count, 8) - 2, PANEL // 2)
    canvas = np.full((PANEL + 3 * (GAP + small), width, 3), 255, np.uint8)
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
        (f"attacker, at λ = {coder.result.experiment.strength:g}", *_both(*coder.attacked, index, every)),
    ]
    columns = "".join(
        f"<div><b>{head}</b><br>{first}<br><small>{second}</small></div>" for head, first, second in cells
    )
    style = f"display:grid;grid-template-columns:repeat(4,1fr);gap:{GAP}px;line-height:1.35"
    return f'<div class="sparseguard-numbers" style="{style}">{columns}</div>'


def _both(psnr: Tensor, ssim: Tensor, index: int, every: str) -> tuple[str, str]:
    own = f"PSNR {float(psnr[index]):.1f} dB, SSIM {float(ssim[index]):.2f}"
    return own, f"{every}{float(psnr.mean()):.1f} dB, {float(ssim.mean()):.2f}"
