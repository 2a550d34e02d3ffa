"""One step along the trajectory of eq. 2, many times over.

With ``N(R) = analysis(canvas - synthesis(R)) + R``, eq. 2 reads ``P' = N(R) - P`` in units of tau: the residual form,
which never builds the similarity kernel. Every step of ``euler`` and of ``lca`` is

    P  <-  decay * P + gain * N(mean of T_lam over points of a predicted path),

one application of both operators (see :mod:`.schedules` for which steps).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .filterbank import FilterBank

KEPT = 4
"""Potentials that are kept for the next path."""


@dataclass(frozen=True)
class Step:
    """``P <- decay * P + gain * N(R)``, where R is the mean code of ``paths``: weights of the latest potentials.

    The first step has the drive in the potentials' place, as ``P = 0`` there.
    """

    decay: float
    gain: float
    paths: tuple[tuple[float, ...], ...]


Schedule = tuple[Step, ...]
"""Without a step the potential is the drive."""


@dataclass(frozen=True)
class Problem:
    bank: FilterBank
    canvas: Tensor
    lam: float
    nonneg: bool

    def threshold(self, potential: Tensor, below: Tensor) -> None:
        """``T_lam`` in place; ``below`` is work space."""
        if self.nonneg:
            potential.sub_(self.lam).relu_()
        else:
            potential.sub_(torch.clamp(potential, min=-self.lam, max=self.lam, out=below))

    def code(self, potential: Tensor) -> Tensor:
        """``T_lam``, anew."""
        code = potential.clone()
        self.threshold(code, torch.empty_like(code))
        return code


Wanted = Literal["nothing", "masks", "all"]


@dataclass
class Record:
    """What the backward pass needs of a step; the first two only for the dictionary."""

    mean: Tensor | None
    residual: Tensor | None
    active: list[Tensor]


def run(
    problem: Problem, history: list[Tensor], steps: Schedule, start: int, record: Wanted
) -> tuple[list[Tensor], list[Record]]:
    """Take ``steps``, the first of them the ``start``-th of its schedule: the latest potentials, and what is recorded.

    ``history`` is used up: its memory takes the new potentials, so nothing is allocated from step to step.
    """
    total, point, below, new = (torch.empty_like(history[0]) for _ in range(4))
    records = []
    for index, step in enumerate(steps, start):
        active = []
        for i, weights in enumerate(step.paths):
            code = point if i else total
            torch.mul(history[0], weights[0], out=code)
            for weight, potential in zip(weights[1:], history[1:]):
                code.add_(potential, alpha=weight)
            problem.threshold(code, below)
            if record != "nothing":
                active.append(code.bool())
            if i:
                total.add_(code)
        share = 1 / len(step.paths)  # the mean code is share * total
        residual = problem.bank.synthesis(total).mul_(-share).add_(problem.canvas)
        if record == "all":
            records.append(Record(share * total, residual.clone(), active))
        elif record == "masks":
            records.append(Record(None, None, active))
        if index == 0:  # the history was the drive
            new.zero_()
        else:
            torch.mul(history[0], step.decay, out=new)
        new.add_(problem.bank.analysis(residual), alpha=step.gain).add_(total, alpha=step.gain * share)
        if index == 0:
            history, new = [new], history[0]
            continue
        history = [new, *history]
        new = history.pop() if len(history) > KEPT else torch.empty_like(total)
    return history, records
