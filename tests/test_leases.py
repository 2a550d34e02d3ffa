"""Leases: one holder at a time, whatever becomes of him, and whatever the clocks say."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sparseguard import leases
from sparseguard.leases import Lease, held

HOLDER = """
import sys, time
from pathlib import Path
from sparseguard.leases import Lease
lease = Lease(Path(sys.argv[1]), "cell")
while not lease.taken():
    time.sleep(0.01)
print("mine", flush=True)
time.sleep(600)
"""


def another(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "mine\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_one_has_it_and_then_the_next(tmp_path: Path) -> None:
    first, second = Lease(tmp_path, "cell"), Lease(tmp_path, "cell")
    assert first.taken()
    assert not second.taken()
    assert Lease(tmp_path, "other").taken()
    first.free()
    assert second.taken()
    second.free()
    assert not (tmp_path / "cell").exists()


def test_what_a_file_system_leaves_there_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / ".nfs0000001").write_text("a file that somebody still reads")
    with held(tmp_path, "cell", wait=False) as mine:
        assert mine


def test_a_lease_that_was_given_back_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file's number is the next file's by then."""
    monkeypatch.setattr(leases, "RENEWED", 0.0)
    lease = Lease(tmp_path, "cell")
    signed = Lease._sign

    def late(self: Lease, count: int) -> None:
        if count:
            time.sleep(0.2)
        signed(self, count)

    monkeypatch.setattr(Lease, "_sign", late)
    assert lease.taken()
    time.sleep(0.05)
    lease.free()
    with (tmp_path / "other").open("w+") as other:
        time.sleep(0.3)
        assert other.read() == ""


def test_of_many_at_once_one_has_it(tmp_path: Path) -> None:
    inside, most, turns = [0], [0], []

    def work() -> None:
        for _ in range(20):
            with held(tmp_path, "cell"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                turns.append(inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(turns) == 160


def test_a_folder_that_goes_while_it_is_asked_for_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``mkdir`` finds it there, and then finds it gone: its holder has just given it back."""
    (tmp_path / "cell").mkdir()
    isdir, gone = Path.is_dir, [True]

    def vanished(path: Path) -> bool:
        return isdir(path) and not (path.name == "cell" and gone)

    monkeypatch.setattr(Path, "is_dir", vanished)
    lease = Lease(tmp_path, "cell")
    assert not lease.taken()
    gone.clear()
    assert lease.taken()
    lease.free()
    (tmp_path / "cell").write_text("in the way")
    with pytest.raises(FileExistsError):
        lease.taken()


def test_who_was_killed_has_lost_it_at_once_on_his_machine(tmp_path: Path) -> None:
    process = another(tmp_path)
    assert not Lease(tmp_path, "cell").taken()
    ended(process)
    lease = Lease(tmp_path, "cell")
    assert lease.taken()
    lease.free()


@pytest.mark.parametrize("jump", [-(10**6), 10**6])
def test_elsewhere_he_loses_it_when_he_gives_no_sign_whatever_the_clocks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    process = another(tmp_path)
    now = [1000.0]
    monkeypatch.setattr(leases, "_machine", lambda: "another machine")
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall + jump)
    (holder,) = (tmp_path / "cell").iterdir()
    os.utime(holder, (wall + jump, wall + jump))
    lease = Lease(tmp_path, "cell")
    assert not lease.taken()
    now[0] += leases.LASTS + 1
    os.kill(process.pid, signal.SIGSTOP)  # as it is, without a further sign
    signs = holder.read_bytes()
    holder.write_bytes(signs + b"1")  # he gave one in between
    assert not lease.taken()
    now[0] += leases.LASTS - 1
    assert not lease.taken()
    now[0] += 2
    assert lease.taken()
    assert not Lease(tmp_path, "cell").taken()
    ended(process)
    lease.free()
    assert not (tmp_path / "cell").exists()


def test_who_comes_too_late_to_a_lost_lease_does_not_have_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two saw the same holder die; meanwhile the first took his place, was done and gave it to a third."""
    process = another(tmp_path)
    ended(process)
    late, third = Lease(tmp_path, "cell"), Lease(tmp_path, "cell")

    def meanwhile(self: Lease, holder: Path, content: bytes) -> bool:
        monkeypatch.undo()
        first = Lease(tmp_path, "cell")
        assert first.taken()
        first.free()
        assert third.taken()
        return True

    monkeypatch.setattr(Lease, "_lost", meanwhile)
    assert not late.taken()
    assert [path.name for path in (tmp_path / "cell").iterdir()] == ["1"]
    assert not Lease(tmp_path, "cell").taken()  # the third has it still
    third.free()


def test_a_holder_gives_signs_of_life_and_writes_into_no_other_ones_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.01)
    with held(tmp_path, "cell"):
        (holder,) = (tmp_path / "cell").iterdir()
        first = holder.read_bytes()
        for _ in range(500):
            if holder.read_bytes() != first:
                break
            time.sleep(0.01)
        assert holder.read_bytes() != first
        holder.unlink()
        holder.write_bytes(b"of another")
        time.sleep(0.1)
        assert holder.read_bytes() == b"of another"


def test_not_to_wait_is_an_answer(tmp_path: Path) -> None:
    with held(tmp_path, "cell") as mine, held(tmp_path, "cell", wait=False) as another_one:
        assert mine
        assert not another_one
        assert not Lease(tmp_path, "cell").taken()


def test_a_process_that_is_just_starting_does_not_wait_for_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script without the guard is read again by each process that it starts."""
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match="__main__"), held(tmp_path, "cell"):
        raise AssertionError("it waited")
