"""Muon for whole networks: momentum made orthogonal, one weight matrix at a time (Jordan et al., 2024).

Small decoders of hidden layers are badly conditioned, and Adam takes two to four times as many updates to the same
error (``benchmarks/attackers.py --optimizers``). What torch offers knows matrices alone; here a convolution's weight is
one too, a row an output channel, and biases are left to Adam.
"""

from __future__ import annotations

import torch
from torch import nn

BETAS = 0.9, 0.95
"""Of Adam."""


class Muon:
    """One learning rate, that of an Adam with steps of the same size (Liu et al., 2025), for all parameters.

    Args:
        network: whose parameters stay where they are from now on.
        rate: learning rate.
    """

    def __init__(self, network: nn.Module, rate: float) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self._matrices = [(p, nn.Parameter(p.detach().flatten(1))) for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim < 2]
        self._parts: list[torch.optim.Optimizer] = []
        if self._matrices:
            views = [view for _, view in self._matrices]  # of the same memory
            self._parts.append(torch.optim.Muon(views, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        if others:
            self._parts.append(torch.optim.Adam(others, lr=rate, betas=BETAS))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, rate: float) -> None:
        """Change the parameters along their gradients."""
        for parameter, view in self._matrices:
            view.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        for part in self._parts:
            part.param_groups[0]["lr"] = rate
            part.step()
