"""Images of a data set by its name or path: bundled, known or your own, read once and kept where they are many."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checks import near
from ..ondisk import OnDisk
from ..places import digest, write
from ..places import home as results_home
from .archives import read_archive
from .known import DATASETS, Known, data_home
from .pixels import coloured, resized
from .sources import Source, fingerprint, read, source


@dataclass(frozen=True)
class Images:
    """Labelled images: ``images`` ``(N, C, H, W)`` uint8 or float32 in [0, 1], ``labels`` ``(N,)`` int64."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def dataset_title(dataset: str) -> str:
    """The data set as its authors write it, or the path's last part; and the size and attribute, if they were chosen.

    >>> dataset_title("fashion_mnist"), dataset_title("medical_mnist size=64")
    ('Fashion-MNIST', 'Medical MNIST-64')
    """
    of = source(dataset)
    return of.short.replace(of.name, DATASETS[of.name].title, 1) if of.name in DATASETS else of.short


def counterpart(dataset: str) -> str:
    """The other of the two grey sets, which stands for public images as in the released code; empty for any other set.

    >>> counterpart("mnist"), counterpart("cifar10")
    ('fashion_mnist', '')
    """
    return {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}.get(dataset, "")


def check_dataset(text: str) -> str:
    """``text`` if it names a data set, or a ``ValueError`` with what is allowed.

    It is a name of :data:`DATASETS`, or the path of a folder of class folders, of a ``.zip`` file of one, or of an
    ``.npz`` file; after it, how the images are read: ``size=28`` or ``size=full``, ``mode=grey`` or ``mode=rgb``,
    ``broken=skip``; of ``celeba``, ``attribute=Smiling``.
    """
    of = source(text)
    known = DATASETS.get(of.name)
    if known is not None or of.of_your_own:
        if of.attribute is not None and (known is None or known.attribute is None):
            raise ValueError(f"the images of {of.name} have one label each; attribute is for celeba, not {of.name!r}.")
        return text
    raise ValueError(
        f"dataset must be one of {', '.join(DATASETS)}, or the path of an existing .npz file, folder of class folders, "
        f"or .zip file of one, not {of.name!r}{near(of.name, DATASETS)}"
    )


def images_of(text: str) -> int | None:
    """Images that a known data set has; ``None`` for images of your own.

    >>> images_of("medical_mnist size=64"), images_of("scans.npz")
    (58954, None)
    """
    known = DATASETS.get(source(text).name)
    return None if known is None else known.total


def at_hand(text: str, bundled: bool) -> bool:
    """Whether a data set's images can be read without a download.

    Args:
        bundled: a mini set that comes with the package will do.
    """
    of = source(text)
    if of.of_your_own:
        return of.path.exists()
    known = DATASETS[of.name]
    lies = any((data_home() / place).exists() for place in known.places)
    return lies or not known.places or (bundled and known.bundled)


def load_images(text: str, bundled: bool, part: bool = False) -> Images:
    """All images of a data set, official training and test sets pooled.

    Args:
        text: as :func:`check_dataset` has it.
        bundled: read the mini set that comes with the package instead of the full one, where there is one.
        part: where the full set is not there, a part of it will do.

    Raises:
        ValueError: an unknown name, damaged or unusable contents.
        OSError: the full set is not there and could not be downloaded, or a file cannot be read.
    """
    check_dataset(text)
    of = source(text)
    known = DATASETS.get(of.name)
    if known is not None and bundled and known.bundled:
        with as_file(files("sparseguard.data") / "mini" / f"{of.name}.npz") as path:
            images, labels = read_archive(path)
        return _as_told(of, known, images, labels)
    key = {"images": fingerprint(text), "home": str(data_home()) if known else "", "part": part, "format": 2}
    place = results_home() / ".images" / digest(key)
    lying = _put_down(place)
    if lying is not None:
        return lying
    if known is None:
        found = read(of, place / "images")
        read_now = Images(found.images, found.labels, found.classes)
    else:
        read_now = _as_told(of, known, *known.load(of, part, place / "images"))
    if isinstance(read_now.images, OnDisk):
        shape, kind = list(read_now.images.shape), read_now.images.kind
        told = {"shape": shape, "kind": kind, "labels": read_now.labels.tolist(), "classes": read_now.classes}
        write(place / "index.json", json.dumps(told).encode())
    return read_now


def _as_told(of: Source, known: Known, images: Tensor, labels: Tensor) -> Images:
    if not isinstance(images, OnDisk):
        images = resized(coloured(images, of.mode), of.pixels(known.size))
    return Images(images, labels, known.classes)


def _put_down(place: Path) -> Images | None:
    """What an earlier reading of the same images left in a folder, if it is whole."""
    try:
        told = json.loads((place / "index.json").read_text())
        lying = OnDisk(place / "images", told["shape"], told["kind"])
        if (place / "images").stat().st_size != lying.numel() * np.dtype(lying.kind).itemsize:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Images(lying, torch.tensor(told["labels"]), tuple(told["classes"]))
