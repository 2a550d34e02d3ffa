"""Images of your own in class folders, or in a zip file of such a folder: one folder a class, any format of Pillow."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..ondisk import SLOW, Gathering
from ..progress import bar
from .pixels import Mode, coloured, resized

KINDS = {"L": "grey", "RGB": "RGB"}
"""Pillow's names of the two kinds of images that are read."""
LARGEST_RATIO, LARGEST_ZIP = 200, 16 * 2**30
"""A zip file that unpacks to more times its size, or to more bytes, is taken for one that is meant to harm."""
_KINDS = {"P": "a palette", "CMYK": "CMYK colours", "LA": "an alpha channel", "RGBA": "an alpha channel",
          "PA": "an alpha channel", "La": "an alpha channel", "RGBa": "an alpha channel"}  # fmt: skip


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        images: ``(N, C, H, W)`` uint8, or in a file.
        labels: ``(N,)`` int64: the number of the class folder, in the order of their names.
        classes: names of the folders.
        resized: images that had another size.
        skipped: names of broken images that were left out.
        ignored: files of no image format.
        sizes: how many images had each ``(height, width)``.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    resized: int = 0
    skipped: list[str] = field(default_factory=list)
    ignored: int = 0
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    label: int
    name: str
    open: Callable[[], IO[bytes]]


def of_the_system(path: PurePath) -> bool:
    """Whether a file, or a folder that it lies in, is one that systems leave beside images: no part of a data set.

    >>> [of_the_system(Path(name)) for name in ("cats/.DS_Store", "__MACOSX/cats/1.png", "cats/1.png")]
    [True, True, False]
    """
    return any(part == "__MACOSX" or part.startswith(".") for part in path.parts)


def _is_image(name: str) -> bool:
    file = PurePosixPath(name)
    return not of_the_system(file) and file.suffix.lower() in Image.registered_extensions()


@contextmanager
def _files(path: Path) -> Iterator[tuple[list[_File], tuple[str, ...], int]]:
    """All images, the classes, and how many other files there are."""
    if path.is_dir():
        try:
            folders = sorted(p for p in path.iterdir() if p.is_dir() and not of_the_system(p.relative_to(path)))
            held = [sorted(p for p in folder.iterdir() if p.is_file()) for folder in folders]
        except OSError as error:
            raise OSError(f"{error.filename} cannot be read ({error.strerror}).") from error
        listed = [(k, p) for k, group in enumerate(held) for p in group]
        files = [_File(k, str(p), lambda p=p: p.open("rb")) for k, p in listed if _is_image(p.name)]  # type: ignore[misc]
        yield files, tuple(folder.name for folder in folders), len(listed) - len(files)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable zip file ({error}).") from error
    with archive:
        entries = _checked(path, archive)
        parents = sorted({str(PurePosixPath(e.filename).parent) for e in entries})
        names = [PurePosixPath(parent).name for parent in parents]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{path} has several folders {twice!r}; each class has one folder.")
        listed_ = [(parents.index(str(PurePosixPath(e.filename).parent)), e) for e in entries]
        files = [
            _File(k, f"{path}/{e.filename}", lambda e=e: archive.open(e))  # type: ignore[misc]
            for k, e in listed_
            if _is_image(PurePosixPath(e.filename).name)
        ]
        yield files, tuple(names), len(listed_) - len(files)


