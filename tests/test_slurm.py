"""On a real Slurm of one node: what is cancelled or stopped is gone on with, to the numbers of this machine."""

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from sparseguard import Experiment
from sparseguard.deployed import RESUMED
from sparseguard.grid import cells, compute
from sparseguard.store import Store
from sparseguard.submitting import Site
from sparseguard.workers import DONE, Failures

spec = spec_from_file_location("one_node", Path(__file__).with_name("slurm.py"))
assert spec
assert spec.loader
one_node = module_from_spec(spec)
spec.loader.exec_module(one_node)

reason = one_node.obstacle()
pytestmark = pytest.mark.skipif(reason is not None, reason=f"no Slurm here: {reason}")

ROWS = cells(
    "mnist", "split", ["none", "gaussian"], 0.5, "smoke", [0, 1],
    ["nearest", {"attack": "inversion", "decoders": ["rows"], "updates": 256}],
)  # fmt: skip
KILLS = int(os.environ.get("KILLS", "4"))
"""Jobs that are killed in the suite; ``KILLS=100 pytest tests/test_slurm.py`` kills more."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    before = dict(os.environ)
    with one_node.slurm() as variables:
        os.environ.update(variables)
        yield
    os.environ.clear()
    os.environ.update(before)


def until(happens: Callable[[], bool]) -> None:
    for _ in range(600):
        if happens():
            return
        time.sleep(0.2)
    raise AssertionError("it did not happen")


class Run:
    """A grid that runs in a thread."""

    def __init__(self, store: Store, workers: int) -> None:
        self.heard: list[tuple[Experiment, str]] = []
        self.failures: Failures = {}
        missing = [e for e in ROWS if e.key() not in store.present()]

        def run() -> None:
            site = Site("slurm", workers, minutes=30)
            self.failures = compute(missing, store, site, lambda e, stage, _: self.heard.append((e, stage)))

        self.thread = threading.Thread(target=run)
        self.thread.start()

    @property
    def computed(self) -> list[Experiment]:
        return [e for e, stage in self.heard if stage == DONE]


def jobs() -> list[str]:
    asked = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def test_a_cancelled_grid_finishes_what_is_missing_with_the_numbers_of_this_machine(
    cluster: None, tmp_path: Path
) -> None:
    assert len(ROWS) == 8
    store = Store(tmp_path / "slurm")
    first = Run(store, 1)
    until(lambda: len(store.names()) >= 2)
    subprocess.run(["scancel", *jobs()], check=True)
    first.thread.join()
    there = store.names()
    assert 2 <= len(there) < 8
    assert {e.key() for e in first.failures} == {e.key() for e in ROWS} - {*there}
    second = Run(store, 2)
    until(lambda: bool(second.heard))
    (stopped, *_) = jobs()
    subprocess.run(["scancel", "--signal=USR2", stopped], check=True)  # as when it is preempted, or its time is over
    second.thread.join()
    assert second.failures == {}
    assert {e.key() for e in second.computed} == {e.key() for e in ROWS} - {*there}  # and nothing twice
    assert sorted(store.names()) == sorted(e.key() for e in ROWS)
    here = Store(tmp_path / "local")
    assert compute(ROWS, here, Site("local", 2)) == {}
    for e in ROWS:
        one, other = e.stored(store), e.stored(here)
        assert one
        assert other
        assert one.metrics["psnr"] == other.metrics["psnr"]
        assert torch.equal(one.reconstructions, other.reconstructions)


def test_a_grid_whose_jobs_are_killed_again_and_again_loses_nothing(cluster: None, tmp_path: Path) -> None:
    chance, store, kills, starts = random.Random(0), Store(tmp_path / "slurm"), 0, 0
    expected = {e: e.run(None, progress=False) for e in ROWS}
    while len(store.names()) < len(ROWS):
        starts += 1
        assert starts < 20
        run = Run(store, 2)
        while run.thread.is_alive():
            time.sleep(chance.uniform(3, 8))
            running = jobs()
            if kills < KILLS and running:
                subprocess.run(["scancel", "--signal=KILL", "--full", chance.choice(running)], check=False)
                kills += 1
    assert kills >= 2
    assert store.names() == sorted(e.key() for e in ROWS)
    for e, other in expected.items():
        one = e.stored(store)
        assert one
        assert {k: v for k, v in one.metrics.items() if not k.startswith("seconds")} == {
            k: v for k, v in other.metrics.items() if not k.startswith("seconds")
        }
        assert torch.equal(one.reconstructions, other.reconstructions)
    assert [*(store.folder / RESUMED).glob("*")] == []
