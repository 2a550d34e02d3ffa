"""Many experiments: which cells a table has, and running them, each from the store if it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .checks import positive
from .defenses import DEFENSES
from .defenses.sparse_guard import SparseGuard
from .experiment import USUAL_ATTACK, Experiment
from .progress import bar
from .result import Result
from .store import Store, opened
from .submitting import Plan, Site
from .trial import STAGES
from .workers import DONE, FAILED, Failures, jobs, one_thread, walk

Entry = str | Mapping[str, Any]
CONTROLS = ("none_conv", "none_frozen_conv")
"""What is like ``sparse_guard`` in all but sparsity."""


def _as_list(name: str, value: Any) -> list[Any]:
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not items:
        raise ValueError(f"{name} must name at least one value; it is empty.")
    return items


def _named(kind: str, entry: Any) -> dict[str, Any]:
    """A row's entry as a mapping that has the name of the defense or the attack under ``kind``."""
    options = dict(entry) if isinstance(entry, Mapping) else {kind: entry}
    if not isinstance(options.get(kind), str):
        raise ValueError(f"an entry of {kind}s is a name or a mapping with the key {kind!r}, not {entry!r}.")
    return options


def cells(
    dataset: str,
    setting: str,
    defenses: Entry | Sequence[Any],
    lams: float | Sequence[float],
    scale: str,
    seeds: int | Sequence[int],
    attack: Entry | Sequence[Entry] = USUAL_ATTACK,
    fid: bool = False,
) -> list[Experiment]:
    """All cells of one table, in its order; every one is checked before any is run.

    Args:
        defenses: names, or mappings with options: ``{"defense": "laplace", "b": 1.0}``, or with several strengths:
            ``{"defense": "laplace", "strengths": [0.5, 1.0]}``.
        lams: strengths of each sparse defense whose entry does not state its own.
        seeds: one cell each.
        attack: names, or mappings with options: ``{"attack": "inversion", "views": 16}``, and ``holdout`` and
            ``holdout_from``; each is a row of every defense.

    Raises:
        ValueError: anything that is not allowed.

    Example:
        >>> [e.label for e in cells("mnist", "split", ["none", "sparse_guard"], [0.1, 0.5], "smoke", 0)]
        ['none', 'sparse_guard lam=0.1', 'sparse_guard lam=0.5']
    """
    rows: list[Experiment] = []
    attacks = [_named("attack", entry) for entry in _as_list("attack", attack)]
    for entry in _as_list("defenses", defenses):
        options = _named("defense", entry)
        name, swept = options.pop("defense"), options.pop("strengths", None)
        strength = DEFENSES.check(name).strength
        if swept is None and strength == "lam" and "lam" not in options:
            swept = lams
        if swept is not None and (strength is None or strength in options):
            reason = "has no strength" if strength is None else f"states its {strength} already"
            raise ValueError(f"an entry with several strengths {reason}: {entry!r}.")
        for value in [None] if swept is None else _as_list("strengths", swept):
            own = options if strength is None or value is None else options | {strength: value}
            lam, rest = own.get("lam"), {key: v for key, v in own.items() if key != "lam"}
            for used in attacks:
                known = {key: used[key] for key in ("holdout", "holdout_from") if key in used}
                extra = {key: v for key, v in used.items() if key not in ("attack", *known)}
                rows += [
                    Experiment(dataset, setting, name, lam, used["attack"], scale, seed, rest, fid, extra, **known)
                    for seed in _as_list("seeds", seeds)
                ]
    if len(set(rows)) < len(rows):
        raise ValueError("the same cell stands in defenses, lams, attack or seeds twice.")
    return rows


def ladder(holdouts: Sequence[int], updates: Sequence[int], other: str, rungs: Sequence[Any]) -> list[Entry]:
    """The usual attack with more images, with other updates and with images of another data set, then other attacks.

    Args:
        holdouts: numbers of hold-out images.
        updates: most updates of a U-Net.
        other: a data set; empty: none.
        rungs: as ``attack`` of :func:`cells`.

    >>> ladder([900], [128], "", ["nearest"])[1:]
    [{'attack': 'inversion', 'holdout': 900}, {'attack': 'inversion', 'updates': 128}, 'nearest']
    """
    grown: list[Entry] = [{"attack": USUAL_ATTACK, "holdout": count} for count in holdouts]
    longer = [{"attack": USUAL_ATTACK, "updates": count} for count in updates]
    abroad = [{"attack": USUAL_ATTACK, "holdout_from": other}] if other else []
    return [USUAL_ATTACK, *grown, *longer, *abroad, *rungs]


