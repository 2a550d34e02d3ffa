"""Defenses: one file each, and the registry. A new one is a new file and a line here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from .base import Defense
from .dp_sgd import DPSGD
from .gan import GAN
from .gaussian import Gaussian
from .gong import Gong
from .gong_cl import GongCL
from .laplace import Laplace
from .mi_reg import MutualInformation
from .none import NoDefense
from .none_conv import NoDefenseConv
from .none_frozen_conv import NoDefenseFrozenConv
from .none_standardized import NoDefenseStandardized
from .sparse_guard import SparseGuard
from .sparse_standard import SparseStandard

_REGISTRY: dict[str, type[Defense]] = {
    "none": NoDefense,
    "none_standardized": NoDefenseStandardized,
    "none_conv": NoDefenseConv,
    "none_frozen_conv": NoDefenseFrozenConv,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "gan": GAN,
    "gong": Gong,
    "gong_cl": GongCL,
    "mi_reg": MutualInformation,
    "dp_sgd": DPSGD,
    "sparse_standard": SparseStandard,
    "sparse_guard": SparseGuard,
}


def list_defenses() -> list[str]:
    """Names of all defenses."""
    return list(_REGISTRY)


def defense_options(name: str) -> list[str]:
    """Names of the options that a defense takes."""
    if name not in _REGISTRY:
        raise ValueError(f"defense must be one of {', '.join(_REGISTRY)}, not {name!r}.")
    return [field.name for field in fields(_REGISTRY[name])]


def strength_option(name: str) -> str | None:
    """Name of the option that is a defense's strength, or ``None`` if it has none."""
    defense_options(name)
    return _REGISTRY[name].strength


def make_defense(name: str, **options: Any) -> Defense:
    """A defense by name, with its options.

    Raises:
        ValueError: an unknown name, an option that this defense does not have, or a value out of range.

    Example:
        >>> make_defense("laplace", b=1.0).b
        1.0
    """
    allowed = defense_options(name)
    for option in options:
        if option not in allowed:
            raise ValueError(f"defense {name!r} has no option {option!r}; its options are {', '.join(allowed)}.")
    return _REGISTRY[name](**options)


__all__ = ["Defense", "defense_options", "list_defenses", "make_defense", "strength_option"]
