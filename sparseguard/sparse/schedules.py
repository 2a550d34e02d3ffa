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

The constants are those of ``benchmarks/schedules.py``, which measures them.
"""

from __future__ import annotations

import math

from .steps import Schedule, Step

LIMITS = {3: 6 / 11, 2: 1.0}
"""Longest stable step for an eigenvalue of 1, by order of the path."""
ACCURATE = {3: 0.3, 2: 0.12}
"""Longest accurate step at a tolerance of 1e-3."""
TRANSIENT = 1.0
"""Time up to which paths have order three: errors have no time to fade."""
FIRST = 0.145
"""First step, at a tolerance of 1e-3 and a dictionary's eigenvalue of 1; it shrinks with the root of that."""
GROWTH = 0.25
"""Most by which a step may exceed the one before."""
MARGIN = 1.1
"""Measured eigenvalues are lower bounds; steps count on this much more."""
OFTEN, ROUNDS = 2, 6
"""Every so many steps a round of the power method; and so many rounds where many neurons came in at once:"""
CROWD = 1.25
"""as many times the active neurons of the last such look."""


def looseness(tol: float) -> float:
    """How much longer than at a tolerance of 1e-3 steps may be: third order, less what crossings cost."""
    return math.pow(tol / 1e-3, 1 / 4)


def euler_schedule(tau: float, iterations: int) -> Schedule:
    """The textbook: ``iterations`` steps of size ``1 / tau``."""
    first, later = Step(0.0, 1 / tau, ((0.0,),)), Step(1 - 1 / tau, 1 / tau, ((1.0,),))
    return (first, *[later] * (iterations - 1))


def lca_schedule(time: float, eigenvalue: float, tol: float) -> Schedule:
    """Steps to ``time`` (in units of tau) that are stable whatever the active features are.

    ``eigenvalue`` is the dictionary's largest.
    """
    stiffness, loose = max(eigenvalue, 1.0), looseness(tol)
    orders = (3, 2) if time > TRANSIENT else (3,)
    longest = {order: min(ACCURATE[order] * loose, LIMITS[order] / stiffness) for order in orders}
    size = min(FIRST / math.sqrt(stiffness) * loose, longest[3], time)
    growth = 1 + GROWTH * min(1.0, time / 2) ** 2
    sizes: list[float] = []
    reached = 0.0
    while reached < time * (1 - 1e-9):
        sizes.append(size)
        reached += size
        size = min(size * growth, max(longest.values()))
    taken = [3 if size <= longest[3] * (1 + 1e-9) else 2 for size in sizes]
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
