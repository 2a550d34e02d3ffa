"""Regularised maximum likelihood: a decoder's image, made to leak what was seen.

He, Zhang and Lee ("Model inversion attacks against collaborative inference", ACSAC 2019, section 4.1) descend the
distance between the leak that was seen and the leak of an image, plus the image's total variation, through the target's
own gradient. Here the descent starts from the image that the best decoder of :mod:`.inversion` made of the leak.
Hold-out images choose how it goes and how far: it ends when a doubling of its steps gains less than 0.1 dB, or at the
scale's most steps. Where it does not pay, the decoder's image is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..access import Access, BlackBox, Leaky, WhiteBox
from ..checks import whole
from ..scales import Scale
from .base import Fitted, Holdout, passes
from .inversion import Inversion
from .race import PAYS, decibels

SETTLING = 32
"""Steps before which no descent is judged: the first ones may lead astray."""
CHOOSING, CHECKING = 64, 256
"""Validation images, at most, that choose among these, and that have to be rebuilt better by the choice."""
PART = 64
"""Images that descend together."""


@dataclass(frozen=True)
class Refinement(Inversion):
    """Train the family of decoders, then descend from what the best one makes of a leak.

    Args:
        steps: most steps of the descent, ``None``: the scale's. Each costs a pass forward and one backward through the
            target: at scale quick about 0.5 ms an image through convolutions, 2 ms through two settled sparse layers.
        draws: passes that estimate the mean leak of an image, where the target's noise makes it random.

    Example:
        >>> fitted = Refinement().fit(box, Holdout(attack_images, held_images), scale)        # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                          # doctest: +SKIP
    """

    access: ClassVar[Access] = "white_box"
    printed_as: ClassVar[str | None] = None
    revision: ClassVar[int] = 3
    sizes: ClassVar[tuple[str, ...]] = (*Inversion.sizes, "descent")

    name: ClassVar[str] = "refinement"
    """In the record."""
    rates: ClassVar[tuple[float, ...]] = (0.005, 0.02, 0.05)
    """Step sizes of Adam on pixels in [0, 1] that are tried, with the first weight and with the best one."""
    weights: ClassVar[tuple[float, ...]] = (0.02, 0.0, 0.2, 1.0)
    """Of the total variation against the leak's distance over its variance; tried with the best step size."""
    steady: ClassVar[float] = math.inf
    """Steps after which the step size falls, with the square root of their number."""
    pause: ClassVar[int] = 1
    """Steps from one look at the validation images to the next."""

    steps: int | None = None
    draws: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("draws", self.draws)
        if self.steps is not None:
            whole("steps", self.steps)

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        if not isinstance(box, WhiteBox):
            raise ValueError(f"{self.name} needs a white box: it descends through the target.")
        start = super().fit(box, holdout, scale, device)
        truth = holdout.validation[:CHECKING]
        leak = self.observe(box, truth)
        model = self.passable(box.model.to(device))
        draws = passes(model.leak, truth[:2].to(device), self.draws)
        likelihood = Likelihood(model, max(float(leak.var()), 1e-12), draws)
        finish = self.finishing(box.model, holdout, scale, device)

        def refined(leak: Tensor, rate: float, weight: float, steps: int) -> Iterator[Tensor]:
            begin = start.reconstruct(leak).to(device)
            return likelihood.descend(begin, leak.to(device), rate, weight, steps, self.steady)

        few_leaks, few, most = leak[:CHOOSING], truth[:CHOOSING].to(device), self.steps or scale.descent
        ends = {most, *(most >> k for k in range(most.bit_length()) if most >> k >= SETTLING)}
        tried: dict[tuple[float, float, int], float] = {}
        gains: dict[tuple[float, float], float] = {}
        first = mean_square(start.reconstruct(few_leaks), few)

        def attempt(rate: float, weight: float) -> None:
            lowest = before = first
            for step, image in enumerate(refined(few_leaks, rate, weight, most), start=1):
                if step % self.pause and step not in ends:
                    continue
                tried[rate, weight, step] = mean_square(finish.reconstruct(image), few)
                lowest = min(lowest, tried[rate, weight, step])
                if step in ends:
                    gains[rate, weight] = decibels(lowest) - decibels(before)
                    if gains[rate, weight] < PAYS:
                        break
                    before = lowest

        def best() -> tuple[float, float, int]:
            return min(tried, key=lambda choice: tried[choice])

        for rate in self.rates:
            attempt(rate, self.weights[0])
        rate = best()[0]
        for weight in self.weights[1:]:
            attempt(rate, weight)
        weight = best()[1]
        for rate in self.rates:
            if (rate, weight) not in gains:
                attempt(rate, weight)
        rate, weight, steps = best()

        def reconstruct(leak: Tensor) -> Tensor:
            parts = []
            for part in leak.split(PART):
                *_, image = refined(part, rate, weight, steps)
                parts.append(finish.reconstruct(image).to(leak.device))
            return torch.cat(parts)

        begin, error = mean_square(start.reconstruct(leak), truth), mean_square(reconstruct(leak), truth)
        details: dict[str, Any] = start.details | finish.details
        details["errors"] = dict(details["errors"]) | {self.name: error}
        if decibels(error) < decibels(begin) + PAYS:
            return Fitted(start.reconstruct, details | {"steps": 0, "rate": None, "weight": None})
        name, gain = f"{self.name} of {details['attacker']}", gains[rate, weight]
        return Fitted(reconstruct, details | {
            "attacker": name,
            "gains": details["gains"] | {name: gain},
            "capped": gain >= PAYS,
            "steps": steps, "rate": rate, "weight": weight,
        })  # fmt: skip

    def passable(self, model: Leaky) -> Leaky:
        """What is descended through, made of the attacker's copy of the target."""
        return model

    def finishing(self, model: Leaky, holdout: Holdout, scale: Scale, device: str) -> Fitted:
        """What is made of images ``(N, C, H, W)`` at the end of a descent."""
        return Fitted(lambda image: image)


@dataclass(frozen=True)
class Likelihood:
    """How badly images explain leaks.

    Args:
        model: differentiable in its input.
        variance: of the leaks.
        draws: passes that estimate the mean leak of an image.
    """

    model: Leaky
    variance: float
    draws: int

    def loss(self, image: Tensor, leak: Tensor, weight: float) -> Tensor:
        """Distance of leaks and total variation, each a mean over elements, summed over images."""
        mean = torch.stack([self.model.leak(image) for _ in range(self.draws)]).mean(0)
        distance = (mean - leak).square().flatten(1).mean(1) / self.variance
        across, down = image.diff(dim=3).abs(), image.diff(dim=2).abs()
        variation = across.flatten(1).mean(1) + down.flatten(1).mean(1)
        return (distance + weight * variation).sum()

    def descend(
        self, start: Tensor, leak: Tensor, rate: float, weight: float, steps: int, steady: float = math.inf
    ) -> Iterator[Tensor]:
        """The images ``(N, C, H, W)`` after each step."""
        image = start.clone().requires_grad_()
        adam = torch.optim.Adam([image], lr=rate)
        for step in range(steps):
            adam.param_groups[0]["lr"] = rate / math.sqrt(max(1.0, (step + 1) / steady))
            with torch.enable_grad():
                (image.grad,) = torch.autograd.grad(self.loss(image, leak, weight), [image])
            adam.step()
            with torch.no_grad():
                image.clamp_(0, 1)
            yield image.detach().clone()


def mean_square(image: Tensor, truth: Tensor) -> float:
    """Error."""
    return float((image - truth.to(image)).square().mean())
