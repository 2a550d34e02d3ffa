"""Who computes what, where several processes and machines share a folder: leases that end with their holder.

A lease is a folder of numbered files: whoever creates the next number, which only one can, holds it. He writes into
that file again and again; one whose file did not change while a watcher looked for :data:`LASTS` seconds of his own has
lost it, and the next number is free. No clock of one machine is compared with that of another, and none that can be set
is asked. On one machine a holder whose process is gone has lost it at once.

Should a holder that was only asleep wake up, two compute the same for a while: as what they compute is the same and is
saved whole, nothing is lost and nothing is there twice.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

LASTS, RENEWED, LOOK = 60.0, 5.0, 0.25
"""Seconds without a sign of life after which a lease is lost, between two signs, and between two looks at another's."""

_seen: dict[Path, tuple[bytes, float]] = {}
"""What each holder's file held, and since when by this process's own clock."""


@cache
def _machine() -> str:
    """One name for all processes that can see each other."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}".replace(" ", "_")
    return str(uuid.uuid4())


def _began(pid: str) -> str:
    """When a process of this machine began; a dash if there is none, or if that cannot be told."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return "-"


class Lease:
    """The right to compute something, one process's at a time.

    Args:
        folder: that all share.
        name: of what is computed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._place = folder / name
        self._file = -1
        self._over = threading.Event()
        self._who = f"{_machine()} {os.getpid()} {_began(str(os.getpid()))} {uuid.uuid4()}"

    def taken(self) -> bool:
        """Take it if nobody has it.

        Raises:
            OSError: the folder cannot be written to.
        """
        try:
            self._place.mkdir(parents=True, exist_ok=True)  # fails where another one removes it in that moment
            latest = max((int(p.name) for p in self._place.iterdir() if p.name.isdecimal()), default=0)  # others: .nfs…
            before = _content(self._place / str(latest))
            if latest and not self._lost(self._place / str(latest), before):
                return False
            mine = self._place / str(latest + 1)
            self._file = os.open(mine, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except (FileExistsError, FileNotFoundError):  # another one was faster
            if self._place.is_file():
                raise
            return False
        self._mine = mine
        self._sign(0)
        if latest and _content(self._place / str(latest)) != before:  # the number is that of a later holder
            self._end([latest + 1])
            return False
        self._over.clear()
        self._sign_of_life = threading.Thread(target=self._renew, daemon=True)
        self._sign_of_life.start()
        return True

    def _lost(self, holder: Path, content: bytes) -> bool:
        machine, pid, began, *_ = [*content.decode(errors="replace").split(), "", "", ""]
        if machine == _machine() and began != _began(pid):
            return True
        now = time.monotonic()
        if _seen.get(holder, (b"", now))[0] != content or holder not in _seen:
            _seen[holder] = content, now
        return now - _seen[holder][1] > LASTS

    def _sign(self, count: int) -> None:
        os.pwrite(self._file, f"{self._who} {count}\n".encode(), 0)
        os.fsync(self._file)

    def _renew(self) -> None:
        count = 0
        while not self._over.wait(RENEWED):
            count += 1
            with suppress(OSError):  # a full disk or a file that another one took away: then it is lost
                self._sign(count)

    def _end(self, numbers: Iterable[int]) -> None:
        own = _content(self._mine).startswith(self._who.encode())
        with suppress(OSError):
            os.close(self._file)
        with suppress(OSError):
            for number in numbers if own else ():
                (self._place / str(number)).unlink(missing_ok=True)
                _seen.pop(self._place / str(number), None)
            self._place.rmdir()

    def free(self) -> None:
        """Give it back."""
        self._over.set()
        self._sign_of_life.join()  # it may be about to write, and the next file gets this one's number
        self._end(range(1, int(self._mine.name) + 1))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextmanager
def held(folder: Path, name: str, wait: bool = True) -> Iterator[bool]:
    """Hold a lease.

    Args:
        folder, name: as of :class:`Lease`.
        wait: until it is free; else what is given is whether it is held.

    Raises:
        RuntimeError: the process has just been started and still reads the script of the one that started it, which
            holds the lease and waits: both would wait for ever.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a script that measures or computes in further processes is read by each of them: put what it calls under "
            'if __name__ == "__main__":.'
        )
    lease = Lease(folder, name)
    while not (mine := lease.taken()) and wait:
        time.sleep(LOOK)
    try:
        yield mine
    finally:
        if mine:
            lease.free()
