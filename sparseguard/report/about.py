"""What numbers are of, in words: data set, setting, attack, scale, seeds; and rows by what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

from ..attacks import ATTACKS
from ..data import dataset_title
from ..experiment import Experiment
from ..result import Result

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
    return f"{what}: scale {scale}; {seeds_named(seeds)}; {device}; {seconds:.0f} s {when}."


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


T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
M = TypeVar("M", bound=Measured)
MOST_ATTACKS = 3
"""That a caption names; rows name their own."""


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by what they have in common, in their order."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_cell(results: Sequence[M]) -> dict[str, list[M]]:
    """Results by row (defense, strength, attack), in their order; each group holds the seeds."""
    return grouped(results, lambda r: r.experiment.label)


def by_attack(results: Sequence[M]) -> dict[str, list[M]]:
    """Results by attack with its options: rows are compared within one alone."""
    return grouped(results, lambda r: r.experiment.attack_label)


def by_defense(results: Sequence[M]) -> dict[str, list[M]]:
    """Results of one attack by defense and strength; each group holds the seeds."""
    return grouped(results, lambda r: r.experiment.defense_label)


def seeds_of(results: Sequence[Measured]) -> list[int]:
    """The seeds, each once."""
    return sorted({r.experiment.seed for r in results})


def seeds_named(seeds: Iterable[int]) -> str:
    """Which seeds.

    >>> seeds_named([1, 0]), seeds_named([3])
    ('seeds 0, 1', 'seed 3')
    """
    which = sorted(set(seeds))
    return f"seed{'s' * (len(which) > 1)} {', '.join(map(str, which))}"


def over_seeds(seeds: Collection[int]) -> str:
    """Which seeds, and what stands behind the ±, for a caption.

    >>> over_seeds([0, 1])
    'seeds 0, 1; mean ± standard deviation over seeds'
    >>> over_seeds([0])
    'seed 0; one seed, so no spread'
    """
    several = len(set(seeds)) > 1
    return f"{seeds_named(seeds)}; {'mean ± standard deviation over seeds' if several else 'one seed, so no spread'}"


def seeds_told(seeds: Iterable[int]) -> str:
    """How many seeds, in words.

    >>> seeds_told([0, 1, 2]), seeds_told([0])
    ('3 seeds', 'one seed, so no spread')
    """
    count = len(set(seeds))
    return f"{count} seeds" if count > 1 else "one seed, so no spread"


def leak_of(e: Experiment) -> str:
    """Data set and leak.

    >>> leak_of(Experiment(dataset="fashion_mnist", setting="end_to_end"))
    'Fashion-MNIST, end-to-end leak'
    """
    return f"{dataset_title(e.dataset)}, {e.setting.replace('_', '-')} leak"


def attacks_told(results: Sequence[Measured]) -> str:
    """The attacks, where they are few, else the first and how many others."""
    names = list(by_attack(results))
    if len(names) > MOST_ATTACKS:
        return f"attack {names[0]} and {len(names) - 1} others, which the rows name"
    return f"attack {', '.join(names)}"


def about(results: Sequence[Measured], leak: bool = True, attack: bool = True) -> str:
    """Data set, leak, attack and scale of results that share them, for the title of a figure.

    Args:
        leak, attack: whether these are the same in all of it.
    """
    e = results[0].experiment
    parts = [
        leak_of(e) if leak else dataset_title(e.dataset),
        attacks_told(results) if attack else "",
        f"scale {e.scale}",
    ]
    return ", ".join(filter(None, parts))


def in_short(results: Sequence[Measured]) -> str:
    """Data set, scale with its private images where they are told, and how many seeds, for a sentence of a summary."""
    e, images = results[0].experiment, getattr(results[0], "details", {}).get("train_images")
    size = f" ({images:,} private images a seed)" if images else ""
    return f"{dataset_title(e.dataset)}, scale `{e.scale}`{size}, {seeds_told(seeds_of(results))}"


def caption(results: Sequence[Result]) -> str:
    """Data set, leak, attack, scale, sizes, seeds and device of a set of results."""
    first = results[0]
    devices = ", ".join(sorted({r.device for r in results}))
    images = ", ".join(map(str, sorted({r.details["attack_images"] for r in results})))
    rebuilt = " reconstructed" if any(ATTACKS.check(r.experiment.attack).pairs for r in results) else ""
    return (
        f"{about(results)} ({first.details['train_images']} private images{rebuilt}, {images} attacked with), "
        f"{over_seeds(seeds_of(results))}; {devices}."
    )
