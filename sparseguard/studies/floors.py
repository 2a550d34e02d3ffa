"""What pictures that show nothing score under the true metrics and under the released ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import metrics as measure
from ..data import load_data
from ..normalisation import unstandardised

PICTURES = ("unit noise", "mean image", "zeros")


@dataclass(frozen=True)
class Floor:
    """One picture in the place of every reconstruction of a seed's private images."""

    picture: str
    seed: int
    psnr: float
    ssim: float
    released: dict[str, float]
    """As :func:`sparseguard.metrics.as_released` gives them."""


def floors(dataset: str, scale: str, seeds: list[int]) -> list[Floor]:
    """Every picture of :data:`PICTURES`, a seed after the other; nothing is trained.

    Unit noise and zeros are in standardised units, as the released code's networks answer: noise of their standard
    deviation around the mean pixel, and that pixel everywhere.
    """
    found = []
    for seed in seeds:
        split = load_data(dataset, scale, seed)
        images = split.train_images[:]
        for name, picture in _pictures(images, split.attack_images[:], seed).items():
            psnr, ssim = (float(metric(images, picture).mean()) for metric in (measure.psnr, measure.ssim))
            found.append(Floor(name, seed, psnr, ssim, measure.as_released(images, picture)))
    return found


def _pictures(images: Tensor, known: Tensor, seed: int) -> dict[str, Tensor]:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    shown = unstandardised(noise), known.mean(0, keepdim=True).expand_as(images), unstandardised(0 * noise)
    return dict(zip(PICTURES, shown, strict=True))
