"""Additive noise on the leak, shared by the noise defenses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..targets import Target


class AdditiveNoise(nn.Module):
    """Adds a fresh draw to every entry, in training mode and in inference mode alike.

    Args:
        distribution: of the noise, with mean 0.
        relative: the noise is in units of the leak's standard deviation: in training that of the batch, which no
            network escapes by scaling its leak up; deployed that of :meth:`measure`.
    """

    def __init__(self, distribution: Distribution, relative: bool = False) -> None:
        super().__init__()
        self.distribution, self.relative = distribution, relative
        self.unit = 1.0

    def forward(self, x: Tensor) -> Tensor:
        unit = x.detach().std() if self.relative and self.training else self.unit
        noise: Tensor = self.distribution.sample(x.shape)
        return x + unit * noise.to(x)

    def get_extra_state(self) -> Tensor:
        """The unit, beside the weights of the target."""
        return torch.tensor(self.unit, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """The unit again."""
        self.unit = float(state)

    @torch.no_grad()
    def measure(self, target: Target, images: Tensor, most: int = 1000) -> None:
        """Take the standard deviation of the target's leak, without noise, on images ``(N, C, H, W)`` as the unit.

        The standard deviation of the noise then stands in the target's facts. Without ``relative`` the unit stays 1.
        """
        if self.relative:
            device = next(target.parameters()).device
            parts = [target.body(target.front(part.to(device))) for part in images[:most].split(250)]
            self.unit = float(torch.cat(parts).std())
            target.facts["std of the noise"] = float(self.distribution.stddev) * self.unit
