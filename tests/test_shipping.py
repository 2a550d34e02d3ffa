"""A store's results travel in one file: all of them, as they are, or not at all."""

import json
import struct
from pathlib import Path

import pytest
import torch

from sparseguard import Experiment
from sparseguard.reference import bundle
from sparseguard.shipping import exported, imported
from sparseguard.store import Store
from sparseguard.studies.layer import LayerStudy

SMOKE = Experiment(setting="split", scale="smoke", attack="nearest")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    place = Store(tmp_path_factory.mktemp("store"))
    SMOKE.run(place, progress=False)
    LayerStudy(scale="smoke", seeds=[0], lams=[0.5], taus=[100.0], images=4).kept.measured(place)
    record, arrays = place.load(SMOKE.key()) or ({}, {})
    place.save("0123456789abcdef0123", record, arrays)  # of another code
    for i, change in enumerate(({"dataset": "/gone.npz"}, {"options": {"gone": 1}}, {"gone": 1})):
        place.save(f"{i:020}", record | {"experiment": record["experiment"] | change}, arrays)
    place.save(f"{3:020}", {"own": {"study": "gone", "scale": "smoke"}, "experiment": None, "found": {}}, {})
    return place


def test_what_was_exported_is_imported_as_it_was(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "results.safetensors"
    assert exported(file, store=store) == 2
    there = Store(tmp_path / "there")
    assert imported(file, there) == (2, 0)
    assert imported(file, there) == (0, 2)
    assert set(there.names()) == set(store.names()) - {"0123456789abcdef0123", *(f"{i:020}" for i in range(4))}
    for name in there.names():
        (record, arrays), (own, tensors) = there.load(name) or ({}, {}), store.load(name) or ({}, {})
        assert record == own
        assert arrays.keys() == tensors.keys()
        assert all(torch.equal(arrays[key], tensors[key]) for key in arrays)
    assert SMOKE.stored(there)
    with pytest.raises(ValueError, match="has no result of this code and scale paper"):
        exported(file, "paper", store)
    with pytest.raises(ValueError, match="scale must be one of"):
        exported(file, "large", store)


def test_what_is_there_stays_and_what_is_damaged_is_replaced(store: Store, tmp_path: Path) -> None:
    file, there = tmp_path / "file", Store(tmp_path / "there")
    exported(file, store=store)
    there.save(SMOKE.key(), {"own": 1}, {})
    assert imported(file, there) == (1, 1)
    assert (there.load(SMOKE.key()) or ({}, {}))[0] == {"own": 1}
    (there.folder / SMOKE.key() / "result.json").write_text("{}")
    with pytest.warns(UserWarning, match="is damaged"):
        assert imported(file, there) == (1, 1)


@pytest.mark.parametrize("damage", ["tensor", "record", "cut", "empty", "name"])
def test_a_damaged_file_is_a_sentence_and_leaves_nothing(damage: str, store: Store, tmp_path: Path) -> None:
    file, there = tmp_path / "file", Store(tmp_path / "there")
    exported(file, store=store)
    data = file.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    told = json.loads(data[8 : 8 + header])
    psnr = str((store.load(SMOKE.key()) or ({}, {}))[0]["metrics"]["psnr"])[:6]
    assert psnr in told["__metadata__"]["records"]
    file.write_bytes(
        {
            "tensor": data[:-1] + bytes([data[-1] ^ 1]),
            "record": data.replace(psnr.encode(), b"12.345"),
            "cut": data[:-10],
            "empty": b"",
            "name": bundle({"../outside": ({"metrics": {}}, {})}),
        }[damage]
    )
    with pytest.raises(ValueError, match="is damaged, or no file that was exported|which no cell has"):
        imported(file, there)
    assert not there.folder.exists()
    with pytest.raises(OSError, match="No such file"):
        imported(tmp_path / "none", there)
