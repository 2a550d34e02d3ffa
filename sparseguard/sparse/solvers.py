"""Solvers of the sparse coding problem: pure functions, tensors in, code out.

``euler`` and ``lca`` follow the trajectory of eq. 2 from ``P = 0`` to time ``iterations / tau``; ``fista`` minimises
eq. 1. All work on a canvas (see :mod:`.operators`) and are differentiable by unrolling.

Equation 2 is evaluated in residual form: with ``G = Omega * Omega - I``,
``Psi - P - R * G  =  analysis(canvas - synthesis(R)) + R - P``, which never builds the similarity kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .operators import Size, analysis, largest_eigenvalue, relative_gap, synthesis


def _below_threshold(p: Tensor, lam: float, nonneg: bool) -> Tensor:
    """The part of a potential that the threshold holds back: ``p`` is this plus its code."""
    return p.clamp(max=lam) if nonneg else p.clamp(-lam, lam)


def soft_threshold(p: Tensor, lam: float, nonneg: bool = True) -> Tensor:
    """``T_lam``: ``max(p - lam, 0)``, or the two-sided ``sign(p) max(|p| - lam, 0)`` when codes may be negative."""
    return p - _below_threshold(p, lam, nonneg)


def _velocity(p: Tensor, canvas: Tensor, dictionary: Tensor, lam: float, stride: Size, nonneg: bool) -> Tensor:
    """Right-hand side of eq. 2, without the factor 1/tau: the residual's drive, less what is below threshold."""
    below = _below_threshold(p, lam, nonneg)
    image = synthesis(p - below, dictionary, stride, (canvas.shape[-2], canvas.shape[-1]))
    return analysis(canvas - image, dictionary, stride) - below


def euler(
    canvas: Tensor, dictionary: Tensor, lam: float, *, stride: Size, tau: float, iterations: int, nonneg: bool = True
) -> Tensor:
    """The textbook recurrence: ``iterations`` steps of size ``1 / tau`` on P; the code of the *final* potential."""
    p = torch.zeros_like(analysis(canvas, dictionary, stride))
    for _ in range(iterations):
        p = p.add(_velocity(p, canvas, dictionary, lam, stride, nonneg), alpha=1 / tau)
    return soft_threshold(p, lam, nonneg)


def lca_steps(time: float, eigenvalue: float, tol: float) -> int:
    """Evaluations that ``lca`` spends on ``time`` time constants.

    Two bounds: two-step Adams-Bashforth is stable on the negative real axis while ``step * eigenvalue < 1`` (0.8 is
    used), and the early transient, in which the active features settle, needs a resolution of its own. Its constants
    were measured on MNIST, Fashion-MNIST and random dictionaries at lambda 0.1 to 0.75 and tau 100 and 1000.
    """
    stiffness = max(eigenvalue, 1.0)
    stable = time * stiffness / 0.8
    resolved = 10 * math.sqrt(min(time, 3.0) * max(stiffness, 4.0)) * math.pow(1e-3 / tol, 0.6)
    return max(math.ceil(stable), math.ceil(resolved), 2)


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
    one way to integrate it. This is another: two-step Adams-Bashforth, started with one Heun step, with the number of
    steps of :func:`lca_steps`.
    """
    time = iterations / tau
    eigenvalue = largest_eigenvalue(dictionary, (canvas.shape[-2], canvas.shape[-1]))
    steps = lca_steps(time, eigenvalue, tol)
    h = time / steps
    before = analysis(canvas, dictionary, stride)  # at P = 0, where no neuron is active, the velocity is the drive
    p = (h / 2) * (before + _velocity(h * before, canvas, dictionary, lam, stride, nonneg))
    for _ in range(steps - 1):
        now = _velocity(p, canvas, dictionary, lam, stride, nonneg)
        p = p.add(now, alpha=1.5 * h).add(before, alpha=-0.5 * h)
        before = now
    return soft_threshold(p, lam, nonneg)


def fista(
    canvas: Tensor,
    dictionary: Tensor,
    lam: float,
    *,
    stride: Size,
    iterations: int,
    tol: float = 1e-3,
    nonneg: bool = True,
    start: Tensor | None = None,
) -> Tensor:
    """Minimise eq. 1 to a relative duality gap of ``tol`` in every image, or ``iterations`` steps.

    Beck and Teboulle (2009) with the gradient restart of O'Donoghue and Candes (2015), an image at a time; the gap is
    checked every five steps. ``start`` is a warm start, a code of the right shape.
    """
    size = (canvas.shape[-2], canvas.shape[-1])
    step = 1.0 / max(largest_eigenvalue(dictionary, size), 1e-12)
    # zero, but of the inputs: a code that needs no step still has its (zero) gradients
    code = 0.0 * analysis(canvas, dictionary, stride) if start is None else start
    ahead, momentum = code, torch.ones(len(canvas), 1, 1, 1, dtype=canvas.dtype, device=canvas.device)
    for i in range(iterations):
        if i % 5 == 0:
            with torch.no_grad():
                gap = relative_gap(canvas, code, dictionary, lam, stride, nonneg)
                if bool((gap <= tol).all()):
                    break
        descent = analysis(canvas - synthesis(ahead, dictionary, stride, size), dictionary, stride)
        new = soft_threshold(ahead + step * descent, step * lam, nonneg)
        with torch.no_grad():
            uphill = ((ahead - new) * (new - code)).flatten(1).sum(1) > 0
            momentum = torch.where(uphill[:, None, None, None], 1.0, momentum)
            following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
            pull = torch.where(uphill[:, None, None, None], 0.0, (momentum - 1) / following)
        ahead, code, momentum = new + pull * (new - code), new, following
    return code
