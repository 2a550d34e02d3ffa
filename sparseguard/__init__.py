"""sparseguard: does sparse coding protect images against model inversion? A reproduction of Sparse-Guard.

An experiment takes a data split, lets a defense build and train a target, deploys the target behind a black box, lets
an attack learn to invert what leaks, and measures what came back.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access import BlackBox
    from .attacks import list_attacks
    from .auditing import audit
    from .data import load_data
    from .defenses import list_defenses
    from .experiment import Experiment
    from .result import Result
    from .sparse import SparseCoding2d

__version__ = "0.1.0"
__all__ = [
    "BlackBox",
    "Experiment",
    "Result",
    "SparseCoding2d",
    "audit",
    "list_attacks",
    "list_defenses",
    "load_data",
]
_HOMES = {
    "BlackBox": "access", "Experiment": "experiment", "Result": "result", "SparseCoding2d": "sparse",
    "audit": "auditing", "list_attacks": "attacks", "list_defenses": "defenses", "load_data": "data",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: the command line's help needs none of their libraries."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
