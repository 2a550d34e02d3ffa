"""The trajectory of eq. 2, integrated and differentiated: what ``euler`` and ``lca`` share."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import compiled_trajectory
from .compiled import CompiledBank
from .compiled_trajectory import Course
from .filterbank import FilterBank, Gradients
from .operators import Size
from .steps import Problem, Schedule, Wanted, run

SEGMENT = 32
"""Steps whose intermediate values are kept for the backward pass, at least; more are computed again from there
(checkpoints by the square root: Griewank 1992, Chen et al. 2016)."""


def integrate(
    canvas: Tensor, dictionary: Tensor, lam: float, schedule: Schedule, *, stride: Size, nonneg: bool = True
) -> Tensor:
    """Code at the end of a schedule, differentiable in ``canvas`` and ``dictionary``.

    The gradient is that of the steps (their number and sizes are constants), by the discrete adjoint. Memory for it
    grows with the square root of the number of steps; without gradients nothing is kept.
    """
    canvas = canvas.contiguous(memory_format=torch.channels_last)
    if torch.is_grad_enabled() and (canvas.requires_grad or dictionary.requires_grad):
        code: Tensor = _Trajectory.apply(canvas, dictionary, (lam, schedule, stride, nonneg))
        return code
    with torch.no_grad():
        problem = _problem(canvas, dictionary, lam, stride, nonneg)
        history, _ = run(problem, [problem.bank.analysis(canvas).clone()], schedule, 0, "nothing")
        return problem.code(history[0])


def follow(canvas: Tensor, dictionary: Tensor, course: Course, *, stride: Size) -> Tensor:
    """Code at the end of a course whose steps each image chooses by itself, on the CPU; differentiable as above."""
    code: Tensor = _Course.apply(canvas, dictionary, course, stride)
    return code


class _Course(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, dictionary: Tensor, course: Course, stride: Size) -> Tensor:
        ctx.bank = CompiledBank(dictionary, stride, (canvas.shape[2], canvas.shape[3]))
        ctx.course = course
        code, ctx.steps = compiled_trajectory.follow(ctx.bank, canvas, course)
        ctx.save_for_backward(canvas, code)
        return code

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        canvas, code = ctx.saved_tensors
        found = compiled_trajectory.go_back(
            ctx.bank, canvas, code, gradient, ctx.steps, ctx.course, ctx.needs_input_grad[1]
        )
        return *found, None, None


def _problem(canvas: Tensor, dictionary: Tensor, lam: float, stride: Size, nonneg: bool) -> Problem:
    return Problem(FilterBank(dictionary, stride, (canvas.shape[2], canvas.shape[3])), canvas, lam, nonneg)


class _Trajectory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, dictionary: Tensor, setting: tuple[float, Schedule, Size, bool]) -> Tensor:
        lam, steps, stride, nonneg = setting
        problem = _problem(canvas, dictionary, lam, stride, nonneg)
        count = len(steps)
        ctx.length = max(SEGMENT, math.isqrt(count))
        ctx.level = "all" if ctx.needs_input_grad[1] else "masks"
        ctx.starts = []
        history = [problem.bank.analysis(canvas).clone()]
        for start in range(0, count, ctx.length):
            last = start + ctx.length >= count
            ctx.starts.append([] if last else [potential.clone() for potential in history])
            record: Wanted = ctx.level if last else "nothing"
            history, ctx.records = run(problem, history, steps[start : start + ctx.length], start, record)
        code = problem.code(history[0])
        ctx.problem, ctx.steps = problem, steps
        ctx.save_for_backward(code, dictionary)
        return code

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
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
                records = run(problem, again, steps, start, ctx.level)[1]
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
