"""The trajectory of eq. 2, integrated and differentiated: what ``euler`` and ``lca`` share."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .filterbank import Gradients, Precision, filter_bank
from .operators import Size
from .replay import Replayer
from .steps import Problem, Schedule, Wanted, run

SEGMENT = 32
"""Steps whose intermediate values are kept for the backward pass, at least; more are computed again from there."""


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
    canvas = canvas.contiguous(memory_format=torch.channels_last)
    setting = (lam, schedule, stride, nonneg, precision)
    if torch.is_grad_enabled() and (canvas.requires_grad or dictionary.requires_grad):
        code, doubtful = _Trajectory.apply(canvas, dictionary, setting)
    elif canvas.is_cuda:
        code, doubtful = replayer(partial(_follow, setting=setting), (canvas, dictionary), setting)
    else:
        code, doubtful = _follow(canvas, dictionary, setting)
    return code, doubtful


_Setting = tuple[float, Schedule, Size, bool, Precision]
replayer = Replayer()


@torch.no_grad()
def _follow(canvas: Tensor, dictionary: Tensor, setting: _Setting) -> tuple[Tensor, Tensor]:
    """Code and doubtful images of all steps, without a look at a value."""
    problem, steps = _problem(canvas, dictionary, setting), setting[1].steps
    history = [problem.bank.analysis(canvas).clone()]
    doubtful = torch.zeros(len(canvas), dtype=torch.bool, device=canvas.device)
    history, _ = run(problem, history, steps, 0, "nothing", doubtful)
    return problem.code(history[0]), doubtful


def _problem(canvas: Tensor, dictionary: Tensor, setting: _Setting) -> Problem:
    lam, schedule, stride, nonneg, precision = setting
    return Problem(filter_bank(dictionary, stride, canvas, precision), canvas, lam, nonneg, schedule.tol)


class _Trajectory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, dictionary: Tensor, setting: _Setting) -> tuple[Tensor, Tensor]:
        problem, steps = _problem(canvas, dictionary, setting), setting[1].steps
        count = len(steps)
        ctx.length = max(SEGMENT, math.isqrt(count))
        ctx.level = "all" if ctx.needs_input_grad[1] else "masks"
        ctx.starts = []
        history = [problem.bank.analysis(canvas).clone()]
        doubtful = torch.zeros(len(canvas), dtype=torch.bool, device=canvas.device)
        for start in range(0, count, ctx.length):
            last = start + ctx.length >= count
            ctx.starts.append([] if last else [potential.clone() for potential in history])
            record: Wanted = ctx.level if last else "nothing"
            history, ctx.records = run(problem, history, steps[start : start + ctx.length], start, record, doubtful)
            if bool(doubtful.all()):
                break
        code = problem.code(history[0])
        ctx.problem, ctx.steps, ctx.doubtful = problem, steps, doubtful.clone()
        ctx.save_for_backward(code, dictionary)
        ctx.mark_non_differentiable(doubtful)
        return code, doubtful

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
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
                records = run(problem, again, steps, start, ctx.level, ctx.doubtful)[1]
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
        return total.canvas, total.dictionary, None
