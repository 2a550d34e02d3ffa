"""Analysis and synthesis convolutions on the zero-padded canvas, and what is computed from them.

The canvas of an ``(N, C, H, W)`` input is the input padded with ``kernel_size // 2`` zeros on every side. The
reconstruction of a code is its transposed convolution with the dictionary, not cropped: it has the canvas's size. With
this convention the two operators are adjoint, and the lateral competition of eq. 2, written with the feature
similarity kernel and zero padding, equals ``analysis(synthesis(code))``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def pad_to_canvas(x: Tensor, kernel: Size) -> Tensor:
    """Zero-pad ``(N, C, H, W)`` to ``(N, C, H + kh - 1, W + kw - 1)``; kernel sizes are odd."""
    kh, kw = kernel
    return F.pad(x, (kw // 2, kw // 2, kh // 2, kh // 2))


def analysis(canvas: Tensor, dictionary: Tensor, stride: Size) -> Tensor:
    """Correlate a canvas with each feature: ``(N, C, Hc, Wc) -> (N, F, ceil(H/stride), ceil(W/stride))``."""
    return F.conv2d(canvas, dictionary, stride=stride)


def synthesis(code: Tensor, dictionary: Tensor, stride: Size, canvas_size: Size) -> Tensor:
    """Adjoint of :func:`analysis`: ``(N, F, h, w) -> (N, C, *canvas_size)``."""
    h, w = code.shape[-2:]
    kh, kw = dictionary.shape[-2:]
    rest = (canvas_size[0] - (h - 1) * stride[0] - kh, canvas_size[1] - (w - 1) * stride[1] - kw)
    return F.conv_transpose2d(code, dictionary, stride=stride, output_padding=rest)


def energy(canvas: Tensor, code: Tensor, dictionary: Tensor, lam: float, stride: Size) -> Tensor:
    """Equation 1, one value an image: ``0.5 ||canvas - synthesis(code)||^2 + lam ||code||_1``, shape ``(N,)``."""
    residual = canvas - synthesis(code, dictionary, stride, (canvas.shape[-2], canvas.shape[-1]))
    return 0.5 * residual.flatten(1).square().sum(1) + lam * code.flatten(1).abs().sum(1)


def relative_gap(
    canvas: Tensor, code: Tensor, dictionary: Tensor, lam: float, stride: Size, nonneg: bool = True
) -> Tensor:
    """Duality gap of eq. 1 divided by ``0.5 ||canvas||^2`` (the energy of the zero code), shape ``(N,)``.

    The gap bounds how far the energy lies above the minimum. A zero canvas has gap 0 at the zero code.
    """
    residual = canvas - synthesis(code, dictionary, stride, (canvas.shape[-2], canvas.shape[-1]))
    dual = dual_value(canvas, residual, analysis(residual, dictionary, stride), lam, nonneg)
    return gap_between(canvas, residual, code, lam, dual)


def dual_value(canvas: Tensor, residual: Tensor, drive: Tensor, lam: float, nonneg: bool) -> Tensor:
    """A lower bound on the minimum of eq. 1, ``(N,)``, from any ``residual`` and its ``drive = analysis(residual)``.

    The residual, scaled until no feature correlates with it by more than ``lam``, is dual feasible.
    """
    peak = (drive if nonneg else drive.abs()).amax((1, 2, 3))
    scale = (lam / peak.clamp_min(1e-30)).clamp(0, 1)
    return scale * (canvas * residual).sum((1, 2, 3)) - 0.5 * (scale * scale) * residual.square().sum((1, 2, 3))


def gap_between(canvas: Tensor, residual: Tensor, code: Tensor, lam: float, dual: Tensor) -> Tensor:
    """Energy of ``code``, whose residual is given, above a lower bound: relative to that of the zero code, ``(N,)``."""
    primal = 0.5 * residual.square().sum((1, 2, 3)) + lam * code.abs().sum((1, 2, 3))
    return (primal - dual).clamp_min(0) / (0.5 * canvas.square().sum((1, 2, 3))).clamp_min(1e-30)


@torch.no_grad()
def largest_eigenvalue(dictionary: Tensor, canvas_size: Size) -> float:
    """Upper bound on the largest eigenvalue of ``synthesis`` after ``analysis``.

    Of the circular one it is tight to 2 % with 3 features or channels, whichever are fewer, and to 4 % with 16.
    On a grid as large as the canvas the operators are a restriction of a circular convolution, which the Fourier
    transform turns into one small matrix A a frequency; ``trace(A^64)^(1/64)`` bounds its eigenvalue from above.
    A stride only removes code positions, so the bound holds for every stride. The last dictionaries' are kept.
    """
    scale = float(dictionary.abs().max())
    if scale == 0.0:
        return 0.0
    unit = (dictionary / scale).detach().float().cpu().contiguous()
    return scale * scale * _largest_eigenvalue(unit.numpy().tobytes(), tuple(unit.shape), canvas_size)


@lru_cache(maxsize=16)
def _largest_eigenvalue(values: bytes, shape: tuple[int, ...], canvas_size: Size) -> float:
    """Of a dictionary in single precision."""
    features, channels = shape[:2]
    dictionary = torch.frombuffer(bytearray(values), dtype=torch.float32).view(shape)
    spectrum = torch.fft.rfft2(dictionary, s=canvas_size).flatten(2).permute(2, 0, 1)
    # as real matrices of twice the size, which multiply faster; the eigenvalues are the same, twice each
    real = torch.cat([torch.cat([spectrum.real, -spectrum.imag], 2), torch.cat([spectrum.imag, spectrum.real], 2)], 1)
    gram = real.mT @ real if channels <= features else real @ real.mT
    smaller, power, exponent = min(channels, features), 1, 0.0  # A^power is exp(exponent) times gram
    while True:
        size = gram.square().sum((1, 2))  # between 2 and 2 * smaller times the square of the eigenvalue
        largest = float(size.max())
        if power == 32 or smaller == 1:
            return 1.0001 * math.exp((exponent + 0.5 * math.log(largest / 2)) / power)
        gram = gram[size >= largest / smaller] / math.sqrt(largest)  # where the largest eigenvalue can still be
        gram, power, exponent = gram @ gram, 2 * power, 2 * exponent + math.log(largest)
