"""Solvers of the sparse coding problem: pure functions, tensors in, code out, differentiable in canvas and dictionary.

``euler`` and ``lca`` follow the trajectory of eq. 2 from ``P = 0`` to time ``iterations / tau``; ``fista`` minimises
eq. 1. All work on a canvas (see :mod:`.operators`).
"""

from __future__ import annotations

import math

from torch import Tensor

from .compiled_trajectory import Course
from .minimum import fista
from .operators import Size, largest_eigenvalue
from .schedules import euler_schedule, lca_schedule, looseness
from .trajectory import follow, integrate

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
) -> Tensor:
    """The textbook recurrence: ``iterations`` steps of size ``1 / tau`` on P; the code of the *final* potential."""
    return integrate(canvas, dictionary, lam, euler_schedule(tau, iterations), stride=stride, nonneg=nonneg)


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
) -> Tensor:
    """The trajectory of eq. 2 to time ``iterations / tau``, within ``tol`` of it (relative, on the code).

    Rozell et al. (2008) define LCA as an ordinary differential equation; the textbook's ``iterations`` Euler steps are
    one way to integrate it. This is another, with the steps that :mod:`.schedules` describes.
    """
    time, eigenvalue = iterations / tau, largest_eigenvalue(dictionary, (canvas.shape[-2], canvas.shape[-1]))
    if canvas.device.type == "cpu":
        course = Course(-math.inf if nonneg else -lam, lam, time, eigenvalue, looseness(tol))
        return follow(canvas, dictionary, course, stride=stride)
    return integrate(canvas, dictionary, lam, lca_schedule(time, eigenvalue, tol), stride=stride, nonneg=nonneg)
