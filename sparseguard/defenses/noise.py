"""Additive noise on the leak, shared by the noise defenses."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution


class AdditiveNoise(nn.Module):
    """Adds a fresh draw to every entry, in training mode and in inference mode alike."""

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self.distribution = distribution

    def forward(self, x: Tensor) -> Tensor:
        noise: Tensor = self.distribution.sample(x.shape)
        return x + noise.to(x)
