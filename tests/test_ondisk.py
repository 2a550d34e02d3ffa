import gc
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparseguard import Experiment, ondisk, trial
from sparseguard.data import datasets, load_data, load_images, split
from sparseguard.data.folders import Found
from sparseguard.ondisk import Gathering, OnDisk, cut, joined
from sparseguard.places import home
from sparseguard.store import Store


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory should hold a thousand bytes; nothing that was read before is at hand."""

    def forget() -> None:
        for kept in (split._read, trial._judged_split, trial._deployable):
            kept.cache_clear()

    forget()
    monkeypatch.setattr(ondisk, "IN_MEMORY", 1000)
    yield
    forget()


def bytes_of(count: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randint(256, (count, *shape), dtype=torch.uint8)


def own_images(path: Path, count: int = 400, real: bool = False) -> str:
    with as_file(files("sparseguard.data") / "mini" / "mnist.npz") as place, np.load(place) as pool:
        images = pool["images"][:count]
        kept = (images / 256).astype(np.float32) if real else images
        np.savez_compressed(path / "own.npz", images=kept, labels=pool["labels"][:count])
    return str(path / "own.npz")


@given(count=st.integers(1, 30), size=st.integers(1, 4), part=st.integers(1, 7), real=st.booleans())
def test_what_lies_on_disk_reads_as_a_tensor(count: int, size: int, part: int, real: bool) -> None:
    kept = torch.rand(count, 2, size, 3) if real else bytes_of(count, (2, size, 3))
    lying = OnDisk.scratch(kept.split(part))
    whole = kept if real else kept.float() / 255
    chosen = torch.randint(count, (5,))
    assert (len(lying), lying.shape, lying.numel()) == (count, whole.shape, whole.numel())
    assert torch.equal(lying[chosen], whole[chosen])
    assert torch.equal(lying[: count // 2], whole[: count // 2])
    assert torch.equal(lying[count - 1], whole[-1])
    assert torch.equal(lying.part(chosen)[1:3], whole[chosen][1:3])
    assert torch.equal(cut(lying, slice(1, None))[: count // 2], whole[1:][: count // 2])
    assert torch.equal(torch.cat([*lying.split(part)]), whole)
    assert torch.allclose(lying.mean(), whole.mean(), atol=1e-6)
    assert torch.allclose(lying.mean(0), whole.mean(0), atol=1e-6)
    if whole.numel() > 1:
        assert torch.allclose(lying.std(), whole.std(), atol=1e-6)
    assert torch.equal(torch.cat([*joined(lying, whole).split(9)]), torch.cat([whole, whole]))


def test_what_wants_all_of_it_in_memory_is_refused() -> None:
    lying = OnDisk.scratch([bytes_of(3, (1, 2, 2))])
    refused: list[Callable[[], object]] = [lambda: lying + 1, lambda: torch.cat([lying, lying]), lambda: lying.clone()]
    for wants in refused:
        with pytest.raises(NotImplementedError, match="lie on disk; read them part by part"):
            wants()


def test_few_stay_in_memory_and_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    few = Gathering(tmp_path / "few", most=100)
    few.add(bytes_of(3, (2, 2)))
    assert type(few.done()) is Tensor
    many = Gathering(tmp_path / "many", most=100)
    parts = [bytes_of(7, (2, 5)) for _ in range(3)]
    for part in parts:
        many.add(part)
        assert not (tmp_path / "many").exists()
    assert torch.equal(many.done()[:], torch.cat(parts).float() / 255)
    assert not (tmp_path / "few").exists()
    assert [*home().glob("*")] == []


def test_what_nobody_refers_to_any_more_is_gone() -> None:
    lying = OnDisk.scratch([bytes_of(5, (4,))])
    part = lying.part(slice(2))
    del lying
    gc.collect()
    assert len(part[:]) == 2
    del part
    gc.collect()
    assert [*home().glob("*")] == []


@pytest.mark.parametrize("real", [False, True])
def test_many_images_of_your_own_are_read_once_and_are_the_same(
    real: bool, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = own_images(tmp_path, real=real)
    lying = load_images(text, bundled=False)
    assert isinstance(lying.images, OnDisk)
    with np.load(text) as archive:
        back = lying.images[:] if real else (lying.images[:] * 255).round().byte()
        assert np.array_equal(back.numpy()[:, 0], archive["images"])
        assert np.array_equal(lying.labels.numpy(), archive["labels"])

    def never(*_: object) -> Found:
        raise AssertionError("read again")

    monkeypatch.setattr(datasets, "read", never)
    again = load_images(text, bundled=False)
    assert torch.equal(again.images[:], lying.images[:])
    assert torch.equal(again.labels, lying.labels)
    assert again.classes == lying.classes
    assert Store().names() == []  # a place of its own, not among the cells
    (file,) = (home() / ".images").glob("*/images")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="read again"):
        load_images(text, bundled=False)


@pytest.mark.parametrize(
    ("defense", "options"),
    [("dp_sgd", {}), ("gan", {}), ("sparse_standard", {"train_first": False})],
)
def test_a_cell_is_the_same_where_its_images_lie_on_disk(
    defense: str, options: dict[str, object], tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment(own_images(tmp_path), "split", defense, scale="smoke", options=options)
    told = []
    for limit in (1000, 2**28):
        monkeypatch.setattr(ondisk, "IN_MEMORY", limit)
        for kept in (split._read, trial._judged_split, trial._deployable):
            kept.cache_clear()
        if limit > 1000:
            for lying in (home() / ".images").glob("*/index.json"):
                lying.unlink()
        assert isinstance(load_data(experiment.dataset, "smoke").train_images, OnDisk) == (limit == 1000)
        told.append(experiment.run(Store(tmp_path / str(limit)), progress=False).metrics)
    assert told[0]["psnr"] is not None
    for name, number in told[0].items():
        if number is not None and "seconds" not in name:
            assert told[1][name] == pytest.approx(number, rel=1e-3), name
