"""PSNR and SSIM, one value an image, as scikit-image defines them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import SSIM_WINDOW


def _check(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"two batches (N, C, H, W) of one shape are compared, not {tuple(a.shape)}, {tuple(b.shape)}.")
    for images in (a, b):
        if not bool(torch.isfinite(images).all()):
            raise ValueError("images hold NaN or infinite values; metrics need finite ones.")
    return a.double().clamp(0, 1), b.double().clamp(0, 1)


def psnr(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB with a data range of 1: ``(N, C, H, W)`` twice, clipped to [0, 1] -> ``(N,)``.

    Infinite for an exact copy. ``skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1)``.
    """
    a, b = _check(originals, reconstructions)
    return -10 * (a - b).square().flatten(1).mean(1).log10()


def ssim(originals: Tensor, reconstructions: Tensor, gaussian_weights: bool = True) -> Tensor:
    """Structural similarity with a data range of 1: ``(N, C, H, W)`` twice, clipped to [0, 1] -> ``(N,)``.

    By default with the constants of Wang et al. (2004), which the paper cites: an 11x11 Gaussian window of sigma 1.5
    and population covariances, ``skimage.metrics.structural_similarity(a, b, data_range=1, gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False, channel_axis=...)``. ``gaussian_weights=False`` is scikit-image's default:
    a uniform 7x7 window and sample covariances.

    Raises:
        ValueError: shapes differ, values are not finite, or the images are smaller than the window.
    """
    return similarity(*_check(originals, reconstructions), gaussian_weights)


def similarity(a: Tensor, b: Tensor, gaussian_weights: bool = True) -> Tensor:
    """:func:`ssim` of what it is given, whatever its range: nothing is clipped."""
    size = SSIM_WINDOW if gaussian_weights else 7
    if min(a.shape[-2:]) < size:
        raise ValueError(f"SSIM needs images of at least {size} x {size} pixels, not {tuple(a.shape[-2:])}.")
    offsets = torch.arange(size, dtype=a.dtype, device=a.device) - size // 2
    window = torch.exp(-0.5 * (offsets / 1.5).square()) if gaussian_weights else torch.ones_like(offsets)
    window = window / window.sum()

    def local_mean(x: Tensor) -> Tensor:
        flat = x.reshape(-1, 1, *x.shape[-2:])
        flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
        return flat.view(*x.shape[:2], *flat.shape[-2:])

    unbiased = 1.0 if gaussian_weights else size**2 / (size**2 - 1)
    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a = unbiased * (local_mean(a * a) - mean_a.square())
    var_b = unbiased * (local_mean(b * b) - mean_b.square())
    cov = unbiased * (local_mean(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return (luminance * structure).flatten(1).mean(1)
