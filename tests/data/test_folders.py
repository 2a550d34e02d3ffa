"""Images of your own: folders of class folders, zip files of them, MedMNIST's archives; and what is wrong with them."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sparseguard import load_data
from sparseguard.data.datasets import load_images
from sparseguard.data.described import checked
from sparseguard.data.folders import read_folder
from sparseguard.data.pixels import coloured, resized
from sparseguard.data.sources import fingerprint, read, source
from sparseguard.data.split import LEAST

RNG = np.random.default_rng(0)


def picture(mode: str = "L", size: tuple[int, int] = (16, 12)) -> Image.Image:
    """Of mode L, RGB, ..., and so many pixels high and wide."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "LA": 2, "CMYK": 4}[mode]
    height, width = size
    return Image.frombytes(mode, (width, height), RNG.bytes(height * width * channels))


def folder(place: Path, mode: str = "L", each: int = 5, suffix: str = "png", size: tuple[int, int] = (16, 12)) -> Path:
    """Two classes, so many images each."""
    for name in ("cats", "dogs"):
        (place / name).mkdir(parents=True)
        for i in range(each):
            picture(mode, size).save(place / name / f"{i}.{suffix}")
    return place


def zipped(place: Path, inside: str = "") -> Path:
    target = place.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(place.rglob("*.*")):
            archive.write(path, Path(inside) / path.relative_to(place))
    return target


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_a_folder_is_read_pixel_by_pixel_whatever_its_format(mode: str, suffix: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    folder(place, "RGB" if suffix == "webp" else mode)
    if suffix != "png":
        for path in list(place.rglob("*.png")):
            with Image.open(path) as image:
                image.save(path.with_suffix(f".{suffix}"), lossless=True)
            path.unlink()
    found = read_folder(place)
    assert found.classes == ("cats", "dogs")
    assert found.labels.tolist() == [0] * 5 + [1] * 5
    with Image.open(place / "dogs" / f"3.{suffix}") as image:
        expected = torch.from_numpy(np.array(image))
    expected = expected[None] if expected.ndim == 2 else expected.permute(2, 0, 1)
    assert torch.equal(found.images[8], expected)
    assert found.images.dtype == torch.uint8


@pytest.mark.parametrize("inside", ["", "scans", "a/b"])
def test_a_zip_file_is_read_as_its_folder(inside: str, tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    (place / "cats" / "notes.txt").write_text("no image")
    found, packed = read_folder(place), read_folder(zipped(place, inside))
    assert torch.equal(found.images, packed.images)
    assert torch.equal(found.labels, packed.labels)
    assert (found.classes, found.ignored) == (packed.classes, packed.ignored) == (("cats", "dogs"), 1)


def test_what_is_no_class_in_a_zip_file_is_none(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    packed = zipped(place, "scans")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("./", "")
        for name in ("README.txt", ".DS_Store", "cats/.checkpoints/0.png", ".git/config", "__MACOSX/cats/._0.png"):
            archive.writestr(f"scans/{name}", "no image")
    found = read_folder(packed)
    assert torch.equal(found.images, read_folder(place).images)
    assert found.classes == ("cats", "dogs")


def test_a_folder_is_a_data_set_and_known_by_what_it_holds(tmp_path: Path) -> None:
    place = folder(tmp_path / "my scans", "RGB", each=30, size=(20, 14))
    split = load_data(f"{place} size=12 mode=grey", "smoke", 0)
    assert split.image_shape == (1, 12, 12)
    assert split.classes == ("cats", "dogs")
    assert 0 <= float(split.train_images.min()) <= float(split.train_images.max()) <= 1
    assert load_data(str(place), "smoke", 0).image_shape == (3, 20, 14)
    before = fingerprint(str(place))
    place = place.rename(tmp_path / "moved")
    assert fingerprint(str(place)) == before
    assert fingerprint(f"{place} size=12") != before
    (place / ".DS_Store").write_text("where the windows of a file manager stood")
    (place / "__MACOSX").mkdir()
    (place / "__MACOSX" / "._cats").write_text("what an unpacked zip file leaves beside the classes")
    assert fingerprint(str(place)) == before
    os.rename(place / "cats" / "0.png", os.fsencode(place / "cats") + b"/caf\xe9.png")
    assert len(read_folder(place).images) == 60
    again = fingerprint(str(place))
    assert again != before
    picture("RGB", (20, 14)).save(place / "cats" / "1.png")
    assert fingerprint(str(place)) != again


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist size=10", "size must be a whole number from 11 on, not 10"),
        ("mnist size=big", "size must be a whole number from 11 on, not 'big'"),
        ("mnist mode=cmyk", "mode must be one of grey, rgb, not 'cmyk'"),
        ("mnist broken=yes", "broken must be one of refuse, skip, not 'yes'"),
        ("mnist colour=red", "an option of dataset must be one of size, mode, broken, attribute, not 'colour'"),
        ("/no/such/folder", "dataset must be one of mnist.* folder of class folders, .* not '/no/such/folder'"),
    ],
)
def test_what_a_data_set_is_asked_for_is_checked(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_data(text, "smoke", 0)


def test_a_known_set_takes_the_options_too() -> None:
    assert load_data("mnist size=14 mode=rgb", "smoke", 0).image_shape == (3, 14, 14)
    assert source("mnist size=14").short == "mnist-14"
    assert source("/a/b/mine.npz").short == "/a/b/mine.npz"  # not there
    assert fingerprint("") == ""


def save_broken(place: Path) -> str:
    """A JPEG whose second half is missing."""
    buffer = io.BytesIO()
    picture(size=(64, 64)).save(buffer, "jpeg")
    path = place / "cats" / "half.jpg"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    return str(path)


def test_a_broken_image_is_named_and_skipped_only_if_asked(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine", size=(64, 64))
    path = save_broken(place)
    with pytest.raises(OSError, match=rf"{path} cannot be read as an image .*broken=skip leaves such files out"):
        load_images(str(place), bundled=False)
    assert len(load_images(f"{place} broken=skip", bundled=False).images) == 10
    header = (place / "cats" / "0.png").read_bytes()
    (place / "cats" / "0.png").write_bytes(header[:8] + b"\0\0\0\5" + header[12:])  # Pillow calls that a ValueError
    with pytest.raises(OSError, match=r"0\.png cannot be read as an image"):
        load_images(str(place), bundled=False)
    (place / "cats" / "0.png").write_bytes(b"hello")
    with pytest.raises(OSError, match=r"0\.png cannot be read as an image \(in no format that Pillow knows\); broken"):
        load_images(str(place), bundled=False)
    (place / "cats" / "0.png").write_bytes(header)
    told = "\n".join(checked(f"{place} broken=skip"))
    assert f"1 broken ones are left out: {path}." in told
    assert "10 grey images of 64 x 64 pixels in 2 classes." in told
    assert "  cats: 5\n  dogs: 5" in told


def sixteen_bits(path: Path) -> None:
    Image.fromarray(RNG.integers(0, 2**16, (16, 12), dtype=np.uint16)).save(path)


def animated(path: Path) -> None:
    picture().save(path, "gif", save_all=True, append_images=[picture()])


WRONG = {
    "16-bit": (sixteen_bits, "png", "pixels of more than 8 bits"),
    "CMYK": (lambda path: picture("CMYK").save(path), "jpg", "has CMYK colours"),
    "palette": (lambda path: picture("RGB").quantize(8).save(path), "png", "has a palette"),
    "alpha": (lambda path: picture("RGBA").save(path), "png", "has an alpha channel"),
    "grey with alpha": (lambda path: picture("LA").save(path), "png", "has an alpha channel"),
    "animated": (animated, "gif", "has 2 frames; an image has one"),
    "colour": (lambda path: picture("RGB").save(path), "png", "is RGB and .* is grey; mode=grey or mode=rgb"),
    "another size": (lambda path: picture(size=(12, 16)).save(path), "png", "12 x 16 pixels and .* has 16 x 12; size="),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_image_of_another_kind_is_named(kind: str, tmp_path: Path) -> None:
    save, suffix, message = WRONG[kind]
    place = folder(tmp_path / "mine")
    save(place / "cats" / f"!odd one.{suffix}")
    with pytest.raises(ValueError, match=f"odd one.{suffix} .*{message}|{message}"):
        load_data(str(place), "smoke", 0)


def test_mixed_images_are_made_alike_where_it_is_asked_for(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    picture("RGB", (30, 20)).save(place / "dogs" / "odd.png")
    found = read(source(f"{place} size=14 mode=rgb"))
    assert found.images.shape == (11, 3, 14, 14)
    assert found.resized == 11
    assert found.sizes == {(16, 12): 10, (30, 20): 1}


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine", size=(12, 16))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(size=(16, 12)).save(place / "cats" / "0.png", exif=turned)
    assert read_folder(place).images.shape == (10, 1, 12, 16)


def test_a_camera_s_image_has_a_preview(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    picture().save(place / "cats" / "0.mpo", save_all=True, append_images=[picture()])
    assert len(read_folder(place).images) == 11


def test_what_a_folder_lacks_is_said(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare holds no class folders"):
        load_data(str(tmp_path / "bare"), "smoke", 0)
    place = folder(tmp_path / "mine")
    (place / "birds").mkdir()
    with pytest.raises(ValueError, match="class 'birds' has no image"):
        load_data(str(place), "smoke", 0)
    for i in range(2):
        picture().save(place / "birds" / f"{i}.png")
    with pytest.raises(ValueError, match=f"class 'birds' has 2 images; {LEAST} at least are needed"):
        load_data(str(place), "smoke", 0)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "mine")

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(OSError, match="mine cannot be read \\(Permission denied\\)"):
        read_folder(place)


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "cats/../../out.png", "C:/out.png", "..\\out.png"])
def test_a_zip_file_that_climbs_out_is_refused(name: str, tmp_path: Path) -> None:
    path = zipped(folder(tmp_path / "mine"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ValueError, match="climbs out of its folder; such a file is not read"):
        load_data(str(path), "smoke", 0)
    assert not (tmp_path / "out.png").exists()


def test_a_zip_file_that_is_a_bomb_or_none_is_refused(tmp_path: Path) -> None:
    path = zipped(folder(tmp_path / "mine"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/large.png", bytes(50 * 2**20))
    with pytest.raises(ValueError, match="would unpack to 50 MiB"):
        load_data(str(path), "smoke", 0)
    path.write_bytes(b"PK no zip file")
    with pytest.raises(ValueError, match="is not a readable zip file"):
        load_data(str(path), "smoke", 0)


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(OSError, match="cannot be read as an image .*decompression bomb"):
        read_folder(folder(tmp_path / "mine"))


def medmnist(path: Path, **changed: np.ndarray) -> str:
    parts = {}
    for part, count in (("train", 20), ("val", 6), ("test", 8)):
        parts[f"{part}_images"] = RNG.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
        parts[f"{part}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    np.savez(path, **parts | changed)
    return str(path)


def test_an_archive_of_medmnist_is_pooled(tmp_path: Path) -> None:
    path = str(Path(medmnist(tmp_path / "blood.npz")).rename(tmp_path / "BLOOD.NPZ"))
    images = load_images(path, bundled=False)
    with np.load(path) as archive:
        assert np.array_equal(images.images[26].permute(1, 2, 0).numpy(), archive["test_images"][0])
    assert images.images.shape == (34, 3, 14, 14)
    assert images.labels.tolist() == [0, 1] * 17
    assert load_data(f"{path} size=12 mode=grey", "smoke", 0).image_shape == (1, 12, 12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_labels": np.arange(20) * 10**11}, "the largest is 1900000000000, and none is 2, 3, 4, 5, 6, "),
        (
            {"val_images": np.zeros((6, 14, 14), np.uint8)},
            "images of different kinds: \\(1, 14, 14\\) uint8 and",
        ),
        ({"val_labels": np.zeros((6, 3), np.uint8)}, "labels \\(N,\\), not \\(6, 14, 14, 3\\) and \\(6, 3\\)"),
        ({"val_images": np.zeros((6, 3, 14, 14), np.uint8)}, "1 channel or 3, the last axis, .* channels came first"),
        ({"val_images": np.zeros((6, 14, 14, 3), np.uint16)}, "must be uint8, or float in \\[0, 1\\], not uint16"),
        (
            {"val_labels": np.array([["cat"]] * 6)},
            "labels must be whole numbers from 0 on, not text \\(such as 'cat'\\)",
        ),
    ],
)
def test_an_archive_that_cannot_be_used_says_why(changed: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_data(medmnist(tmp_path / "blood.npz", **changed), "smoke", 0)


def test_the_cifar_subset_and_the_scans_are_found_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path))
    images = RNG.integers(0, 256, (400, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(400) % 10
    np.savez(tmp_path / "cifar10.npz", train_images=images[:300], train_labels=labels[:300], test_images=images[300:],
             test_labels=labels[300:])  # fmt: skip
    split = load_data("cifar10", "smoke", 0)
    assert split.image_shape == (3, 32, 32)
    assert split.classes[3] == "cat"
    with pytest.raises(OSError, match="CIFAR10 is not in .* and could not be downloaded"):
        load_data("cifar10", "paper", 0)  # a part is not the whole
    place = tmp_path / "medical-mnist"
    for name in ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"):
        (place / name).mkdir(parents=True)
        for i in range(60):
            picture(size=(64, 64)).save(place / name / f"{i}.jpeg")
    assert load_data("medical_mnist", "smoke", 0).image_shape == (1, 28, 28)
    assert load_data("medical_mnist size=32", "smoke", 0).image_shape == (1, 32, 32)
    (place / "Foot").mkdir()
    picture(size=(64, 64)).save(place / "Foot" / "0.jpeg")
    with pytest.raises(ValueError, match="holds the folders .*Foot.* instead of"):
        load_images("medical_mnist", bundled=False)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(3, 40), st.integers(11, 40), st.booleans())
def test_images_keep_their_type_range_and_mean(n: int, channels: int, side: int, size: int, whole: bool) -> None:
    images = torch.rand(n, channels, side, side)
    images = (images * 255).to(torch.uint8) if whole else images
    for made in (resized(images, size), coloured(images, "rgb"), coloured(images, "grey")):
        assert made.dtype == images.dtype
        assert made.min() >= 0
        assert made.max() <= (255 if whole else 1)
    flat = torch.full_like(images, 77 if whole else 0.3)
    assert torch.allclose(resized(flat, size).float(), flat.float().flatten()[0], atol=1e-5)
    assert torch.allclose(coloured(flat, "grey").float(), flat.float().flatten()[0], atol=1e-5)
    half = resized(images.float(), size)
    assert half.shape == (n, channels, size, size)
    if side == 2 * size:
        assert half.mean() == pytest.approx(float(images.float().mean()), abs=0.1)


def test_grey_is_what_pillow_makes_of_it() -> None:
    image = picture("RGB")
    ours = coloured(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], "grey")[0, 0]
    assert (ours.int() - torch.from_numpy(np.array(image.convert("L"))).int()).abs().max() <= 1
