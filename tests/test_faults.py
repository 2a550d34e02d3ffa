"""Whatever happens to the processes of a grid: nothing is lost, nothing is there twice, no half result is read."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from sparseguard import Experiment, store
from sparseguard.grid import cells, compute, run_grid
from sparseguard.store import Store, Unwritable
from sparseguard.submitting import TRIES, Plan, Site
from sparseguard.workers import DONE, TOLD, Worker, walk

spec = spec_from_file_location("soak_grid", Path(__file__).with_name("soak_grid.py"))
assert spec
assert spec.loader
soak_grid = module_from_spec(spec)
spec.loader.exec_module(soak_grid)

FEW = cells(
    "mnist", "split", ["none", "gaussian"], 0.5, "smoke", 0,
    ["nearest", {"attack": "inversion", "decoders": ["rows"], "updates": 32}],
)  # fmt: skip


def test_fifty_workers_are_killed_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEGUARD_KEPT_EVERY", "0")
    soak_grid.soak(50, 2, tmp_path, FEW)


def test_two_grids_at_once_on_one_store_compute_each_cell_once(tmp_path: Path) -> None:
    context, place = soak_grid.processes(), Store(tmp_path / "store", shipped=False)
    plans = [soak_grid.written(tmp_path / name, FEW, place, 1) for name in ("one", "other")]
    running = [soak_grid.started(context, plan, 0) for plan in plans]
    for process in running:
        process.join()
    soak_grid.compare(FEW, {e: e.run(None, progress=False) for e in FEW}, place, plans[0])
    told: Counter[tuple[int, str]] = sum((soak_grid.stages(plan) for plan in plans), Counter())
    assert {told[number, "measuring"] for number in range(len(FEW))} == {1}
    assert {told[number, DONE] for number in range(len(FEW))} == {2}  # each is told of all


def test_a_full_disk_ends_a_grid_with_a_sentence_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, told = Store(tmp_path / "store", shipped=False), list[Experiment]()

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    (there,) = cells("mnist", "split", "none_conv", 0.5, "smoke", 0, "nearest")
    there.run(place, progress=False)
    monkeypatch.setattr(store, "write", full)
    with (
        pytest.warns(UserWarning, match="a trained target is not kept: .*No space left"),
        pytest.raises(Unwritable, match=r"could not be written to .* \(No space left on device\)"),
    ):
        walk(FEW, place, lambda e, stage: told.append(e), lambda e: False)
    assert set(told) == {FEW[0]}  # it is not gone on with what would be lost too
    assert place.names() == [there.key()]
    assert [*place.folder.glob(".partial-*")] == []
    monkeypatch.undo()
    assert walk(FEW, place, lambda e, stage: None, lambda e: False) == {}
    assert len(place.names()) == 1 + len(FEW)


def test_a_store_on_a_read_only_path_is_a_sentence_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[Experiment] = []
    for site in (None, Site()):
        with pytest.raises(OSError, match="results cannot be written to .*file/store .*set SPARSEGUARD_HOME"):
            compute(FEW, Store(tmp_path / "file" / "store"), site, lambda e, *_: told.append(e))
    assert told == []


def test_a_store_that_cannot_be_written_to_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Store(tmp_path, shipped=False)
    done = FEW[0].run(place, progress=False)

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refused)
    monkeypatch.setattr(store.tempfile, "NamedTemporaryFile", refused)  # type: ignore[attr-defined]
    (found,) = run_grid(FEW[:1], place, progress=False)
    assert found.metrics == done.metrics
    with pytest.raises(Unwritable, match="Read-only file system"):
        run_grid(FEW[:2], place, progress=False, at_a_time=1)


def test_a_clock_that_jumps_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]

    def back() -> float:
        now[0] -= 10_000
        return now[0]

    monkeypatch.setattr(time, "time", back)
    place = Store(tmp_path, shipped=False)
    assert walk(FEW[:2], place, lambda e, stage: None, lambda e: False) == {}
    assert place.names() == sorted(e.key() for e in FEW[:2])


@dataclass
class Job:
    """One that has ended."""

    job_id: str


@dataclass(frozen=True)
class Deadly(Site):
    """Whatever process comes to the first cell is killed there, as one that needs more memory than there is."""

    killed: list[int] = field(default_factory=list)

    def submitted(self, folder: Path, numbers: Sequence[int]) -> dict[int, Any]:
        for number in numbers:
            if (folder / "failed-0").exists():
                Worker(folder, number)()
            else:
                self.killed.append(number)
                (folder / f"{TOLD}{number}").write_text(json.dumps([0, "training the target"]) + "\n[0, ")
        return {number: Job(str(number)) for number in numbers}

    def ended(self, jobs: Any) -> set[str]:
        return {job.job_id for job in jobs}


def test_a_cell_whose_process_dies_of_memory_is_given_up_and_the_others_are_computed(tmp_path: Path) -> None:
    place, site = Store(tmp_path, shipped=False), Deadly()
    failures = Plan(FEW, place, lambda e, stage: None, site).compute()
    assert site.killed == [*range(TRIES)]
    assert [*failures] == [FEW[0]]
    assert "killed 3 times, perhaps for lack of memory" in str(failures[FEW[0]])
    assert place.names() == sorted(e.key() for e in FEW[1:])


@dataclass(frozen=True)
class Brief(Deadly):
    """Five processes run out of their minutes at the first cell; the sixth has time."""

    def submitted(self, folder: Path, numbers: Sequence[int]) -> dict[int, Any]:
        for number in numbers:
            if len(self.killed) == 5:
                Worker(folder, number)()
            else:
                self.killed.append(number)
                (folder / f"{TOLD}{number}").write_text(json.dumps([0, "training the target"]) + "\n")
                Worker(folder, number).checkpoint()
        return {number: Job(str(number)) for number in numbers}


def test_a_cell_that_takes_longer_than_a_job_is_not_given_up(tmp_path: Path) -> None:
    place = Store(tmp_path, shipped=False)
    assert Plan(FEW[:1], place, lambda e, stage: None, Brief()).compute() == {}
    assert place.names() == [FEW[0].key()]


def test_another_job_takes_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    place, heard = Store(tmp_path, shipped=False), list[str]()

    def kill() -> None:
        for _ in range(600):
            workers = [pid for pid in children(os.getpid()) for pid in children(pid)]
            if heard and workers:
                os.kill(workers[0], signal.SIGKILL)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    slow = cells(
        "mnist", "split", "none", 0.5, "smoke", 0, {"attack": "inversion", "decoders": ["mixer"], "updates": 512}
    )
    assert Plan([*slow, FEW[0]], place, lambda e, stage: heard.append(stage), Site()).compute() == {}
    thread.join()
    assert place.names() == sorted(e.key() for e in [*slow, FEW[0]])
    assert heard.count("training the target") >= 3  # one of them again


def children(pid: int) -> list[int]:
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
