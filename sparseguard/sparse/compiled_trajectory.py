"""The trajectory of eq. 2 and its adjoint for one image, compiled; :mod:`.schedules` says which steps are taken."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from torch import Tensor

from .compiled import Array, Compiled, CompiledBank, Tiles, compiled, each, operators
from .schedules import ACCURATE, FIRST, GROWTH, LIMITS, MARGIN, ROUNDS, TRANSIENT

ACCURATE_3, ACCURATE_2, LIMIT_3, LIMIT_2 = ACCURATE[3], ACCURATE[2], LIMITS[3], LIMITS[2]
OFTEN, FIRST_ROUNDS = ROUNDS
KEPT = 3
"""Potentials that a path runs through."""


@compiled
def _path(times, k, order, at):
    """Weights of the last three potentials in the polynomial through the last ``order`` of them, at time ``at``."""
    a = times[k]
    if k == 0:
        return 1.0, 0.0, 0.0
    b = times[k - 1]
    if order == 2 or k == 1:
        return (at - b) / (a - b), (at - a) / (b - a), 0.0
    c = times[k - 2]
    return (
        (at - b) * (at - c) / ((a - b) * (a - c)),
        (at - a) * (at - c) / ((b - a) * (b - c)),
        (at - a) * (at - b) / ((c - a) * (c - b)),
    )


@compiled
def _points(times, k, order, size):
    """Weights of potentials (of the drive, in the first step) at the step's two Gauss points, those of ``exp(s)``."""
    early = np.log1p(np.expm1(size) * (0.5 - np.sqrt(3.0) / 6))
    late = np.log1p(np.expm1(size) * (0.5 + np.sqrt(3.0) / 6))
    if k == 0:  # no neuron is active yet, so P(s) = drive * (1 - exp(-s))
        return (-np.expm1(-early), 0.0, 0.0), (-np.expm1(-late), 0.0, 0.0)
    return _path(times, k, order, times[k] + early), _path(times, k, order, times[k] + late)


@compiled
def _coarse(eigenvalue):
    """Not below ``eigenvalue`` or 1, and constant under small changes, so that the steps are."""
    return 2.0 ** (np.ceil(4 * np.log2(max(eigenvalue, 1.0))) / 4)


