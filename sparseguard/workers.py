"""Cells side by side: a process and a thread each, since small networks use one core better than two.

Each result goes to the store as soon as it is there, so whatever ends a run, the next one goes on from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue

import torch

from .checks import whole
from .device import default_device
from .experiment import Experiment
from .store import Store

JOBS = "SPARSEGUARD_JOBS"
"""Environment variable: how many cells at a time, by default one a core, on a GPU one."""
PAUSE = 0.2
"""Seconds between two looks at what the processes tell."""

Tell = Callable[[Experiment, str], None]
"""Is told what each cell is at: the name of a stage, or :data:`DONE`."""
DONE = "done"

_queue: SimpleQueue[tuple[Experiment, str]] | None = None


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


def _start(queue: SimpleQueue[tuple[Experiment, str]]) -> None:
    global _queue
    _queue = queue
    torch.set_num_threads(1)


def _work(experiments: list[Experiment], store: Store) -> None:
    for experiment in experiments:
        experiment.run(store, partial(_tell, experiment))
        _tell(experiment, DONE)


def _tell(experiment: Experiment, stage: str) -> None:
    assert _queue is not None
    _queue.put((experiment, stage))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in this process meanwhile, where it computes on the CPU."""
    before = torch.get_num_threads()
    if default_device() == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute(experiments: Sequence[Experiment], store: Store, tell: Tell, at_a_time: int) -> None:
    """Compute cells into the store. Those that follow each other and share a target are computed by one process.

    Args:
        experiments: cells that the store does not have.
        store: gets the results.
        tell: called in this process.
        at_a_time: processes.

    Raises:
        ValueError, ArithmeticError, OSError: as :meth:`Experiment.run`, once the cells in work are finished and kept;
            or a process was killed.
    """
    tasks = [list(group) for _, group in groupby(experiments, key=lambda e: e.unattacked())]
    context = get_context("spawn")
    queue: SimpleQueue[tuple[Experiment, str]] = context.SimpleQueue()
    with ProcessPoolExecutor(min(at_a_time, len(tasks)), context, _start, (queue,)) as pool:
        open_ended: set[Future[None]] = {pool.submit(_work, task, store) for task in tasks}
        try:
            while open_ended:
                done, open_ended = wait(open_ended, timeout=PAUSE, return_when=FIRST_COMPLETED)
                while not queue.empty():
                    tell(*queue.get())
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise OSError("a process that computed cells was killed; what was finished is in the store.") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


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
