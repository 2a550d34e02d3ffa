"""Muon for whole networks: momentum made orthogonal, one weight matrix at a time (Jordan et al., 2024).

Small decoders of hidden layers are badly conditioned, and Adam takes two to four times as many updates to the same
error (``benchmarks/attackers.py --optimizers``). What torch offers knows matrices alone, takes them one by one and in
bfloat16, which most processors have to emulate: half of a mixer's training was spent there. Here a convolution's weight
is a matrix too, a row an output channel, matrices of one shape are made orthogonal together, and biases are left to
Adam.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

BETAS = 0.9, 0.95
"""Of Adam."""
MOMENTUM = 0.95
QUINTIC, STEPS = (3.4445, -4.7750, 2.0315), 5
"""Jordan et al.'s polynomial, which brings every singular value near 1 in so many steps, and not quite to it."""


def orthogonal(matrices: Tensor) -> Tensor:
    """``(K, m, n)``, each with its singular values brought to between 0.7 and 1.2 by Newton-Schulz steps.

    >>> torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([5.0, 1.0, 0.2])).expand(1, 3, 3))).round(decimals=1)
    tensor([[1.0000, 0.8000, 0.7000]])
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon:
    """One learning rate, that of an Adam with steps of the same size (Liu et al., 2025), for all parameters.

    Args:
        network: whose parameters stay where they are from now on.
        rate: learning rate.
        weight_decay: how fast weights, not biases, shrink, in units of the learning rate.
    """

    def __init__(self, network: nn.Module, rate: float, weight_decay: float = 0.0) -> None:
        self._weight_decay = weight_decay
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self._alike: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for parameter in self.parameters:
            if parameter.ndim > 1:
                self._alike[len(parameter), parameter[0].numel()].append(parameter)
        self._momenta = {
            shape: torch.zeros(len(alike), *shape, device=alike[0].device) for shape, alike in self._alike.items()
        }
        others = [p for p in self.parameters if p.ndim < 2]
        self._adam = torch.optim.Adam(others, lr=rate, betas=BETAS, fused=True) if others else None

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        return {"momenta": [*self._momenta.values()], "adam": self._adam.state_dict() if self._adam else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember that again."""
        self._momenta = dict(zip(self._momenta, state["momenta"], strict=True))
        if self._adam:
            self._adam.load_state_dict(state["adam"])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the parameters along their gradients."""
        for shape, parameters in self._alike.items():
            gradients = torch.stack([p.grad.flatten(1) for p in parameters if p.grad is not None])
            momentum = self._momenta[shape] = torch.lerp(self._momenta[shape], gradients, 1 - MOMENTUM)
            size = 0.2 * max(shape) ** 0.5 * rate  # steps as long as Adam's
            for parameter, change in zip(parameters, orthogonal(gradients.lerp(momentum, MOMENTUM)), strict=True):
                parameter.mul_(1 - rate * self._weight_decay).sub_(change.reshape(parameter.shape), alpha=size)
        if self._adam is not None:
            self._adam.param_groups[0]["lr"] = rate
            self._adam.step()
