"""One sentence that says where numbers come from: how many, scale, seeds, device, duration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..data import dataset_title
from ..experiment import Experiment

WHEN = "when they were computed"


class Measured(Protocol):
    """A result of any kind: of an experiment, its features, its cost."""

    @property
    def experiment(self) -> Experiment: ...
    @property
    def seconds(self) -> float: ...
    @property
    def device(self) -> str: ...


def provenance(what: str, scale: str, seeds: Iterable[int], device: str, seconds: float, when: str = WHEN) -> str:
    """The sentence.

    >>> provenance("2 cells", "quick", [1, 0], "cpu", 12.34)
    '2 cells: scale quick; seeds 0, 1; cpu; 12 s when they were computed.'
    """
    numbers = ", ".join(map(str, sorted(set(seeds))))
    return f"{what}: scale {scale}; seeds {numbers}; {device}; {seconds:.0f} s {when}."


def pools(results: Sequence[Measured]) -> list[str]:
    """How many images each data set's cells are drawn from, of how many it has; nothing where no cell tells."""
    known = {
        (dataset_title(r.experiment.dataset), *pool) for r in results if (pool := getattr(r, "details", {}).get("pool"))
    }
    return [f"Drawn from {count:,} of the {total:,} images of {name}." for name, count, total in sorted(known)]


def provenance_of(results: Sequence[Measured], kind: str = "cells", planned: Sequence[Experiment] = ()) -> str:
    """The sentence about results of one scale, and how many of the planned ones are missing."""
    devices = ", ".join(sorted({r.device for r in results}))
    seeds = [r.experiment.seed for r in results]
    scale = results[0].experiment.scale
    told = provenance(f"{len(results)} {kind}", scale, seeds, devices, sum(r.seconds for r in results))
    told += "".join(f" {line}" for line in pools(results))
    wanted, there = set(planned), {r.experiment for r in results}
    if wanted - there:
        told += f" {len(wanted - there)} of {len(wanted)} {kind} are not measured: they are blank or left out."
    shipped = [made for r in results if (made := getattr(r, "shipped", None))]
    if not shipped:
        return told
    here = len(results) - len(shipped)
    made = ", ".join(sorted(set(shipped)))
    return f"{told} {len(shipped)} were read from the reference ({made}), {here} were computed here."
