"""PSNR and SSIM as the released code of the paper takes them, to stand beside the printed numbers and nowhere else.

They differ from :mod:`.image` in what they compare (standardised images, not clipped), in the peak (the range of the
*reconstruction*, 0 included) and in the mean (of batches, not of images): a faint reconstruction is punished without
bound and a wild one rewarded. Definitions of torchmetrics 1.2, as called there.
"""

from __future__ import annotations

import math
from statistics import mean

from torch import Tensor

from ..normalisation import standardised
from .frechet import row_frechet
from .image import similarity

BATCH = 64
"""Images that are compared at a time there."""


def released_psnr(original: Tensor, reconstruction: Tensor) -> float:
    """Of one batch ``(N, C, H, W)``, standardised: dB of the mean squared error under the reconstruction's range."""
    low, high = min(float(reconstruction.min()), 0.0), max(float(reconstruction.max()), 0.0)
    error = float((original.double() - reconstruction.double()).square().mean())
    if error == 0:
        return math.inf
    return -math.inf if high == low else 10 * math.log10((high - low) ** 2 / error)


def released_ssim(original: Tensor, reconstruction: Tensor) -> float:
    """Of one batch ``(N, C, H, W)``, standardised: the window of :func:`.ssim`, a data range of 1, nothing clipped."""
    return float(similarity(original.double(), reconstruction.double()).mean())


def as_released(originals: Tensor, reconstructions: Tensor, batch_size: int = BATCH) -> dict[str, float]:
    """The three numbers that the paper's tables print, as the released code takes them: means over batches.

    Args:
        originals, reconstructions: ``(N, C, H, W)`` in the units of images in [0, 1], not clipped.
        batch_size: images a batch.

    Returns:
        ``psnr_released`` (dB), ``ssim_released``, ``row_frechet_released`` (10^3). A last batch that is smaller counts
        as much as the others, as it does there.
    """
    parts = (map(standardised, images.split(batch_size)) for images in (originals, reconstructions))
    pairs = [*zip(*parts, strict=True)]
    return {
        "psnr_released": mean(released_psnr(a, b) for a, b in pairs),
        "ssim_released": mean(released_ssim(a, b) for a, b in pairs),
        "row_frechet_released": row_frechet(originals, reconstructions, batch_size),
    }
