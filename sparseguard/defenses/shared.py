"""Models that several cells of a split share, and chance that leaves the target's alone.

What a defense trains beside the target must not move the generator that the target's batches are drawn from: at
strength 0 the target is then that of ``none``, bit for bit, whether the model was trained just now or is at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch

from ..data import Split
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
        with torch.random.fork_rng():
            torch.manual_seed(key[2])
            split.derived[key] = make()
    found: T = split.derived[key]
    return found
