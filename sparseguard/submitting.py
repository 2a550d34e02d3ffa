"""Jobs that compute a plan, of submitit: processes of this machine, or an array of Slurm."""

from __future__ import annotations

import builtins
import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from submitit import LocalExecutor, SlurmExecutor
from submitit.core.core import Job
from submitit.core.utils import environment_variables
from submitit.slurm.slurm import _make_sbatch_string

from .checks import one_of, whole
from .experiment import Experiment
from .places import write
from .store import Store, Unwritable
from .workers import DONE, ENDED, FAILED, LEFT, PAUSE, PLAN, STOPPED, TOLD, Command, Failures, Tell, Worker, give_up

WHERE = ("local", "slurm")
FOLDER = ".jobs"
"""Folder of a store: a plan in work, and what its jobs say."""
TRIES = 3
"""Times that a process may be killed at one cell before it is given up: what lacks memory lacks it again."""
ASKED = 3.0
"""Seconds between two questions to Slurm."""
AGAIN = 1000
"""Times that a job that ran out of its minutes is queued again."""
LONG = 60 * 24
"""Minutes of a job of Slurm that is told nothing else."""

_HERE = str(Path(__file__).resolve().parents[1])
"""Jobs import this package, installed or not."""


@dataclass(frozen=True)
class Site:
    """Where jobs run.

    Args:
        where: ``"local"``: on this machine; ``"slurm"``: as an array.
        workers: jobs at a time.
        gpus: of each.
        minutes: after which a job is stopped, and queued again while there is work left.
        options: further ones of Slurm, as submitit names them: ``{"partition": "gpu", "mem": "8GB"}``.

    Raises:
        ValueError: anything that is not allowed.
    """

    where: str = "local"
    workers: int = 1
    gpus: int = 0
    minutes: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("--where", self.where, WHERE)
        whole("--workers", self.workers)
        whole("--gpus-per-task", self.gpus, 0)
        if self.minutes is not None:
            whole("--minutes", self.minutes)
        try:
            self.script("true", Path())
        except TypeError as error:
            raise ValueError(f"--slurm has what Slurm does not know: {error}.") from error

    @property
    def _slurm(self) -> dict[str, Any]:
        usual = {"job_name": "sparseguard", "ntasks_per_node": 1, "cpus_per_task": 1, "time": self.minutes or LONG}
        return usual | ({"gpus_per_task": self.gpus} if self.gpus else {}) | self.options

    def script(self, command: str, folder: Path) -> str:
        """What ``sbatch`` takes, for as many processes that run a command."""
        return _make_sbatch_string(command=command, folder=folder, map_count=self.workers, **self._slurm)

    def submitted(self, folder: Path, numbers: Sequence[int]) -> dict[int, Job[None]]:
        """Jobs, by the numbers of their workers.

        Raises:
            OSError: there is no Slurm here.
        """
        return self._submitted(folder, {number: Worker(folder, number) for number in numbers})

    def run(self, command: Sequence[str], store: Store) -> Path | None:
        """Run a command in a job, and wait for it; the folder of what it said, if it failed."""
        store.prepare()
        folder = _folder(store)
        (job,) = self._submitted(folder, {0: Command(folder, command)}).values()
        try:
            while job.job_id not in self.ended([job]):
                time.sleep(self.pause)
        except KeyboardInterrupt:
            if self.where == "local":
                job.cancel(check=False)
            raise
        if not (folder / ENDED).exists() or (folder / ENDED).read_bytes() != b"0":
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        return None

    @property
    def pause(self) -> float:
        """Seconds between two looks at jobs."""
        return PAUSE if self.where == "local" else ASKED

    def _submitted(self, folder: Path, work: Mapping[int, Worker | Command]) -> dict[int, Job[None]]:
        with environment_variables(PYTHONPATH=os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")]))):
            return self._begun(folder, work)

    def _begun(self, folder: Path, work: Mapping[int, Worker | Command]) -> dict[int, Job[None]]:
        if self.where == "slurm":
            try:
                cluster = SlurmExecutor(folder, max_num_timeout=AGAIN)
            except RuntimeError as error:
                raise OSError("there is no Slurm on this machine; --where local computes here.") from error
            cluster.update_parameters(**self._slurm)
            return dict(zip(work, cluster.submit_array([*work.values()]), strict=True))
        found, devices = {}, _devices()
        for number, what in work.items():
            here = LocalExecutor(folder, max_num_timeout=AGAIN)
            wanted = min(self.gpus or 1, len(devices))
            own = [devices[(number * wanted + k) % len(devices)] for k in range(wanted)]
            here.update_parameters(
                timeout_min=self.minutes or 365 * LONG, gpus_per_node=len(own), visible_gpus=own, stderr_to_stdout=True
            )
            found[number] = here.submit(what)
        return found

    def ended(self, jobs: Collection[Job[None]]) -> set[str]:
        """Names of those that do not run any more and will not run again."""
        if self.where == "local":
            return {job.job_id for job in jobs if job.done()}
        arrays = {job.job_id.split("_")[0] for job in jobs}
        asked = _asked("squeue", "--noheader", "--array", "--format=%i", "--jobs", ",".join(arrays))
        return set() if asked is None else {job.job_id for job in jobs} - set(asked.split())

    def cancelled(self, job: Job[None]) -> bool:
        """Somebody wanted it to end."""
        if self.where == "local":
            return False
        state = re.search(r"JobState=(\w+)", _asked("scontrol", "show", "job", "--oneliner", job.job_id) or "")
        return state is None or state[1] == "CANCELLED"


def _asked(*command: str) -> str | None:
    """What Slurm answers; ``None`` if it does not. It knows nothing of jobs that ended long ago."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else "" if "Invalid job id" in done.stderr else None


def _devices() -> list[int]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    known = [int(part) for part in given.split(",") if part.isdecimal()]
    return known or [*range(torch.cuda.device_count())]


def _folder(store: Store) -> Path:
    return (store.folder / FOLDER / uuid.uuid4().hex[:12]).absolute()


class Plan:
    """Cells that jobs compute, and what these tell.

    Args:
        cells: that the store does not have.
        store: gets the results.
        tell: called in this process.
        site: where they run.
    """

    def __init__(self, cells: Sequence[Experiment], store: Store, tell: Tell, site: Site) -> None:
        self.folder = _folder(store)
        self.failures: Failures = {}
        self._cells, self._store, self._tell, self._site = [*cells], store, tell, site
        self._done: set[int] = set()
        self._at: dict[int, int] = {}
        self._left: set[int] = set()
        self._stopped: set[int] = set()
        self._read: Counter[int] = Counter()
        self._killed: Counter[int] = Counter()

    def compute(self) -> Failures:
        """Wait until all is there, or nothing goes on any more.

        Returns:
            What is not there, and why.

        Raises:
            Unwritable: the store cannot be written to.
            OSError: there is no Slurm here.
        """
        plan = {
            "cells": [asdict(e) for e in self._cells],
            "workers": self._site.workers,
            "store": str(self._store.folder.absolute()),
            "shipped": self._store.shipped,
            "driver": os.getpid() if self._site.where == "local" else None,
        }
        self._store.prepare()
        write(self.folder / PLAN, json.dumps(plan).encode())
        self._started = min(self._site.workers, len(self._cells))
        running = self._site.submitted(self.folder, range(self._started))
        try:
            while running:
                time.sleep(self._site.pause)
                ended = self._site.ended(running.values())
                self._listen()
                for number in [number for number, job in running.items() if job.job_id in ended]:
                    running |= self._instead(number, running.pop(number))
        finally:
            if self._site.where == "local":
                for job in running.values():
                    job.cancel(check=False)
        for number, e in enumerate(self._cells):
            if number not in self._done and e not in self.failures and e.stored(self._store) is None:
                self.failures[e] = OSError(f"its job ended before; what that said lies in {self.folder}.")
        if not self.failures:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.failures

    def _listen(self) -> None:
        for path in self.folder.glob(f"{TOLD}*"):
            worker = int(path.name.removeprefix(TOLD))
            with path.open("rb") as file:
                file.seek(self._read[worker])
                lines, _, _ = file.read().rpartition(b"\n")
            self._read[worker] += len(lines) + 1 if lines else 0
            for number, stage in map(json.loads, lines.splitlines()):
                self._heard(worker, number, stage)

    def _heard(self, worker: int, number: Any, stage: str) -> None:
        self._stopped.discard(worker)
        if stage == LEFT:
            self._left.add(worker)
        elif stage == STOPPED:
            self._stopped.add(worker)
            self._at.pop(worker, None)
        elif isinstance(number, str):
            raise Unwritable(number)
        elif stage == FAILED:
            self._at.pop(worker, None)
            self._failed(number)
        elif stage == DONE:
            self._at.pop(worker, None)
            if number not in self._done:
                self._done.add(number)
                self._tell(self._cells[number], DONE)
        else:
            self._at[worker] = number
            self._tell(self._cells[number], stage)

    def _failed(self, number: int) -> None:
        told = json.loads((self.folder / f"{FAILED}-{number}").read_bytes())
        kind = getattr(builtins, told["kind"], None)
        error: Exception = RuntimeError(f"{told['kind']}: {told['text']}")
        if isinstance(kind, type) and issubclass(kind, Exception):
            with suppress(TypeError):  # a kind that is not made of a text alone
                error = kind(told["text"])
        error.add_note(told["trace"])
        self.failures[self._cells[number]] = error
        self._tell(self._cells[number], FAILED)

    def _instead(self, number: int, job: Job[None]) -> dict[int, Job[None]]:
        """What takes the place of a job that has ended: another one, where it was killed and there is work left."""
        at = self._at.pop(number, None)
        if number in self._left or self._site.cancelled(job):
            return {}
        self._killed[-1 if at is None else at] += number not in self._stopped
        if at is None and self._killed[-1] >= TRIES:
            return {}
        if at is not None and self._killed[at] >= TRIES:
            said = f"its process was killed {TRIES} times, perhaps for lack of memory."
            give_up(self.folder, at, OSError(said))
            self._failed(at)
        left = len(self._cells) - len(self._done) - len(self.failures)
        self._started += 1
        return self._site.submitted(self.folder, [self._started - 1]) if left else {}
