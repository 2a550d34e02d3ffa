"""The minimiser of eq. 1 and its implicit derivative, compiled, for one image; see :mod:`.minimum`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .compiled import (
    Array,
    CompiledBank,
    analyse,
    analyse_row,
    collect,
    compiled,
    each,
    list_active,
    no_active,
    synthesise,
)

GROWTH = 1.3
"""A step over the last one, where the quadratic bound leaves room; less after each step that was too long."""
TINY = 1e-30
MOST_STEPS = 500
"""Of conjugate gradients."""


@compiled
def _descend(canvas, code, lam, safe_step, bold, iterations, tol, nonneg, f):
    """Code, its residual, its gap and the iterations taken; ``code`` is the start, and is used up."""
    real = canvas.dtype.type
    row, flip = f.columns * f.features, real(1.0 if nonneg else -1.0)
    drive, high, active = np.empty(row, canvas.dtype), np.empty(row, canvas.dtype), no_active(code, f)
    residual = -canvas
    list_active(code, active, f)
    synthesise(active, active.values, residual, f)
    residual *= -1
    last, previous, ahead = residual.copy(), code.copy(), np.empty_like(canvas)
    power, mass = max(0.5 * np.sum(canvas * canvas), TINY), np.sum(np.abs(code))
    step, momentum, beyond, dual = bold * safe_step, 1.0, 0.0, 0.0
    growth, taken = GROWTH, 0
    while True:
        # a step from the point beyond the code, which takes the place of the code before
        b, length, limit = real(beyond), real(step), real(step * lam)
        low = real(-np.inf) if nonneg else -limit
        product, square, left = real(0.0), real(0.0), real(0.0)
        for i in range(len(canvas)):
            ahead[i] = residual[i] + b * (residual[i] - last[i])
            product += canvas[i] * ahead[i]
            square += ahead[i] * ahead[i]
            left += residual[i] * residual[i]
        moved, uphill, new_mass = real(0.0), real(0.0), real(0.0)
        high[:] = 0
        for y in range(f.rows):
            analyse_row(ahead, y, drive, f)
            now, before = code[y * row : (y + 1) * row], previous[y * row : (y + 1) * row]
            for i in range(row):
                start = now[i] + b * (now[i] - before[i])
                value = start + length * drive[i]
                found = value - min(max(value, low), limit)
                high[i] = max(high[i], max(drive[i], flip * drive[i]))
                moved += (found - start) * (found - start)
                uphill += (found - start) * (found - now[i])
                new_mass += abs(found)
                before[i] = found
        scale = min(lam / max(high.max(), TINY), 1.0)  # shrinks the residual until it is dual feasible
        bound = scale * product - 0.5 * scale * scale * square
        dual = bound if taken == 0 else max(dual, bound)  # any point's residual gives a bound
        gap = max(0.5 * left + lam * mass - dual, 0.0) / power
        if gap <= tol or taken == iterations:
            return code, residual, gap, taken
        taken += 1
        last[:] = canvas
        last *= -1
        list_active(previous, active, f)
        synthesise(active, active.values, last, f)
        changed = real(0.0)
        for i in range(len(canvas)):
            last[i] = -last[i]
            changed += (ahead[i] - last[i]) * (ahead[i] - last[i])
        curvature = changed / max(moved, TINY)
        if step * curvature > 1:
            step = max(0.9 / curvature, safe_step)
            growth = 1 + 0.9 * (growth - 1)
        elif step * curvature < 0.8:
            step *= growth
        if uphill < 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
        beyond = 0.0 if uphill < 0 else (momentum - 1) / following
        momentum, mass = following, new_mass
        code, previous, residual, last = previous, code, last, residual


@compiled
def _differentiate(code, residual, gradient, damping, accuracy, slopes, f):
    """Derivative in the canvas; that in the features is added to ``slopes`` if it has any room."""
    active = no_active(code, f)
    count = list_active(code, active, f)
    rest, solution, product = np.empty(count, code.dtype), np.zeros(count, code.dtype), np.empty(count, code.dtype)
    for k in range(count):
        rest[k] = gradient[active.neurons[k]]
    direction, image = rest.copy(), np.zeros_like(residual)
    power = np.sum(rest * rest)
    goal = accuracy * accuracy * power
    for _ in range(MOST_STEPS):
        if power <= goal:
            break
        image[:] = 0
        synthesise(active, direction, image, f)
        analyse(image, active, product, f)
        product += code.dtype.type(damping) * direction
        length = power / max(np.sum(direction * product), code.dtype.type(TINY))
        solution += length * direction
        rest -= length * product
        before, power = power, np.sum(rest * rest)
        direction *= power / max(before, code.dtype.type(TINY))
        direction += rest
    image[:] = 0
    synthesise(active, solution, image, f)
    if len(slopes) > 0:
        collect(residual, active, solution, slopes, f)
        collect(image, active, -active.values, slopes, f)
    return image


def descend(
    bank: CompiledBank, canvas: Tensor, start: Tensor, lam: float, safe_step: float, bold: float, iterations: int,
    tol: float, nonneg: bool,
) -> tuple[Tensor, Tensor, Tensor, int]:  # fmt: skip
    """Codes, their residuals, their gaps ``(N,)`` and the most iterations that an image took."""
    images, codes = bank.images(canvas), bank.codes(start)

    def one(i: int) -> tuple[float, int]:
        codes[i], images[i], gap, taken = _descend(
            images[i], codes[i], lam, safe_step, bold, iterations, tol, nonneg, bank.filters
        )
        return gap, taken

    gaps, taken = zip(*each(len(canvas), one))
    return bank.code_of(codes), bank.canvas_of(images), torch.tensor(gaps, dtype=canvas.dtype), max(taken)


def differentiate(
    bank: CompiledBank, code: Tensor, residual: Tensor, gradient: Tensor, damping: float, accuracy: float,
    to_dictionary: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Derivatives in canvas and dictionary at a minimiser with its ``residual``, for a ``gradient`` in the code.

    Conjugate gradients on the active features' Gram matrix, plus ``damping`` times the identity, to a relative
    ``accuracy``.
    """
    codes, gradients, residuals = bank.codes(code), bank.codes(gradient), bank.images(residual)
    slopes: Array = bank.slopes(len(code)) if to_dictionary else np.zeros((len(code), 0), codes.dtype)

    def one(i: int) -> Any:
        residuals[i] = _differentiate(codes[i], residuals[i], gradients[i], damping, accuracy, slopes[i], bank.filters)

    each(len(code), one)
    return bank.canvas_of(residuals), bank.dictionary_of(slopes) if to_dictionary else None
