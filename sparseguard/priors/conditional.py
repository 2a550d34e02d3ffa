"""The GAN of :mod:`.gan` as a prior: a latent is ``z`` beside the embedding of a label, and both are searched."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Prior
from .gan import Generator


class Conditional(Prior):
    """A conditional generator; drawn latents have its labels in equal shares.

    Args:
        generator: its weights stay as they are.
    """

    rate: ClassVar[float] = 0.05

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator.eval().requires_grad_(False)

    @torch.no_grad()
    def draw(self, count: int, chance: torch.Generator) -> Tensor:
        labels = torch.arange(count, device=self.generator.last.weight.device) % self.generator.classes
        return self.generator.latent(labels, chance)

    def forward(self, latent: Tensor) -> Tensor:
        images: Tensor = self.generator(latent)
        return images
