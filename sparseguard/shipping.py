"""What travels with the package: packing finished cells and studies, and computing shipped cells anew."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import reference
from .checks import whole
from .data import load_data
from .experiment import Experiment
from .grid import run_grid
from .places import digest, write
from .result import Result
from .scales import SCALES, check_scale
from .store import Store
from .studies.recalled import key_of
from .workers import jobs

COMPARED = {"psnr": 1.0, "ssim": 0.02, "accuracy": 0.03, "judge_accuracy": 0.03}
"""Metrics that are compared, and how far apart two machines may come out. With the instructions of older processors,
on one processor, ``benchmarks/machines.py`` found 0.3 dB and 0.009 of accuracy through convolutions, 0.01 dB without;
another processor was not at hand."""
LONGEST = 150.0
"""Seconds above which :func:`recompute` draws a cell last: three on two cores have to end within a report's minutes."""
MANY = 1000
"""Images from which on this holds. Means over fewer are less sure, by the root of their number: of the hundred that a
search on classes finds, the judge's accuracy came out up to 0.04 apart in the same way."""


@dataclass(frozen=True)
class Recomputed:
    """A cell as it was shipped and as it came out here."""

    shipped: Result
    here: Result

    def gap(self, metric: str) -> float:
        """Here minus shipped; not a number where one was not measured."""
        here, shipped = (r.metrics[metric] for r in (self.here, self.shipped))
        return float("nan") if here is None or shipped is None else here - shipped

    def most(self, metric: str) -> float:
        """How far apart two machines may come out in a metric."""
        images = len(self.shipped.per_image["psnr"])
        fewer = 1.0 if metric == "accuracy" else max(MANY / images, 1.0) ** 0.5
        return COMPARED[metric] * fewer

    @property
    def complaint(self) -> str | None:
        """Which metrics are further apart than machines are; ``None``: none is."""
        apart = [f"{m} by {self.gap(m):+.3g}" for m in COMPARED if not abs(self.gap(m)) <= self.most(m)]
        return f"{', '.join(apart)} beside what was shipped" if apart else None


def current(name: str, record: Mapping[str, Any], scale: str) -> bool:
    """Whether a stored record is of this code and of a scale: this code would look for it under its name."""
    own, given = record.get("own"), record.get("experiment")
    try:
        experiment = None if given is None else Experiment(**given)
        if own is None:
            return experiment is not None and experiment.scale == scale and experiment.key() == name
        of = own.get("scale") if experiment is None else experiment.scale
        return of == scale and digest(key_of(own, experiment)) == name
    except (ValueError, TypeError, KeyError):  # this code knows no such option or study, or the images are gone
        return False


def pack(scale: str, store: Store | None = None) -> tuple[Path, int]:
    """Put what the store has of a scale beside what travels with the package already, and drop what is stale.

    Returns:
        The file, and how many cells and studies it has.
    """
    check_scale(scale)
    place, found = store or Store(), {}
    for name in sorted({*reference.names(), *place.names()}):
        cell = place.load(name)
        if cell is not None and current(name, cell[0], scale):
            found[name] = cell
    return reference.pack(found, scale), len(found)


def exported(file: Path, scale: str | None = None, store: Store | None = None) -> int:
    """Write what the store has of this code, and of a scale if one is named, to one file; how many cells and studies.

    Raises:
        ValueError: there is nothing.
        OSError: the file cannot be written.
    """
    place, found = store or Store(), {}
    if scale is not None:
        check_scale(scale)
    for name in place.names():
        cell = Store(place.folder, shipped=False).load(name)
        if cell is not None and any(current(name, cell[0], each) for each in ([scale] if scale else SCALES)):
            found[name] = cell
    if not found:
        raise ValueError(f"{place.folder} has no result of this code{'' if scale is None else f' and scale {scale}'}.")
    write(file, reference.bundle(found))
    return len(found)


