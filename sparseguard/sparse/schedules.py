"""Which steps ``euler`` and ``lca`` take along the trajectory of eq. 2.

``lca`` solves ``P' = -P`` exactly (an exponential integrator: decay ``exp(-h)``, gain ``1 - exp(-h)``) and lets the
path of each step be the parabola through the last three potentials, at the step's two Gauss points. So a neuron that
will cross the threshold within the step counts from about when it does. Methods that extrapolate past velocities, as
Adams-Bashforth does, lose their order at just those crossings, and need two to four times as many evaluations.

Two things bound a step. *Accuracy*: the early transient, in which the active features settle, wants steps of a fixed
small size; they may grow with the time that is left for errors to fade. *Stability*: on the negative real axis
``step * eigenvalue`` must stay below 6/11 (path of order three) or 1 (order two). The eigenvalue that counts is that of
the active features, up to five times smaller than the dictionary's, which is all that is known beforehand. Level 0
counts on a factor of ``OPTIMISM``; each further level halves that, until the bound holds for the dictionary's own
eigenvalue and nothing can diverge. Up to ``TRANSIENT`` the settling features are all there is: more of them are active,
and errors have no time to fade.
"""

from __future__ import annotations

import math

from .steps import Schedule, Step

TRANSIENT = 1.0
OPTIMISM = {"redundant": (1.7, 2.8), "lean": (1.4, 2.0)}
"""Eigenvalue of the dictionary over that of the active features, up to TRANSIENT and beyond it. In a dictionary of many
features a channel the active ones are fewer of those that resemble each other."""
REDUNDANT = 4
"""Features a channel from which on a dictionary is redundant."""
LIMITS = {3: 6 / 11, 2: 1.0}
"""Longest stable step for an eigenvalue of 1, by order of the path."""
ACCURATE = {3: 0.3, 2: 0.12}
"""Longest accurate step at a tolerance of 1e-3."""
CHECK = 8
"""Every so many steps, and at the end, images are looked for whose steps were too long."""


def euler_schedule(tau: float, iterations: int) -> Schedule:
    """The textbook: ``iterations`` steps of size ``1 / tau``."""
    first, later = Step(0.0, 1 / tau, ((0.0,),)), Step(1 - 1 / tau, 1 / tau, ((1.0,),))
    return Schedule((first, *[later] * (iterations - 1)))


def lca_schedule(time: float, eigenvalue: float, redundancy: float, tol: float, level: int = 0) -> Schedule:
    """Steps to ``time`` (in units of tau), without checks once they are stable whatever the active features are.

    ``eigenvalue`` is the dictionary's largest, ``redundancy`` its features a channel.

    The constants were measured on MNIST, Fashion-MNIST, random and learned dictionaries, lambda 0.05 to 1 and times
    0.1 to 10.
    """
    stiffness = max(2 ** (math.ceil(4 * math.log2(max(eigenvalue, 1.0))) / 4), 1.0)  # coarse: equal under small changes
    loose = math.pow(tol / 1e-3, 1 / 4)  # third order, less what crossings of the threshold cost
    settled = time > TRANSIENT
    bold = max(OPTIMISM["redundant" if redundancy >= REDUNDANT else "lean"][settled] / 2**level, 1.0)
    orders = (3, 2) if settled else (3,)
    longest = {order: min(ACCURATE[order] * loose, bold * LIMITS[order] / stiffness) for order in orders}
    size = min(0.145 / math.sqrt(stiffness) * loose, longest[3], time)
    growth = 1 + 0.25 * min(1.0, time / 2) ** 2
    sizes: list[float] = []
    reached = 0.0
    while reached < time * (1 - 1e-9):
        sizes.append(size)
        reached += size
        size = min(size * growth, max(longest.values()))
    taken = [3 if size <= longest[3] * (1 + 1e-9) else 2 for size in sizes]
    return _through([size * time / reached for size in sizes], taken, tol, checked=bold > 1.0)


def _through(sizes: list[float], orders: list[int], tol: float, checked: bool) -> Schedule:
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
            paths = tuple(_lagrange(known, times[-1] + s) for s in points)
            due = checked and (len(steps) % CHECK == CHECK - 1 or len(steps) == len(sizes) - 1)
            check = _lagrange(times[-1:-4:-1], times[-1] + size) if due else ()
            steps.append(Step(decay, gain, paths, check, size / LIMITS[order]))
        times.append(times[-1] + size)
    return Schedule(tuple(steps), tol)


def _lagrange(times: list[float], at: float) -> tuple[float, ...]:
    """Weights at time ``at`` of the polynomial through values at ``times``; the value at time 0 is 0 and left out."""
    weights = [math.prod((at - b) / (a - b) for b in times if b != a) for a in times]
    return tuple(weight for weight, time in zip(weights, times) if time > 0)
