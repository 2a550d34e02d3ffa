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

from .filterbank import Bank

KEPT = 4
"""Potentials that are kept: three for the next path, and one more to tell how well the last path predicted."""
DOUBT = 0.8
"""Share of the stability limit from which a mode that the paths miss makes an image doubtful."""


@dataclass(frozen=True)
class Step:
    """``P <- decay * P + gain * N(R)``, where R is the mean code of ``paths``: weights of the latest potentials.

    The first step has the drive in the potentials' place, as ``P = 0`` there.

    Args:
        check: weights of the potentials before this step, latest first, that foretell the one after it, if the step is
            to be checked; see :func:`_doubtful`.
        reach: length of the step over the longest at which an eigenvalue of 1 is stable.
    """

    decay: float
    gain: float
    paths: tuple[tuple[float, ...], ...]
    check: tuple[float, ...] = ()
    reach: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """Steps, at least one, and the relative error that does not matter."""

    steps: tuple[Step, ...]
    tol: float = 0.0


@dataclass(frozen=True)
class Problem:
    bank: Bank
    canvas: Tensor
    lam: float
    nonneg: bool
    tol: float

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
    problem: Problem, history: list[Tensor], steps: tuple[Step, ...], start: int, record: Wanted, doubtful: Tensor
) -> tuple[list[Tensor], list[Record]]:
    """Take ``steps``, the first of them the ``start``-th of its schedule: the latest potentials, and what is recorded.

    ``history`` is used up: its memory takes the new potentials, so nothing is allocated from step to step.
    ``doubtful``, ``(N,)``, is set for images that fail a check; they start again from zero, so that they stay finite.
    If all images do, the run ends there, but a GPU is not kept waiting for that.
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
        if step.check:
            doubtful |= _doubtful(problem, history, step, point, below)
            if not doubtful.is_cuda and bool(doubtful.all()):
                break
            for potential in history:
                potential.mul_((~doubtful).to(potential.dtype)[:, None, None, None])
    return history, records


def _doubtful(problem: Problem, history: list[Tensor], step: Step, missed: Tensor, below: Tensor) -> Tensor:
    """Images for which this ``step``, the last one taken, was too long: ``(N,)``.

    A step that is too long for some mode makes it oscillate and grow, until it is the greater part of what the paths
    fail to foretell. The curvature of eq. 1 along that part, measured over the active neurons, then shows it.
    ``missed`` and ``below`` are work space.
    """
    code = missed.copy_(history[0])
    problem.threshold(code, below)
    scale = code.square().sum(dim=(1, 2, 3))
    active = torch.sign(code, out=below).abs_()
    torch.sub(history[0], history[1], alpha=step.check[0], out=missed)
    for weight, potential in zip(step.check[1:], history[2:]):
        missed.sub_(potential, alpha=weight)
    missed.mul_(active)
    size = missed.square().sum(dim=(1, 2, 3))
    curvature = problem.bank.synthesis(missed).square().sum(dim=(1, 2, 3)) / size
    return ~torch.isfinite(size) | ((size > problem.tol**2 * scale) & (curvature * step.reach > DOUBT))
