"""Seconds and peak memory of each stage of an experiment (paper, Table 16), each cell in a fresh process.

Cells of one process share models (a GAN, the public classifier) and memory, so the first would pay for the others.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from .. import reference
from ..data import load_data
from ..device import default_device, device_name
from ..experiment import Experiment
from ..progress import bar
from ..scales import check_scale
from ..store import Cell, Store
from ..trial import STAGES
from .recalled import Recalled

T = TypeVar("T")
Place = tuple[str, int]
"""Device and threads."""
STAGE_NAMES = dict(zip(STAGES, ("target", "attack", "evaluation"), strict=True))


@dataclass(frozen=True)
class Cost:
    """What one experiment took, by stage: ``"target"``, ``"attack"``, ``"evaluation"``.

    Attributes:
        seconds_by_stage: wall clock.
        peaks_by_stage: most memory in MiB above ``held``: of the GPU's tensors where there is a GPU, else of the
            process; ``None`` where the system does not tell it.
        held: MiB that the process held just before the first stage: libraries, data, the judge.
        threads, cores: that PyTorch used, and that the machine has.
        load: the system's load average of the last minute when the process started; ``None`` where there is none.
        device: name of the GPU or processor.
        shipped: when it was packed and of which version, if it came with the package.
    """

    experiment: Experiment
    seconds_by_stage: dict[str, float]
    peaks_by_stage: dict[str, float | None]
    held: float | None
    threads: int
    cores: int
    load: float | None
    device: str
    shipped: str | None = None

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(self.seconds_by_stage.values())


class Peaks:
    """Peak memory of each stage, above what was held before the first, in MiB.

    On a GPU these are PyTorch's tensors. On a CPU it is the kernel's high-water mark of the process, which Linux resets
    on request; a stage that fits into memory that the process had already shows 0.

    Args:
        device: ``"cpu"``, ``"cuda"``, ...

    Example:
        >>> peaks = Peaks("cpu")
        >>> peaks.start("copying"); copy = bytes(2**20); peaks.stop()
        >>> list(peaks.by_stage)
        ['copying']
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.held: float | None = None
        self.by_stage: dict[str, float | None] = {}
        self._stage: str | None = None
        self._can_reset = True

    def start(self, stage: str) -> None:
        """End the stage before, if any, and begin another."""
        self.stop()
        gc.collect()
        self._reset()
        if not self.by_stage:
            self.held = self._peak()
        self._stage = stage

    def stop(self) -> None:
        """End the stage."""
        if self._stage is not None:
            peak = self._peak()
            self.by_stage[self._stage] = None if peak is None or self.held is None else max(0.0, peak - self.held)
        self._stage = None

    def _reset(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._can_reset = False

    def _peak(self) -> float | None:
        """Highest since the last reset."""
        if self.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        status = Path("/proc/self/status").read_text() if self._can_reset else ""
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.M)
        return int(found[1]) / 1024 if found else None


def costs(
    experiments: Sequence[Experiment],
    store: Store | None = None,
    progress: bool = True,
    here: bool = False,
    fill: bool = True,
) -> list[Cost]:
    """Costs of all cells of a table, in its order, seed by seed: a seed's ``none`` stands in one round with the others.

    In a script, call it under ``if __name__ == "__main__":``, since each process of its own imports the script.

    Args:
        here: measure on this machine, with this many threads, whatever travels with the package. Else the costs of
            another machine are read, if all of the table were measured there.
        fill: measure what is missing; otherwise those of the machine that most were measured on are returned alone.

    Raises:
        ValueError: a seed without a cell of ``none``, which the others are compared with; or nothing is to be measured,
            and nothing was.
        ValueError, ArithmeticError, OSError: as :func:`measure`; what was measured before is kept.
    """
    plain = {(e.seed, e.attack_label) for e in experiments if e.defense_label == "none"}
    missing = {(e.seed, e.attack_label) for e in experiments} - plain
    if missing:
        seeds = ", ".join(sorted({str(seed) for seed, _ in missing}))
        raise ValueError(
            "costs are relative to none: defenses must name it; there is no cell of it for "
            f"seed {seeds} under the same attack."
        )
    elsewhere = [] if here else _places()
    known = [[_study(e, place).stored(store) for e in experiments] for place in [_here(), *elsewhere]]
    there = max(([c for c in of if c is not None] for of in known), key=len)
    if len(there) == len(experiments):
        return there
    if not fill:
        compared = {c.experiment.seed for c in there if c.experiment.defense_label == "none"}
        if not compared:
            raise ValueError(f"none of the {len(experiments)} costs has been measured; measure=True takes them.")
        return [c for c in there if c.experiment.seed in compared]
    found: dict[Experiment, Cost] = {}
    with bar(len(experiments), shown=progress) as moved:
        for e in sorted(experiments, key=lambda e: e.seed):
            moved.set_description_str(f"{e.label}, seed {e.seed}")
            found[e] = measure(e, store)
            moved.update()
    return [found[e] for e in experiments]


