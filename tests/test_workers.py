"""Cells side by side: the same results as one after the other, kept one by one, and said along the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sparseguard import Experiment
from sparseguard.grid import PROGRESS, cells, run_grid
from sparseguard.store import Store
from sparseguard.workers import DONE, JOBS, Pace, compute, jobs

ROWS = cells("mnist", "split", ["none", "gaussian"], 0.5, "smoke", [0, 1])


def test_side_by_side_they_come_out_as_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv(PROGRESS, str(told))
    alone = run_grid(ROWS, Store(tmp_path / "a"), progress=False, at_a_time=1)
    assert not told.exists()
    together = run_grid(ROWS, Store(tmp_path / "b"), at_a_time=2)
    assert [r.experiment for r in together] == ROWS
    for one, other in zip(alone, together, strict=True):
        assert one.metrics["psnr"] == other.metrics["psnr"]
        assert torch.equal(one.reconstructions, other.reconstructions)
    assert told.read_text().startswith("4 of 4 cells; ")


def test_every_stage_is_told_and_attacks_on_one_target_share_it(tmp_path: Path) -> None:
    rows = cells("mnist", "split", "none", 0.5, "smoke", 0, ["nearest", {"attack": "inversion", "decoders": ["ridge"]}])
    heard: list[tuple[Experiment, str]] = []
    compute(rows, Store(tmp_path), lambda e, stage: heard.append((e, stage)), 2)
    stages = ["training the target", "training the attackers", "measuring", DONE]
    assert [stage for _, stage in heard] == 2 * stages  # one process, one after the other
    stored = [e.stored(Store(tmp_path)) for e in rows]
    assert len({r.metrics["seconds_target"] for r in stored if r}) == 1  # trained once


def test_an_error_comes_through_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    bad = Experiment("mnist", "split", "none", scale="smoke", fid=False, holdout=10_000)
    with pytest.raises(ValueError, match="holdout must be at most"):
        run_grid([ROWS[0], bad, ROWS[2]], Store(tmp_path), progress=False, at_a_time=2)
    assert ROWS[0].stored(Store(tmp_path)) is not None


def test_a_killed_process_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sparseguard.grid import cells, run_grid\n"
        "if __name__ == '__main__':\n"
        "    run_grid(cells('mnist', 'split', ['none', 'none_conv', 'sparse_guard'], 0.5, 'quick', 77), at_a_time=2)\n"
    )
    running = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    for _ in range(600):
        started = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split()}
        workers = [pid for pid, command in started.items() if b"spawn_main" in command]
        if workers:
            break
        time.sleep(0.1)
    os.kill(int(workers[0]), signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 1
    assert said.strip().splitlines()[-1].startswith("OSError: a process that computed cells was killed")


def test_the_environment_says_how_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOBS, "3")
    assert jobs() == 3
    for wrong in ("0", "two"):
        monkeypatch.setenv(JOBS, wrong)
        with pytest.raises(ValueError, match=f"{JOBS} must be a whole number from 1 on"):
            jobs()


def test_the_time_left_is_that_of_the_cells_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(5)
    assert str(pace) == "time left unknown"
    now[0] = 120.0
    pace.finished()
    assert str(pace) == "about 8 min left"
    now[0] = 130.0
    for _ in range(3):
        pace.finished()
    assert str(pace) == "less than a minute left"
