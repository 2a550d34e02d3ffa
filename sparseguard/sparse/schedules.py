"""Which steps ``euler`` and ``lca`` take along the trajectory of eq. 2.

``lca`` solves ``P' = -P`` exactly (an exponential integrator: decay ``exp(-h)``, gain ``1 - exp(-h)``; Cox and Matthews
2002, Hochbruck and Ostermann 2010) and lets the path of each step be the parabola through the last three potentials, at
the step's two Gauss points. So a neuron that will cross the threshold within the step counts from about when it does.
Methods that extrapolate past velocities, as Adams-Bashforth does, lose their order at just those crossings, and need
two to four times as many evaluations.

Two things bound a step. *Accuracy*: the early transient, in which the active features settle, wants steps of a fixed
small size; they may grow with the time that is left for errors to fade. *Stability*: on the negative real axis
``step * eigenvalue`` must stay below 6/11 (path of order three) or 1 (order two). The eigenvalue that counts is that of
the active features, up to five times smaller than the dictionary's. On the CPU, where each image has steps of its own,
it is measured along the way (:mod:`.compiled_trajectory`); :func:`lca_schedule`, for whole batches elsewhere, takes the
dictionary's, with which nothing can diverge.

:class:`Rules` has the constants; ``benchmarks/schedules.py`` measures them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .steps import Schedule, Step


class Rules(NamedTuple):
    """What bounds a step, in units of tau; lengths are for a tolerance of 1e-3."""

    limit_3: float = 6 / 11
    """Longest stable step for an eigenvalue of 1 with a path of order three;"""
    limit_2: float = 1.0
    """of order two."""
    accurate_3: float = 0.3
    """Longest accurate step with a path of order three;"""
    accurate_2: float = 0.12
    """of order two."""
    transient: float = 1.0
    """Time up to which all paths have order three: errors have no time to fade."""
    first: float = 0.145
    """First step, for an eigenvalue of 1; it shrinks with the root of that."""
    growth: float = 0.25
    """Most by which a step may exceed the one before."""
    margin: float = 1.1
    """Measured eigenvalues are lower bounds; steps count on this much more."""
    often: int = 2
    """Every so many steps a round of the power method;"""
    rounds: int = 6
    """and so many rounds where many neurons came in at once:"""
    crowd: float = 1.25
    """as many times the active neurons of the last such look."""
    stir: float = 0.3
    """Share of the latest change that is added to what the power method goes on from."""


RULES = Rules()


def looseness(tol: float) -> float:
    """How much longer than at a tolerance of 1e-3 steps may be: third order, less what crossings cost beyond it."""
    return math.pow(tol / 1e-3, 1 / 3 if tol < 1e-3 else 1 / 4)


def euler_schedule(tau: float, iterations: int) -> Schedule:
    """The textbook: ``iterations`` steps of size ``1 / tau``."""
    first, later = Step(0.0, 1 / tau, ((0.0,),)), Step(1 - 1 / tau, 1 / tau, ((1.0,),))
    return (first, *[later] * (iterations - 1))


def lca_schedule(time: float, eigenvalue: float, tol: float) -> Schedule:
    """Steps to ``time`` (in units of tau) that are stable whatever the active features are.

    ``eigenvalue`` is the dictionary's largest.
    """
    r, stiffness, loose = RULES, max(eigenvalue, 1.0), looseness(tol)
    longest = min(r.accurate_3 * loose, r.limit_3 / stiffness)
    most = max(longest, min(r.accurate_2 * loose, r.limit_2 / stiffness)) if time > r.transient else longest
    size = min(r.first / math.sqrt(stiffness) * loose, longest, time)
    growth = 1 + r.growth * min(1.0, time / 2) ** 2
    sizes: list[float] = []
    reached = 0.0
    while reached < time * (1 - 1e-9):
        sizes.append(size)
        reached += size
        size = min(size * growth, most)
    taken = [3 if size <= longest * (1 + 1e-9) else 2 for size in sizes]
    return _through([size * time / reached for size in sizes], taken)


def _through(sizes: list[float], orders: list[int]) -> Schedule:
    steps: list[Step] = []
    times = [0.0]
    for size, order in zip(sizes, orders):
        decay, gain = math.exp(-size), -math.expm1(-size)
        # the solution weights the step with exp(s - h): the Gauss points are those of the variable exp(s)
        points = [math.log1p(math.expm1(size) * (0.5 + sign * math.sqrt(3) / 6)) for sign in (-1, 1)]
        if not steps:  # no neuron is active yet, so P(s) = drive * (1 - exp(-s))
            steps.append(Step(0.0, gain, tuple((-math.expm1(-s),) for s in points)))
        else:
            known = times[-1 : -order - 1 : -1]
            steps.append(Step(decay, gain, tuple(_lagrange(known, times[-1] + s) for s in points)))
        times.append(times[-1] + size)
    return tuple(steps)


def _lagrange(times: list[float], at: float) -> tuple[float, ...]:
    """Weights at time ``at`` of the polynomial through values at ``times``; the value at time 0 is 0 and left out."""
    weights = [math.prod((at - b) / (a - b) for b in times if b != a) for a in times]
    return tuple(weight for weight, time in zip(weights, times) if time > 0)
