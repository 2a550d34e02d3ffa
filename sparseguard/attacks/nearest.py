"""The hold-out image whose leak is nearest to the victim's: what an attacker gets without learning anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ..access import BlackBox
from ..ondisk import Gathering
from ..scales import Scale
from .base import Attack, Fitted, Holdout
from .queries import ASKED


@dataclass(frozen=True)
class Nearest(Attack):
    """Answer each leak with the attacker's own image whose leak has the smallest Euclidean distance.

    Example:
        >>> fitted = Nearest().fit(box, Holdout(attack_images, held_images), scale)         # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                        # doctest: +SKIP
    """

    pairs: ClassVar[bool] = False

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        images = holdout.images
        known = flat_leaks(partial(self.observe, box), images.split(ASKED))

        def reconstruct(leak: Tensor) -> Tensor:
            return images[nearest(known, leak)]

        return Fitted(reconstruct, {"attacker": "nearest hold-out image"})


def flat_leaks(observe: Callable[[Tensor], Tensor], parts: Iterable[Tensor]) -> Tensor:
    """Leaks of images that come part by part, ``(N, D)``, on disk where they are many."""
    leaks = Gathering()
    for part in parts:
        leaks.add(observe(part).flatten(1))
    return leaks.done()


def nearest(known: Tensor, leak: Tensor) -> Tensor:
    """Number of the nearest of known leaks ``(M, D)``, for leaks ``(N, ...)`` of as many entries: ``(N,)``."""
    least = [torch.cdist(leak.flatten(1), part).min(1) for part in known.split(ASKED)]
    block = torch.stack([found.values for found in least], 1).argmin(1)
    within = torch.stack([found.indices for found in least], 1)
    return block * ASKED + within[torch.arange(len(leak)), block]