def imported(file: Path, store: Store | None = None) -> tuple[int, int]:
    """Put what such a file has into the store, where it is not there; how many were new, and how many were there.

    Raises:
        ValueError: the file is damaged, or no such file; nothing was put anywhere.
        OSError: it cannot be read, or the store cannot be written to.
    """
    place, found = store or Store(), reference.unbundle(file)
    for name in found:
        if not re.fullmatch("[0-9a-f]{20}", name):
            raise ValueError(f"{file} has a cell of the name {name!r}, which no cell has.")
    own = Store(place.folder, shipped=False)
    new = [name for name in found if own.load(name) is None]
    for name in new:
        own.save(name, *found[name])
    return len(new), len(found) - len(new)


def shipped(scale: str) -> list[Result]:
    """The cells of a scale that travel with the package and are of this code.

    Raises:
        ValueError: there are none.
    """
    check_scale(scale)
    names = [n for n, record in reference.records().items() if "metrics" in record and current(n, record, scale)]
    loaded = [cell for name in names if (cell := reference.load(name)) is not None]
    found = [Result.restore(Experiment(**record["experiment"]), record, arrays) for record, arrays in loaded]
    if not found:
        raise ValueError(f"no cell of scale {scale!r} travels with this version of the package.")
    return found


def anew(known: Sequence[Result], store: Store, progress: bool = True) -> list[Recomputed]:
    """Compute shipped cells, those that the store lacks, and put each beside what was shipped.

    Args:
        store: one that does not look among the shipped cells.
    """
    here = run_grid([r.experiment for r in known], store, progress)
    return [Recomputed(*both) for both in zip(known, here, strict=True)]


def recompute(count: int, scale: str = "quick", seed: int | None = None, progress: bool = True) -> list[Recomputed]:
    """Compute some shipped cells anew and put them beside what was shipped; nothing is kept.

    Of those whose images are at hand, if any are: a report needs no network. Those that took longer than
    :data:`LONGEST` are drawn after all others.

    Args:
        count: how many, drawn at random; all, if there are fewer.
        scale: of which scale.
        seed: of the draw; ``None``: another draw each time.
        progress: show what is computed.

    Raises:
        ValueError: nothing of that scale is shipped.
    """
    every = shipped(scale)
    known = [r for r in every if r.experiment.at_hand] or every
    shuffled = random.Random(seed).sample(known, len(known))
    drawn = sorted(shuffled, key=lambda r: r.seconds > LONGEST)[: whole("count", count)]
    with tempfile.TemporaryDirectory() as folder:
        return anew(drawn, Store(folder, shipped=False), progress)


def obtainable(known: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The cells whose images are at hand or can be downloaded; and a sentence for each data set that cannot be had."""

    def sets(r: Result) -> set[str]:
        return {d for d in (r.experiment.dataset, r.experiment.holdout_from) if d}

    why: dict[str, str] = {}
    for dataset, scale in sorted({(d, r.experiment.scale) for r in known if not r.experiment.at_hand for d in sets(r)}):
        try:
            load_data(dataset, scale)
        except (OSError, ValueError) as error:
            why[dataset] = str(error)
    told = [f"Left out are {sum(d in sets(r) for r in known)} of {len(known)} cells, of {d}: {why[d]}" for d in why]
    return [r for r in known if not sets(r) & why.keys()], told


def work(known: Sequence[Result], store: Store) -> str:
    """What computing shipped cells anew will take, in a sentence: those that the store lacks, at the speed they had."""
    missing = [r for r in known if r.experiment.stored(store) is None]
    hours = sum(r.seconds for r in missing) / 3600
    devices = ", ".join(sorted({r.device for r in missing}))
    return (
        f"{len(missing)} of {len(known)} cells are to be computed. They took {hours:.1f} hours of one core on "
        f"{devices}; with {jobs()} at a time that is about {hours / jobs():.1f} hours on such a machine."
        if missing else f"All {len(known)} cells are computed already."
    )  # fmt: skip
