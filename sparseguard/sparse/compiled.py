"""The two operators on one image at a time, compiled, in one core's cache.

A code of an image, its residual and the dictionary fit into a core's cache, so that what is done with them costs little
more than the products, and only the products that are needed: synthesis visits active neurons alone, and so does
analysis where only their drives are wanted. Cores share the images of a batch, and each image ends by itself, whatever
the others do. :class:`CompiledBank` prepares a dictionary; functions that are compiled take flat arrays of one image.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from . import simd
from .operators import Size

Array = NDArray[Any]
config: Any = numba.config
Lengths = tuple[int, ...]
"""A size that is known when compiling; see :mod:`.simd`."""
TILES, WIDE, PART = (14, 7, 1), 2, 5
"""What is summed in registers at once: positions of an analysis, vectors of features each, vectors of a patch's row
(measured, benchmarks/tiles.py)."""
PATCH = 28
"""Vectors of a patch that fit into registers as a whole."""
LANES = (0,) * 8
"""Elements of a vector."""


@cache
def cache_folder(sources: Path = Path(__file__).parent) -> str:
    """Of compiled code, named after the sources' hash: numba looks for changes in a function's own file only."""
    code = b"".join(path.read_bytes() for path in sorted(sources.glob("*.py")))
    digest = hashlib.sha256(code).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return str(root / "sparseguard" / "compiled" / digest)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for one core, and keep the result on disk where that is possible.

    Sums may be taken in another order, and NaN does not occur: the layer refuses it.
    """
    fast = {"contract", "reassoc", "nsz", "nnan"}
    before, config.CACHE_DIR = config.CACHE_DIR, cache_folder()
    try:
        return njit(nogil=True, error_model="numpy", fastmath=fast, cache=True)(function)
    except RuntimeError:  # no folder can be written to
        return njit(nogil=True, error_model="numpy", fastmath=fast)(function)
    finally:
        config.CACHE_DIR = before


class Filters(NamedTuple):
    """A dictionary and the sizes of one image, all in elements of flat arrays with channels last.

    ``weights`` are for :func:`.simd.correlate`, with the image's ``offsets``; ``atoms`` hold each feature row by row,
    each row filled up with zeros to ``reach``. A code has ``rows`` times ``columns`` positions with ``features``
    neurons each, which are the dictionary's filled up to whole blocks. One code row or column further, the image's
    patch starts ``down`` or ``right`` elements further; an image row has ``line`` elements, a feature ``height`` rows.
    """

    weights: Array
    offsets: Array
    atoms: Array
    features: int
    rows: int
    columns: int
    line: int
    down: int
    right: int
    height: int
    reach: int
    tile: Lengths
    """Positions at once."""
    vectors: Lengths
    """Of features at once."""
    lanes: Lengths
    """Of each of them."""
    block: Lengths
    """Rows of a patch at once."""
    part: Lengths
    """Vectors of each at once."""
    wide: Lengths
    """Elements of each of those."""


class Active(NamedTuple):
    """The neurons of a code that are not zero, position after position, and their values.

    Those of a position end, in both lists, at the position's entry of ``ends``.
    """

    neurons: Array
    values: Array
    ends: Array


