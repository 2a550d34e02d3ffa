"""The trajectory of eq. 2, integrated and differentiated: what ``euler`` and ``lca`` share.

With ``N(R) = analysis(canvas - synthesis(R)) + R``, eq. 2 reads ``P' = N(R) - P`` in units of tau: the residual form,
which never builds the similarity kernel. Every step of either solver is

    P  <-  decay * P + gain * N(mean of T_lam over points of a predicted path),

one application of both operators (see :mod:`.schedules` for which steps).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .filterbank import Bank, Gradients, Precision, filter_bank
from .operators import Size

KEPT = 4
"""Potentials that are kept: three for the next path, and one more to tell how well the last path predicted."""
DOUBT = 0.8
"""Share of the stability limit from which a mode that the paths miss makes an image doubtful."""
SEGMENT = 32
"""Steps whose intermediate values are kept for the backward pass, at least; more are computed again from there."""


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
class _Problem:
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


Wanted = Literal["nothing", "masks", "all"]


@dataclass
class _Record:
    """What the backward pass needs of a step; the first two only for the dictionary."""

    mean: Tensor | None
    residual: Tensor | None
    active: list[Tensor]


def _run(
    problem: _Problem, history: list[Tensor], steps: tuple[Step, ...], start: int, record: Wanted, doubtful: Tensor
) -> tuple[list[Tensor], list[_Record]]:
    """Take ``steps``, the first of them the ``start``-th of its schedule: the latest potentials, and what is recorded.

    ``history`` is used up: its memory takes the new potentials, so nothing is allocated from step to step. ``doubtful``,
    ``(N,)``, is set for images that fail a check; they start again from zero, so that they stay finite, and if all
    images do, the run ends there.
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
            records.append(_Record(share * total, residual.clone(), active))
        elif record == "masks":
            records.append(_Record(None, None, active))
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
            if bool(doubtful.all()):
                break
            if bool(doubtful.any()):
                for potential in history:
                    potential.masked_fill_(doubtful[:, None, None, None], 0.0)
    return history, records


def _doubtful(problem: _Problem, history: list[Tensor], step: Step, missed: Tensor, below: Tensor) -> Tensor:
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


def integrate(
    canvas: Tensor,
    dictionary: Tensor,
    lam: float,
    schedule: Schedule,
    *,
    stride: Size,
    nonneg: bool = True,
    precision: Precision = "float32",
) -> tuple[Tensor, Tensor]:
    """Code at the end of a schedule, differentiable in ``canvas`` and ``dictionary``, and which images are doubtful.

    The code of a doubtful image means nothing, and passes no gradient on if it is left out.
    The gradient is that of the steps (their number and sizes are constants), by the discrete adjoint. Memory for it
    grows with the square root of the number of steps; without gradients nothing is kept.
    """
    code, doubtful = _Trajectory.apply(canvas, dictionary, lam, schedule, stride, nonneg, precision)
    return code, doubtful


class _Trajectory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, canvas: Tensor, dictionary: Tensor, lam: float, schedule: Schedule, stride: Size, nonneg: bool,
        precision: Precision,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        canvas = canvas.contiguous(memory_format=torch.channels_last)
        problem = _Problem(filter_bank(dictionary, stride, canvas, precision), canvas, lam, nonneg, schedule.tol)
        wanted, steps = any(ctx.needs_input_grad), schedule.steps
        count = len(steps)
        ctx.length = max(SEGMENT, math.isqrt(count)) if wanted else count
        ctx.level = "all" if ctx.needs_input_grad[1] else "masks"
        ctx.starts = []
        history = [problem.bank.analysis(canvas).clone()]
        doubtful = torch.zeros(len(canvas), dtype=torch.bool, device=canvas.device)
        for start in range(0, count, ctx.length):
            last = start + ctx.length >= count
            ctx.starts.append([] if last else [potential.clone() for potential in history])
            record: Wanted = ctx.level if wanted and last else "nothing"
            history, ctx.records = _run(problem, history, steps[start : start + ctx.length], start, record, doubtful)
            if bool(doubtful.all()):
                break
        code = history[0].clone()
        problem.threshold(code, torch.empty_like(code))
        ctx.problem, ctx.steps, ctx.doubtful = problem, steps, doubtful.clone()
        ctx.save_for_backward(code, dictionary)
        ctx.mark_non_differentiable(doubtful)
        return code, doubtful

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor, _: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, None, None]:
        code, dictionary = ctx.saved_tensors
        problem, bank = ctx.problem, ctx.problem.bank
        total = Gradients(problem.canvas, dictionary, bank, *ctx.needs_input_grad[:2])
        count = len(ctx.steps)
        # derivatives in the potentials after each step, as far as they are known; 0 is the drive
        known: dict[int, Tensor] = {count: gradient.contiguous(memory_format=torch.channels_last) * (code != 0)}
        spare: list[Tensor] = []  # memory of those that are no longer needed

        def collect(index: int, part: Tensor, weight: float) -> None:
            if index in known:
                known[index].add_(part, alpha=weight)
            else:
                known[index] = torch.mul(part, weight, out=spare.pop() if spare else torch.empty_like(part))

        through = torch.empty_like(known[count])
        for start in reversed(range(0, count, ctx.length)):
            steps, records = ctx.steps[start : start + ctx.length], ctx.records
            if start + ctx.length < count:
                again = [potential.clone() for potential in ctx.starts[start // ctx.length]]
                records = _run(problem, again, steps, start, ctx.level, ctx.doubtful)[1]
            for index, step, record in reversed(list(zip(range(start, count), steps, records))):
                later = known.pop(index + 1)
                collect(index, later, step.decay)
                outer = later.mul_(step.gain)
                image = bank.synthesis(outer)
                total.add(outer, image, record.residual, record.mean)
                inner = outer.sub_(bank.analysis(image)).div_(len(step.paths))
                for weights, active in zip(step.paths, record.active):
                    torch.mul(inner, active, out=through)
                    for back, weight in enumerate(weights):
                        collect(index - back, through, weight)
                spare.append(later)
        total.add(known[0], bank.synthesis(known[0]), problem.canvas)
        return total.canvas, total.dictionary, None, None, None, None, None
