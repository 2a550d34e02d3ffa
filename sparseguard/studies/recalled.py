"""A measurement that the store keeps: what every study that takes long is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from ..store import Cell, Store, digest

T = TypeVar("T")


@dataclass(frozen=True)
class Recalled(Generic[T]):
    """Something that is measured once.

    Args:
        key: JSON-able; what the measurement depends on, its version among it.
        compute: measures, as a cell of the store.
        restore: makes of the cell what the caller wants.

    Example:
        >>> Recalled({"study": "sums", "version": 1}, lambda: ({"sum": 3}, {}), lambda found, _: found["sum"]).key
        {'study': 'sums', 'version': 1}
    """

    key: dict[str, Any]
    compute: Callable[[], Cell]
    restore: Callable[[dict[str, Any], dict[str, Tensor]], T]

    def measured(self, store: Store | None = None) -> T:
        """From the store, by default :func:`sparseguard.store.home`; computed and kept where it is not there yet."""
        return self.restore(*(store or Store()).recall(self.key, self.compute))

    def stored(self, store: Store | None = None) -> T | None:
        """What the store has; nothing is computed."""
        found = (store or Store()).load(digest(self.key))
        return None if found is None else self.restore(*found)
