from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch

from sparseguard import load_data
from sparseguard.data import DATASETS, judge_images, known, load_images
from sparseguard.data.known import _had
from sparseguard.data.split import _draw
from sparseguard.leases import held
from sparseguard.scales import SCALES

BUNDLED = [name for name, known in DATASETS.items() if known.bundled]
MINI = Path(load_images.__code__.co_filename).parent / "mini"


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_real_balanced_and_licensed(name: str) -> None:
    pool = load_images(name, bundled=True)
    assert pool.images.shape == (5000, 1, 28, 28)
    assert pool.images.dtype == torch.uint8
    assert torch.bincount(pool.labels).tolist() == [500] * 10
    assert len(torch.unique(pool.images.flatten(1), dim=0)) > 4990  # no image is repeated to fill the set
    assert 30 < float(pool.images.float().mean()) < 90
    licences = (MINI / "LICENSES.md").read_text()
    assert f"`{name}.npz`" in licences


def test_bundled_sets_are_small() -> None:
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 4 * 2**20


@pytest.mark.parametrize("scale", ["smoke", "quick"])
@pytest.mark.parametrize("name", BUNDLED)
def test_split_is_70_15_15_and_disjoint(name: str, scale: str) -> None:
    total = SCALES[scale].images
    assert total is not None
    split = load_data(name, scale, seed=3)
    parts = (split.train_images, split.attack_images, split.held_images)
    assert [len(p) for p in parts] == [round(total * share) for share in (0.7, 0.15, 0.15)]
    pool = torch.cat(parts).flatten(1)
    assert 0 <= float(pool.min()) <= float(pool.max()) <= 1
    assert len(torch.unique(pool, dim=0)) >= total - 1
    assert len(split.train_labels) == len(split.train_images)
    labels = torch.cat([split.train_labels, split.attack_labels, split.held_labels])
    counts = torch.bincount(labels)
    assert int(counts.max() - counts.min()) <= 2, "the classes have not their shares"


def test_split_depends_on_the_seed_alone() -> None:
    a, b, c = (load_data("mnist", "smoke", seed) for seed in (1, 1, 2))
    assert torch.equal(a.train_images, b.train_images)
    assert not torch.equal(a.train_images, c.train_images)
    torch.manual_seed(99)
    assert torch.equal(load_data("mnist", "smoke", 1).train_images, a.train_images)


@pytest.mark.parametrize(("labels", "scale"), [(5000, "quick"), (70_000, "medium")])
def test_seeds_have_images_of_their_own_as_long_as_there_are_any(labels: int, scale: str) -> None:
    size = SCALES[scale]
    draws = [_draw(torch.arange(labels) % 10, size, seed) for seed in range(6)]
    blocks = (labels - size.judge_images) // ((size.images or 0) + size.attack_more)
    assert blocks == {"quick": 3, "medium": 5}[scale]
    for seed, draw in enumerate(draws):
        everything = torch.cat([draw.judge, draw.own, draw.more, draw.spare])
        assert torch.equal(everything.sort().values, torch.arange(labels)), "an image is lost, or somebody else's too"
        for earlier, other in enumerate(draws[:seed]):
            shared = len(set(draw.own.tolist()) & set(other.own.tolist()))
            assert shared == (size.images if (seed - earlier) % blocks == 0 else 0)
        assert torch.equal(draw.judge, draws[0].judge)
    assert not torch.equal(draws[0].own, draws[blocks].own)  # mixed anew


def test_labels_belong_to_their_images() -> None:
    """Images of one class are closer to their own class mean than to most others, in every part of the split."""
    split = load_data("mnist", "quick", 0)
    means = torch.stack([split.train_images[split.train_labels == k].mean(0).flatten() for k in range(10)])
    for images, labels in ((split.attack_images, split.attack_labels), (split.held_images, split.held_labels)):
        guess = torch.cdist(images.flatten(1), means).argmin(1)
        assert float((guess == labels).float().mean()) > 0.7


