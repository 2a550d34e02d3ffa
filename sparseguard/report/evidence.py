"""What the store holds about rows of the paper's tables; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, ClassVar

from ..data import dataset_title
from ..experiment import USUAL_ATTACK, Experiment
from ..grid import Entry, cells
from ..paper import Contrast
from ..store import Store
from ..studies import clusters, costs
from ..studies.layer import LayerStudy
from ..targets import SETTINGS
from .about import grouped, provenance


@dataclass(frozen=True)
class Rows:
    """Both rows of a comparison: where it is, and their numbers, one a seed; ``None`` where the store lacks one."""

    dataset: str
    setting: str
    metric: str
    of: list[float] | None
    than: list[float] | None


Stored = Callable[[Experiment, Store], Any]
"""Reads what was stored about an experiment; ``None`` if nothing was."""
LAMS = (0.1, 0.25, 0.5)
"""What a sparse row stands for where a claim names no λ."""


class Evidence:
    """Numbers of the store for some data sets at one scale.

    Args:
        datasets, scale, seeds: whose cells are looked for.
        fid: look for cells that were asked for FID, and take that as the Fréchet distance; else the judge's.
        store: by default :func:`sparseguard.store.home`.

    Raises:
        ValueError: anything that is not allowed.
    """

    CERTAIN: ClassVar = ("parameters", "excess", "explained")
    """Metrics without chance, or whose chance is the random dictionary alone: every seed must agree."""

    def __init__(
        self,
        datasets: Sequence[str],
        scale: str,
        seeds: Sequence[int],
        fid: bool = False,
        store: Store | None = None,
    ) -> None:
        self.datasets = [datasets] if isinstance(datasets, str) else list(datasets)
        self.scale, self.fid, self.store = scale, fid, store or Store()
        self.seeds = [seeds] if isinstance(seeds, int) else list(seeds)
        for dataset in self.datasets:
            cells(dataset, SETTINGS[0], "none", LAMS, scale, self.seeds)
        self._found: dict[tuple[Stored, Experiment], Any] = {}

    def pairs(self, test: Contrast) -> Iterator[Rows]:
        """Both sides of every comparison that a test of a claim asks for."""
        for dataset in self.datasets:
            for setting in test.settings:
                for metric in test.metrics:
                    read = self._layer if metric in ("excess", "explained") else partial(self._cells, test.attack)
                    ours = read(dataset, setting, test.of, metric)
                    if test.than_value is not None:
                        for of in ours:
                            than = None if of is None else [test.than_value] * len(of)
                            yield Rows(dataset, setting, metric, of, than)
                        continue
                    other = read(dataset, test.than_setting or setting, test.than, test.than_metric or metric)
                    for of, row in _meet(ours, other, test.than_setting or test.than_metric):
                        than = None if row is None else [test.times * value for value in row]
                        yield Rows(dataset, setting, metric, of, than)

    def provenance(self) -> str:
        """Of everything that was found so far, in one sentence."""
        found = [one for one in self._found.values() if one is not None]
        devices = ", ".join(sorted({one.device for one in found})) or "nothing found"
        attacks = ", ".join(dict.fromkeys(e.attack_label for (_, e), one in self._found.items() if one is not None))
        of = ", ".join(map(dataset_title, self.datasets))
        what = f"{len(found)} stored results of {of}, attack {attacks or USUAL_ATTACK}"
        return provenance(what, self.scale, self.seeds, devices, sum(one.seconds for one in found))

    def _cells(
        self, attack: str, dataset: str, setting: str, entries: Sequence[Entry], metric: str
    ) -> list[list[float] | None]:
        every = cells(dataset, setting, list(entries), LAMS, self.scale, self.seeds, attack, self.fid)
        return [self._numbers(of, metric) for of in grouped(every, lambda e: e.label).values()]

    def _numbers(self, experiments: Sequence[Experiment], metric: str) -> list[float] | None:
        values = [self._number(e, metric) for e in experiments]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) else None

    def _number(self, e: Experiment, metric: str) -> float | None:
        name = ("fid" if self.fid else "fd_judge") if metric == "frechet" else metric
        stored, read = _READERS.get(metric, (Experiment.stored, lambda r: r.metrics[name]))
        if (stored, e) not in self._found:
            self._found[stored, e] = stored(e, self.store)
        found = self._found[stored, e]
        return None if found is None else read(found)

    def _layer(self, dataset: str, _: str, entries: Sequence[Entry], metric: str) -> list[list[float] | None]:
        """Of notebook 08's layer: a row a time constant (``None``: settled) and, of what codes explain, a λ."""
        study = LayerStudy(dataset, self.scale, self.seeds)
        taus = [entry["tau"] for entry in entries if isinstance(entry, Mapping)]
        rows = list(product(taus, study.lams if metric == "explained" else [study.lam]))
        if metric == "excess":
            curves = study.energy_curves.stored(self.store)
            return [
                None if curves is None else [float(textbook.excess[-1]) for textbook, *_ in curves[tau]]
                for tau, _ in rows
            ]
        kept = study.kept.stored(self.store)
        return [None if kept is None else [one.explained for one in kept if (one.tau, one.lam) == row] for row in rows]


def _meet(
    ours: list[list[float] | None], other: list[list[float] | None], matched: str | None
) -> Iterator[tuple[list[float] | None, list[float] | None]]:
    """Each with each; a row with itself where the sides differ in setting or metric only."""
    return iter(zip(ours, other, strict=True)) if matched else ((a, b) for a in ours for b in other)


def _features(e: Experiment, store: Store) -> clusters.Features | None:
    return clusters.stored(e, store=store)


_READERS: dict[str, tuple[Stored, Callable[[Any], float | None]]] = {
    "silhouette": (_features, lambda f: f.silhouette),
    "silhouette_plane": (_features, lambda f: f.silhouette_plane),
    "seconds": (costs.stored, lambda c: c.seconds),
    "seconds_target": (costs.stored, lambda c: c.seconds_by_stage["target"]),
    "parameters": (Experiment.stored, lambda r: r.details.get("parameters")),
}
"""Who reads what has a metric from the store, and how it is read from that; all others are a result's."""
