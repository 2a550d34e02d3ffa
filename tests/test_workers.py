"""Cells side by side: the same results as one after the other, kept one by one, and said along the way."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from sparseguard import Experiment
from sparseguard.grid import Pace, cells, run_grid
from sparseguard.progress import PROGRESS
from sparseguard.store import Store
from sparseguard.submitting import FOLDER, Plan, Site
from sparseguard.workers import DONE, JOBS, jobs

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
    assert Plan(rows, Store(tmp_path), lambda e, stage: heard.append((e, stage)), Site()).compute() == {}
    stages = ["training the target", "training the attackers", "measuring", DONE]
    assert [stage for _, stage in heard] == 2 * stages  # one process, one after the other
    stored = [e.stored(Store(tmp_path)) for e in rows]
    assert len({r.metrics["seconds_target"] for r in stored if r}) == 1  # trained once
    assert [*(tmp_path / FOLDER).iterdir()] == []


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_an_error_comes_through_once_all_others_are_computed(at_a_time: int, tmp_path: Path) -> None:
    bad = Experiment("mnist", "split", "none", scale="smoke", fid=False, holdout=10_000)
    with pytest.raises(ValueError, match="holdout must be at most"):
        run_grid([bad, ROWS[0], ROWS[2]], Store(tmp_path), progress=False, at_a_time=at_a_time)
    assert all(e.stored(Store(tmp_path)) for e in (ROWS[0], ROWS[2]))


def test_the_environment_says_how_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOBS, "3")
    assert jobs() == 3
    for wrong in ("0", "two"):
        monkeypatch.setenv(JOBS, wrong)
        with pytest.raises(ValueError, match=f"{JOBS} must be a whole number from 1 on"):
            jobs()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "cloud"}, "--where must be one of local, slurm, not 'cloud'"),
        ({"workers": -1}, "--workers must be a whole number from 1 on, not -1"),
        ({"gpus": -1}, "--gpus-per-task must be a whole number from 0 on, not -1"),
        ({"minutes": 0.5}, "--minutes must be a whole number from 1 on, not 0.5"),
        ({"options": {"partion": "gpu"}}, "--slurm has what Slurm does not know: .*'partion'"),
    ],
)
def test_what_a_site_may_not_be_is_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Site(**options)


def test_a_command_is_run_in_a_job_and_says_where_what_it_said_lies(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert Site().run([sys.executable, "-c", f"open({str(tmp_path / 'made')!r}, 'w')"], store) is None
    assert (tmp_path / "made").exists()
    failed = Site().run([sys.executable, "-c", "import sys; sys.exit('it went wrong')"], store)
    assert failed
    assert "it went wrong" in "".join(path.read_text() for path in failed.glob("*log.out"))


def test_the_script_starts_as_many_jobs_with_what_they_ask_for() -> None:
    script = Site("slurm", 4, 1, 90, {"partition": "gpu"}).script("python -m sparseguard grid plan.yaml", Path("logs"))
    for line in ("--array=0-3%4", "--gpus-per-task=1", "--time=90", "--partition=gpu", "--cpus-per-task=1"):
        assert f"#SBATCH {line}\n" in script
    assert script.strip().endswith("python -m sparseguard grid plan.yaml")


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
