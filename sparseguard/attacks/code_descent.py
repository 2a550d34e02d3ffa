"""Descent through sparse layers whose gradient does not end at silent neurons, and a decoder of the code it arrives at.

The gradient of a settled code is that of its active neurons alone: a descent through it (:mod:`.refinement`) never
learns that a silent neuron should speak. As Athalye, Carlini and Wagner ("Obfuscated gradients give a false sense of
security", ICML 2018, section 4.1) do with gradients that a defense hides, the way forward is left as it is and the way
back is another one: a neuron passes gradients the more, the nearer it is to its threshold.

The image at which any descent arrives explains the leak, but holds besides whatever the first layer does not look at.
So what this layer makes of it is decoded, by the family of decoders that learned on hold-out images: after a sparse
layer, its code. A target without a front is refined alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..access import BlackBox, Leaky
from ..checks import positive
from ..scales import Scale
from ..sparse import SparseCoding2d
from ..sparse.filterbank import FilterBank
from ..sparse.minimum import conjugate_gradients
from .base import Fitted, Holdout
from .inversion import Inversion
from .refinement import Refinement

ACCURACY, STEPS = 0.1, 10
"""Of the linear systems of a gradient: with 3 steps a descent through two layers loses its way."""


@dataclass(frozen=True)
class CodeDescent(Refinement):
    """Train the family of decoders, descend from what the best one makes of a leak, decode the code that is found.

    Args:
        softness: how far from its threshold, in units of the code, a neuron still passes gradients.

    Example:
        >>> fitted = CodeDescent().fit(box, Holdout(attack_images, held_images), scale)       # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                          # doctest: +SKIP
    """

    revision: ClassVar[int] = 0
    name: ClassVar[str] = "code descent"
    rates: ClassVar[tuple[float, ...]] = (0.01, 0.02, 0.05)
    weights: ClassVar[tuple[float, ...]] = (0.0, 0.02)
    steady: ClassVar[float] = 32.0
    pause: ClassVar[int] = 16

    softness: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("softness", self.softness)

    def passable(self, model: Leaky) -> Leaky:
        model = copy.deepcopy(model)
        for name, layer in list(model.named_modules()):
            if isinstance(layer, SparseCoding2d) and layer.solver == "fista":  # others: along the steps they take
                model.set_submodule(name, Passing(layer, self.softness))
        return model

    def finishing(self, model: Leaky, holdout: Holdout, scale: Scale, device: str) -> Fitted:
        first = Until(beginning(model.stages()[0]))
        if not first.layers:
            return super().finishing(model, holdout, scale, device)
        options: dict[str, Any] = {"bent": self.bent, "decoders": self.decoders, "updates": self.updates}
        decoder = Inversion(**options).fit(BlackBox(first), holdout, scale, device)

        @torch.no_grad()
        def decoded(image: Tensor) -> Tensor:
            return decoder.reconstruct(first.leak(image))

        return Fitted(decoded, {"code": {name: decoder.details[name] for name in ("attacker", "errors")}})


def beginning(front: list[nn.Module]) -> list[nn.Module]:
    """The layers up to the first one that has weights, this one included; none, if none has."""
    weighted = [i for i, layer in enumerate(front, start=1) if any(True for _ in layer.parameters())]
    return front[: min(weighted, default=0)]


class Until(Leaky):
    """Leaks what leaves the first layers of a target."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def leak(self, x: Tensor) -> Tensor:
        code: Tensor = self.layers(x)
        return code


class Passing(nn.Module):
    """A sparse layer that codes as it does, and whose gradient passes neurons near their threshold."""

    def __init__(self, layer: SparseCoding2d, softness: float) -> None:
        super().__init__()
        self.layer, self.softness = layer, softness

    def forward(self, x: Tensor) -> Tensor:
        layer, canvas = self.layer, self.layer.canvas(x)
        with torch.no_grad():
            coded = layer(x)
        code: Tensor = SoftMinimum.apply(canvas, coded, layer, self.softness)
        return code


class SoftMinimum(torch.autograd.Function):
    """A code as it is, with the implicit derivative that it would have under a soft threshold.

    A neuron whose drive is ``d`` above its threshold passes ``s = sigmoid(d / softness)`` of it. Then
    ``da = s (D^T dx - (D^T D - 1) da)``, which is symmetric in ``sqrt(s)``: with ``s`` of 0 and 1 alone it is the
    derivative of the minimum on its active neurons.
    """

    @staticmethod
    def forward(ctx: Any, canvas: Tensor, code: Tensor, layer: SparseCoding2d, softness: float) -> Tensor:
        bank = FilterBank(layer.dictionary, layer.stride, (canvas.shape[2], canvas.shape[3]))
        drive = code + bank.analysis(canvas - bank.synthesis(code)) - layer.lam
        ctx.bank = bank
        ctx.save_for_backward(torch.sigmoid(drive / softness).sqrt())
        return code.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (root,) = ctx.saved_tensors

        def curve(direction: Tensor) -> Tensor:
            passed = root * direction
            bent: Tensor = direction + root * (ctx.bank.analysis(ctx.bank.synthesis(passed)) - passed)
            return bent

        solution = root * conjugate_gradients(curve, root * gradient, ACCURACY, STEPS)
        return ctx.bank.synthesis(solution), None, None, None
