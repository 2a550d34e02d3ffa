"""What one λ does to the images of a result: their code, what the code gives back, what the attacker made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import metrics
from ..checks import positive
from ..defenses.sparse import SparseDefense
from ..result import Result
from ..scales import check_scale
from ..sparse import SparseCoding2d, operators
from .compare import by_strength

TOL, ITERATIONS = 5e-3, 300
"""Relative duality gap that a code is solved to, and the most steps taken for it; the gap reached is always shown."""
QUICK_TOL = 1e-4
"""The same for a moving slider, so small that each move takes its steps: a code good to 1 % fits the next λ as well."""
PACE, STEPS = 70.0, (4, 30)
"""Milliseconds that an update should take, half of what a hand on a slider notices; fewest and most quick steps."""
LAMS = (0.02, 2.0)
"""Range of the slider."""


def dictionaries(result: Result) -> list[Tensor]:
    """Trained dictionaries of a result's target, from the first layer on: ``(F, C, kh, kw)`` each."""
    names = sorted(name for name in result.exhibits if name.startswith("dictionary "))
    return [result.exhibits[name] for name in names]


def sweeps(results: Sequence[Result]) -> dict[str, dict[float, list[Result]]]:
    """Sparse cells of one data set with one λ each, by defense (and further options) and λ, from small to large.

    Each holds its seeds. Other results are left out.

    Raises:
        ValueError: none is left.
    """
    found = by_strength([r for r in results if dictionaries(r)])
    if not found:
        raise ValueError("λ is swept by cells of a sparse defense; there is none among these results.")
    return found


class Coder:
    """Codes the images that a result keeps with one sparse layer of its trained target, and decodes the code.

    The code is what the deployed layer puts out: settled, or as far on the trajectory of eq. 2 as its ``tau`` lets it.
    The second layer's input is the first one's code, computed as the deployed target computes it. The batch norm
    between them is replaced by zero mean and unit variance of each feature over these images: its trained scale and
    shift are not kept with a result.

    Args:
        result: of a sparse defense; the images are ``result.originals``, ``(N, C, H, W)``.
        layer: 1 or 2.

    Attributes:
        quick: steps of a first answer, to start the next from; :meth:`pace` fits them to the machine.
        settles: codes are minimisers of eq. 1; a trajectory has no start to choose, and no fewer steps.
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
        self.first, self.layer = (_deployed(result, learned, number) for number in (1, layer))
        self.settles = self.layer.solver == "fista"
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        self.inputs = self.images
        if layer == 2:
            hidden = self.first(self.images)
            self.mean = hidden.mean(dim=(0, 2, 3), keepdim=True)
            self.std = (hidden.var(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
            self.inputs = (hidden - self.mean) / self.std
        self.number = layer
        self.quick = max(STEPS[0], min(STEPS[1] // 2, 1250 // self.layer.dictionary[:, :, 0, 0].numel()))
        self.attacked = _quality(self.images, result.reconstructions)
        canvas = self.layer.canvas(self.inputs)
        drive = operators.analysis(canvas, self.layer.dictionary, self.layer.stride)
        self.strongest = drive.flatten(1).amax(1).clamp_min(1e-12)

    def code(self, lam: float, start: Tensor | None = None, quick: bool = False) -> tuple[Tensor, Tensor]:
        """Code ``(N, F, H, W)`` at ``lam``, from a warm start if there is one, and its duality gap ``(N,)``."""
        self.layer.lam = positive("lam", lam)
        if not self.settles:
            code = self.layer(self.inputs)
            return code, self.layer.gap(self.inputs, code)
        self.layer.tol, self.layer.iterations = (QUICK_TOL, self.quick) if quick else (TOL, ITERATIONS)
        code = self.layer(self.inputs, start=start)
        assert self.layer.last_gap is not None
        return code, self.layer.last_gap

    def pace(self, milliseconds: float) -> None:
        """Take fewer or more quick steps after an update that took so long; no wilder than by half or a quarter."""
        wanted = round(self.quick * max(0.5, min(1.25, PACE / milliseconds)))
        self.quick = max(STEPS[0], min(STEPS[1], wanted))

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


def _deployed(result: Result, learned: Sequence[Tensor], number: int) -> SparseCoding2d:
    """A sparse layer as the target of ``result`` has it, from the trained dictionaries."""
    defense, dictionary = result.experiment.make_defense(), learned[number - 1]
    assert isinstance(defense, SparseDefense)
    features, channels = dictionary.shape[:2]
    lam = defense.lams(len(learned))[number - 1]
    layer = defense.sparse_layer(channels, features, lam, check_scale(result.experiment.scale))
    layer.dictionary.requires_grad_(False).copy_(dictionary)
    return layer


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
        results: of any number of seeds; the first seed of each λ is shown.

    Attributes:
        cells: a result for each computed λ.
        layers: the sparse layers that can be looked at.

    Raises:
        ValueError: none has a sparse layer, or they mix sparse defenses, data sets, settings or scales.

    Example:
        >>> from sparseguard import Experiment
        >>> cell = Experiment(defense="sparse_guard", scale="smoke").run(store=None, progress=False)
        >>> view = Explorer([cell]).view(0.3)
        >>> tuple(view.code.shape), view.coder.result.experiment.lam
        ((4, 4, 28, 28), 0.5)
    """

    def __init__(self, results: Sequence[Result]) -> None:
        kinds = {(e.dataset, e.setting, e.scale) for e in (r.experiment for r in results)}
        swept = sweeps(results)
        if len(swept) != 1 or len(kinds) != 1:
            raise ValueError(f"the explorer shows one sparse defense, data set, setting and scale, not "
                             f"{', '.join(swept)} of {len(kinds)}.")  # fmt: skip
        of = next(iter(swept.values()))
        self.cells = {lam: min(group, key=lambda r: r.experiment.seed) for lam, group in of.items()}
        cells = list(self.cells.values())
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
        code, gap = coder.code(lam, warm, quick)
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