@compiled
def analyse_row(image, y, drive, f):
    """Drives of all neurons of code row ``y``."""
    taps, width = len(f.offsets), len(f.vectors) * len(f.lanes)
    for block in range(f.features // width):
        for first in range(0, f.columns, len(f.tile)):
            x = min(first, f.columns - len(f.tile))  # the last tile may overlap the one before
            simd.correlate(
                image, y * f.down + x * f.right, f.right, f.offsets, f.weights, block * taps * width,
                drive, x * f.features + block * width, f.features, f.tile, f.vectors, f.lanes,
            )  # fmt: skip


@compiled
def no_active(code, f):
    """Room for a list."""
    count = len(code) + len(LANES)  # they are written eight at a time
    return Active(np.empty(count, np.int32), np.empty(count, code.dtype), np.empty(f.rows * f.columns, np.int32))


@compiled
def list_active(code, active, f):
    """Fill the list; how many there are."""
    count = 0
    for position in range(f.rows * f.columns):
        start = position * f.features
        for first in range(start, start + f.features, len(LANES)):
            count = simd.append_active(code, first, active.neurons, count)
        active.ends[position] = count
    for k in range(count):
        active.values[k] = code[active.neurons[k]]
    return count


def _at_positions(inner: Any) -> Any:
    """``inner`` of :mod:`.simd`, at all positions that have listed neurons."""

    @compiled
    def function(active, values, features, image, f):
        size, height, width = f.height * f.reach, len(f.block), len(f.part) * len(f.wide)
        for y in range(0, f.height, height):
            for x in range(0, f.reach, width):
                start = 0
                for position in range(f.rows * f.columns):
                    end = active.ends[position]
                    if end > start:
                        corner = position // f.columns * f.down + position % f.columns * f.right + y * f.line + x
                        inner(
                            values, active.neurons, start, end, position * f.features, features, size,
                            y * f.reach + x, f.reach, image, corner, f.line, f.block, f.part, f.wide,
                        )  # fmt: skip
                    start = end

    return function


_add_features, _add_inner, _add_patch = (
    _at_positions(inner) for inner in (simd.add_features, simd.add_inner, simd.add_patch)
)


@compiled
def synthesise(active, values, image, f):
    """Add the features of listed neurons to an image."""
    _add_features(active, values, f.atoms, image, f)


@compiled
def analyse(image, active, values, f):
    """Drives of listed neurons."""
    values[:] = 0
    _add_inner(active, values, f.atoms, image, f)


@compiled
def collect(image, active, values, slopes, f):
    """Add to ``slopes``, shaped as ``atoms``, the derivative of ``sum(values * drives of listed neurons)``."""
    _add_patch(active, values, slopes, image, f)


@compiled
def _filter_gradient(image, code, slopes, f):
    active = no_active(code, f)
    list_active(code, active, f)
    collect(image, active, active.values, slopes, f)


class CompiledBank:
    """One dictionary, prepared for canvases of one size, on the CPU.

    Args:
        dictionary: ``(F, C, kh, kw)``, float32 or float64.
        stride: step between code positions.
        size: height and width of the canvases.
    """

    def __init__(self, dictionary: Tensor, stride: Size, size: Size) -> None:
        self.shape = features, channels, kh, kw = tuple(dictionary.shape)
        self.size = size
        rows, columns = ((n - k) // s + 1 for n, k, s in zip(size, (kh, kw), stride))
        lanes = LANES if features <= len(LANES) else 2 * LANES
        vectors = 1 if features <= len(lanes) else WIDE
        tile = min((n for n in TILES if n <= columns), key=lambda n: _whole(columns, n))
        block, line = len(lanes) * vectors, size[1] * channels
        wide = LANES if kh * _whole(kw * channels, len(LANES)) <= PATCH * len(LANES) else 2 * LANES
        reach = _whole(kw * channels, len(wide))
        fits = kh * reach <= PATCH * len(wide)
        part = reach // len(wide) if fits else 1 if reach % (PART * len(wide)) else PART
        # torch's memory starts with a cache line, so that a vector does not lie in two
        atoms = torch.zeros(_whole(features, block), kh, reach, dtype=dictionary.dtype).numpy()
        atoms[:features, :, : kw * channels] = _numpy(dictionary).transpose(0, 2, 3, 1).reshape(features, kh, -1)
        weights = atoms[:, :, : kw * channels].reshape(len(atoms) // block, block, -1).transpose(0, 2, 1)
        offsets = (np.arange(kh)[:, None] * line + np.arange(kw * channels)).ravel()
        self.filters = Filters(
            weights.ravel(), offsets.astype(np.int64), atoms.ravel(), len(atoms), rows, columns, line,
            stride[0] * line, stride[1] * channels, kh, reach,
            (0,) * tile, (0,) * vectors, lanes, (0,) * (kh if fits else 1), (0,) * part, wide,
        )  # fmt: skip
        self.slack = reach - kw * channels  # whole vectors reach that far beyond the last pixel

    def filter_gradient(self, canvas: Tensor, code: Tensor) -> Tensor:
        """Derivative of ``<code, analysis(canvas)>`` in the dictionary: ``(F, C, kh, kw)``."""
        images, codes, slopes = self.images(canvas), self.codes(code), self.slopes(len(code))
        each(len(code), lambda i: _filter_gradient(images[i], codes[i], slopes[i], self.filters))
        return self.dictionary_of(slopes)

    def images(self, canvas: Tensor) -> Array:
        """Flat copies of canvases ``(N, C, Hc, Wc)``, with zeros after the last pixel: ``(N, ...)``."""
        pixels = canvas[0].numel()
        flat = canvas.new_zeros(len(canvas), pixels + self.slack)
        flat[:, :pixels].unflatten(1, (*self.size, -1)).copy_(canvas.detach().movedim(1, 3))
        return _numpy(flat)

    def codes(self, code: Tensor) -> Array:
        """Flat copies of codes ``(N, F, h, w)``, with silent neurons beside the dictionary's: ``(N, ...)``."""
        f = self.filters
        codes = np.zeros((len(code), f.rows, f.columns, f.features), _numpy(code).dtype)
        codes[..., : self.shape[0]] = _numpy(code).transpose(0, 2, 3, 1)
        return codes.reshape(len(code), f.rows * f.columns * f.features)

    def slopes(self, count: int) -> Array:
        """Zeros for derivatives in the dictionary, one for each image: ``(N, ...)``."""
        return np.zeros((count, self.filters.atoms.size), self.filters.atoms.dtype)

    def code_of(self, codes: Array) -> Tensor:
        """Inverse of :meth:`codes`."""
        f = self.filters
        return torch.from_numpy(codes.reshape(-1, f.rows, f.columns, f.features)[..., : self.shape[0]]).movedim(3, 1)

    def canvas_of(self, images: Array) -> Tensor:
        """Inverse of :meth:`images`."""
        flat = images[:, : images.shape[1] - self.slack]
        return torch.from_numpy(flat.reshape(len(flat), *self.size, self.shape[1])).movedim(3, 1)

    def dictionary_of(self, slopes: Array) -> Tensor:
        """Sum over images of what :meth:`slopes` holds: ``(F, C, kh, kw)``."""
        features, channels, kh, kw = self.shape
        rows = slopes.sum(0).reshape(-1, kh, self.filters.reach)[:features, :, : kw * channels]
        return torch.from_numpy(rows.reshape(features, kh, kw, channels)).movedim(3, 1)


def each(count: int, call: Callable[[int], Any]) -> list[Any]:
    """``call`` with each image's number, on as many cores as torch uses."""
    numbers, found = iter(range(count)), [None] * count

    def work() -> None:
        for i in numbers:  # shared: a core takes the next image when it is done with one
            found[i] = call(i)

    others = min(torch.get_num_threads(), count) - 1
    with ThreadPoolExecutor(max(others, 1)) as pool:
        futures = [pool.submit(work) for _ in range(others)]
        work()
        for future in futures:
            future.result()
    return found


def _numpy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array


def _whole(count: int, block: int) -> int:
    """The multiple of ``block`` that is not below ``count``."""
    return -(-count // block) * block
