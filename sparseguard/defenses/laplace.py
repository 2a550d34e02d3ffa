"""Laplace noise on the leak: Titcombe et al. (2021), the paper's LAPLACE-NOISE baseline (section 4, Tables 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.distributions import Laplace as LaplaceDistribution

from ..checks import flag, positive
from ..data import Split
from ..scales import Scale
from ..targets import Target
from .base import Defense, Family, fit
from .noise import AdditiveNoise

LONGEST_GRADIENT = 5.0
"""Longer ones are shortened: behind convolutions, end to end, training with noise diverges without it."""


@dataclass(frozen=True)
class Laplace(Defense):
    """Noise of scale ``b`` on the leak, while the target trains and after.

    Args:
        b: of the noise, whose standard deviation is ``2 ** 0.5 * b``; the paper uses 0.5 and 1.0.
        relative: in units of the leak's own standard deviation, which differs with front, width and setting.
    """

    family: ClassVar[Family] = "noise"
    strength: ClassVar[str] = "b"
    revision: ClassVar[int] = 1

    b: float = 0.5
    relative: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("b", self.b)
        flag("relative", self.relative)

    def build(self, split: Split, setting: str, scale: Scale) -> Target:
        target = super().build(split, setting, scale)
        target.noise = AdditiveNoise(LaplaceDistribution(0.0, self.b), self.relative)
        return target

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        fit(target, split.train_images, split.train_labels, scale, longest_gradient=LONGEST_GRADIENT)
        assert isinstance(target.noise, AdditiveNoise)
        target.noise.measure(target, split.train_images)
