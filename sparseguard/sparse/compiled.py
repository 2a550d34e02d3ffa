"""One image at a time in one core's cache: the minimiser of eq. 1 and its implicit derivative, compiled.

A code of an image, its residual and the dictionary fit into a core's cache, so that an iteration costs little more than
its products, and only as many of these as are needed: synthesis visits active neurons alone, and so does all of the
derivative. Each image ends by itself, whatever the others of its batch do. Cores share the images.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from . import simd
from .operators import Size

Array = NDArray[Any]
TILE = 7
"""Code positions whose drives are computed at once: what 32 vector registers hold (benchmarks/sparse_coding.py)."""
LANES = 8
"""Elements of a vector."""
MOST_PARTS = 5
"""Most vectors of a feature's row that are summed at once."""
MOST_STEPS = 500
"""Of conjugate gradients."""
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "nnan"}}


class Sizes(NamedTuple):
    """Of one image: canvas rows of ``line`` elements, ``columns`` code positions a row, and so on, in elements."""

    channels: int
    line: int
    rows: int
    columns: int
    features: int
    down: int
    """Step between code rows: the stride times the line."""
    right: int
    """Step between code columns."""
    height: int
    """Rows of a feature."""
    reach: int
    """Elements of a feature's row, up to whole vectors."""


class Kernels(NamedTuple):
    """Compiled functions; see where they are made."""

    minimise: Callable[..., Any]
    differentiate: Callable[..., Any]
    correlate: Callable[..., Any]


def _per_image(call: Callable[[int], Any], count: int) -> list[Any]:
    """``call`` for each image, on as many cores as torch uses."""
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        return [call(i) for i in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, range(count)))


