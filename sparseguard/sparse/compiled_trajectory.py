"""The trajectory of eq. 2 and its adjoint for one image, compiled; :mod:`.schedules` says which steps are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
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
from .schedules import RULES, Rules

KEPT = 3
"""Potentials that a path runs through."""


class Course(NamedTuple):
    """What to integrate: to ``time``, in units of tau.

    ``low`` is minus infinity for codes that are not negative, else ``-lam``; ``eigenvalue`` the dictionary's largest;
    ``loose`` how much longer than at a tolerance of 1e-3 steps may be.
    """

    low: float
    lam: float
    time: float
    eigenvalue: float
    loose: float
    rules: Rules = RULES


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


@compiled
def _threshold(potential, low, lam):
    """``T_lam``."""
    return potential - min(max(potential, low), lam)


@compiled
def _mean_code(past, k, early, late, mean, c):
    """Mean of the codes at both Gauss points."""
    real = mean.dtype.type
    floor, level, half = real(c.low), real(c.lam), real(0.5)
    p, q, r = past[k % len(past)], past[max(k - 1, 0) % len(past)], past[max(k - 2, 0) % len(past)]
    a0, b0, c0 = real(early[0]), real(early[1]), real(early[2])
    a1, b1, c1 = real(late[0]), real(late[1]), real(late[2])
    for i in range(len(mean)):
        first = _threshold(a0 * p[i] + b0 * q[i] + c0 * r[i], floor, level)
        mean[i] = half * (first + _threshold(a1 * p[i] + b1 * q[i] + c1 * r[i], floor, level))


@compiled
def _steepest(wave, active, count, rounds, f):
    """The largest eigenvalue of the listed neurons' features, from below, by the power method; ``wave`` goes on."""
    found = 0.0
    values, image = np.empty(count, wave.dtype), np.empty_like(wave)
    for _ in range(rounds):
        analyse(wave, active, count, values, f)
        image[:] = 0
        synthesise(active, count, values, image, f)
        before, after = np.sum(wave * wave), np.sum(image * image)
        if after > 0:
            found = np.sqrt(after / before)
            wave[:] = image / np.sqrt(after)
    return found


@compiled
def _follow(canvas, past, drive, c, f):
    """Potentials after each step, as many as there is room for in ``past``, times and orders of the steps."""
    real, r = canvas.dtype.type, c.rules
    row = f.columns * f.features
    mean, active = np.empty_like(drive), no_active(drive)
    found, image, last = np.empty(row, drive.dtype), canvas.copy(), np.empty_like(canvas)
    wave = canvas / max(np.max(np.abs(canvas)), real(1e-30))
    answer = np.empty_like(drive)
    for y in range(f.rows):
        analyse_row(canvas, y, drive[y * row : (y + 1) * row], f)
    times, orders = [0.0], [0]
    past[0] = 0
    stiffness = _coarse(c.eigenvalue)
    size = r.first / np.sqrt(stiffness) * c.loose
    growth = 1 + r.growth * min(1.0, c.time / 2) ** 2
    steepest, crowd, k = 1.0, 0, 0
    while times[k] < c.time * (1 - 1e-9):
        due = k % r.often == 0
        if k == 0:
            past[0] = drive
        while True:
            longest = min(r.accurate_3 * c.loose, r.limit_3 / steepest)
            most = longest
            if c.time > r.transient:
                most = max(longest, min(r.accurate_2 * c.loose, r.limit_2 / steepest))
            size = min(size, most)
            left = c.time - times[k]
            taken = left / np.ceil(left / size) if left < 4 * size else size
            order = 3 if taken <= longest else 2
            early, late = _points(times, k, order, taken)
            _mean_code(past, k, early, late, mean, c)
            count = list_active(mean, active, f)
            crowded = count > r.crowd * crowd
            if count == 0 or not (due or crowded):
                break
            # a step must be short enough for the neurons that are active in it
            bent = _steepest(wave, active, count, r.rounds if crowded else 1, f)
            steepest, due, crowd = min(_coarse(r.margin * bent), stiffness), False, max(count, crowd)
            if taken <= (r.limit_3 if order == 3 else r.limit_2) / steepest:
                break
        if k == 0:
            past[0] = 0
        last[:] = image
        image[:] = 0
        synthesise(active, count, active.values, image, f)
        for i in range(len(image)):
            image[i] = canvas[i] - image[i]
            last[i] -= image[i]
        # what a step that is too long lets grow is in the latest change
        change = np.sqrt(np.sum(last * last))
        if change > 0 and np.isfinite(change):
            wave += real(r.stir) / change * last
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
def _code_after(canvas, code, c, f):
    """The code at the end, in ``code``; how many steps that took."""
    past, drive = np.empty((KEPT, len(code)), code.dtype), np.empty_like(code)
    answer, times, _ = _follow(canvas, past, drive, c, f)
    for i in range(len(code)):
        code[i] = _threshold(answer[i], code.dtype.type(c.low), code.dtype.type(c.lam))
    return len(times) - 1


