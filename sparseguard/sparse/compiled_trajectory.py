"""The trajectory of eq. 2 and its adjoint for one image, compiled; :mod:`.schedules` says which steps are taken."""

from __future__ import annotations

import math
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
from .operators import largest_eigenvalue
from .schedules import RULES, Rules, longest, looseness, points
from .steps import KEPT


class Course(NamedTuple):
    """What to integrate, to ``time`` in units of tau: of one dictionary, see :func:`course`.

    ``low`` is minus infinity for codes that are not negative, else ``-lam``; ``eigenvalue`` the dictionary's largest;
    ``loose`` how much longer than at a tolerance of 1e-3 steps may be.
    """

    low: float
    lam: float
    time: float
    eigenvalue: float
    loose: float
    rules: Rules = RULES


def course(canvas: Tensor, dictionary: Tensor, lam: float, time: float, tol: float, nonneg: bool = True) -> Course:
    """To ``time``, in units of tau, within ``tol``."""
    eigenvalue = largest_eigenvalue(dictionary, (canvas.shape[2], canvas.shape[3]))
    return Course(-math.inf if nonneg else -lam, lam, time, eigenvalue, looseness(tol))


@compiled
def _coarse(eigenvalue):
    """Not below ``eigenvalue`` or 1, and constant under small changes, so that the steps are."""
    return 2.0 ** (np.ceil(4 * np.log2(max(eigenvalue, 1.0))) / 4)


@compiled
def _threshold(potential, low, lam):
    """``T_lam``."""
    return potential - min(max(potential, low), lam)


@compiled
def _latest(times, k):
    """When the last potentials were reached, after ``k`` steps."""
    return times[k], times[max(k - 1, 0)], times[max(k - 2, 0)], times[max(k - 3, 0)]


@compiled
def _mean_code(past, k, paths, mean, c):
    """Mean of the codes at both Gauss points."""
    real = mean.dtype.type
    floor, level, half = real(c.low), real(c.lam), real(0.5)
    p, q = past[k % len(past)], past[max(k - 1, 0) % len(past)]
    r, s = past[max(k - 2, 0) % len(past)], past[max(k - 3, 0) % len(past)]
    (t, u, v, w), (x, y, z, o) = paths
    early, late = (real(t), real(u), real(v), real(w)), (real(x), real(y), real(z), real(o))
    for i in range(len(mean)):
        first = _threshold(early[0] * p[i] + early[1] * q[i] + early[2] * r[i] + early[3] * s[i], floor, level)
        second = _threshold(late[0] * p[i] + late[1] * q[i] + late[2] * r[i] + late[3] * s[i], floor, level)
        mean[i] = half * (first + second)


@compiled
def _steepest(wave, latest, before, active, rounds, r, f):
    """The largest eigenvalue of the listed neurons' features, from below, by the power method; ``wave`` goes on.

    What a step that is too long lets grow is in the latest change, of which ``wave`` gets a share.
    """
    real = wave.dtype.type
    image, values, found = np.empty_like(wave), np.empty_like(active.values), 0.0
    change = real(0.0)
    for i in range(len(wave)):
        change += (latest[i] - before[i]) * (latest[i] - before[i])
    if change > 0 and np.isfinite(change):
        share = real(r.stir) / np.sqrt(change)
        for i in range(len(wave)):
            wave[i] += share * (latest[i] - before[i])
    for _ in range(rounds):
        analyse(wave, active, values, f)
        image[:] = 0
        synthesise(active, values, image, f)
        old, new = real(0.0), real(0.0)
        for i in range(len(wave)):
            old += wave[i] * wave[i]
            new += image[i] * image[i]
        if new > 0:
            found = np.sqrt(new / old)
            scale = 1 / np.sqrt(new)
            for i in range(len(wave)):
                wave[i] = scale * image[i]
    return found


