"""Two neurons with similar features: the smallest competition, in closed form and by the layer's own steps.

With drives b, similarity c and threshold lambda, eq. 2 reads, in units of tau,

    P1' = b1 - P1 - c T(P2),    P2' = b2 - P2 - c T(P1).

Between two crossings of the threshold this is linear, so its solution is a matrix exponential. If
``b2 - c (b1 - lam) <= lam`` the second neuron is silent in the end, and ``R = (b1 - lam, 0)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import positive
from ..sparse.schedules import euler_schedule
from .trace import follow

KERNEL = 5

LONGEST = 0.1
"""Time without a look at the threshold: in a longer one a neuron may cross it twice."""


def _check(drives: tuple[float, float], similarity: float, lam: float) -> None:
    positive("lam", lam)
    for drive in drives:
        positive("drive", drive)
    if not -1 < similarity < 1:
        raise ValueError(f"similarity must lie between -1 and 1, not {similarity!r}.")


def closed_form(drives: tuple[float, float], similarity: float, lam: float, times: Tensor) -> Tensor:
    """Potentials at ascending ``times`` (in units of tau), from 0 on: ``(T,) -> (T, 2)``, float64.

    Exact from one crossing of the threshold to the next; the crossings are found by bisection.

    Raises:
        ValueError: a drive or ``lam`` is not greater than 0, or the similarity not between -1 and 1.

    Example:
        >>> closed_form((1.0, 0.9), 0.9, 0.5, torch.tensor([40.0])).round(decimals=3).tolist()
        [[1.0, 0.45]]
    """
    _check(drives, similarity, lam)
    now, state, rows = 0.0, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), []
    for time in times.double().tolist():
        for stop in [*(now + LONGEST * k for k in range(1, math.ceil((time - now) / LONGEST))), time]:
            while True:
                active = _active(state, drives, similarity, lam)
                after = _advance(state, drives, similarity, lam, active, stop - now)
                if _inside(after, active, lam):
                    break
                low, high = 0.0, stop - now  # the crossing lies between
                for _ in range(60):
                    middle = (low + high) / 2
                    kept = _inside(_advance(state, drives, similarity, lam, active, middle), active, lam)
                    low, high = (middle, high) if kept else (low, middle)
                state, now = _advance(state, drives, similarity, lam, active, high), now + high
            state, now = after, stop
        rows.append(state[:2])
    return torch.stack(rows)


def _velocity(drives: tuple[float, float], similarity: float, lam: float, active: tuple[bool, bool]) -> Tensor:
    """Matrix of the linear system on ``(P1, P2, 1)``."""
    (b1, b2), (a1, a2), c = drives, active, similarity
    rows = [[-1.0, -c * a2, b1 + c * lam * a2], [-c * a1, -1.0, b2 + c * lam * a1], [0.0, 0.0, 0.0]]
    return torch.tensor(rows, dtype=torch.float64)


def _advance(
    state: Tensor, drives: tuple[float, float], similarity: float, lam: float, active: tuple[bool, bool], time: float
) -> Tensor:
    moved: Tensor = torch.linalg.matrix_exp(_velocity(drives, similarity, lam, active) * time) @ state
    return moved


def _active(state: Tensor, drives: tuple[float, float], similarity: float, lam: float) -> tuple[bool, bool]:
    """Who is active just after ``state``: at the threshold, whoever rises."""
    above = (bool(state[0] > lam + 1e-12), bool(state[1] > lam + 1e-12))
    slope = _velocity(drives, similarity, lam, above) @ state
    first, second = (above[i] or bool(abs(state[i] - lam) <= 1e-12 and slope[i] > 0) for i in (0, 1))
    return first, second


def _inside(state: Tensor, active: tuple[bool, bool], lam: float) -> bool:
    """Each neuron is still on its side of the threshold."""
    return all(bool(p >= lam - 1e-13) if on else bool(p <= lam + 1e-13) for p, on in zip(state[:2], active))


def winner_takes_all(drives: tuple[float, float], lam: float) -> float:
    """Similarity from which on the weaker neuron is silent in the end: ``(b2 - lam) / (b1 - lam)``."""
    strong, weak = max(drives), min(drives)
    return (weak - lam) / (strong - lam)


def resting_codes(drives: tuple[float, float], similarity: float, lam: float) -> tuple[float, float]:
    """Codes in the end, the minimiser of eq. 1, for a similarity between -1 and 1.

    >>> resting_codes((1.0, 0.8), 0.9, 0.5), resting_codes((0.4, 0.3), 0.9, 0.5)
    ((0.5, 0.0), (0.0, 0.0))
    """
    first, second = drives[0] - lam, drives[1] - lam
    both = first - similarity * second, second - similarity * first
    if min(both) > 0:
        return both[0] / (1 - similarity**2), both[1] / (1 - similarity**2)
    return (max(first, 0.0), 0.0) if first >= second else (0.0, max(second, 0.0))


def similar_pair(similarity: float) -> Tensor:
    """Two unit-norm features whose dot product is ``similarity``: ``(2, 1, 5, 5)`` float64."""
    _check((1.0, 1.0), similarity, 1.0)
    y, x = torch.meshgrid(*(torch.arange(KERNEL, dtype=torch.float64) - KERNEL // 2,) * 2, indexing="ij")
    upright, flat = (torch.exp(-v.square()) * torch.cos(1.2 * v) for v in (x, y))
    first = upright / upright.norm()
    rest = flat - (flat * first).sum() * first
    second = similarity * first + (1 - similarity**2) ** 0.5 * rest / rest.norm()
    return torch.stack([first, second])[:, None]


@dataclass(frozen=True)
class Duel:
    """One competition, simulated and exact.

    Attributes:
        times: in units of tau, ``(T,)``.
        simulated: potentials by the textbook recurrence, ``(T, 2)``.
        exact: potentials by the closed form, ``(T, 2)``.
        features: ``(2, 1, 5, 5)``.
        image: the input, ``(1, 1, 5, 5)``.
    """

    drives: tuple[float, float]
    similarity: float
    lam: float
    times: Tensor
    simulated: Tensor
    exact: Tensor
    features: Tensor
    image: Tensor

    @property
    def codes(self) -> Tensor:
        """Simulated codes at the last time: ``(2,)``."""
        return (self.simulated[-1] - self.lam).relu()


def duel(
    drives: tuple[float, float] = (1.0, 0.8), similarity: float = 0.9, lam: float = 0.5, tau: float = 50.0,
    duration: float = 10.0,
) -> Duel:  # fmt: skip
    """Two neurons with features of a given dot product, and the one input in their span that drives them so.

    Args:
        drives: what the input gives each neuron; it resembles the one with the larger drive more.
        similarity: dot product of the two features, between -1 and 1.
        tau: time constant, in steps.
        duration: in units of tau.
    """
    _check(drives, similarity, lam)
    features = similar_pair(similarity)
    gram = torch.tensor([[1.0, similarity], [similarity, 1.0]], dtype=torch.float64)
    weights = torch.linalg.solve(gram, torch.tensor(drives, dtype=torch.float64))
    image = (weights[:, None, None, None] * features).sum(0, keepdim=True)
    steps = round(duration * tau)
    states = follow(image, features, lam, euler_schedule(tau, steps), stride=(1, 1))
    simulated = torch.stack([p.flatten() for p in states])
    times = torch.arange(steps + 1) / tau
    every = max(steps // 200, 1)
    return Duel(
        drives, similarity, lam, times[::every], simulated[::every],
        closed_form(drives, similarity, lam, times[::every]), features, image,
    )  # fmt: skip


def sweep(similarities: Sequence[float], **options: float) -> list[Duel]:
    """One :func:`duel` for each similarity."""
    return [duel(similarity=c, **options) for c in similarities]  # type: ignore[arg-type]
