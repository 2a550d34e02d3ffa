"""Mutual information regularisation: Wang, Zhang and Jia (AAAI 2021), the paper's MI-REG baseline (C.0.3).

Their objective is the task's loss plus ``beta * I(X; Z)``: the network is told to depend on its input no more than the
task needs. As they do, the mutual information is bounded from above by a variational information bottleneck (Alemi et
al. 2017): what leaves the bottleneck is a draw ``z ~ q(z|x) = N(mu(x), sigma(x)^2)``, and

    loss = cross-entropy + beta * mean over images of KL(q(z|x) || N(0, I)),

with ``z = mu + sigma * eps``, so that gradients pass the draw. Theirs is before the last layer, whose output is all
that their attacker sees; here, where hidden layers leak, it is at the leak unless told otherwise (end to end that is
the same place). Simplifications: ``mu`` is what the layer before the bottleneck puts out, and only ``sigma`` has a
layer of its own. The released code of the paper adds the divergence of pooled logits instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import one_of
from ..data import Split
from ..scales import Scale
from ..targets import Target
from .base import Defense, Family, fit, nonnegative

FIRST_SIGMA = 0.02
"""Standard deviation of the draw in an untrained target: with ``beta=0`` hardly any noise."""
SMALLEST_SIGMA = 1e-6
LONGEST_GRADIENT = 5.0
"""Only a strong beta meets it; without it, such a target diverges in its first steps."""


class GaussianBottleneck(nn.Module):
    """``(N, F, H', width)`` in, a draw from ``N(x, sigma(x)^2)`` of the same shape out, in every mode.

    ``sigma`` depends on the last axis, as the dense layers do.

    Attributes:
        divergence: of the last batch, ``KL(q(z|x) || N(0, I))`` in nats, mean over its images.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Linear(width, width)
        nn.init.zeros_(self.spread.weight)
        nn.init.constant_(self.spread.bias, math.log(math.expm1(FIRST_SIGMA)))
        self.divergence = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        sigma = F.softplus(self.spread(x)) + SMALLEST_SIGMA  # not exp, which overshoots without bound
        self.divergence = (0.5 * (x.square() + sigma.square() - 1) - sigma.log()).sum() / max(len(x), 1)
        drawn: Tensor = x + sigma * torch.randn_like(x)
        return drawn


@dataclass(frozen=True)
class MutualInformation(Defense):
    """A Gaussian information bottleneck, whose noise is part of the deployed model.

    Args:
        beta: weight of the divergence, per nat and image; 0: no pressure, and hardly any noise.
        before: ``"head"``: at the leak; ``"classifier"``: before the last layer, as in its paper, so that in the split
            setting the leak is what comes before.
    """

    family: ClassVar[Family] = "training"
    strength: ClassVar[str] = "beta"

    beta: float = 1e-3
    before: Literal["head", "classifier"] = "head"

    def __post_init__(self) -> None:
        super().__post_init__()
        nonnegative("beta", self.beta)
        one_of("before", self.before, ("head", "classifier"))

    def build(self, split: Split, setting: str, scale: Scale) -> Target:
        target = super().build(split, setting, scale)
        bottleneck = GaussianBottleneck(scale.width)
        *others, classifier = target.head
        if self.before == "head" or len(others) == 1:  # of a head that only flattens and classifies
            target.noise = bottleneck
        else:
            target.head = nn.Sequential(*others, bottleneck, classifier)
        return target

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        bottleneck = next(module for module in target.modules() if isinstance(module, GaussianBottleneck))
        images, labels = split.train_images, split.train_labels

        def penalty(epoch: int) -> Tensor:
            return self.beta * bottleneck.divergence

        fit(target, images, labels, scale, penalty=penalty, longest_gradient=LONGEST_GRADIENT)
        target.facts["KL (nats)"] = divergence(target, bottleneck, split.held_images)


@torch.no_grad()
def divergence(target: Target, bottleneck: GaussianBottleneck, images: Tensor, batch_size: int = 250) -> float:
    """The bound on the information that passes the bottleneck: mean over images, in nats."""
    device, total = next(target.parameters()).device, 0.0
    for part in images.split(batch_size):
        target(part.to(device))
        total += float(bottleneck.divergence) * len(part)
    return total / len(images)
