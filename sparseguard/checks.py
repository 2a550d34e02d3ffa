"""Checks of what users pass, each with one sentence that names the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST_SEED = 2**31 - 1
SSIM_WINDOW = 11
"""Pixels a side of the windows that SSIM compares: smaller images are refused."""


def positive(name: str, value: Any) -> float:
    """``value`` as a float, or a ``ValueError`` that says that it must be finite and greater than 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number greater than 0, not {value!r}.")
    return float(value)


def is_whole(value: Any) -> bool:
    """A whole number, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """``value`` as an int, or a ``ValueError`` that says from where to where it must lie.

    >>> whole("views", 3)
    3
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        end = "on" if most is None else f"to {most}"
        raise ValueError(f"{name} must be a whole number from {least} {end}, not {value!r}.")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """``value`` if it is true or false, or a ``ValueError``: 1 is no flag."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}.")
    return value


def seed_of(value: Any) -> int:
    """A seed that every generator takes, or a ``ValueError``."""
    return whole("seed", value, 0, LARGEST_SEED)


def one_of(name: str, value: T, allowed: Collection[T]) -> T:
    """``value`` if it is allowed, or a ``ValueError`` with the list of what is, and what was probably meant.

    >>> one_of("setting", "split", ("end_to_end", "split"))
    'split'
    >>> one_of("setting", "splt", ("end_to_end", "split"))
    Traceback (most recent call last):
        ...
    ValueError: setting must be one of end_to_end, split, not 'splt'; did you mean 'split'?
    """
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise ValueError(f"{name} must be one of {listed}, not {value!r}{near(value, allowed)}")
    return value


def near(value: Any, allowed: Collection[Any]) -> str:
    """How a sentence about a name ends: with the one that was probably meant, where one is near.

    >>> near("sparse_gaurd", ["none", "sparse_guard"]), near("blur", ["none"])
    ("; did you mean 'sparse_guard'?", '.')
    """
    found = get_close_matches(str(value), list(map(str, allowed)), n=1)
    return f"; did you mean {found[0]!r}?" if found else "."
