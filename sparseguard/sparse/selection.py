"""Which patches of images make a dictionary: greedy maximisation of a facility-location objective.

A patch ``p`` that one neuron alone codes, with a feature ``d`` of unit norm, saves ``relu(<p, d> - lam)^2 / 2`` of the
energy of eq. 1: that is the minimum over its code in closed form. Codes are not negative, so a feature that points away
from a patch saves nothing of it; where codes have both signs the absolute value counts. A set of features saves

    F(S) = sum over patches of the most that a feature of S saves alone,

which is facility location: monotone and submodular (Krause and Cevher 2010, dictionary selection with one active
feature). So greedily chosen features save at least ``1 - 1/e`` of what the best ones do (Nemhauser et al. 1978); with
pools drawn at random, ``1 - 1/e - epsilon`` in expectation (stochastic greedy, Mirzasoleiman et al. 2015).

No library serves: apricot-select (last release 2021) and submodlib-py (2025) are made for similarities of all pairs,
or a few neighbours' in their place; of 100,000 patches all are 40 GB. Here they are made in blocks and forgotten.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .operators import Size

MANY, EPSILON = 20_000, 0.1
"""Patches up to which the choice is exact unless told otherwise, and the epsilon beyond: on 60,000 patches of MNIST it
halved the time and cost 0.6 % of F (28 features; 0.5 % with 8)."""
ROWS, COLUMNS = 1024, 64
"""Patches and features whose similarities exist at a time: a block that stays in a processor's cache."""
NOTHING = 1e-6
"""Share of what is saved already from which on a gain is rounding error."""


class Chosen(NamedTuple):
    """Indices of chosen patches in their order, what each added to F, and how many gains were computed for that."""

    members: list[int]
    gains: list[float]
    evaluations: int


class Savings:
    """What features save of patches.

    Args:
        patches: ``(N, D)``.
        lam: sparsity, > 0.
        nonneg: codes are >= 0.
        rows: patches that are looked at at a time.
    """

    def __init__(self, patches: Tensor, lam: float, nonneg: bool = True, rows: int = ROWS) -> None:
        self.patches, self.lam, self.nonneg, self.rows = patches, lam, nonneg, rows
        self.best = patches.new_full((len(patches),), lam)
        """Drive of the best feature so far, no less than lam: ``(N,)``."""

    def _beyond(self, features: Tensor, start: int) -> Tensor:
        """By how much features, ``(M, D)``, drive some patches more than the best so far does."""
        part = slice(start, start + self.rows)
        drives = self.patches[part] @ features.mT
        return (drives if self.nonneg else drives.abs_()).sub_(self.best[part, None]).relu_()

    def gains(self, features: Tensor) -> Tensor:
        """What each feature alone would add to F: ``(M, D) -> (M,)``, double precision."""
        total = torch.zeros(len(features), dtype=torch.float64, device=features.device)
        for start in range(0, len(self.patches), self.rows):
            more = self._beyond(features, start)
            before = self.best[start : start + self.rows] - self.lam
            total += before @ more  # (before + more)^2 / 2 less before^2 / 2
            total += more.square_().sum(0) / 2
        return total

    def add(self, feature: Tensor) -> None:
        """Take a feature, ``(D,)``, into the set."""
        for start in range(0, len(self.patches), self.rows):
            self.best[start : start + self.rows] += self._beyond(feature[None], start)[:, 0]


@torch.no_grad()
def choose(
    patches: Tensor,
    count: int,
    lam: float,
    *,
    nonneg: bool = True,
    epsilon: float | None = None,
    generator: torch.Generator | None = None,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> Chosen:
    """Choose ``count`` of the patches, scaled to unit norm, as features of all of them.

    Gains only shrink as the set grows, so those of earlier rounds are upper bounds: a round computes gains from the
    largest bound on until no bound is left above the best gain (lazy greedy, Minoux 1978), which finds what computing
    all of them would. A gain looks at every patch: the work grows with their square, and hardly with ``count``. Beside
    the patches and their unit vectors, memory holds two numbers a patch and a block of ``rows x columns`` similarities.

    Args:
        patches: ``(N, D)``, finite; one without variation is never chosen.
        count: fewer are chosen where no patch adds anything.
        lam: sparsity, > 0.
        nonneg: codes are >= 0.
        epsilon: 0 looks among all patches in each round; otherwise, below 1, among ``N / count * log(1 / epsilon)``
            that are drawn at random. ``None``: 0 up to :data:`MANY` patches, :data:`EPSILON` beyond.
        generator: of those draws, on the CPU; by default torch's global one.
        rows, columns: of a block.

    Example:
        >>> choose(torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 0.1]]), 3, lam=0.5).members
        [0, 2]
    """
    if epsilon is None:
        epsilon = EPSILON if len(patches) > MANY else 0.0
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon must be from 0 on and below 1, not {epsilon!r}.")
    units, savings = F.normalize(patches, dim=1), Savings(patches, lam, nonneg, rows)
    bounds = torch.full((len(patches),), math.inf, dtype=torch.float64)  # -inf: no candidate any more
    size = len(patches) if epsilon == 0 else math.ceil(len(patches) / count * math.log(1 / epsilon))
    members: list[int] = []
    sums: list[float] = []
    evaluations = 0
    while len(members) < count:
        pool = (bounds > -math.inf).nonzero().squeeze(1)
        if len(pool) == 0:
            break
        if size < len(pool):
            pool = pool[torch.randperm(len(pool), generator=generator)[:size]]
        pool = pool[bounds[pool].argsort(descending=True, stable=True)]
        best, most = -1, -1.0
        for block in pool.split(columns):
            if float(bounds[block[0]]) < most:
                break
            gains = bounds[block] = savings.gains(units[block.to(units.device)]).cpu()
            evaluations += len(block)
            top = float(gains.max())
            first = int(block[gains == top].min())
            if top > most or (top == most and first < best):  # the first of equals
                best, most = first, top
        if most <= NOTHING * sum(sums):
            bounds[pool] = -math.inf  # gains only shrink: none of these will ever add anything
            continue
        members.append(best)
        sums.append(most)
        savings.add(units[best])
        bounds[best] = -math.inf
    return Chosen(members, sums, evaluations)


def glimpses(canvas: Tensor, kernel: Size, stride: Size, generator: torch.Generator | None = None) -> Tensor:
    """What the neurons at one random position of each canvas see: ``(N, C, Hc, Wc) -> (N, C * kh * kw)``."""
    places = canvas.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1])  # (N, C, h, w, kh, kw)
    row, column = (torch.randint(count, (len(canvas),), generator=generator) for count in places.shape[2:4])
    return places[torch.arange(len(canvas)), :, row, column].flatten(1)
