"""Damaged and unusable files: one sentence each, whatever is wrong with them, and nothing of them is believed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparseguard import load_data
from sparseguard.data.described import checked

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 12, 12), dtype=np.uint8)
LABELS = np.arange(40) % 4


def damaged(content: bytes, chance: np.random.Generator) -> bytes:
    """Cut off, begun late, or with some bytes of another value."""
    place = int(chance.integers(len(content)))
    kind = chance.integers(3)
    if kind < 2:
        return content[:place] if kind else content[place:]
    changed = bytearray(content)
    for at in chance.integers(0, len(content), int(chance.choice([1, 3, 20]))):
        changed[at] = int(chance.integers(256))
    return bytes(changed)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow tells what it finds
@pytest.mark.parametrize("form", ["npz", "parts", "zip", "png", "jpg", "tiff"])
def test_a_damaged_file_is_refused_in_one_sentence_or_is_whole(form: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    if form == "npz":
        place = place.with_suffix(".npz")
        np.savez(place, images=IMAGES, labels=LABELS)
    elif form == "parts":
        place = place.with_suffix(".npz")
        np.savez_compressed(place, train_images=IMAGES, train_labels=LABELS, val_images=IMAGES, val_labels=LABELS)
    else:
        suffix = "png" if form == "zip" else form
        for name in "ab":
            (place / name).mkdir(parents=True)
            for k in range(5):
                Image.fromarray(IMAGES[k]).save(place / name / f"{k}.{suffix}")
        if form == "zip":
            place = Path(shutil.make_archive(str(place), "zip", place))
    file = place if place.is_file() else place / "b" / f"3.{form}"
    content, told = file.read_bytes(), list[str]()
    checked(str(place))
    for seed in range(12):
        file.write_bytes(damaged(content, np.random.default_rng(seed)))
        try:
            checked(str(place))
            load_data(str(place), "smoke", 0)
        except (ValueError, OSError) as error:
            told.append(str(error))
    assert len(told) >= 6
    assert all(str(place) in sentence and len(sentence.splitlines()) == 1 for sentence in told)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", r"is not an .npz file, which is a zip file of arrays: it begins with b'he'"),
        (b"", r"is not an .npz file, which is a zip file of arrays: it is empty"),
        (b"\x80\x04N.", r"is not an .npz file, .* it begins with b'\\x80\\x04'"),
    ],
)
def test_what_is_called_npz_and_is_none(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_data(str(tmp_path / "mine.npz"), "smoke", 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": LABELS * 0}, "all images are of one class, '0'; a target tells at least two apart"),
        ({"labels": LABELS + 1}, "labels must be 0 to K - 1, each of them there; the largest is 4, and none is 0"),
        ({"labels": LABELS * 3}, "the largest is 9, and none is 1, 2, 4, 5, 7, ..."),
        ({"labels": np.array(list("abcd"))[LABELS]}, r"whole numbers from 0 on, not text \(such as 'a'\)"),
        ({"labels": LABELS - 1}, "whole numbers from 0 on, not int64 from -1"),
        ({"labels": LABELS.astype(object)}, "it holds Python objects, which are never loaded"),
        ({"labels": np.r_[0, np.ones(39, int)]}, "class '0' has 1 image; 4 at least are needed"),
        ({"images": IMAGES.astype(np.uint16) * 100}, r"not uint16 with values up to 25\d00: scale them to 0 to 255"),
        ({"images": IMAGES.astype(np.float32)}, "the largest value is 25[0-5]: divide by 255, or store them as uint8"),
        ({"images": IMAGES[:, :0]}, "at least 11 x 11 pixels, not 0 x 12; size=28, say, enlarges them"),
        ({"images": IMAGES[:, :0].astype(np.float32)}, "at least 11 x 11 pixels, not 0 x 12; size=28, say"),
        ({"images": IMAGES[..., None][..., :0]}, "1 channel or 3, the last axis, not"),
    ],
)
def test_what_cannot_be_used_says_why_when_it_is_checked_and_when_it_is_loaded(
    changed: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "mine.npz", **{"images": IMAGES, "labels": LABELS} | changed)  # type: ignore[arg-type]
    for read in (checked, lambda text: load_data(text, "smoke", 0)):
        with pytest.raises(ValueError, match=message):
            read(str(tmp_path / "mine.npz"))
