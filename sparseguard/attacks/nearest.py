"""The hold-out image whose leak is nearest to the victim's: what an attacker gets without learning anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..access import BlackBox
from ..scales import Scale
from .base import Attack, Fitted


@dataclass(frozen=True)
class Nearest(Attack):
    """Answer each leak with the attacker's own image whose leak has the smallest Euclidean distance.

    Example:
        >>> fitted = Nearest().fit(box, attack_images, held_images, scale)         # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                        # doctest: +SKIP
    """

    pairs: ClassVar[bool] = False

    def fit(self, box: BlackBox, images: Tensor, validation: Tensor, scale: Scale, device: str = "cpu") -> Fitted:
        known = torch.cat([self.observe(box, part).flatten(1) for part in images.split(250)])
        if not bool(torch.isfinite(known).all()):
            raise ArithmeticError("the target leaks NaN or infinite values; it cannot be attacked.")

        def reconstruct(leak: Tensor) -> Tensor:
            return images[torch.cdist(leak.flatten(1), known).argmin(1)]

        return Fitted(reconstruct, {"attacker": "nearest hold-out image"})
