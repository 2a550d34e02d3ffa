"""Images in ``.npz`` files: ``images`` and ``labels``, or the parts of MedMNIST's convention. Nothing is unpickled."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..ondisk import CHUNK, Gathering, Scratch, large

PARTS = ("train", "val", "test")
"""Of MedMNIST's convention: ``train_images``, ``train_labels``, and so on; pooled in this order."""


def unchanged(images: Tensor) -> Tensor:
    """What is made of images where nothing is."""
    return images


def read_archive(
    path: Path, made: Callable[[Tensor], Tensor] = unchanged, place: Path | None = None
) -> tuple[Tensor, Tensor]:
    """Images ``(N, C, H, W)``, uint8 or float32 in [0, 1], and labels ``(N,)`` int64, 0 to K - 1.

    Args:
        made: what is made of them, so many at a time.
        place: file for images where memory should not hold them; ``None``: one that is removed again.

    Raises:
        ValueError: it holds something else; the sentence says what.
    """
    with path.open("rb") as file:
        magic = file.read(2)
    if magic != b"PK":
        held = f"it begins with {magic!r}" if magic else "it is empty"
        raise ValueError(f"{path} is not an .npz file, which is a zip file of arrays: {held}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = set(archive.files)
            parts = [p for p in PARTS if {f"{p}_images", f"{p}_labels"} <= names]
            own = {"images", "labels"} <= names
            pairs = [("images", "labels")] if own else [(f"{p}_images", f"{p}_labels") for p in parts]
            arrays = [(_array(path, images), archive[labels]) for images, labels in pairs]
    except Exception as error:
        told = "it holds Python objects, which are never loaded" if "allow_pickle" in str(error) else str(error)
        raise ValueError(f"{path} is not a readable .npz file with 'images' and 'labels': {told}.") from error
    if not arrays:
        held = ", ".join(sorted(names)) or "nothing"
        raise ValueError(
            f"{path} is not a readable .npz file with 'images' and 'labels', or 'train_images', 'train_labels' and so "
            f"on: it holds {held}."
        )
    labelled = [_labels(path, images(), labels) for images, labels in arrays]
    firsts = [_pixels(images()[:1]) for images, _ in arrays]
    kinds = sorted({f"{tuple(first.shape[1:])} {first.dtype}".replace("torch.", "") for first in firsts})
    if len(kinds) > 1:
        raise ValueError(f"{path}: its parts hold images of different kinds: {' and '.join(kinds)}.")
    every = torch.cat(labelled)
    absent = sorted({*range(min(int(every.max()), len(every)))} - {*every.tolist()})
    if absent:
        shown = f"{', '.join(map(str, absent[:5]))}{', ...' if len(absent) > 5 else ''}"
        raise ValueError(
            f"{path}: labels must be 0 to K - 1, each of them there; the largest is {int(every.max())}, and none is "
            f"{shown}."
        )
    images, bad, largest = Gathering(place), 0, 0.0
    for array, labels in zip((array for array, _ in arrays), labelled, strict=True):
        for start in range(0, len(labels), CHUNK):
            pixels = _pixels(array()[start : start + CHUNK])
            if pixels.dtype != torch.uint8 and pixels.numel():
                bad += int((~((pixels >= 0) & (pixels <= 1)).flatten(1).all(1)).sum())
                largest = max(largest, float(pixels.nan_to_num(0, 0, 0).max()))
            images.add(made(pixels))
    if bad:
        how = f"; the largest value is {largest:g}: divide by 255, or store them as uint8" if 1 < largest <= 255 else ""
        raise ValueError(
            f"{path}: {bad} of {len(every)} images hold NaN or values outside [0, 1]; float images must be finite and "
            f"in [0, 1]{how}."
        )
    return images.done(), every


def _array(path: Path, name: str) -> Callable[[], np.ndarray]:
    """An array of the file; a large one is unpacked into another file, and mapped anew each time it is asked for."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as packed:
        if not large(archive.getinfo(f"{name}.npy").file_size):
            array = np.lib.format.read_array(packed, allow_pickle=False)
            return lambda: array
        folder = Scratch()
        with (folder.path / "unpacked.npy").open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return lambda: np.load(folder.path / "unpacked.npy", mmap_mode="r", allow_pickle=False)


def _labels(path: Path, images: np.ndarray, labels: np.ndarray) -> Tensor:
    """The labels of images, if both are what is read."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or len(images) == 0:
        raise ValueError(
            f"{path}: images must be (N, H, W) or (N, H, W, C) and labels (N,), not {images.shape} and {labels.shape}."
        )
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        first = "; these look as if channels came first" if images.shape[1] in (1, 3) else ""
        raise ValueError(f"{path}: images have 1 channel or 3, the last axis, not {images.shape}{first}.")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        whole = np.issubdtype(images.dtype, np.integer)
        how = f" with values up to {images.max()}: scale them to 0 to 255, and store them as uint8" if whole else ""
        raise ValueError(f"{path}: images must be uint8, or float in [0, 1], not {images.dtype}{how}.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.astype(np.int64).min() < 0:
        text = f"text (such as {str(labels.flat[0])!r})" if labels.dtype.kind in "US" else str(labels.dtype)
        kind = f"{text} from {labels.min()}" if np.issubdtype(labels.dtype, np.number) else text
        raise ValueError(f"{path}: labels must be whole numbers from 0 on, not {kind}.")
    return torch.from_numpy(labels.astype(np.int64))


def _pixels(images: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(np.array(images, np.uint8 if images.dtype == np.uint8 else np.float32))
    return pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
