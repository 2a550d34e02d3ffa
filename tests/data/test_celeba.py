"""CelebA in its own layout, written here: its real files are not at hand where tests run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparseguard import Experiment, load_data
from sparseguard.data import datasets, load_images
from sparseguard.data.celeba import ATTRIBUTE
from sparseguard.data.described import checked, described
from sparseguard.report import results_table
from sparseguard.report.compare import printed_row

NAMES = ["Bald", "Male", "Smiling", "Young"]
COUNT = 60


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty faces of noise, half of which smile; those that do are brighter."""
    from torchvision.datasets import CelebA

    folder = tmp_path / "data" / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    files = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]
    noise = np.random.default_rng(0)
    attributes = [[1 if (k + j) % (j + 2) == 0 else -1 for j in range(len(NAMES))] for k in range(COUNT)]
    for name, row in zip(files, attributes, strict=True):
        low = noise.integers(0, 60, (218, 178, 3)) + (150 if row[2] == 1 else 0)
        Image.fromarray(low.astype(np.uint8)).save(folder / "img_align_celeba" / name)
    tables = {
        "list_attr_celeba.txt": (NAMES, attributes),
        "list_bbox_celeba.txt": (["image_id", "x_1", "y_1", "width", "height"], [[0] * 4] * COUNT),
        "list_landmarks_align_celeba.txt": ([f"point_{k}" for k in range(10)], [[0] * 10] * COUNT),
    }
    for file, (header, rows) in tables.items():
        lines = [f"{name} " + " ".join(map(str, row)) for name, row in zip(files, rows, strict=True)]
        (folder / file).write_text("\n".join([str(COUNT), " ".join(header), *lines]) + "\n")
    for file in ("identity_CelebA.txt", "list_eval_partition.txt"):
        (folder / file).write_text("".join(f"{name} {k % 3}\n" for k, name in enumerate(files)))
    monkeypatch.setattr(CelebA, "file_list", [(a, None, name) for a, _, name in CelebA.file_list])
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path / "data"))
    return folder


def test_faces_are_cut_to_the_middle_resized_and_labelled_by_an_attribute(faces: Path) -> None:
    usual = load_images("celeba", bundled=True)
    assert usual.images.shape == (COUNT, 3, 32, 32)
    assert usual.images.dtype == torch.uint8
    bright = usual.images.float().mean((1, 2, 3)) > 90
    assert torch.equal(bright.long(), usual.labels)
    young = load_images("celeba attribute=Young", bundled=True)
    assert torch.equal(young.images, usual.images)
    assert young.labels.tolist() == [1 if (k + 3) % 5 == 0 else 0 for k in range(COUNT)]
    assert load_images("celeba size=64 mode=grey", bundled=True).images.shape == (COUNT, 1, 64, 64)
    full = load_images("celeba size=full", bundled=True)
    assert full.images.shape == (COUNT, 3, 218, 178)
    with Image.open(faces / "img_align_celeba" / "000007.jpg") as image:
        assert torch.equal(full.images[6].permute(1, 2, 0), torch.from_numpy(np.array(image)))


def test_a_cell_of_faces_names_them(faces: Path) -> None:
    result = Experiment("celeba attribute=Smiling", "split", "none", scale="smoke").run(None, progress=False)
    assert result.experiment.dataset_name == "celeba-Smiling"
    assert result.originals.shape[1:] == (3, 32, 32)
    psnr, mean = result.metrics["psnr"], result.metrics["psnr_mean_image"]
    assert psnr is not None
    assert mean is not None
    assert psnr > mean  # noise cannot be learned, brightness can
    assert load_data("celeba size=full", "smoke").image_shape == (3, 218, 178)


def test_the_printed_tables_of_faces_stand_beside_them(faces: Path) -> None:
    for attack, psnr, accuracy in (("inversion", "16.26", "0.773"), ("plug_and_play", "8.51", "0.779")):
        cell = Experiment("celeba", "end_to_end", "none", scale="smoke", attack=attack)
        table = results_table([cell.run(None, progress=False)])
        assert table.frame["PSNR ↓ printed"][0].startswith(psnr)
        assert table.frame["accuracy ↑ printed"][0].startswith(accuracy)
        assert any("which label of CelebA" in note for note in table.footnotes)
        assert any("multiplied by 1.1" in note for note in table.footnotes) == (attack == "inversion")
    other = Experiment("celeba attribute=Young", "end_to_end", "none", scale="smoke")
    assert printed_row(other) is None


def test_it_is_described(faces: Path) -> None:
    (line,) = [line for line in described() if line.startswith("celeba")]
    assert f"in {faces}" in line
    assert f"attribute={ATTRIBUTE}" in line
    assert checked("celeba size=64")[0] == f"celeba size=64: {COUNT} RGB images of 64 x 64 pixels in 2 classes."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("celeba attribute=Happy", "attribute must be one of Bald, Male, Smiling, Young, not 'Happy'"),
        ("mnist attribute=Smiling", "the images of mnist have one label each; attribute is for celeba"),
        ("celeba size=half", "size must be a whole number from 11 on, not 'half'; or full"),
    ],
)
def test_what_it_is_asked_for_is_checked(text: str, message: str, faces: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(text, bundled=True)


def test_a_broken_face_and_a_missing_table_are_named(faces: Path) -> None:
    (faces / "img_align_celeba" / "000009.jpg").write_bytes(b"\xff\xd8broken")
    with pytest.raises(ValueError, match=r"000009\.jpg cannot be read as an image"):
        load_images("celeba", bundled=True)
    (faces / "list_attr_celeba.txt").unlink()
    with pytest.raises(ValueError, match="celeba is damaged or not whole"):
        load_images("celeba", bundled=True)


def test_a_celeba_that_cannot_be_had_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CelebA

    def fail(*_: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(CelebA, "download", fail)
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path))
    with pytest.raises(OSError, match=r"celeba is not in .* and could not be downloaded \(no network\)"):
        datasets.load_images("celeba", bundled=True)
