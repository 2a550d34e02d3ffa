"""Defenses: one file each, and the registry. A new one is a new file and a line here."""

from __future__ import annotations

from typing import Any

from ..registry import Registry
from .base import Defense, Family
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

DEFENSES: Registry[Defense] = Registry("defense", {
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
})  # fmt: skip


def list_defenses() -> list[str]:
    """Names of all defenses."""
    return list(DEFENSES.members)


def make_defense(name: str, **options: Any) -> Defense:
    """A defense by name, with its options.

    Raises:
        ValueError: an unknown name, an option that this defense does not have, or a value out of range.

    Example:
        >>> make_defense("laplace", b=1.0).b
        1.0
    """
    return DEFENSES.make(name, options)


__all__ = ["DEFENSES", "Defense", "Family", "list_defenses", "make_defense"]
