"""Laplace noise on the leak: Titcombe et al. (2021), the paper's LAPLACE-NOISE baseline (section 4, Tables 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.distributions import Laplace as LaplaceDistribution

from ..checks import positive
from ..data import Split
from ..scales import Scale
from ..targets import Target
from .base import Defense, fit
from .noise import AdditiveNoise

LONGEST_GRADIENT = 5.0
"""Longer ones are shortened: behind convolutions, end to end, training with noise diverges without it."""


@dataclass(frozen=True)
class Laplace(Defense):
    """Noise of scale ``b`` on the leak, while the target trains and after; the paper uses 0.5 and 1.0."""

    strength: ClassVar[str] = "b"
    revision: ClassVar[int] = 1

    b: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("b", self.b)

    def build(self, split: Split, setting: str, scale: Scale) -> Target:
        target = super().build(split, setting, scale)
        target.noise = AdditiveNoise(LaplaceDistribution(0.0, self.b))
        return target

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        fit(target, split.train_images, split.train_labels, scale, longest_gradient=LONGEST_GRADIENT)
