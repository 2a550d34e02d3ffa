"""Images of another size or another number of channels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Mode = Literal["grey", "rgb"]
MODES: dict[Mode, int] = {"grey": 1, "rgb": 3}
"""Channels."""
LUMA = 0.299, 0.587, 0.114
"""Shares of red, green and blue in grey (ITU-R BT.601), as Pillow has them."""


def coloured(images: Tensor, mode: Mode | None) -> Tensor:
    """Images ``(N, C, H, W)`` with the channels of a mode; of the same type.

    >>> coloured(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), "grey").item()
    76
    """
    if mode is None or images.shape[1] == MODES[mode]:
        return images
    if mode == "rgb":
        return images.repeat(1, 3, 1, 1)
    grey = (images.float() * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return grey.round().to(images.dtype) if images.dtype == torch.uint8 else grey.clamp(0, 1)


def resized(images: Tensor, size: int | None) -> Tensor:
    """Images ``(N, C, H, W)`` of so many pixels a side, averaged where they shrink; of the same type."""
    if size is None or images.shape[2:] == (size, size):
        return images
    made, whole = [], images.dtype == torch.uint8
    for part in images.split(1000):
        found = F.interpolate(part.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        made.append(found.round().clamp(0, 255).to(torch.uint8) if whole else found.clamp(0, 1))
    return torch.cat(made)
