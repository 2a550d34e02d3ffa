"""The minimiser of eq. 1, by accelerated proximal gradient steps, and its implicit derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import compiled_minimum
from .compiled import CompiledBank
from .compiled_minimum import GROWTH
from .filterbank import FilterBank, Gradients
from .operators import Size, dual_value, gap_between, largest_eigenvalue

BOLDNESS = 3.0
"""First step over the step that is safe for the whole dictionary: the active features curve eq. 1 less."""
EACH = (1, 2, 3)


class Solution(NamedTuple):
    """A code ``(N, F, h, w)``, its relative duality gap ``(N,)`` and the iterations taken."""

    code: Tensor
    gap: Tensor
    iterations: int


def fista(
    canvas: Tensor,
    dictionary: Tensor,
    lam: float,
    *,
    stride: Size,
    iterations: int,
    tol: float = 1e-3,
    nonneg: bool = True,
    start: Tensor | None = None,
) -> Solution:
    """The minimiser of eq. 1, to a relative duality gap of ``tol`` in every image, or after ``iterations`` steps.

    ``start`` is a warm start, a code of the right shape.
    """
    code, gap, taken = _Minimiser.apply(canvas, dictionary, lam, stride, iterations, tol, nonneg, start)
    return Solution(code, gap, int(taken))


def _descend(
    bank: FilterBank, canvas: Tensor, lam: float, safe_step: float, iterations: int, tol: float, nonneg: bool,
    start: Tensor,
) -> tuple[Tensor, Tensor, Tensor, int]:  # fmt: skip
    """Code, its residual, its gap and the iterations taken.

    Beck and Teboulle (2009) with the gradient restart of O'Donoghue and Candes (2015), an image at a time. Steps start
    longer than safe; where the quadratic bound that the method rests on fails along a step, the image's later steps are
    shortened to what was seen, and where it leaves room they grow, by less after each failure: the fewer neurons are
    active, the longer a step may be. By linearity the syntheses of all points follow from those of the codes.
    """
    code = start.to(canvas).clone(memory_format=torch.channels_last)
    image = bank.synthesis(code).clone() if bool(code.any()) else torch.zeros_like(canvas)
    ahead, ahead_image = code.clone(), image.clone()
    new, held, new_image = torch.empty_like(code), torch.empty_like(code), torch.empty_like(image)
    step = canvas.new_full((len(canvas), 1, 1, 1), BOLDNESS * safe_step)
    momentum, growth = torch.ones_like(step), torch.full_like(step, GROWTH)
    dual = canvas.new_full((len(canvas),), -torch.inf)
    for taken in range(iterations + 1):
        rest = canvas - ahead_image
        drive = bank.analysis(rest)
        dual = torch.maximum(dual, dual_value(canvas, rest, drive, lam, nonneg))  # any point's residual gives a bound
        residual = canvas - image
        gap = gap_between(canvas, residual, code, lam, dual)
        if taken == iterations or bool((gap <= tol).all()):
            break
        torch.addcmul(ahead, drive, step, out=new)
        if nonneg:
            torch.minimum(new, step * lam, out=held)
        else:
            torch.clamp(new, -step * lam, step * lam, out=held)
        new.sub_(held)
        new_image.copy_(bank.synthesis(new))

        moved = torch.sub(new, ahead, out=held)
        curvature = (_norm(ahead_image.sub_(new_image)) / _norm(moved).clamp_min(1e-30)).square()
        bent = step * curvature
        step = torch.where(bent > 1, 0.9 / curvature, torch.where(bent < 0.8, step * growth, step)).clamp_min(safe_step)
        growth = torch.where(bent > 1, 1 + 0.9 * (growth - 1), growth)
        uphill = moved.mul_(torch.sub(new, code, out=ahead)).sum(EACH, keepdim=True) < 0
        momentum = momentum.masked_fill(uphill, 1.0)
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        beyond = 1 + ((momentum - 1) / following).masked_fill(uphill, 0.0)
        torch.lerp(code, new, beyond, out=ahead)
        torch.lerp(image, new_image, beyond, out=ahead_image)
        code, new, image, new_image, momentum = new, code, new_image, image, following
    return code, residual, gap, taken


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=EACH, keepdim=True)
    return norm


class _Minimiser(torch.autograd.Function):
    """At the minimum the active drives equal ``lam`` (or ``-lam``): differentiate that, on the active set."""

    @staticmethod
    def forward(
        ctx: Any, canvas: Tensor, dictionary: Tensor, lam: float, stride: Size, iterations: int, tol: float,
        nonneg: bool, start: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        canvas = canvas.contiguous(memory_format=torch.channels_last)
        ctx.tol = tol
        safe_step = 1 / max(largest_eigenvalue(dictionary, (canvas.shape[2], canvas.shape[3])), 1e-12)
        if start is None:
            sizes = [(n - k) // s + 1 for n, k, s in zip(canvas.shape[2:], dictionary.shape[2:], stride)]
            start = canvas.new_zeros(len(canvas), len(dictionary), *sizes)
        if canvas.device.type == "cpu":
            ctx.bank = CompiledBank(dictionary, stride, (canvas.shape[2], canvas.shape[3]))
            code, residual, gap, taken = compiled_minimum.descend(
                ctx.bank, canvas, start, lam, safe_step, BOLDNESS, iterations, tol, nonneg
            )
        else:
            ctx.bank = FilterBank(dictionary, stride, (canvas.shape[2], canvas.shape[3]))
            code, residual, gap, taken = _descend(ctx.bank, canvas, lam, safe_step, iterations, tol, nonneg, start)
        ctx.save_for_backward(code, residual, dictionary)
        count = torch.tensor(taken)
        ctx.mark_non_differentiable(gap, count)
        return code, gap, count

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, None, None, None]:
        code, residual, dictionary = ctx.saved_tensors
        accuracy = max(0.1 * ctx.tol, 1e3 * torch.finfo(gradient.dtype).eps)  # the code is no more exact than its gap
        if isinstance(ctx.bank, CompiledBank):
            found = compiled_minimum.differentiate(
                ctx.bank, code, residual, gradient, ctx.tol, accuracy, ctx.needs_input_grad[1]
            )
            return *found, None, None, None, None, None, None
        active = code != 0
        right = gradient.contiguous(memory_format=torch.channels_last) * active

        def curve(direction: Tensor) -> Tensor:
            """The active features' Gram matrix; the damping counts where they depend on each other."""
            product: Tensor = ctx.bank.analysis(ctx.bank.synthesis(direction)) * active
            return product.add_(direction, alpha=ctx.tol)

        outer = conjugate_gradients(curve, right, accuracy)
        total = Gradients(residual, dictionary, ctx.bank, *ctx.needs_input_grad[:2])
        total.add(outer, ctx.bank.synthesis(outer), residual, code)
        return total.canvas, total.dictionary, None, None, None, None, None, None


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right: Tensor, accuracy: float, most: int = 500) -> Tensor:
    """Solve ``apply(z) = right`` for each image; ``apply`` is symmetric and positive definite."""
    solution = torch.zeros_like(right)
    rest, direction = right.clone(), right.clone()
    power = rest.square().sum(EACH, keepdim=True)
    goal = accuracy**2 * power
    for _ in range(most):
        going = power > goal
        if not bool(going.any()):
            break
        image = apply(direction)
        length = power / (direction * image).sum(EACH, keepdim=True).clamp_min(1e-30) * going
        solution.addcmul_(direction, length)
        rest.addcmul_(image, length, value=-1)
        before, power = power, rest.square().sum(EACH, keepdim=True)
        direction.mul_(power / before.clamp_min(1e-30)).add_(rest)
    return solution
