"""What a process does that computes cells: it goes through a plan and takes what nobody has taken.

Cells that are in the store, or that another process holds (:mod:`.leases`), are left out; so the store is the queue,
and whoever shares it shares the work. Each result is kept as soon as it is there: whatever ends a process, another one
goes on from there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from submitit.helpers import DelayedSubmission

from .checks import whole
from .device import default_device
from .experiment import Experiment
from .places import write
from .store import Store, Unwritable

JOBS = "SPARSEGUARD_JOBS"
"""Environment variable: how many cells at a time, by default one a core, on a GPU one."""
PAUSE = 0.2
"""Seconds between two looks at what others hold, or tell."""

Tell = Callable[[Experiment, str], None]
"""Is told what each cell is at: the name of a stage, :data:`DONE` or :data:`FAILED`."""
DONE, FAILED = "done", "failed"
LEFT, STOPPED = "left", "stopped"
"""Told by a process that has nothing left to do, and by one whose time is over."""
PLAN, TOLD, ENDED = "plan.json", "told-", "ended"
"""Files of the folder that a plan's processes share: the plan, and what each one tells; failures lie beside them."""
Failures = dict[Experiment, Exception]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs() -> int:
    """How many cells are computed at a time.

    Raises:
        ValueError: the environment names no whole number from 1 on.
    """
    given = os.environ.get(JOBS)
    if given is not None:
        return whole(JOBS, int(given) if given.isdecimal() else given)
    return cores() if default_device() == "cpu" else 1


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in this process meanwhile, where it computes on the CPU: small networks use one core best."""
    before = torch.get_num_threads()
    if default_device() == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def walk(experiments: Sequence[Experiment], store: Store, tell: Tell, failed: Callable[[Experiment], bool]) -> Failures:
    """Compute in this process what the store lacks and no other process holds, until nothing is left.

    Args:
        tell: called before each stage, and when a cell is there.
        failed: whether another process failed at it; it is left out then.

    Returns:
        What could not be computed, and why.

    Raises:
        Unwritable: the store cannot be written to; nothing more is computed.
    """
    failures: Failures = {}
    waiting = [*experiments]
    while waiting:
        held = []
        for e in waiting:
            if failed(e):
                continue
            try:
                e.run(store, lambda stage, e=e: tell(e, stage), wait=False)  # type: ignore[misc]
                tell(e, DONE)
            except BlockingIOError:
                held.append(e)
            except Unwritable:
                raise
            except Exception as error:
                failures[e] = error
                tell(e, FAILED)
        if len(held) == len(waiting):
            time.sleep(PAUSE)
        waiting = held
    return failures


def by_target(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Those that attack one target together, targets of one seed one after the other."""
    groups: dict[tuple[int, str], list[Experiment]] = {}
    for e in experiments:
        groups.setdefault((e.seed, repr(e.unattacked())), []).append(e)
    return [groups[of] for of in sorted(groups, key=lambda of: of[0])]


class Worker:
    """What a job runs. It is sent to the job by its folder and its number alone."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number

    def checkpoint(self) -> DelayedSubmission:
        """Asked for by submitit when the job is stopped and queued again: the store knows what is there."""
        self._say(None, STOPPED)
        return DelayedSubmission(self)

    def _say(self, *told: object) -> None:
        with (self.folder / f"{TOLD}{self.number}").open("a") as file:
            file.write(json.dumps(told) + "\n")

    def __call__(self) -> None:
        plan = json.loads((self.folder / PLAN).read_bytes())
        if plan["driver"]:
            threading.Thread(target=_end_with, args=(plan["driver"],), daemon=True).start()
        cells = [Experiment(**fields) for fields in plan["cells"]]
        numbers = {e: number for number, e in enumerate(cells)}
        groups = by_target(cells)
        first = self.number % plan["workers"] * len(groups) // plan["workers"]  # apart from the others
        order = [e for group in groups[first:] + groups[:first] for e in group]

        def tell(e: Experiment, stage: str) -> None:
            if stage == FAILED:
                give_up(self.folder, numbers[e], sys.exception())
            self._say(numbers[e], stage)

        def failed(e: Experiment) -> bool:
            return (self.folder / f"{FAILED}-{numbers[e]}").exists()

        try:
            with one_thread():
                walk(order, Store(plan["store"], shipped=plan["shipped"]), tell, failed)
        except Unwritable as error:
            with suppress(OSError):
                self._say(str(error), FAILED)
            raise
        self._say(None, LEFT)


def give_up(folder: Path, number: int, error: BaseException | None) -> None:
    """Leave a cell of a plan out from now on, and say why."""
    told = {"kind": type(error).__name__, "text": str(error), "trace": "".join(traceback.format_exception(error))}
    write(folder / f"{FAILED}-{number}", json.dumps(told).encode())


class Command:
    """A command that a job runs; it is run again where the job is stopped and queued again.

    Args:
        folder: gets a file :data:`ENDED` with the status that it ended with.
        command: words.
    """

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder, self.command = folder, [*command]

    def checkpoint(self) -> DelayedSubmission:
        """As of :class:`Worker`."""
        return DelayedSubmission(self)

    def __call__(self) -> None:
        done = subprocess.run(self.command, check=False)
        write(self.folder / ENDED, str(done.returncode).encode())


def _end_with(driver: int) -> None:
    """A local job ends with the process that started it."""
    while Path(f"/proc/{driver}").exists() or not Path("/proc/self").exists():
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)
