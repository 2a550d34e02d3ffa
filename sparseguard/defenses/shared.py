"""Models that several cells of a split share, and chance that leaves the target's alone.

What a defense trains beside the target must not move the generator that the target's batches are drawn from: at
strength 0 the target is then that of ``none``, bit for bit, whether the model was trained just now or is at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ..data import Split
from ..priors import kept_gan
from ..priors.gan import Generator
from ..resuming import beside
from ..scales import Scale

T = TypeVar("T")


def derived_seed(name: str) -> int:
    """A seed that depends on torch's own and on a name: ``0 <= seed < 2**63``."""
    digest = hashlib.sha256(f"{torch.initial_seed()} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def shared(split: Split, name: str, scale: Scale, device: torch.device, make: Callable[[], T]) -> T:
    """What ``make`` returns: made once for a split, scale, seed and device, with chance of its own."""
    key = name, scale, derived_seed(name), str(device)
    if key not in split.derived:
        with torch.random.fork_rng(), beside(name):
            torch.manual_seed(key[2])
            split.derived[key] = make()
    found: T = split.derived[key]
    return found


def shared_gan(
    split: Split, name: str, images: Tensor, labels: Tensor, classes: int, scale: Scale, device: torch.device
) -> Generator:
    """:func:`~sparseguard.priors.kept_gan` for the scale's epochs, once for all cells of a split.

    ``name`` says of which images.
    """

    def train() -> Generator:
        return kept_gan(images.to(device), labels.to(device), classes, scale.gan_epochs)

    return shared(split, f"GAN of {name} images", scale, device, train)