def write_idx(folder: Path, name: str) -> None:
    """A full set on disk in torchvision's layout: noise images, cyclic labels."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        header = [b"\x00\x00\x08\x03", *(n.to_bytes(4, "big") for n in (count, 28, 28))]
        pixels = np.zeros((count, 784), dtype=np.uint8)
        pixels[:, :10] = rng.integers(0, 256, (count, 10))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"".join(header) + pixels.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01" + count.to_bytes(4, "big") + labels)


def test_full_sets_are_read_where_they_lie_pooled_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path, "MNIST")
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path))
    split = load_data("mnist", "paper", 0)
    assert (len(split.train_images), len(split.attack_images), len(split.held_images)) == (47_600, 10_200, 10_200)
    labels = torch.cat([split.train_labels, split.attack_labels, split.held_labels])
    assert torch.bincount(labels).tolist() == [6800] * 10
    assert len(judge_images("mnist", "paper").labels) == 2000
    split = load_data("mnist", "medium", 4)
    assert (len(split.train_images), len(split.attack_images), len(split.held_images)) == (7000, 4000, 1500)


def test_a_truncated_full_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path, "FashionMNIST")
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path))
    broken = tmp_path / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    broken.write_bytes(broken.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte is damaged: 7840015 bytes instead of 7840016"):
        load_data("fashion_mnist", "paper", 0)


@pytest.mark.parametrize("content", [None, b"half a file"])
def test_a_failed_or_truncated_download_is_one_sentence(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets.utils as utils

    def retrieve(url: str, filename: str | Path, *_: object, **__: object) -> None:
        if content is None:
            raise OSError("no network")
        Path(filename).write_bytes(content)

    monkeypatch.setattr(utils, "_urlretrieve", retrieve)
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path))
    with pytest.raises(OSError, match="MNIST is not in .* and could not be downloaded"):
        load_data("mnist", "paper", 0)


def test_a_set_that_another_process_is_unpacking_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path))
    whole = Event()

    def read(download: bool) -> str:
        if not whole.is_set():
            raise RuntimeError("half of it is there")
        return "with a download" if download else "as it lies"

    found: list[str] = []
    with held(tmp_path / ".leases", "celeba"):
        waiting = Thread(target=lambda: found.append(_had("celeba", tmp_path / "celeba", read)))
        waiting.start()
        waiting.join(1.0)
        assert waiting.is_alive()  # neither refused as damaged nor downloaded a second time
        whole.set()
    waiting.join()
    assert found == ["with a download"]
    monkeypatch.setattr(known, "held", None)  # what is whole needs no lease: its folder may be read-only
    assert _had("celeba", tmp_path / "celeba", read) == "as it lies"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="could not be downloaded"):
        load_data("mnist", "paper", 0)


def npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_a_file_of_your_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    for images in (rng.random((40, 16, 12, 3)), rng.integers(0, 256, (40, 16, 12), dtype=np.uint8)):
        split = load_data(npz(tmp_path / "mine.npz", images=images, labels=labels), "smoke", 0)
        assert split.image_shape == (1 if images.ndim == 3 else 3, 16, 12)
        assert split.classes == ("0", "1")
        assert 0 <= float(split.train_images.min()) <= float(split.train_images.max()) <= 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.full((20, 9, 9), np.nan), "labels": np.arange(20) % 2}, "20 of 20 images hold NaN"),
        ({"images": np.full((20, 9, 9), 2.0), "labels": np.arange(20) % 2}, "outside \\[0, 1\\]"),
        ({"images": np.zeros((20, 9)), "labels": np.arange(20)}, "images must be"),
        ({"images": np.zeros((20, 9, 9)), "labels": np.arange(19)}, "images must be"),
        ({"images": np.zeros((20, 9, 9)), "labels": np.linspace(0, 1, 20)}, "labels must be whole numbers"),
        ({"images": np.zeros((20, 9, 9))}, "not a readable .npz"),
        ({"images": np.zeros((20, 9, 9)), "labels": np.full(20, 2)}, "the largest is 2, and none is 0, 1"),
    ],
)
def test_unusable_files_are_named(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_data(npz(tmp_path / "mine.npz", **arrays), "smoke", 0)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}] * 20, dtype=object)
    with pytest.raises(ValueError, match="not a readable .npz"):
        load_data(npz(tmp_path / "mine.npz", images=objects, labels=np.arange(20)), "smoke", 0)


def test_unknown_names_are_answered_with_the_list() -> None:
    with pytest.raises(ValueError, match="dataset must be one of mnist, fashion_mnist, .*, or the path .*'imagenet'"):
        load_data("imagenet")
    with pytest.raises(ValueError, match="not 'mnst'; did you mean 'mnist'?"):
        load_data("mnst")
    with pytest.raises(ValueError, match="scale must be one of smoke, quick, medium, paper, not 'huge'"):
        load_data("mnist", "huge")


def test_the_faces_that_come_with_a_library() -> None:
    images = load_images("lfw_subset", bundled=True)
    assert images.images.shape == (200, 1, 25, 25)
    assert torch.bincount(images.labels).tolist() == [100, 100]
    faces = images.images[images.labels == 1]
    spread = faces.std(0).mean() / images.images[images.labels == 0].std(0).mean()
    assert spread < 0.9  # faces are alike, backgrounds are not
    split = load_data("lfw_subset", "quick")
    assert (len(split.train_images), len(split.attack_images), len(split.held_images)) == (126, 27, 27)
