"""Workers of a smoke grid are killed at random moments, again and again; then all must be there, as if nobody had been.

    python tests/soak_grid.py --kills 1000

takes about half an hour on two cores. The suite does the same with fewer.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from sparseguard import Experiment, Result
from sparseguard.deployed import RESUMED
from sparseguard.grid import cells
from sparseguard.places import write
from sparseguard.store import LEASES, Store
from sparseguard.workers import FAILED, LEFT, PLAN, TOLD, Worker

ROWS = cells(
    "mnist", "split", ["none", "gaussian", "dp_sgd", "gong_cl"], 0.5, "smoke", 0,
    ["nearest", {"attack": "inversion", "decoders": ["rows", "mixer"]}],
)  # fmt: skip
OFTEN = {"SPARSEGUARD_KEPT_EVERY": "0", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of the workers: trainings are kept as often as can be."""


def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that begin with everything imported."""
    os.environ.update(OFTEN)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sparseguard.workers", "opacus"])
    return context


def written(plan: Path, rows: Sequence[Experiment], store: Store, workers: int) -> Path:
    """The folder of a plan."""
    told = {"cells": [asdict(e) for e in rows], "workers": workers, "store": str(store.folder), "shipped": False}
    write(plan / PLAN, json.dumps(told | {"driver": None}).encode())
    return plan


def soak(kills: int, workers: int, folder: Path, rows: Sequence[Experiment] = ROWS, seed: int = 0) -> Store:
    """Kill so many workers, begin anew whenever all is there, and compare; the last store.

    Raises:
        AssertionError: something was lost, half, twice or different.
    """
    context, chance = processes(), random.Random(seed)
    expected = {e: e.run(None, progress=False) for e in rows}
    done, turn = 0, 0
    while True:
        store = Store(folder / f"store-{turn}", shipped=False)
        plan, number = written(folder / f"plan-{turn}", rows, store, workers), workers
        running: list[BaseProcess] = []
        while len(running) < workers:
            running.append(started(context, plan, len(running)))
        while any(process.is_alive() for process in running):
            time.sleep(chance.uniform(0.0, 0.6))
            victim = chance.randrange(workers)
            if done < kills and running[victim].is_alive():
                running[victim].kill()
                running[victim].join()
                running[victim], number, done = started(context, plan, number), number + 1, done + 1
        compare(rows, expected, store, plan)
        turn += 1
        if done >= kills:
            return store


def started(context: multiprocessing.context.ForkServerContext, plan: Path, number: int) -> BaseProcess:
    """A worker."""
    process = context.Process(target=Worker(plan, number))
    process.start()
    return process


def compare(rows: Sequence[Experiment], expected: dict[Experiment, Result], store: Store, plan: Path) -> None:
    """All of it is there, once, whole, and as it should be; nothing else is."""
    assert not list(plan.glob(f"{FAILED}-*")), [path.read_text() for path in plan.glob(f"{FAILED}-*")]
    assert store.names() == sorted(e.key() for e in rows)
    for e in rows:
        one, other = e.stored(store), expected[e]
        assert one is not None
        assert one.metrics.keys() == other.metrics.keys()
        for name, value in other.metrics.items():
            assert name.startswith("seconds") or one.metrics[name] == value, (e.label, name, one.metrics[name], value)
        assert torch.equal(one.reconstructions, other.reconstructions)
    assert [*(store.folder / RESUMED).glob("*")] == []
    assert [*(store.folder / LEASES).glob("*")] == []


def stages(plan: Path) -> Counter[tuple[int, str]]:
    """How often each cell was at each stage, in all workers of a plan."""
    lines = [json.loads(line) for told in plan.glob(f"{TOLD}*") for line in told.read_text().splitlines()]
    return Counter((number, stage) for number, stage in lines if stage != LEFT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        os.environ["SPARSEGUARD_HOME"] = place
        soak(given.kills, given.workers, Path(place), seed=given.seed)
    print(f"{given.kills} kills, nothing lost, nothing twice, the same numbers; {time.monotonic() - start:.0f} s.")
