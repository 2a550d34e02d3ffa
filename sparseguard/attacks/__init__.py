"""Attacks: one file each, and the registry. They see the access that they declare and hold-out images, nothing else."""

from __future__ import annotations

from typing import Any

from ..registry import Registry
from .as_released import AsReleased
from .base import Attack, Fitted, Found, Holdout
from .code_descent import CodeDescent
from .dictionary_decode import DictionaryDecode
from .inversion import Inversion
from .leak_matching import LeakMatching, LeakMatchingBlackBox
from .nearest import Nearest
from .plug_and_play import PlugAndPlay, PlugAndPlayBlackBox
from .refinement import Refinement

ATTACKS: Registry[Attack] = Registry("attack", {
    "inversion": Inversion,
    "refinement": Refinement,
    "code_descent": CodeDescent,
    "dictionary_decode": DictionaryDecode,
    "nearest": Nearest,
    "plug_and_play": PlugAndPlay,
    "plug_and_play_black_box": PlugAndPlayBlackBox,
    "leak_matching": LeakMatching,
    "leak_matching_black_box": LeakMatchingBlackBox,
    "as_released": AsReleased,
})  # fmt: skip


def list_attacks() -> list[str]:
    """Names of all attacks."""
    return list(ATTACKS.members)


def make_attack(name: str, **options: Any) -> Attack:
    """An attack by name, with its options.

    Raises:
        ValueError: an unknown name, an option that this attack does not have, or a value out of range.

    Example:
        >>> make_attack("inversion", views=4).views
        4
    """
    return ATTACKS.make(name, options)


__all__ = [
    "ATTACKS",
    "AsReleased",
    "Attack",
    "CodeDescent",
    "DictionaryDecode",
    "Fitted",
    "Found",
    "Holdout",
    "Inversion",
    "Refinement",
    "list_attacks",
    "make_attack",
]
