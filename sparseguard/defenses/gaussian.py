"""Gaussian noise, the paper's GAUSSIAN-NOISE baseline (section 4).

"We draw random noises from the normal distribution N(0, 0.5) and inject them into an intermediate dense layer after
training": the target trains without noise; the deployed target adds it to the layer that leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.distributions import Normal

from ..checks import flag, positive
from ..data import Split
from ..scales import Scale
from ..targets import Target
from .base import Defense, Family
from .noise import AdditiveNoise


@dataclass(frozen=True)
class Gaussian(Defense):
    """Noise of standard deviation ``sigma`` on the leak, from deployment on.

    Args:
        sigma: of the noise; the paper uses 0.5.
        relative: in units of the leak's own standard deviation, which differs with front, width and setting.
    """

    family: ClassVar[Family] = "noise"
    strength: ClassVar[str] = "sigma"

    sigma: float = 0.5
    relative: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("sigma", self.sigma)
        flag("relative", self.relative)

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        super().train(target, split, scale)
        self.deploy(target)
        assert isinstance(target.noise, AdditiveNoise)
        target.noise.eval().measure(target, split.train_images)

    def deploy(self, target: Target) -> None:
        target.noise = AdditiveNoise(Normal(0.0, self.sigma), self.relative)
