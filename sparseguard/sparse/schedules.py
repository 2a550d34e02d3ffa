"""Which steps ``euler`` and ``lca`` take along the trajectory of eq. 2.

``lca`` solves ``P' = -P`` exactly (an exponential integrator: decay ``exp(-h)``, gain ``1 - exp(-h)``; Cox and Matthews
2002, Hochbruck and Ostermann 2010) and lets the path of each step be a polynomial through the last potentials, at the
step's two Gauss points. So a neuron that will cross the threshold within the step counts from about when it does.
Methods that extrapolate past velocities, as Adams-Bashforth does, lose their order at just those crossings, and need
two to four times as many evaluations.

Two things bound a step. *Accuracy*: the early transient, in which the active features settle, wants short steps; later
ones may be longer. *Stability*: the longer a step, the more its path gives up of what would make it exact, see
:func:`points`. A cubic term against the sign of its own keeps the parabola, and order three, stable for a
``step * eigenvalue`` up to 1.1, twice what the parabola alone bears; beyond, the path goes over to order two, up to
12/7. The eigenvalue that counts is that of the active features, up to five times smaller than the dictionary's. On the
CPU, where each image has steps of its own, it is measured along the way (:mod:`.compiled_trajectory`);
:func:`lca_schedule`, for whole batches elsewhere, takes the dictionary's, with which nothing can diverge.

:class:`Rules` has the constants; ``benchmarks/schedules.py`` measures them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .steps import KEPT, Schedule, Step

Times = tuple[float, float, float, float]
"""Or weights: of the last four potentials, the latest first."""


class Rules(NamedTuple):
    """What bounds a step, in units of tau; lengths are for a tolerance of 1e-3."""

    limit_3: float = 1.1
    """Longest stable step for an eigenvalue of 1 with a path of order three;"""
    limit_2: float = 12 / 7
    """of order two."""
    accurate_3: float = 0.28
    """Longest accurate step with a path of order three;"""
    accurate_2: float = 0.1
    """of order two, at the start;"""
    later: float = 0.2
    """it grows by that share of itself in a unit of time."""
    transient: float = 1.0
    """Time up to which errors have no time to fade, and steps are half as long at least;"""
    fade: float = 4.0
    """after so much more they have."""
    first: float = 0.145
    """First step, for an eigenvalue of 1; it shrinks with the root of that."""
    growth: float = 0.25
    """Most by which a step may exceed the one before."""
    margin: float = 1.3
    """Measured eigenvalues are lower bounds; steps count on this much more (at 1.1, 6 codes of 960 were off by more
    than 1e-3, one by 3e-2)."""
    often: int = 4
    """Every so many steps a round of the power method;"""
    rounds: int = 6
    """and so many rounds where many neurons came in at once:"""
    crowd: float = 1.1
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


@compiled
def longest(time: float, end: float, steepest: float, loose: float, r: Rules) -> float:
    """The longest step from ``time`` that is accurate, and stable where the largest eigenvalue is ``steepest``."""
    # the share of order two that stability asks for, times the step's square, is the error
    half, error = r.limit_3 / (2 * steepest), r.accurate_2 * loose * (1 + r.later * time)
    accurate: float = half + np.sqrt(half * half + (1 - r.limit_3 / r.limit_2) * error * error)
    most = min(min(accurate, r.accurate_3 * loose), r.limit_2 / steepest)
    short = 0.5 * min(r.accurate_3 * loose, r.limit_3 / steepest)  # where the parabola needs no cubic term
    return short + (most - short) * min(1.0, max(0.0, (end - r.transient) / r.fade))


@compiled
def _shares(product: float, r: Rules) -> tuple[float, float]:
    """Shares of the parabola and of the cubic term in a path that is stable at this step times eigenvalue.

    What changes its sign in every step stays bounded where ``product * (2 + 5/3 * parabola + 3 * cubic) <= 2``.
    """
    room, room_3, room_2 = 2 / product, 2 / r.limit_3, 2 / r.limit_2
    two = max(0.0, min(1.0, (room_3 - room) / (room_3 - room_2)))
    cubic = min(0.0, (max(room, room_3) - 11 / 3) / 3)
    return 1 - two * (1 - 0.6 * (room_2 - 2)), (1 - two) * cubic


@compiled
def _path(k: int, times: Times, ahead: float, parabola: float, cubic: float) -> Times:
    """Weights of the last potentials, reached at ``times``, on a path ``ahead`` of them, by Newton's interpolation."""
    a, b, c, d = times
    line = ahead / (a - b)
    w, x, y, z = 1 + line, -line, 0.0, 0.0
    if k > 1:
        bend = parabola * ahead * (a + ahead - b)
        w += bend / ((a - b) * (a - c))
        x += bend / ((b - a) * (b - c))
        y += bend / ((c - a) * (c - b))
    if k > 2:
        bend = cubic * ahead * (a + ahead - b) * (a + ahead - c)
        w += bend / ((a - b) * (a - c) * (a - d))
        x += bend / ((b - a) * (b - c) * (b - d))
        y += bend / ((c - a) * (c - b) * (c - d))
        z += bend / ((d - a) * (d - b) * (d - c))
    return w, x, y, z


@compiled
def points(k: int, times: Times, size: float, product: float, r: Rules) -> tuple[Times, Times]:
    """Weights of the last potentials (of the drive, in step 0) at the Gauss points of step ``k``, those of ``exp(s)``:
    the solution weights the step with ``exp(s - size)``."""
    early = np.log1p(np.expm1(size) * (0.5 - np.sqrt(3.0) / 6))
    late = np.log1p(np.expm1(size) * (0.5 + np.sqrt(3.0) / 6))
    if k == 0:  # no neuron is active yet, so P(s) = drive * (1 - exp(-s))
        return (-np.expm1(-early), 0.0, 0.0, 0.0), (-np.expm1(-late), 0.0, 0.0, 0.0)
    parabola, cubic = _shares(product, r)
    return _path(k, times, early, parabola, cubic), _path(k, times, late, parabola, cubic)


def lca_schedule(time: float, eigenvalue: float, tol: float) -> Schedule:
    """Steps to ``time`` (in units of tau) that are stable whatever the active features are.

    ``eigenvalue`` is the dictionary's largest.
    """
    r, stiffness, loose = RULES, max(eigenvalue, 1.0), looseness(tol)
    size = r.first / math.sqrt(stiffness) * loose
    growth = 1 + r.growth * min(1.0, time / 2) ** 2
    steps: list[Step] = []
    times = [0.0]
    while times[-1] < time * (1 - 1e-9):
        k, left = len(steps), time - times[-1]
        size = min(size, longest(times[-1], time, stiffness, loose, r))
        taken = left / math.ceil(left / size) if left < 4 * size else size
        latest = tuple(times[max(k - back, 0)] for back in range(KEPT))
        paths = points(k, latest, taken, taken * stiffness, r)
        known = min(max(k, 1), KEPT)  # the rest state is 0, and left out
        steps.append(Step(math.exp(-taken) if k else 0.0, -math.expm1(-taken), tuple(w[:known] for w in paths)))
        times.append(times[-1] + taken)
        size *= growth
    return tuple(steps)
