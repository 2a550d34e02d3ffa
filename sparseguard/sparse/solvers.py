"""Solvers of the sparse coding problem: pure functions, tensors in, code out, differentiable in canvas and dictionary.

``euler`` and ``lca`` follow the trajectory of eq. 2 from ``P = 0`` to time ``iterations / tau``; ``fista`` minimises
eq. 1; ``single`` takes one step. All work on a canvas (see :mod:`.operators`).
"""

from __future__ import annotations

from torch import Tensor

from .compiled_trajectory import course
from .minimum import fista
from .operators import Size, largest_eigenvalue
from .schedules import euler_schedule, lca_schedule
from .trajectory import follow, integrate

__all__ = ["euler", "fista", "lca", "single"]


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
    time = iterations / tau
    if canvas.device.type == "cpu":
        return follow(canvas, dictionary, course(canvas, dictionary, lam, time, tol, nonneg), stride=stride)
    eigenvalue = largest_eigenvalue(dictionary, (canvas.shape[2], canvas.shape[3]))
    return integrate(canvas, dictionary, lam, lca_schedule(time, eigenvalue, tol), stride=stride, nonneg=nonneg)


def single(canvas: Tensor, dictionary: Tensor, lam: float, *, stride: Size, nonneg: bool = True) -> Tensor:
    """The thresholded drive, ``T_lam(analysis(canvas))``: one step, for large data.

    It is the first step of ISTA from the zero code with step size 1, and of :func:`euler` with ``tau=1``. It minimises
    eq. 1 where features at different positions and of different kinds do not overlap or are orthogonal; elsewhere there
    is *no competition* in it: neurons with similar features all become active, so it is less sparse than the minimum
    and stands for many times the image. Its energy can lie far above that of the zero code: a step that is sure to
    lower the energy would be shorter, by the largest eigenvalue.

    The paper names Wu et al. (2020) for codes in a single pass; theirs come from a predictor that is trained for it, of
    which this is the untrained beginning, with the dictionary for its weights.
    """
    return integrate(canvas, dictionary, lam, (), stride=stride, nonneg=nonneg)
