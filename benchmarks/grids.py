"""How a grid scales: workers side by side, cells in the store, cells in a plan.

    python benchmarks/grids.py [--workers 2] [--cells 8]

prints the seconds that one worker and W workers take for the same cells of scale ``smoke``, the seconds that looking up
10,000 stored cells takes, and the seconds and the memory that a plan of 100,000 cells takes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

from sparseguard.grid import cells, compute
from sparseguard.plans import lacking, planned
from sparseguard.store import Store
from sparseguard.submitting import Site

STORED, PLANNED = 10_000, 100_000
PLAN = """
datasets: [mnist, fashion_mnist]
settings: [split, end_to_end]
defenses: [none, {{defense: laplace, strengths: {strengths}}}, sparse_guard]
lams: {strengths}
attack: [inversion, nearest, refinement, plug_and_play]
scale: quick
seeds: {seeds}
"""


def plan(count: int, folder: Path) -> Path:
    """A file that asks for so many cells, and some more."""
    strengths = [k / 16 for k in range(1, 33)]
    rows = 2 * 2 * 4 * (1 + 2 * len(strengths))
    path = folder / f"{count}.yaml"
    path.write_text(PLAN.format(strengths=strengths, seeds=[*range(-(-count // rows))]))
    return path


def side_by_side(workers: int, count: int, folder: Path) -> None:
    """Seconds of one worker and of several, startup and all."""
    attack = {"attack": "inversion", "decoders": ["mixer"], "updates": 1024}
    rows = cells("mnist", "split", "none", 0.5, "smoke", [*range(count)], attack)
    seconds = {}
    for many in (1, workers):
        start = time.perf_counter()
        assert not compute(rows, Store(folder / f"{many}", shipped=False), Site(workers=many))
        seconds[many] = time.perf_counter() - start
    share = seconds[workers] / seconds[1]
    print(f"{count} cells: 1 worker {seconds[1]:.1f} s, {workers} workers {seconds[workers]:.1f} s, {share:.2f} of it; "
          f"wanted: at most {1 / (0.8 * workers):.2f}")  # fmt: skip


def lookup(folder: Path) -> None:
    """Seconds of looking up stored cells: by name, as a grid does, and read whole, as a table does."""
    rows, store = planned(plan(STORED, folder))[:STORED], Store(folder / "store", shipped=False)
    one = cells("mnist", "split", "none", 0.5, "smoke", 0, "nearest")[0].run(None, progress=False)
    store.save("first", *one.dump())
    files = {path.name: path.read_bytes() for path in (store.folder / "first").iterdir()}
    for e in rows:
        (store.folder / e.key()).mkdir()
        for name, data in files.items():
            (store.folder / e.key() / name).write_bytes(data)
    start, busy = time.perf_counter(), time.process_time()
    assert lacking(rows, store) == []
    named, busy = time.perf_counter() - start, time.process_time() - busy
    start = time.perf_counter()
    assert all(e.stored(store) for e in rows)
    print(f"looking up {STORED:,} stored cells: {named:.2f} s ({busy:.2f} of this process); reading and "
          f"checking all of them: {time.perf_counter() - start:.1f} s")  # fmt: skip


def expansion(folder: Path) -> None:
    """Seconds and memory of a plan, in a process of its own."""
    code = (
        "import resource, sys, time; from pathlib import Path; from sparseguard.plans import lacking, planned\n"
        "from sparseguard.store import Store\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "start, busy = time.perf_counter(), time.process_time()\n"
        "cells = planned(Path(sys.argv[1])); made = time.perf_counter() - start; missing = lacking(cells, Store())\n"
        "most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "every, busy = time.perf_counter() - start, time.process_time() - busy\n"
        "print(f'a plan of {len(cells):,} cells: {made:.1f} s, with what is missing {every:.1f} s'\n"
        "      f' ({busy:.1f} of this process); {most:.0f} MB at most, {base:.0f} MB of it before')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(plan(PLANNED, folder))], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cells", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["SPARSEGUARD_HOME"] = place
        expansion(Path(place))
        lookup(Path(place))
        side_by_side(given.workers, given.cells, Path(place))