@cache
def _functions(tiles: Tiles, nonneg: bool) -> tuple[Compiled, Compiled, Compiled]:
    analyse_row, no_active, list_active, synthesise, analyse, collect = operators(tiles)

    @compiled
    def threshold(potential, lam):
        if nonneg:
            return max(potential, lam) - lam
        return potential - min(max(potential, -lam), lam)

    @compiled
    def mean_code(past, k, early, late, lam, mean):
        """Mean of the codes at both Gauss points."""
        real = mean.dtype.type
        level, half = real(lam), real(0.5)
        a, b, c = past[k % len(past)], past[max(k - 1, 0) % len(past)], past[max(k - 2, 0) % len(past)]
        a0, b0, c0 = real(early[0]), real(early[1]), real(early[2])
        a1, b1, c1 = real(late[0]), real(late[1]), real(late[2])
        for i in range(len(mean)):
            first = threshold(a0 * a[i] + b0 * b[i] + c0 * c[i], level)
            mean[i] = half * (first + threshold(a1 * a[i] + b1 * b[i] + c1 * c[i], level))

    @compiled
    def follow(canvas, past, drive, lam, time, eigenvalue, loose, f):
        """Potentials after each step, as many as there is room for in ``past``, times and orders of the steps."""
        real = canvas.dtype.type
        row = f.columns * f.features
        mean, active = np.empty_like(drive), no_active(drive)
        found, image = np.empty(row, drive.dtype), np.empty_like(canvas)
        wave, next_wave = canvas / max(np.max(np.abs(canvas)), real(1e-30)), np.empty_like(canvas)
        answer = np.empty_like(drive)
        for y in range(f.rows):
            analyse_row(canvas, y, drive[y * row : (y + 1) * row], f)
        times, orders = [0.0], [0]
        past[0] = 0
        stiffness = _coarse(eigenvalue)
        size = FIRST / np.sqrt(stiffness) * loose
        growth = 1 + GROWTH * min(1.0, time / 2) ** 2
        steepest, k = 1.0, 0
        while times[k] < time * (1 - 1e-9):
            longest = min(ACCURATE_3 * loose, LIMIT_3 / steepest)
            most = longest
            if time > TRANSIENT:
                most = max(longest, min(ACCURATE_2 * loose, LIMIT_2 / steepest))
            size = min(size, most)
            left = time - times[k]
            taken = left / np.ceil(left / size) if left < 4 * size else size
            order = 3 if taken <= longest else 2
            early, late = _points(times, k, order, taken)
            if k == 0:
                past[0] = drive
            mean_code(past, k, early, late, lam, mean)
            if k == 0:
                past[0] = 0
            count = list_active(mean, active, f)
            image[:] = 0
            synthesise(active, count, active.values, image, f)
            for i in range(len(image)):
                image[i] = canvas[i] - image[i]
            # the largest curvature of eq. 1 over the active neurons, by the power method
            if count > 0 and k % OFTEN == 0:
                for _ in range(FIRST_ROUNDS if k == 0 else 1):
                    analyse(wave, active, count, active.values, f)
                    next_wave[:] = 0
                    synthesise(active, count, active.values, next_wave, f)
                    before, after = np.sum(wave * wave), np.sum(next_wave * next_wave)
                    if after > 0:
                        steepest = min(_coarse(MARGIN * np.sqrt(after / before)), stiffness)
                        next_wave *= real(1.0) / np.sqrt(after)
                        wave, next_wave = next_wave, wave
            decay, gain = real(np.exp(-taken)), real(-np.expm1(-taken))
            now = past[k % len(past)]
            for y in range(f.rows):
                analyse_row(image, y, found, f)
                before_row, mean_row = now[y * row : (y + 1) * row], mean[y * row : (y + 1) * row]
                after_row = answer[y * row : (y + 1) * row]
                for i in range(row):
                    after_row[i] = decay * before_row[i] + gain * (found[i] + mean_row[i])
            k += 1
            times.append(times[k - 1] + taken)
            orders.append(order)
            if k < len(past) or len(past) == KEPT:
                past[k % len(past)] = answer
            size *= growth
        return answer, times, orders

    @compiled
    def code_after(canvas, code, lam, time, eigenvalue, loose, f):
        """The code at the end, in ``code``; how many steps that took."""
        past, drive = np.empty((KEPT, len(code)), code.dtype), np.empty_like(code)
        answer, times, _ = follow(canvas, past, drive, lam, time, eigenvalue, loose, f)
        for i in range(len(code)):
            code[i] = threshold(answer[i], code.dtype.type(lam))
        return len(times) - 1

    @compiled
    def go_back(canvas, code, gradient, steps, lam, time, eigenvalue, loose, slopes, f):
        """Derivative in the canvas by the discrete adjoint; that in the features is added to ``slopes``.

        The steps are taken again, and this time their potentials are kept.
        """
        real = canvas.dtype.type
        past, drive = np.empty((steps + 1, len(code)), code.dtype), np.empty_like(code)
        _, times, orders = follow(canvas, past, drive, lam, time, eigenvalue, loose, f)
        level, half = real(lam), real(0.5)
        mean, outer = np.empty_like(code), np.empty_like(code)
        some, all_ = no_active(code), no_active(code)
        image, residual, total = np.empty_like(canvas), np.empty_like(canvas), np.zeros_like(canvas)
        inner = np.empty_like(code)
        # derivatives in the potentials after steps k + 1, k, k - 1, k - 2; index 0 stands for the drive
        known = np.zeros((4, len(code)), code.dtype)
        for i in range(len(code)):
            if code[i] != 0:
                known[0, i] = gradient[i]
        for k in range(steps - 1, -1, -1):
            taken = times[k + 1] - times[k]
            early, late = _points(times, k, orders[k + 1], taken)
            if k == 0:
                past[0] = drive
            mean_code(past, k, early, late, lam, mean)
            decay, gain = real(np.exp(-taken)), real(-np.expm1(-taken))
            outer[:] = known[0]
            known[0] = known[1]
            known[1] = known[2]
            known[2] = known[3]
            known[3] = 0
            if k > 0:
                here = known[0]
                for i in range(len(code)):
                    here[i] += decay * outer[i]
            outer *= gain
            all_count, count = list_active(outer, all_, f), list_active(mean, some, f)
            image[:] = 0
            synthesise(all_, all_count, all_.values, image, f)
            total += image
            if len(slopes) > 0:
                residual[:] = 0
                synthesise(some, count, some.values, residual, f)
                for i in range(len(canvas)):
                    residual[i] = canvas[i] - residual[i]
                collect(residual, all_, all_count, all_.values, slopes, f)
                collect(image, some, count, -some.values, slopes, f)
            analyse(image, some, count, inner, f)
            for j in range(count):
                i = some.neurons[j]
                value = half * (outer[i] - inner[j])
                a, b, c = past[k, i], past[max(k - 1, 0), i], past[max(k - 2, 0), i]
                for w in (early, late):
                    potential = real(w[0]) * a + real(w[1]) * b + real(w[2]) * c
                    if threshold(potential, level) != 0:
                        known[0, i] += real(w[0]) * value
                        known[1, i] += real(w[1]) * value
                        known[2, i] += real(w[2]) * value
            if k == 1:  # the rest state, where the drive is kept
                known[1] = 0
            if k <= 2:
                known[2] = 0
        count = list_active(known[0], all_, f)
        synthesise(all_, count, all_.values, total, f)
        if len(slopes) > 0:
            collect(canvas, all_, count, all_.values, slopes, f)
        return total

    @compiled
    def potentials(canvas, steps, lam, time, eigenvalue, loose, f):
        """Potentials before the first of so many steps, and after each: ``(steps + 1, ...)``."""
        drive = np.empty(f.rows * f.columns * f.features, canvas.dtype)
        past = np.empty((steps + 1, len(drive)), canvas.dtype)
        follow(canvas, past, drive, lam, time, eigenvalue, loose, f)
        return past

    return code_after, go_back, potentials


