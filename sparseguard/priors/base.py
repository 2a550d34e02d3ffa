"""What every prior is: latents that can be drawn, and images that they stand for."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Prior(nn.Module):
    """A generative model of images, its parameters frozen.

    A subclass says how latents are drawn and what image each stands for, differentiable in the latent.
    """

    rate: ClassVar[float]
    """Step size of Adam on its latents (``benchmarks/priors.py``)."""

    def draw(self, count: int, chance: torch.Generator) -> Tensor:
        """Random latents ``(count, D)``, on the prior's device."""
        raise NotImplementedError

    def forward(self, latent: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` in [0, 1] of latents ``(N, D)``."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, count: int, chance: torch.Generator) -> Tensor:
        """Random images ``(count, C, H, W)`` in [0, 1]."""
        images: Tensor = self(self.draw(count, chance))
        return images