@compiled
def _follow(canvas, past, drive, c, f):
    """Fill ``past``, a ring, with potentials after each step; times, and step times eigenvalue."""
    real, r = canvas.dtype.type, c.rules
    row = f.columns * f.features
    mean, active = np.empty_like(drive), no_active(drive, f)
    found, residual, last = np.empty(row, drive.dtype), canvas.copy(), canvas.copy()
    wave = canvas / max(np.max(np.abs(canvas)), real(1e-30))
    for y in range(f.rows):
        analyse_row(canvas, y, drive[y * row : (y + 1) * row], f)
    times, products = [0.0], [0.0]
    stiffness = _coarse(c.eigenvalue)
    size = r.first / np.sqrt(stiffness) * c.loose
    growth = 1 + r.growth * min(1.0, c.time / 2) ** 2
    steepest, crowd, k = 1.0, 0, 0
    while times[k] < c.time * (1 - 1e-9):
        due = k % r.often == 0
        if k == 0:
            past[0] = drive
        while True:
            size = min(size, longest(times[k], c.time, steepest, c.loose, r))
            left = c.time - times[k]
            taken = left / np.ceil(left / size) if left < 4 * size else size
            product = taken * steepest
            _mean_code(past, k, points(k, _latest(times, k), taken, product, r), mean, c)
            count = list_active(mean, active, f)
            crowded = count > r.crowd * crowd
            if count == 0 or not (due or crowded):
                break
            # a step must be short enough for the neurons that are active in it
            bent = _steepest(wave, residual, last, active, r.rounds if crowded else 1, r, f)
            steepest, due, crowd = min(_coarse(r.margin * bent), stiffness), False, max(count, crowd)
            if taken * steepest <= product:
                break
        if k == 0:
            past[0] = 0
        last, residual = residual, last
        residual[:] = 0
        synthesise(active, active.values, residual, f)
        for i in range(len(residual)):
            residual[i] = canvas[i] - residual[i]
        decay, gain = real(np.exp(-taken)), real(-np.expm1(-taken))
        now, then = past[k % len(past)], past[(k + 1) % len(past)]
        for y in range(f.rows):
            analyse_row(residual, y, found, f)
            before_row, mean_row = now[y * row : (y + 1) * row], mean[y * row : (y + 1) * row]
            after_row = then[y * row : (y + 1) * row]
            for i in range(row):
                after_row[i] = decay * before_row[i] + gain * (found[i] + mean_row[i])
        k += 1
        times.append(times[k - 1] + taken)
        products.append(product)
        size *= growth
    return times, products


@compiled
def _code_after(canvas, code, c, f):
    """The code at the end, in ``code``; how many steps that took."""
    past, drive = np.empty((KEPT, len(code)), code.dtype), np.empty_like(code)
    times, _ = _follow(canvas, past, drive, c, f)
    answer = past[(len(times) - 1) % KEPT]
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
    times, products = _follow(canvas, past, drive, c, f)
    floor, level, half = real(c.low), real(c.lam), real(0.5)
    mean, outer = np.empty_like(code), np.empty_like(code)
    some, all_ = no_active(code, f), no_active(code, f)
    image, residual, total = np.empty_like(canvas), np.empty_like(canvas), np.zeros_like(canvas)
    inner = np.empty_like(code)
    # derivatives in the potentials after steps k + 1, k, ..., k - 3; index 0 stands for the drive
    known = np.zeros((KEPT + 1, len(code)), code.dtype)
    for i in range(len(code)):
        if code[i] != 0:
            known[0, i] = gradient[i]
    for k in range(steps - 1, -1, -1):
        taken = times[k + 1] - times[k]
        paths = points(k, _latest(times, k), taken, products[k + 1], c.rules)
        if k == 0:
            past[0] = drive
        _mean_code(past, k, paths, mean, c)
        decay, gain = real(np.exp(-taken)), real(-np.expm1(-taken))
        outer[:] = known[0]
        known[0] = known[1]
        known[1] = known[2]
        known[2] = known[3]
        known[3] = known[4]
        known[4] = 0
        if k > 0:
            here = known[0]
            for i in range(len(code)):
                here[i] += decay * outer[i]
        outer *= gain
        list_active(outer, all_, f)
        count = list_active(mean, some, f)
        image[:] = 0
        synthesise(all_, all_.values, image, f)
        total += image
        if len(slopes) > 0:
            residual[:] = 0
            synthesise(some, some.values, residual, f)
            for i in range(len(canvas)):
                residual[i] = canvas[i] - residual[i]
            collect(residual, all_, all_.values, slopes, f)
            collect(image, some, -some.values, slopes, f)
        analyse(image, some, inner, f)
        for j in range(count):
            i = some.neurons[j]
            value = half * (outer[i] - inner[j])
            p, q, r, s = past[k, i], past[max(k - 1, 0), i], past[max(k - 2, 0), i], past[max(k - 3, 0), i]
            for w in paths:
                potential = real(w[0]) * p + real(w[1]) * q + real(w[2]) * r + real(w[3]) * s
                if _threshold(potential, floor, level) != 0:
                    known[0, i] += real(w[0]) * value
                    known[1, i] += real(w[1]) * value
                    known[2, i] += real(w[2]) * value
                    known[3, i] += real(w[3]) * value
        if 0 < k < KEPT:
            known[k] = 0  # the rest state
    list_active(known[0], all_, f)
    synthesise(all_, all_.values, total, f)
    if len(slopes) > 0:
        collect(canvas, all_, all_.values, slopes, f)
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