@compiled
def _go_back(canvas, code, gradient, steps, slopes, c, f):
    """Derivative in the canvas by the discrete adjoint; that in the features is added to ``slopes``.

    The steps are taken again, and this time their potentials are kept.
    """
    real = canvas.dtype.type
    past, drive = np.empty((steps + 1, len(code)), code.dtype), np.empty_like(code)
    _, times, orders = _follow(canvas, past, drive, c, f)
    floor, level, half = real(c.low), real(c.lam), real(0.5)
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
        _mean_code(past, k, early, late, mean, c)
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
            p, q, r = past[k, i], past[max(k - 1, 0), i], past[max(k - 2, 0), i]
            for w in (early, late):
                potential = real(w[0]) * p + real(w[1]) * q + real(w[2]) * r
                if _threshold(potential, floor, level) != 0:
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
def _potentials(canvas, steps, c, f):
    """Potentials before the first of so many steps, and after each: ``(steps + 1, ...)``."""
    drive = np.empty(f.rows * f.columns * f.features, canvas.dtype)
    past = np.empty((steps + 1, len(drive)), canvas.dtype)
    _follow(canvas, past, drive, c, f)
    return past


def follow(bank: CompiledBank, canvas: Tensor, course: Course) -> tuple[Tensor, list[int]]:
    """Codes at the end of the trajectory and how many steps each image took."""
    images, f = bank.images(canvas), bank.filters
    codes = np.empty((len(canvas), f.rows * f.columns * f.features), images.dtype)
    steps = each(len(canvas), lambda i: _code_after(images[i], codes[i], course, f))
    return bank.code_of(codes), steps


def go_back(
    bank: CompiledBank, canvas: Tensor, code: Tensor, gradient: Tensor, steps: list[int], course: Course,
    to_dictionary: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Derivatives in canvas and dictionary for a ``gradient`` in the code of :func:`follow`."""
    images, codes, gradients = bank.images(canvas), bank.codes(code), bank.codes(gradient)
    slopes: Array = bank.slopes(len(code)) if to_dictionary else np.zeros((len(code), 0), codes.dtype)

    def one(i: int) -> None:
        images[i] = _go_back(images[i], codes[i], gradients[i], steps[i], slopes[i], course, bank.filters)

    each(len(code), one)
    return bank.canvas_of(images), bank.dictionary_of(slopes) if to_dictionary else None


def states(bank: CompiledBank, canvas: Tensor, course: Course) -> Iterator[Tensor]:
    """Potentials before the first step and after each, until the last image ends: ``(N, F, h, w)`` each."""
    images, (_, steps) = bank.images(canvas), follow(bank, canvas, course)
    found = each(len(images), lambda i: _potentials(images[i], steps[i], course, bank.filters))
    for k in range(max(steps) + 1):
        yield bank.code_of(np.stack([past[min(k, len(past) - 1)] for past in found]))
