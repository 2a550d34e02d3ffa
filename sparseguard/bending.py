"""Copies of images, bent a little: more of the same kind, where there are few."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION, SCALING, SHEAR, SHIFT = 0.25, 0.15, 0.2, 0.15
"""Largest rotation (radians), change of size (logarithm), shear, and shift (of half the image) of a copy."""


def bend(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotated, resized, sheared and shifted copies, one of each image; the border is continued.

    >>> bend(torch.rand(3, 1, 28, 28), torch.Generator()).shape
    torch.Size([3, 1, 28, 28])
    """
    return bent(images, warps(len(images), generator))


def warps(count: int, generator: torch.Generator) -> Tensor:
    """An affine map for each copy, as the grid of what it sees is made with: ``(count, 2, 3)``."""

    def drawn(*shape: int) -> Tensor:
        return 2 * torch.rand(count, *shape, generator=generator) - 1

    angle, shear, size, shift = drawn() * ROTATION, drawn() * SHEAR, (drawn(2) * SCALING).exp(), drawn(2) * SHIFT
    rows = (
        torch.stack([angle.cos() * size[:, 0], shear - angle.sin() * size[:, 0], shift[:, 0]], 1),
        torch.stack([angle.sin() * size[:, 1], angle.cos() * size[:, 1], shift[:, 1]], 1),
    )
    return torch.stack(rows, 1)


def bent(images: Tensor, maps: Tensor) -> Tensor:
    """Images under :func:`warps`, one each; the border is continued."""
    grid = F.affine_grid(maps.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)
