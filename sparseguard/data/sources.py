"""What a ``dataset`` names: a known set, or a path of your own, and how its images are read."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import SSIM_WINDOW, one_of, whole
from .archives import read_archive
from .folders import Found, of_the_system, read_folder
from .pixels import MODES, Mode, coloured, resized

OPTIONS = ("size", "mode", "broken", "attribute")
FULL = 0
"""``size=full``: images as they are, also of a known set that is resized otherwise."""
BROKEN = ("refuse", "skip")


@dataclass(frozen=True)
class Source:
    """What a text names.

    Attributes:
        name: of a known data set, or a path.
        size: pixels a side that images are resized to; ``None``: as the data set has it, :data:`FULL`: as they are.
        mode: ``"grey"`` or ``"rgb"``; ``None``: as they are.
        broken: ``"skip"``: broken files are left out and counted.
        attribute: of a set whose images have several, the one that is the label.
    """

    name: str
    size: int | None = None
    mode: Mode | None = None
    broken: str = "refuse"
    attribute: str | None = None

    @property
    def path(self) -> Path:
        """Of a data set of your own."""
        return Path(os.path.expanduser(self.name))  # Path's own raises where there is no such user

    @property
    def of_your_own(self) -> bool:
        """A folder, an ``.npz`` or a ``.zip`` file that is there."""
        return bool(self.name) and (
            self.path.is_dir() or (self.path.suffix.lower() in (".npz", ".zip") and self.path.is_file())
        )

    @property
    def short(self) -> str:
        """For names of files and captions."""
        sized = "" if self.size is None else f"-{self.size or 'full'}"
        labelled = "" if self.attribute is None else f"-{self.attribute}"
        return f"{self.path.stem if self.of_your_own else self.name}{sized}{labelled}"

    def pixels(self, usual: int | None = None) -> int | None:
        """Pixels a side that images are resized to, where ``usual`` is what they are otherwise; ``None``: none are."""
        return (usual if self.size is None else self.size) or None


def source(text: str) -> Source:
    """What a text names: ``"mnist"``, ``"scans"``, ``"scans size=28 mode=grey broken=skip"``.

    Raises:
        ValueError: an option that there is not, or a value that is not allowed.

    Example:
        >>> source("medical_mnist size=64")
        Source(name='medical_mnist', size=64, mode=None, broken='refuse', attribute=None)
    """
    if not isinstance(text, str):
        raise ValueError(f"a data set is named by a text, not {text!r}.")
    name, *tokens = re.split(r" +(?=\w+=)", text)
    given: dict[str, Any] = dict(token.split("=", 1) for token in tokens)
    for option, value in given.items():
        one_of("an option of dataset", option, OPTIONS)
        if option == "size":
            given[option] = FULL if value == "full" else _size(value)
        elif option != "attribute":
            one_of(option, value, MODES if option == "mode" else BROKEN)
    return Source(name, **given)


def _size(value: str) -> int:
    try:
        return whole("size", int(value) if value.isdecimal() else value, SSIM_WINDOW)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}; or full.") from None


def read(of: Source, place: Path | None = None) -> Found:
    """The images of a path.

    Args:
        place: where many images are put down; ``None``: where they are removed again.

    Raises:
        ValueError, OSError: as :func:`read_folder` and :func:`read_archive`.
    """
    size = of.pixels()
    if of.path.suffix.lower() != ".npz":
        return read_folder(of.path, size, of.mode, of.broken == "skip", place)
    shapes: dict[tuple[int, int], int] = {}

    def made(images: Tensor) -> Tensor:
        shape = images.shape[2], images.shape[3]
        shapes[shape] = shapes.get(shape, 0) + len(images)
        return resized(coloured(images, of.mode), size)

    images, labels = read_archive(of.path, made, place)
    names = tuple(str(k) for k in range(int(labels.max()) + 1))
    other = 0 if size is None else sum(count for shape, count in shapes.items() if shape != (size, size))
    return Found(images, labels, names, other, sizes=shapes)


def fingerprint(text: str) -> str:
    """The text of a known data set, or of none; of a path, what it holds, whatever its name, and how it is read."""
    of = source(text)
    if not of.of_your_own:
        return text
    files = sorted(p for p in of.path.rglob("*") if p.is_file()) if of.path.is_dir() else [of.path]
    files = [p for p in files if not of_the_system(p.relative_to(of.path))]
    stats = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    how = text[len(of.name) :]
    return _content(of.path, stats) + how


def file_hash(path: Path) -> str:
    """Of what a file holds; read anew only when the file has changed."""
    return _content(path, ((str(path), path.stat().st_size, path.stat().st_mtime_ns),))


@lru_cache(maxsize=64)
def _content(path: Path, stats: tuple[tuple[str, int, int], ...]) -> str:
    """Hash of a file, or of all files of a folder and their names there; read anew when one of them has changed."""
    if path.is_file():
        return _hash(path)
    total = hashlib.sha256()
    for name, _, _ in stats:
        total.update(os.fsencode(f"{os.path.relpath(name, path)}\0{_hash(Path(name))}\n"))
    return total.hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