def _checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries of a zip file that lie in a folder, if it is none that is meant to harm."""
    everything = [e for e in archive.infolist() if PurePosixPath(e.filename.replace("\\", "/")).parts]  # not "./"
    for entry in everything:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            raise ValueError(f"{path}: its entry {entry.filename!r} climbs out of its folder; such a file is not read.")
        if entry.flag_bits & 1:
            raise ValueError(f"{path}: its entry {entry.filename!r} is encrypted.")
    size, packed = sum(e.file_size for e in everything), sum(e.compress_size for e in everything)
    if size > LARGEST_ZIP or size > LARGEST_RATIO * max(packed, 2**16):
        raise ValueError(
            f"{path} would unpack to {size / 2**20:.0f} MiB, {size / max(packed, 1):.0f} times its size; at most "
            f"{LARGEST_ZIP / 2**30:.0f} GiB and {LARGEST_RATIO} times are read."
        )
    inside = [e for e in everything if not (e.is_dir() or of_the_system(PurePosixPath(e.filename).parent))]
    around = {above for e in inside for above in PurePosixPath(e.filename).parent.parents}  # hold classes, are none

    def counts(entry: zipfile.ZipInfo) -> bool:
        file = PurePosixPath(entry.filename)
        return bool(file.parent.name) and (file.parent not in around or _is_image(file.name))

    return sorted(filter(counts, inside), key=lambda e: e.filename)


def _decode(file: _File) -> Tensor:
    """One image ``(1, C, H, W)``, turned as its EXIF says.

    Raises:
        ValueError: it is of another kind; the sentence names it.
        OSError: it is broken.
    """
    try:
        with file.open() as stream, Image.open(stream) as image:
            complaint = _complaint(image)
            if complaint is None:
                image.load()
                turned = ImageOps.exif_transpose(image)
                pixels = torch.from_numpy(np.array(turned.convert("L") if turned.mode == "1" else turned))
                return pixels[None, None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)[None]
    except Exception as error:  # Pillow's decoders raise whatever they like
        reason = "in no format that Pillow knows" if isinstance(error, UnidentifiedImageError) else error
        raise OSError(f"{file.name} cannot be read as an image ({reason})") from error
    raise ValueError(f"{file.name} has {complaint}")


def _complaint(image: Image.Image) -> str | None:
    """What an image has that is not read, in words; ``None``: nothing."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG and its preview
        return f"{frames} frames; an image has one."
    if image.mode in (*KINDS, "1"):
        return None
    deep = " of more than 8 bits" if image.mode[0] in "IF" else ""
    kind = _KINDS.get(image.mode, f"{image.mode!r} pixels{deep}")
    return f"{kind}; 8-bit grey and RGB images are read: convert it first."


def read_folder(
    path: Path, size: int | None = None, mode: Mode | None = None, skip_broken: bool = False, place: Path | None = None
) -> Found:
    """All images of a folder of class folders, or of a zip file of one.

    Args:
        path: the folder, or the zip file.
        size: resize to so many pixels a side; ``None``: all must have one size.
        mode: make grey or RGB images of all; ``None``: all must be of one kind.
        skip_broken: leave broken images out, and count them.
        place: file for the images where memory should not hold them; ``None``: one that is removed again.

    Raises:
        ValueError: no class, a class without an image, images of different or unusable kinds, a harmful zip file.
        OSError: something cannot be read.
    """
    with _files(path) as (files, classes, ignored):
        if not classes:
            raise ValueError(f"{path} holds no class folders: images of your own lie in one folder a class.")
        images = Gathering(place)
        labels: list[int] = []
        found = Found(torch.empty(0), torch.empty(0), classes, ignored=ignored)
        first: tuple[str, tuple[int, ...]] | None = None
        for file in bar(iterable=files, desc=f"reading {path.name}", delay=SLOW):
            try:
                pixels = coloured(_decode(file), mode)
            except OSError as error:
                if not skip_broken:
                    raise OSError(f"{error}; broken=skip leaves such files out, and counts them.") from error
                found.skipped.append(file.name)
                continue
            shape = pixels.shape[2], pixels.shape[3]
            found.sizes[shape] = found.sizes.get(shape, 0) + 1
            found.resized += size is not None and shape != (size, size)
            pixels = resized(pixels, size)
            first = first or (file.name, tuple(pixels.shape))
            _same(*first, file.name, tuple(pixels.shape))
            images.add(pixels)
            labels.append(file.label)
    empty = [name for k, name in enumerate(classes) if k not in set(labels)]
    if empty:
        beside = f"; {len(found.skipped)} broken ones were skipped" if found.skipped else ""
        raise ValueError(f"{path}: class {empty[0]!r} has no image{beside}.")
    found.images, found.labels = images.done(), torch.tensor(labels)
    return found


def _same(other: str, wanted: tuple[int, ...], name: str, shape: tuple[int, ...]) -> None:
    """All images are of one kind and size, or a ``ValueError`` that names two that are not."""
    if shape[1] != wanted[1]:
        told = {1: "grey", 3: "RGB"}
        raise ValueError(
            f"{other} is {told[wanted[1]]} and {name} is {told[shape[1]]}; mode=grey or mode=rgb makes all of one kind."
        )
    if shape != wanted:
        raise ValueError(
            f"{other} has {wanted[2]} x {wanted[3]} pixels and {name} has {shape[2]} x {shape[3]}; size=28, say, makes "
            "all of one size."
        )
