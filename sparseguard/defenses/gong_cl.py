"""Gong et al. (2023) with continual learning for accuracy, the paper's "++" version.

Paper, section 4: "a '++' version that adds extra Continual Learning accuracy optimizations". Which method those are is
not public; here it is elastic weight consolidation (Kirkpatrick et al., 2017, equation 3). While the target is tuned
on fakes (:mod:`.gong`), it is held to what it learned from private images alone: with ``a`` the parameters after the
plainly trained target and ``F`` the diagonal of their Fisher information, the loss is that of ``gong`` plus

    consolidation / 2 * sum_i F_i * (theta_i - a_i)^2

Simplifications: the Fisher information is estimated on some of the private images, one label drawn for each from the
model's own prediction. An entry at which a step would overshoot, ``learning rate * consolidation * F_i > 1``, is cut
there: no penalty can hold a weight tighter. At ``weight`` 0 there is nothing to hold the target against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..scales import Scale
from ..targets import Target
from .base import nonnegative, trained
from .gong import Gong
from .shared import derived_seed


@dataclass(frozen=True)
class GongCL(Gong):
    """``gong``, and weights that matter for private images are held.

    Args:
        consolidation: weight of the elastic penalty; 0 is ``gong``.
    """

    sizes: ClassVar[tuple[str, ...]] = (*Gong.sizes, "fisher_images")

    consolidation: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        nonnegative("consolidation", self.consolidation)

    def guard(self, target: Target, images: Tensor, scale: Scale, device: torch.device) -> Callable[[], Tensor | float]:
        chance = torch.Generator().manual_seed(derived_seed("consolidation"))
        chosen = torch.randperm(len(images), generator=chance)[: scale.fisher_images]
        largest = 1 / max(scale.learning_rate * self.consolidation, 1e-12)
        information = [f.clamp(max=largest) for f in fisher(target, images[chosen].to(device), chance)]
        anchor = [parameter.detach().clone() for parameter in trained(target)]
        return lambda: self.consolidation / 2 * moved(target, anchor, information)


def fisher(model: nn.Module, images: Tensor, chance: torch.Generator) -> list[Tensor]:
    """Diagonal of the Fisher information of each trained parameter, in the parameters' shapes.

    The mean over ``images`` ``(N, C, H, W)`` of the squared gradient of the log-probability of a label drawn from the
    model's prediction with ``chance``, a generator on the CPU. The model is asked in inference mode, left in its own.
    """
    was_training = model.training
    model.eval()
    total = [torch.zeros_like(parameter) for parameter in trained(model)]
    for image in images.split(1):
        logs = F.log_softmax(model(image)[0], dim=0)
        label = int(torch.multinomial(logs.detach().exp().cpu(), 1, generator=chance))
        for sum_, gradient in zip(total, torch.autograd.grad(logs[label], trained(model))):
            sum_.add_(gradient.square(), alpha=1 / len(images))
    model.train(was_training)
    return total


def moved(model: nn.Module, anchor: list[Tensor], information: list[Tensor]) -> Tensor:
    """Squared distance of the trained parameters from ``anchor``, each weighted by its information; a scalar."""
    parts = [
        (weight * (parameter - origin).square()).sum()
        for parameter, origin, weight in zip(trained(model), anchor, information)
    ]
    return torch.stack(parts).sum()
