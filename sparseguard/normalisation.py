"""What stands between an image and the first layer: one normalisation for all images, or one for each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .sparse import standardize

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
"""Of MNIST's pixels in [0, 1]: what the released code of the paper standardises with, Fashion-MNIST too."""


def standardised(images: Tensor) -> Tensor:
    """Images in [0, 1] as the released code's networks see them; nothing is clipped."""
    return (images - MNIST_MEAN) / MNIST_STD


def unstandardised(images: Tensor) -> Tensor:
    """Back to the units of images in [0, 1]; nothing is clipped."""
    return images * MNIST_STD + MNIST_MEAN


class Standardize(nn.Module):
    """Per-image standardisation, as in front of a sparse layer: the control layers need the same one."""

    def forward(self, x: Tensor) -> Tensor:
        return standardize(x)


class Normalize(nn.Module):
    """Subtract a fixed mean and divide by a fixed standard deviation, both of the training set."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    @classmethod
    def of(cls, images: Tensor) -> Normalize:
        """By the mean and the standard deviation of these."""
        return cls(float(images.mean()), max(float(images.std()), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std