def measure(experiment: Experiment, store: Store | None = None) -> Cost:
    """Run the experiment in a process of its own, without FID, or read what a former call found.

    Args:
        store: by default :func:`sparseguard.store.home`. The result itself is not kept.

    Raises:
        ValueError, ArithmeticError: as :meth:`Experiment.run`.
        OSError: the same, or the process was killed.
    """
    return _study(experiment).measured(store)


def stored(experiment: Experiment, store: Store | None = None) -> Cost | None:
    """What is known of a cell: of this machine, or of one whose costs are shipped; nothing is computed.

    All cells of a seed are of one machine: the first that ``none`` was measured on.
    """
    plain = replace(experiment, defense="none", lam=None, options={})
    place = next((p for p in [_here(), *_places()] if _study(plain, p).stored(store)), _here())
    return _study(experiment, place).stored(store)


def apart(name: str, work: Callable[[], T]) -> T:
    """Call a function in a fresh process; both it and what it returns can be pickled.

    Raises:
        OSError: the process was killed; the sentence begins with the name.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work).result()
        except BrokenProcessPool as error:
            raise OSError(
                f"{name}: its process was killed, perhaps for lack of memory; what was measured before is kept."
            ) from error


def _here() -> Place:
    return device_name(default_device()), torch.get_num_threads()


def _places() -> list[Place]:
    """Where the shipped costs were measured."""
    own = [of for record in reference.records().values() if (of := record.get("own", {})).get("study") == "costs"]
    return sorted({(of["device"], of["threads"]) for of in own})


def _study(experiment: Experiment, place: Place | None = None) -> Recalled[Cost]:
    experiment, (device, threads) = replace(experiment, fid=False), place or _here()
    return Recalled(
        {"study": "costs", "device": device, "threads": threads},
        lambda: apart(f"{experiment.label}, seed {experiment.seed}", partial(_compute, experiment, threads)),
        lambda record, _: Cost(experiment, **record),
        experiment,
    )


def _warm_up(experiment: Experiment, device: str) -> None:
    """One step of training on two images: what is compiled, or loaded, the first time is no part of training."""
    split = load_data(experiment.dataset, experiment.scale, experiment.seed)
    with torch.random.fork_rng():
        target = experiment.make_defense().build(split, experiment.setting, check_scale(experiment.scale)).to(device)
        target(split.train_images[:2].to(device)).sum().backward()


def _compute(experiment: Experiment, threads: int) -> Cell:
    import opacus  # noqa: F401  (dp_sgd imports it when it trains: no part of its training)

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    torch.set_num_threads(threads)
    device = default_device()
    _warm_up(experiment, device)
    peaks = Peaks(device)
    result = experiment.run(store=None, progress=peaks.start, device=device)
    peaks.stop()
    record = {
        "seconds_by_stage": {name: result.metrics[f"seconds_{name}"] for name in STAGE_NAMES.values()},
        "peaks_by_stage": {name: peaks.by_stage[stage] for stage, name in STAGE_NAMES.items()},
        "held": peaks.held,
        "threads": threads,
        "cores": os.cpu_count() or 1,
        "load": load,
        "device": device_name(device),
    }
    return record, {}
