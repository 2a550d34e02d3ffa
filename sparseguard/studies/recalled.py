"""A measurement that the store keeps: what every study that takes long is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from ..experiment import Experiment
from ..places import digest
from ..reference import told
from ..store import Cell, Store

T = TypeVar("T")
VERSIONS = {"clusters": 2, "costs": 1, "energy curves": 2, "growth": 1, "kept": 2, "priors": 1, "walk": 1}
"""Each is raised whenever the same study would give other numbers; what changes an experiment changes its key."""


OF_TARGETS = ("clusters", "growth")
"""Studies of a target, or a layer of one, that nothing attacks."""


def key_of(own: Mapping[str, Any], experiment: Experiment | None) -> dict[str, Any]:
    """What a study depends on: what it says itself, ``study`` being its name, its version, and the experiment."""
    key = experiment and (experiment.target_key() if own["study"] in OF_TARGETS else experiment.key())
    return dict(own) | {"version": VERSIONS[own["study"]], "experiment": key}


@dataclass(frozen=True)
class Recalled(Generic[T]):
    """Something that is measured once.

    Args:
        own: JSON-able; ``study`` is one of :data:`VERSIONS`, the rest what else the measurement depends on.
        compute: measures, as a cell of the store.
        restore: makes of the cell what the caller wants. Its record says besides when it was ``shipped``, if it was.
        experiment: whose target or cell is measured, if any.

    Example:
        >>> kept = Recalled({"study": "kept", "lam": 0.5}, lambda: ({"sum": 3}, {}), lambda record, _: record["sum"])
        >>> kept.key
        {'study': 'kept', 'lam': 0.5, 'version': 2, 'experiment': None}
    """

    own: dict[str, Any]
    compute: Callable[[], Cell]
    restore: Callable[[dict[str, Any], dict[str, Tensor]], T]
    experiment: Experiment | None = None

    @property
    def key(self) -> dict[str, Any]:
        """What the store knows it by."""
        return key_of(self.own, self.experiment)

    def measured(self, store: Store | None = None) -> T:
        """From the store, by default :func:`sparseguard.store.home`; computed and kept where it is not there yet."""

        def compute() -> Cell:
            record, arrays = self.compute()
            of = None if self.experiment is None else asdict(self.experiment)
            return {"own": self.own, "experiment": of, "found": record}, arrays

        return self._restored((store or Store()).recall(self.key, compute))

    def stored(self, store: Store | None = None) -> T | None:
        """What the store has; nothing is computed."""
        found = (store or Store()).load(digest(self.key))
        return None if found is None else self._restored(found)

    def _restored(self, cell: Cell) -> T:
        record, arrays = cell
        return self.restore(record["found"] | {"shipped": told(record)}, arrays)
