import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import sparseguard.store as module
from sparseguard.places import digest, home
from sparseguard.store import Store

RECORD = {"metrics": {"psnr": 20.25, "fid": None, "best": float("inf")}, "details": {"text": "λ"}}


def arrays() -> dict[str, torch.Tensor]:
    return {"originals": torch.rand(2, 1, 4, 4), "per_image.psnr": torch.arange(5.0)}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store, tensors = Store(tmp_path / "deep" / "store"), arrays()
    assert store.load("cell") is None
    store.save("cell", RECORD, tensors)
    found = store.load("cell")
    assert found is not None
    assert found[0] == RECORD
    assert found[1].keys() == tensors.keys()
    assert all(torch.equal(found[1][key], value) for key, value in tensors.items())


def test_saving_again_replaces(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("cell", {"n": 1}, arrays())
    store.save("cell", {"n": 2}, arrays())
    found = store.load("cell")
    assert found is not None
    assert found[0] == {"n": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]


def test_every_kind_of_damage_is_noticed_and_said(tmp_path: Path) -> None:
    """Invariant 6. Each file truncated, emptied, removed, and changed in every region."""
    store = Store(tmp_path)
    store.save("cell", RECORD, arrays())
    originals = {path: path.read_bytes() for path in (tmp_path / "cell").iterdir()}
    assert len(originals) == 2
    for path, data in originals.items():
        changed = [
            data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(0, len(data), max(len(data) // 23, 1))
        ]
        for damaged in [b"", data[:-1], data[: len(data) // 2], *changed]:
            path.write_bytes(damaged)
            with pytest.warns(UserWarning, match="is damaged .* computed again"):
                assert store.load("cell") is None
        path.unlink()
        with pytest.warns(UserWarning, match="is damaged"):
            assert store.load("cell") is None
        path.write_bytes(data)
        assert store.load("cell") is not None


def test_a_metric_edited_by_hand_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("cell", RECORD, arrays())
    path = tmp_path / "cell" / "result.json"
    body = json.loads(path.read_text())
    body["record"]["metrics"]["psnr"] = 10.0
    path.write_text(json.dumps(body))
    with pytest.warns(UserWarning, match="checksum"):
        assert store.load("cell") is None


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.save("cell", {"n": 1}, arrays())

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write", full)
    with pytest.raises(OSError, match=r"could not be written to .* \(No space left on device\)"):
        store.save("cell", {"n": 2}, arrays())
    found = store.load("cell")
    assert found is not None
    assert found[0] == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="results cannot be written to .* set SPARSEGUARD_HOME"):
        Store(tmp_path / "file" / "store").prepare()


def test_a_run_killed_while_saving_leaves_no_result(tmp_path: Path) -> None:
    """Invariant 6: the process is killed at every moment of the save that can be told apart."""
    script = (
        "import sys, time, torch; import sparseguard.store as s; write = s.write\n"
        "def slow(path, data):\n"
        "    half = len(data) // 2\n"
        "    path.write_bytes(data[:half]); print(path.name, flush=True); time.sleep(0.5); write(path, data)\n"
        "s.write = slow\n"
        "s.Store(sys.argv[1]).save('cell', {'n': 1}, {'x': torch.zeros(9)})\n"
    )
    for lines in (1, 2):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert Store(tmp_path).load("cell") is None
        assert not (tmp_path / "cell").exists()
    leftovers = list(tmp_path.iterdir())
    assert leftovers
    for path in leftovers:
        os.utime(path, (0, time.time() - 8 * 86_400))
    Store(tmp_path).prepare()
    assert list(tmp_path.iterdir()) == []


def test_what_another_one_is_writing_stays_whatever_this_machines_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".partial-of-another").mkdir(parents=True)
    wall = time.time()
    for jump in (-(10**9), 10**9):
        monkeypatch.setattr(time, "time", lambda jump=jump: wall + jump)
        Store(tmp_path).prepare()
        assert (tmp_path / ".partial-of-another").is_dir()


def together(work: Callable[[], object], count: int = 4) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_that_save_the_same_at_once_leave_one_whole_cell(tmp_path: Path) -> None:
    saved: list[int] = []

    def save() -> None:
        for _ in range(15):
            Store(tmp_path).save("cell", {"n": 1}, {"x": torch.zeros(9)})
            saved.append(1)

    together(save)
    assert len(saved) == 60
    assert Store(tmp_path).load("cell") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]


def test_what_several_want_is_computed_by_one(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        calls.append(1)
        time.sleep(0.2)
        return {"n": len(calls)}, {}

    found: list[object] = []
    together(lambda: found.append(Store(tmp_path).recall({"a": 1}, compute)[0]))
    assert found == 4 * [{"n": 1}]
    assert calls == [1]


def test_nothing_is_pickled(tmp_path: Path) -> None:
    Store(tmp_path).save("cell", RECORD, arrays())
    assert sorted(path.name for path in (tmp_path / "cell").iterdir()) == ["arrays.safetensors", "result.json"]
    for path in Path(module.__file__).parent.rglob("*.py"):
        source = path.read_text()
        assert "import pickle" not in source
        assert "allow_pickle=True" not in source
        for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "torch.load":  # a checkpoint that a user brings: tensors alone
                assert "weights_only=True" in ast.unparse(call)


def test_digest_ignores_the_order_of_entries_and_sees_every_value() -> None:
    assert digest({"a": 1, "b": {"c": 2.0}}) == digest({"b": {"c": 2.0}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_home_is_the_environments_or_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPARSEGUARD_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("SPARSEGUARD_HOME")
    assert home().name == "runs"
    assert (home().parent / "notebooks").is_dir()


def test_recall_computes_once_and_keeps(tmp_path: Path) -> None:
    calls = []

    def compute() -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        calls.append(1)
        return {"n": len(calls)}, {"x": torch.ones(2)}

    first, again = (Store(tmp_path).recall({"a": 1, "b": [2]}, compute) for _ in range(2))
    assert first[0] == again[0] == {"n": 1}
    assert torch.equal(again[1]["x"], torch.ones(2))
    assert Store(tmp_path).recall({"a": 2, "b": [2]}, compute)[0] == {"n": 2}
