import mmap
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from sparseguard import Experiment
from sparseguard.store import Cell, Store
from sparseguard.studies.costs import STAGE_NAMES, Peaks, apart, costs, measure, stored
from sparseguard.studies.recalled import VERSIONS


def high_water_mark_can_be_reset() -> bool:
    peaks = Peaks("cpu")
    peaks.start("nothing")
    return peaks.held is not None


needs_reset = pytest.mark.skipif(
    not high_water_mark_can_be_reset(), reason="the system does not let a process reset its high-water mark"
)
NONE = Experiment(defense="none", scale="smoke", fid=False)
GAN = replace(NONE, defense="gan")


@needs_reset
def test_a_stage_shows_what_it_held_at_most_and_the_next_does_not() -> None:
    peaks = Peaks("cpu")
    peaks.start("holds 64 MiB for a moment")
    pages(64).close()
    peaks.start("holds none")
    peaks.start("holds 32 MiB")
    held = pages(32)
    peaks.start("still holds them")
    peaks.stop()
    assert list(peaks.by_stage.values()) == pytest.approx([64, 0, 32, 32], abs=4)
    assert peaks.held == pytest.approx(resident() - 32, abs=8)
    held.close()


def pages(mebibytes: int) -> mmap.mmap:
    """Memory straight from the kernel, each page touched: none that the process had already."""
    block = mmap.mmap(-1, mebibytes * 2**20)
    block[:: mmap.PAGESIZE] = b"x" * (len(block) // mmap.PAGESIZE)
    return block


def resident() -> float:
    """MiB, by another file of the kernel's."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_memory_that_the_system_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "write_text", refuse)
    peaks = Peaks("cpu")
    peaks.start("one")
    peaks.start("two")
    peaks.stop()
    assert (peaks.held, peaks.by_stage) == (None, {"one": None, "two": None})


def test_on_a_gpu_it_is_the_memory_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for CUDA's allocator: what is held now, and the most since the last reset, in bytes."""
    held, peak = 5 * 2**20, 0

    def reset(device: str) -> None:
        nonlocal peak
        peak = held

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak)
    peaks = Peaks("cuda")
    peaks.start("needs 7 MiB, leaves 2")
    peak, held = 12 * 2**20, 7 * 2**20
    peaks.start("needs no more")
    peaks.stop()
    assert (peaks.held, peaks.by_stage) == (5, {"needs 7 MiB, leaves 2": 7, "needs no more": 2})


def test_a_killed_process_is_one_sentence_that_names_the_cell() -> None:
    with pytest.raises(OSError, match="^none, seed 3: its process was killed, perhaps for lack of memory; what was"):
        apart("none, seed 3", partial(os._exit, 9))


def test_what_goes_wrong_inside_comes_out_as_it_was() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        apart("a cell", partial(int, "x"))
    assert apart("a cell", os.getpid) != os.getpid()


def test_without_none_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="defenses must name it; there is no cell of it for seed 1, 2"):
        costs([NONE, GAN, replace(GAN, seed=1), replace(GAN, seed=2)], Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_each_cell_pays_for_its_own_models_and_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each cell in a process of its own, seed by seed in the table's order; the GAN's training is its target's."""
    monkeypatch.setattr("sparseguard.reference.FOLDER", tmp_path / "nothing shipped")
    alone: list[str] = []

    def spy(name: str, work: Callable[[], Cell]) -> Cell:
        alone.append(name)
        return apart(name, work)

    monkeypatch.setattr("sparseguard.studies.costs.apart", spy)
    store = Store()
    assert stored(GAN, store) is None
    with pytest.raises(ValueError, match="none of the 2 costs has been measured; measure=True takes them"):
        costs([GAN, NONE], store, fill=False)
    gan, none = costs([GAN, NONE], store, progress=False)
    later = [replace(e, seed=1) for e in (NONE, GAN)]
    assert costs([GAN, *later, NONE], store, fill=False) == [gan, none]
    lonely = [replace(e, seed=2) for e in (NONE, GAN)]
    measure(lonely[1], store)  # of a seed whose none, which it would be compared with, was not measured
    assert costs([GAN, *lonely, NONE], store, fill=False) == [gan, none]
    assert alone == ["gan weight=1.0, seed 0", "none, seed 0", "gan weight=1.0, seed 2"]
    assert gan.seconds_by_stage["target"] > none.seconds_by_stage["target"]

    assert gan.seconds == pytest.approx(sum(gan.seconds_by_stage[name] for name in STAGE_NAMES.values()))
    assert (gan.threads, gan.cores, gan.experiment) == (torch.get_num_threads(), os.cpu_count(), GAN)
    assert (none.held is None) == (None in none.peaks_by_stage.values())
    if none.held is not None:
        assert 100 < none.held < 4000  # PyTorch alone is some hundred MiB
        assert all(0 <= float(peak or 0) < 500 for peak in none.peaks_by_stage.values())

    assert stored(GAN, store) == gan == measure(replace(GAN, fid=True), store)
    assert stored(replace(GAN, seed=1), store) is None
    with monkeypatch.context() as changed:
        changed.setattr(torch, "get_num_threads", lambda: gan.threads + 1)
        assert stored(GAN, store) is None
    with monkeypatch.context() as changed:
        changed.setattr("sparseguard.studies.costs.device_name", lambda device: "another")
        assert stored(GAN, store) is None
    monkeypatch.setitem(VERSIONS, "costs", -1)
    assert stored(GAN, store) is None