def settling_cells(
    dataset: str,
    setting: str,
    times: float | Sequence[float],
    lam: float,
    scale: str,
    seeds: int | Sequence[int],
    attack: Entry | Sequence[Entry] = USUAL_ATTACK,
    fid: bool = False,
) -> list[Experiment]:
    """The controls, then ``sparse_guard`` from the least settled code to the minimum of eq. 1, which always ends it.

    Args:
        times: time constants for which the code follows eq. 2, > 0; an empty list makes no cells at all.
        lam: sparsity.
        dataset, setting, scale, seeds, attack, fid: as in :func:`cells`.

    Raises:
        ValueError: anything that is not allowed.

    Example:
        >>> [e.label for e in settling_cells("mnist", "split", [5, 0.5], 0.25, "smoke", 0)][2:]
        ['sparse_guard lam=0.25 tau=1000', 'sparse_guard lam=0.25 tau=100', 'sparse_guard lam=0.25']
    """
    if isinstance(times, Sequence) and not times:
        return []
    taus = [SparseGuard.iterations / positive("settle", time) for time in _as_list("settle", times)]
    guard = {"defense": "sparse_guard", "lam": lam}
    followed = [guard | {"tau": tau} for tau in sorted(taus, reverse=True)]
    return cells(dataset, setting, [*CONTROLS, *followed, guard], lam, scale, seeds, attack, fid)


def run_grid(
    experiments: Sequence[Experiment],
    store: Store | str | None = "default",
    progress: bool = True,
    at_a_time: int | None = None,
    measure: bool = True,
) -> list[Result]:
    """Run cells; finished ones are read from the store, so a killed grid goes on where it was.

    Args:
        experiments: cells, in the order of the results.
        store: where finished cells lie, as in :meth:`Experiment.run`.
        progress: show what is computed, which stage it is at, and the time left, where :func:`.progress.bar` does.
        at_a_time: cells that are computed side by side, a process and a thread each; ``None``: see
            :func:`sparseguard.workers.jobs`. With 1, or without a store, they are computed in this process.
        measure: compute what the store lacks; otherwise only what it has is returned, and reports say what is missing.

    Raises:
        ValueError, ArithmeticError, OSError: as :meth:`Experiment.run`, once all others are computed and kept. A
            ``ValueError`` also if nothing is to be computed, and nothing is there.
    """
    place = opened(store)
    # cells of one seed share their split and judge, and those that follow each other a target
    by_seed = sorted(experiments, key=lambda e: e.seed)
    stored = {} if place is None else {e: r for e in by_seed if (r := e.stored(place))}
    found = {e: r for e, r in stored.items() if not (measure and r.fid_can_be_had_now())}
    missing = [e for e in dict.fromkeys(by_seed) if e not in found] if measure else []
    if by_seed and not measure and not found:
        raise ValueError(
            f"none of the {len(by_seed)} cells ({by_seed[0].dataset_name}, {by_seed[0].setting}, scale "
            f"{by_seed[0].scale}) has been measured; measure=True computes them."
        )
    with bar(len(missing), shown=progress and bool(missing)) as moved:
        reached: dict[Experiment, float] = {}

        def show(e: Experiment, stage: str, line: str) -> None:
            reached[e] = 1.0 if stage in (DONE, FAILED) else STAGES.index(stage) / len(STAGES)
            moved.n = sum(reached.values())
            moved.set_description_str(line)

        if place is None:
            with one_thread():
                found |= {e: e.run(None, lambda stage, e=e: show(e, stage, stage)) for e in missing}  # type: ignore[misc]
        else:
            at_a_time = min(at_a_time or jobs(), len(missing))
            site = Site(workers=at_a_time) if at_a_time > 1 else None
            for error in compute(missing, place, site, show if progress else None).values():
                raise error
            found |= {e: r for e in missing if (r := e.stored(place))}
    return [found[e] for e in experiments if e in found]


Show = Callable[[Experiment, str, str], None]
"""Is told a cell, what it is at, and a line about all of them."""


def compute(
    missing: Sequence[Experiment], store: Store, site: Site | None = None, show: Show | None = None
) -> Failures:
    """Compute cells that the store lacks, going on past failures.

    Args:
        site: what they run on; ``None``: this process.

    Returns:
        What could not be computed, and why.

    Raises:
        OSError: the store cannot be written to, or there is no Slurm here.
    """
    pace, stages = Pace(len(missing)), dict[Experiment, str]()

    def tell(e: Experiment, stage: str) -> None:
        stages.pop(e, None)
        if stage in (DONE, FAILED):
            pace.finished()
        else:
            stages[e] = stage
        at = [", ".join(f"{one.label}, seed {one.seed}: {what}" for one, what in stages.items())]
        if show is not None:
            show(e, stage, "; ".join([f"{pace.done} of {len(missing)} cells", *filter(None, at), str(pace)]))

    if not missing:
        return {}
    if site is None:
        store.prepare()
        with one_thread():
            return walk(missing, store, tell, lambda e: False)
    return Plan(missing, store, tell, site).compute()


class Pace:
    """Time left, from the cells that were computed so far."""

    def __init__(self, cells: int) -> None:
        self.left, self.done, self._start = cells, 0, time.monotonic()

    def finished(self) -> None:
        """One more was computed."""
        self.left, self.done = self.left - 1, self.done + 1

    def __str__(self) -> str:
        if not self.done:
            return "time left unknown"
        seconds = (time.monotonic() - self._start) / self.done * self.left
        return f"about {seconds / 60:.0f} min left" if seconds >= 60 else "less than a minute left"
