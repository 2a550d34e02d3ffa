"""Whitened principal components: the floor of what a prior can be."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Prior

COMPONENTS = 64
"""At most."""


class PCA(Prior):
    """The mean image and the leading principal components, each as wide as it varies among the images.

    Latents are standard normal, of as many entries as there are components.

    Example:
        >>> PCA.of(torch.rand(100, 1, 12, 12)).sample(2, torch.Generator()).shape
        torch.Size([2, 1, 12, 12])
    """

    rate: ClassVar[float] = 0.05
    mean: Tensor
    components: Tensor

    def __init__(self, mean: Tensor, components: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)

    @classmethod
    def of(cls, images: Tensor) -> PCA:
        """That of images ``(N, C, H, W)``."""
        mean = images.mean(0)
        flat = (images - mean).flatten(1)
        _, values, axes = torch.linalg.svd(flat, full_matrices=False)
        kept = min(COMPONENTS, len(images) - 1, flat.shape[1])
        return cls(mean, axes[:kept] * (values[:kept, None] / (len(images) - 1) ** 0.5))

    def draw(self, count: int, chance: torch.Generator) -> Tensor:
        return torch.randn(count, len(self.components), generator=chance, device=self.mean.device)

    def forward(self, latent: Tensor) -> Tensor:
        images: Tensor = self.mean + (latent @ self.components).unflatten(1, self.mean.shape)
        return images.clamp(0, 1)
