"""Gaussian noise, the paper's GAUSSIAN-NOISE baseline (section 4).

"We draw random noises from the normal distribution N(0, 0.5) and inject them into an intermediate dense layer after
training": the target trains without noise; the deployed target adds it to the layer that leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.distributions import Normal

from ..checks import positive
from ..data import Split
from ..scales import Scale
from ..targets import Target
from .base import Defense
from .noise import AdditiveNoise


@dataclass(frozen=True)
class Gaussian(Defense):
    """Noise of standard deviation ``sigma`` on the leak, from deployment on."""

    strength: ClassVar[str] = "sigma"

    sigma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("sigma", self.sigma)

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        super().train(target, split, scale)
        target.noise = AdditiveNoise(Normal(0.0, self.sigma))
