"""Solvers of the sparse coding problem: pure functions, tensors in, code out, differentiable in canvas and dictionary.

``euler`` and ``lca`` follow the trajectory of eq. 2 from ``P = 0`` to time ``iterations / tau``; ``fista`` minimises
eq. 1. All work on a canvas (see :mod:`.operators`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .filterbank import Precision
from .minimum import fista
from .operators import Size, largest_eigenvalue
from .schedules import euler_schedule, lca_schedule
from .trajectory import integrate

__all__ = ["euler", "fista", "lca"]


def euler(
    canvas: Tensor,
    dictionary: Tensor,
    lam: float,
    *,
    stride: Size,
    tau: float,
    iterations: int,
    nonneg: bool = True,
    precision: Precision = "float32",
) -> Tensor:
    """The textbook recurrence: ``iterations`` steps of size ``1 / tau`` on P; the code of the *final* potential."""
    schedule = euler_schedule(tau, iterations)
    return integrate(canvas, dictionary, lam, schedule, stride=stride, nonneg=nonneg, precision=precision)[0]


def lca(
    canvas: Tensor,
    dictionary: Tensor,
    lam: float,
    *,
    stride: Size,
    tau: float,
    iterations: int,
    tol: float = 1e-3,
    nonneg: bool = True,
    precision: Precision = "float32",
) -> Tensor:
    """The trajectory of eq. 2 to time ``iterations / tau``, within ``tol`` of it (relative, on the code).

    Rozell et al. (2008) define LCA as an ordinary differential equation; the textbook's ``iterations`` Euler steps are
    one way to integrate it. This is another, with the steps of :func:`.schedules.lca_schedule`. Images for which they
    prove too long are coded again with shorter ones, until they cannot fail.
    """
    eigenvalue = largest_eigenvalue(dictionary, (canvas.shape[-2], canvas.shape[-1]))
    redundancy = dictionary.shape[0] / dictionary.shape[1]

    def follow(canvas: Tensor, level: int) -> Tensor:
        schedule = lca_schedule(iterations / tau, eigenvalue, redundancy, tol, level)
        codes, doubtful = integrate(
            canvas, dictionary, lam, schedule, stride=stride, nonneg=nonneg, precision=precision
        )
        if not bool(doubtful.any()):
            return codes
        if bool(doubtful.all()):
            return follow(canvas, level + 1)
        order = torch.cat([(~doubtful).nonzero(), doubtful.nonzero()]).flatten()
        return torch.cat([codes[~doubtful], follow(canvas[doubtful], level + 1)])[order.argsort()]

    return follow(canvas, 0)