Course = tuple[float, float, float, bool]
"""Lambda, time, the dictionary's largest eigenvalue, and whether codes are nonnegative."""


def follow(bank: CompiledBank, canvas: Tensor, course: Course, loose: float) -> tuple[Tensor, list[int]]:
    """Codes at the end of the trajectory and how many steps each image took."""
    lam, time, eigenvalue, nonneg = course
    images = bank.images(canvas)
    codes = np.empty((len(canvas), bank.filters.rows * bank.filters.columns * bank.filters.features), images.dtype)
    run = _functions(bank.tiles, nonneg)[0]
    steps = each(len(canvas), lambda i: run(images[i], codes[i], lam, time, eigenvalue, loose, bank.filters))
    return bank.code_of(codes), steps


def go_back(
    bank: CompiledBank, canvas: Tensor, code: Tensor, gradient: Tensor, steps: list[int], course: Course, loose: float,
    to_dictionary: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Derivatives in canvas and dictionary for a ``gradient`` in the code of :func:`follow`."""
    lam, time, eigenvalue, nonneg = course
    images, codes, gradients = bank.images(canvas), bank.codes(code), bank.codes(gradient)
    slopes: Array = bank.slopes(len(code)) if to_dictionary else np.zeros((len(code), 0), codes.dtype)
    run = _functions(bank.tiles, nonneg)[1]

    def one(i: int) -> None:
        images[i] = run(
            images[i], codes[i], gradients[i], steps[i], lam, time, eigenvalue, loose, slopes[i], bank.filters
        )  # fmt: skip

    each(len(code), one)
    return bank.canvas_of(images), bank.dictionary_of(slopes) if to_dictionary else None


def states(bank: CompiledBank, canvas: Tensor, course: Course, loose: float) -> Iterator[Array]:
    """Flat potentials of all images, ``(N, ...)``, before the first step and after each, until the last image ends."""
    lam, time, eigenvalue, nonneg = course
    images, run, (_, steps) = (
        bank.images(canvas),
        _functions(bank.tiles, nonneg)[2],
        follow(bank, canvas, course, loose),
    )
    found = each(len(images), lambda i: run(images[i], steps[i], lam, time, eigenvalue, loose, bank.filters))
    for k in range(max(steps) + 1):
        yield np.stack([past[min(k, len(past) - 1)] for past in found])