@lru_cache(maxsize=None)
def _kernels(tile: int, vectors: int, lanes: int, parts: int, nonneg: bool) -> Kernels:
    """``minimise`` and ``differentiate`` for these register tiles."""
    correlate, spread_out, inner = simd.correlate(tile, vectors, lanes), simd.spread_out(parts, LANES), simd.inner(parts, LANES)
    width, part = vectors * lanes, parts * LANES

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def drive_row(image, y, weights, offsets, drive, s):  # type: ignore[no-untyped-def]
        taps = len(offsets)
        for block in range(s.features // width):
            for first in range(0, s.columns, tile):
                x = min(first, s.columns - tile)
                correlate(
                    image, y * s.down + x * s.right, s.right, offsets, weights, block * taps * width,
                    drive, x * s.features + block * width, s.features,
                )  # fmt: skip

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def list_active(code, places, features, values, sign, s):  # type: ignore[no-untyped-def]
        """Where neurons are active: ``features[places[p]:places[p + 1]]`` at position p, and their values."""
        count = 0
        for p in range(s.rows * s.columns):
            places[p] = count
            here = code[p * s.features : (p + 1) * s.features]
            size = code.dtype.type(0.0)
            for f in range(s.features):
                size += abs(here[f])
            if size > 0:
                for f in range(s.features):
                    if here[f] != 0:
                        features[count], values[count] = f, sign * here[f]
                        count += 1
        places[s.rows * s.columns] = count
        return count

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def synthesise(values, places, features, atoms, image, s):  # type: ignore[no-untyped-def]
        """Add the listed neurons' features to an image."""
        step = s.height * s.reach
        for p in range(s.rows * s.columns):
            if places[p] < places[p + 1]:
                corner = (p // s.columns) * s.down + (p % s.columns) * s.right
                for ky in range(s.height):
                    for first in range(0, s.reach, part):
                        spread_out(
                            values, features, places[p], places[p + 1], atoms, ky * s.reach + first, step,
                            image, corner + ky * s.line + first,
                        )  # fmt: skip

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def analyse(image, places, features, atoms, values, s):  # type: ignore[no-untyped-def]
        """The drives of the listed neurons."""
        for p in range(s.rows * s.columns):
            corner = (p // s.columns) * s.down + (p % s.columns) * s.right
            for k in range(places[p], places[p + 1]):
                atom = features[k] * s.height * s.reach
                values[k] = inner(image, corner, s.line, atoms, atom, s.reach, s.height, s.reach // part)

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def minimise(canvas, code, weights, offsets, atoms, s, lam, safe_step, bold, iterations, tol):  # type: ignore[no-untyped-def]
        """See :func:`.minimum.fista`; ``code`` is the start, and the answer. The residual, gap and iterations."""
        row, half = s.columns * s.features, canvas.dtype.type(0.5)
        drive, high = np.empty(row, canvas.dtype), np.zeros(row, canvas.dtype)
        new = np.zeros_like(code)
        places = np.empty(s.rows * s.columns + 1, np.int64)
        features = np.empty(len(code) + 1, np.int64)
        values = np.empty(len(code) + 1, code.dtype)
        residual = canvas.copy()
        list_active(code, places, features, values, -1, s)
        synthesise(values, places, features, atoms, residual, s)
        ahead, next_residual = residual.copy(), np.empty_like(canvas)
        previous, last = new, next_residual
        previous[:] = code
        last[:] = residual
        power = canvas.dtype.type(0.0)
        for i in range(len(canvas)):
            power += canvas[i] * canvas[i]
        power = max(half * power, canvas.dtype.type(1e-30))
        mass = canvas.dtype.type(0.0)
        for i in range(len(code)):
            mass += abs(code[i])
        step, momentum, beyond, dual = bold * safe_step, 1.0, 0.0, -np.inf
        gap, taken = np.inf, 0
        while True:
            product, square, left = canvas.dtype.type(0.0), canvas.dtype.type(0.0), canvas.dtype.type(0.0)
            b = canvas.dtype.type(beyond)
            for i in range(len(canvas)):
                ahead[i] = residual[i] + b * (residual[i] - last[i])
            for i in range(len(canvas)):
                product += canvas[i] * ahead[i]
                square += ahead[i] * ahead[i]
                left += residual[i] * residual[i]
            moved, uphill = canvas.dtype.type(0.0), canvas.dtype.type(0.0)
            high[:] = 0
            new_mass = canvas.dtype.type(0.0)
            length, limit = canvas.dtype.type(step), canvas.dtype.type(step * lam)
            for y in range(s.rows):
                drive_row(ahead, y, weights, offsets, drive, s)
                now, before = code[y * row : (y + 1) * row], previous[y * row : (y + 1) * row]
                for i in range(row):
                    here = now[i]
                    start = here + b * (here - before[i])
                    value = start + length * drive[i]
                    if nonneg:
                        found = max(value - limit, canvas.dtype.type(0.0))
                        high[i] = max(high[i], drive[i])
                    else:
                        found = value - min(max(value, -limit), limit)
                        high[i] = max(high[i], abs(drive[i]))
                    before[i] = found
                    moved += (found - start) * (found - start)
                    uphill += (found - start) * (found - here)
                    new_mass += abs(found)
            scale = min(lam / max(high.max(), 1e-30), 1.0)
            dual = max(dual, scale * product - 0.5 * scale * scale * square)
            gap = max(0.5 * left + lam * mass - dual, 0.0) / power
            if gap <= tol or taken == iterations:
                break
            taken += 1
            list_active(previous, places, features, values, -1, s)
            last[:] = canvas
            synthesise(values, places, features, atoms, last, s)
            changed = canvas.dtype.type(0.0)
            for i in range(len(canvas)):
                changed += (ahead[i] - last[i]) * (ahead[i] - last[i])
            curvature = changed / max(moved, 1e-30)
            if step * curvature > 1:
                step = max(0.9 / curvature, safe_step)
            if uphill < 0:
                momentum = 1.0
            following = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
            beyond = 0.0 if uphill < 0 else (momentum - 1) / following
            momentum, mass = following, new_mass
            code, previous = previous, code
            residual, last = last, residual
        return code, residual, gap, taken

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def collect(image, values, places, features, atoms, s):  # type: ignore[no-untyped-def]
        """Add ``value * image patch`` to the feature of each listed neuron in ``atoms``."""
        for p in range(s.rows * s.columns):
            corner = (p // s.columns) * s.down + (p % s.columns) * s.right
            for k in range(places[p], places[p + 1]):
                for ky in range(s.height):
                    for first in range(0, s.reach, part):
                        spread_out(
                            values, features, k, k + 1, image, corner + ky * s.line + first, 0,
                            atoms, (features[k] * s.height + ky) * s.reach + first,
                        )  # fmt: skip

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def differentiate(  # type: ignore[no-untyped-def]
        code, residual, gradient, atoms, s, damping, accuracy, most, image, slopes, to_dictionary
    ):
        """Implicit derivative at the minimum: adds that in the canvas to ``image``, that in the features to ``slopes``.

        Conjugate gradients on the active neurons' Gram matrix, plus ``damping`` times the identity.
        """
        places = np.empty(s.rows * s.columns + 1, np.int64)
        features, values = np.empty(len(code) + 1, np.int64), np.empty(len(code) + 1, code.dtype)
        count = list_active(code, places, features, values, -1, s)
        rest, solution, product = np.empty(count, code.dtype), np.zeros(count, code.dtype), np.empty(count, code.dtype)
        for p in range(s.rows * s.columns):
            for k in range(places[p], places[p + 1]):
                rest[k] = gradient[p * s.features + features[k]]
        direction = rest.copy()
        power = np.dot(rest, rest)
        goal = accuracy * accuracy * power
        for _ in range(most):
            if power <= goal:
                break
            image[:] = 0
            synthesise(direction, places, features, atoms, image, s)
            analyse(image, places, features, atoms, product, s)
            product += code.dtype.type(damping) * direction
            length = power / max(np.dot(direction, product), 1e-30)
            solution += length * direction
            rest -= length * product
            before, power = power, np.dot(rest, rest)
            direction *= power / max(before, 1e-30)
            direction += rest
        image[:] = 0
        synthesise(solution, places, features, atoms, image, s)
        if to_dictionary:
            collect(residual, solution, places, features, slopes, s)
            collect(image, values, places, features, slopes, s)

    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def correlate_active(image, code, slopes, s):  # type: ignore[no-untyped-def]
        """Adds the derivative of ``<code, analysis(image)>`` in the features to ``slopes``."""
        places = np.empty(s.rows * s.columns + 1, np.int64)
        features, values = np.empty(len(code) + 1, np.int64), np.empty(len(code) + 1, code.dtype)
        list_active(code, places, features, values, 1, s)
        collect(image, values, places, features, slopes, s)

    return Kernels(minimise, differentiate, correlate_active)


class CompiledBank:
    """The minimiser and derivatives for one dictionary, on the CPU.

    Args:
        dictionary: ``(F, C, kh, kw)``.
        stride: step between code positions.
        canvas: shape ``(N, C, Hc, Wc)``.
        nonneg: codes are >= 0.
    """

    def __init__(self, dictionary: Tensor, stride: Size, canvas: torch.Size, nonneg: bool = True) -> None:
        self.shape = features, channels, kh, kw = tuple(dictionary.shape)
        _, _, height, width = canvas
        rows, columns = (height - kh) // stride[0] + 1, (width - kw) // stride[1] + 1
        lanes, vectors = (LANES, 1) if features <= LANES else (2 * LANES, 1 if features <= 2 * LANES else 2)
        block = lanes * vectors
        padded, row = _whole(features, block), _whole(kw * channels, LANES)
        line = width * channels
        self.sizes = Sizes(
            channels, line, rows, columns, padded, stride[0] * line, stride[1] * channels, kh, row
        )  # fmt: skip
        weights: Array = dictionary.detach().permute(0, 2, 3, 1).numpy()
        self.atoms = np.zeros((padded, kh, row), weights.dtype)
        self.atoms[:features, :, : kw * channels] = weights.reshape(features, kh, kw * channels)
        taps = self.atoms[:, :, : kw * channels].reshape(padded // block, block, kh * kw * channels)
        self.weights = np.ascontiguousarray(taps.transpose(0, 2, 1))
        self.offsets = (np.arange(kh)[:, None] * line + np.arange(kw * channels)).ravel().astype(np.int64)
        self.length, self.slack = height * line, row - kw * channels
        parts = max(n for n in range(1, MOST_PARTS + 1) if row // LANES % n == 0)
        self.kernels = _kernels(min(TILE, columns) if columns >= TILE else 1, vectors, lanes, parts, nonneg)

    def minimise(
        self, canvas: Tensor, lam: float, safe_step: float, bold: float, iterations: int, tol: float,
        start: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, int]:  # fmt: skip
        """Codes, their residuals, their gaps ``(N,)`` and the most iterations that an image took."""
        images, codes = self._images(canvas), self._codes(len(canvas), start)

        def one(i: int) -> tuple[Array, Array, float, int]:
            found: tuple[Array, Array, float, int] = self.kernels.minimise(
                images[i], codes[i], self.weights.ravel(), self.offsets, self.atoms.ravel(), self.sizes,
                lam, safe_step, bold, iterations, tol,
            )  # fmt: skip
            codes[i] = found[0]
            images[i] = found[1]
            return found

        found = _per_image(one, len(canvas))
        gaps = torch.tensor([gap for _, _, gap, _ in found], dtype=canvas.dtype)
        return self._code_tensor(codes), self._image_tensor(images, canvas), gaps, max(taken for *_, taken in found)

    def differentiate(
        self, code: Tensor, residual: Tensor, gradient: Tensor, damping: float, accuracy: float, to_dictionary: bool
    ) -> tuple[Tensor, Tensor]:
        """Derivatives in canvas and dictionary of a minimiser with ``residual``, for a ``gradient`` in its code."""
        codes, slopes = self._codes(len(code), code), self._codes(len(code), gradient)
        residuals = self._images(residual)
        images = np.zeros_like(residuals)
        atoms = np.zeros((len(code) if to_dictionary else 1, self.atoms.size), codes.dtype)

        def one(i: int) -> None:
            self.kernels.differentiate(
                codes[i], residuals[i], slopes[i], self.atoms.ravel(), self.sizes, damping, accuracy, MOST_STEPS,
                images[i], atoms[i if to_dictionary else 0], to_dictionary,
            )  # fmt: skip

        _per_image(one, len(code))
        return self._image_tensor(images, residual), self._dictionary_tensor(atoms)

    def filter_gradient(self, canvas: Tensor, code: Tensor) -> Tensor:
        """Derivative of ``<code, analysis(canvas)>`` in the dictionary: ``(F, C, kh, kw)``."""
        images, codes = self._images(canvas), self._codes(len(code), code)
        atoms = np.zeros((len(code), self.atoms.size), codes.dtype)
        _per_image(lambda i: self.kernels.correlate(images[i], codes[i], atoms[i], self.sizes), len(code))
        return self._dictionary_tensor(atoms)

    def _images(self, canvas: Tensor) -> Array:
        """Flat, channels last, with room for whole vectors at the end: ``(N, Hc * Wc * C + slack)``."""
        images = np.zeros((len(canvas), self.length + self.slack), self.atoms.dtype)
        images[:, : self.length] = canvas.detach().permute(0, 2, 3, 1).flatten(1).numpy()
        return images

    def _codes(self, count: int, code: Tensor | None) -> Array:
        s = self.sizes
        codes = np.zeros((count, s.rows, s.columns, s.features), self.atoms.dtype)
        if code is not None:
            codes[..., : self.shape[0]] = code.detach().permute(0, 2, 3, 1).numpy()
        return codes.reshape(count, -1)

    def _code_tensor(self, codes: Array) -> Tensor:
        s = self.sizes
        padded = torch.from_numpy(codes).view(len(codes), s.rows, s.columns, s.features)
        return padded[..., : self.shape[0]].permute(0, 3, 1, 2)

    def _image_tensor(self, images: Array, like: Tensor) -> Tensor:
        count, channels, height, width = like.shape
        flat = torch.from_numpy(images)[:, : self.length]
        return flat.reshape(count, height, width, channels).permute(0, 3, 1, 2)

    def _dictionary_tensor(self, atoms: Array) -> Tensor:
        features, channels, kh, kw = self.shape
        rows = atoms.sum(0).reshape(self.atoms.shape)[:features, :, : kw * channels]
        return torch.from_numpy(np.ascontiguousarray(rows)).view(features, kh, kw, channels).permute(0, 3, 1, 2)


def _whole(count: int, block: int) -> int:
    """The multiple of ``block`` that is not below ``count``."""
    return -(-count // block) * block
