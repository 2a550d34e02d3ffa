"""One sparse layer of a trained target at any λ and time: the codes of the images kept, and what they give back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import metrics
from ..checks import positive
from ..defenses.sparse import SparseDefense
from ..result import Result
from ..scales import check_scale
from ..sparse import SparseCoding2d, operators
from ..sparse.layer import Solver

TOL, ITERATIONS = 5e-3, 300
"""Relative duality gap that a code is solved to, and the most steps taken for it; the gap reached is always shown."""
QUICK_TOL = 1e-4
"""The same for a moving slider, so small that each move takes its steps: a code good to 1 % fits the next λ as well."""
PACE, STEPS = 70.0, (4, 30)
"""Milliseconds that an update should take, half of what a hand on a slider notices; fewest and most quick steps."""


def dictionaries(result: Result) -> list[Tensor]:
    """Trained dictionaries of a result's target, from the first layer on: ``(F, C, kh, kw)`` each."""
    names = sorted(name for name in result.exhibits if name.startswith("dictionary "))
    return [result.exhibits[name] for name in names]


class Coder:
    """Codes the images that a result keeps with one sparse layer of its trained target, and decodes the code.

    A code is settled, or as far on the trajectory of eq. 2 as it is let. The second layer's input is the first one's
    code, computed as the deployed target computes it. The batch norm between them is replaced by zero mean and unit
    variance of each feature over these images: its trained scale and shift are not kept with a result.

    Args:
        result: of a sparse defense; the images are ``result.originals``, ``(N, C, H, W)``.
        layer: 1 or 2.

    Attributes:
        quick: steps of a first answer, to start the next from; :meth:`pace` fits them to the machine.
        time: time constants for which the deployed layer follows eq. 2; infinite if its codes settle.
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
        self.time = result.experiment.make_defense().time
        solver: Solver = "lca" if self.layer.solver == "fista" else self.layer.solver
        self._followed = solver, self.layer.iterations, self.layer.tol
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        self.inputs = self.images
        if layer == 2:
            hidden = self.first(self.images)
            self.mean = hidden.mean(dim=(0, 2, 3), keepdim=True)
            self.std = (hidden.var(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
            self.inputs = (hidden - self.mean) / self.std
        self.number = layer
        self.quick = max(STEPS[0], min(STEPS[1] // 2, 1250 // self.layer.dictionary[:, :, 0, 0].numel()))
        self.attacked = quality(self.images, result.reconstructions)
        canvas = self.layer.canvas(self.inputs)
        drive = operators.analysis(canvas, self.layer.dictionary, self.layer.stride)
        self.strongest = drive.flatten(1).amax(1).clamp_min(1e-12)

    @torch.no_grad()
    def code(
        self, lam: float, time: float | None = None, start: Tensor | None = None, quick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Code ``(N, F, H, W)`` at ``lam`` after ``time``, by default the deployed one, and its duality gap ``(N,)``.

        A settled code may be found from a warm start, and in fewer steps; a trajectory has no start to choose.
        """
        layer, time = self.layer, self.time if time is None else time
        layer.lam = positive("lam", lam)
        if math.isinf(time):
            layer.solver = "fista"
            layer.tol, layer.iterations = (QUICK_TOL, self.quick) if quick else (TOL, ITERATIONS)
            code = layer(self.inputs, start=start)
            assert layer.last_gap is not None
            return code, layer.last_gap
        layer.solver, layer.iterations, layer.tol = self._followed
        layer.tau = layer.iterations / positive("time", time)
        code = layer(self.inputs)
        return code, layer.gap(self.inputs, code)

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


def quality(images: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR and SSIM, ``(N,)`` each."""
    return metrics.psnr(images, others), metrics.ssim(images, others)
