"""Data sets: the bundled mini sets, the full sets that torchvision or a folder has, and images of your own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checks import near
from ..leases import held
from ..ondisk import OnDisk
from ..places import digest, write
from ..places import home as results_home
from .archives import read_archive
from .celeba import ATTRIBUTE, read_celeba
from .folders import read_folder
from .pixels import coloured, resized
from .sources import Source, fingerprint, read, source


@dataclass(frozen=True)
class Images:
    """Labelled images: ``images`` ``(N, C, H, W)`` uint8 or float32 in [0, 1], ``labels`` ``(N,)`` int64."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """A data set with a name.

    Attributes:
        title: as its authors write it.
        classes: their names, in the order of the labels.
        load: images and labels of the full set, read as a :class:`Source` says; ``True`` allows a part of it where that
            is all there is, and many images are put down in a file.
        places: files and folders under SPARSEGUARD_DATA that hold it, or a part of it; none: a library has it.
        total: images that the full set has.
        licence, origin: as its page states them.
        size: pixels a side that it is resized to unless told otherwise; ``None``: as it is.
        bundled: a part of it comes with the package.
        attribute: the one that is the label unless told otherwise; ``None``: its images have one label.
    """

    title: str
    classes: tuple[str, ...]
    load: Callable[[Source, bool, Path | None], tuple[Tensor, Tensor]]
    places: tuple[str, ...]
    total: int
    licence: str
    origin: str
    size: int | None = None
    bundled: bool = False
    attribute: str | None = None


# Bytes of the unpacked IDX files: a truncated one is noticed before it is read.
_IDX_BYTES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 784,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
_GARMENTS = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
)  # fmt: skip
_SCANS = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def data_home() -> Path:
    """Folder of the full data sets: ``SPARSEGUARD_DATA``, by default ``~/.cache/sparseguard``."""
    return Path(os.environ.get("SPARSEGUARD_DATA") or "~/.cache/sparseguard").expanduser()


def _absent(name: str, where: Path, error: object) -> OSError:
    return OSError(
        f"{name} is not in {where} and could not be downloaded ({error}); set SPARSEGUARD_DATA to the folder that "
        "holds it, or use scale 'quick' with mnist or fashion_mnist, whose images are bundled."
    )


def _idx(torchvision: str, of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """A set in MNIST's layout, official training and test sets pooled."""
    from torchvision import datasets  # here: importing it costs a second that the bundled sets need not pay

    home = data_home()
    raw = home / torchvision / "raw"

    def bytes_of(file: str) -> int:
        return (raw / file).stat().st_size if (raw / file).exists() else 0

    if any(bytes_of(file) != size for file, size in _IDX_BYTES.items()):
        try:
            with held(home / ".leases", torchvision):  # of several processes that find it absent, one gets it
                if not all(map(bytes_of, _IDX_BYTES)):
                    getattr(datasets, torchvision)(str(home), download=True)
        except Exception as error:
            raise _absent(torchvision, raw, error) from error
    for file, size in _IDX_BYTES.items():
        found = bytes_of(file)
        if found != size:
            raise ValueError(f"{raw / file} is damaged: {found} bytes instead of {size}; delete it and run again.")
    parts = [getattr(datasets, torchvision)(str(home), train=train, download=False) for train in (True, False)]
    images = torch.cat([part.data for part in parts]).unsqueeze(1)
    return images, torch.cat([part.targets for part in parts])


def _cifar10(of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """The full set, whose files torchvision knows by their checksums, or the part of it in ``cifar10.npz``."""
    home = data_home()
    full, some = home / "cifar-10-batches-py", home / "cifar10.npz"
    if part and some.is_file() and not full.is_dir():
        return read_archive(some)
    from torchvision.datasets import CIFAR10  # as above

    try:
        if not full.is_dir():
            home.mkdir(parents=True, exist_ok=True)
        sets = [CIFAR10(str(home), train=train, download=not full.is_dir()) for train in (True, False)]
    except Exception as error:
        if full.is_dir():
            raise ValueError(f"{full} is damaged ({error}); delete it and run again.") from error
        raise _absent("CIFAR10", full, error) from error
    images = torch.cat([torch.from_numpy(one.data) for one in sets]).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor([label for one in sets for label in one.targets])


def _medical_mnist(of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """One folder a class, as on Kaggle, in a folder or a zip file ``medical-mnist``."""
    home = data_home()
    places = [home / "medical-mnist", home / "medical-mnist.zip"]
    there = next((p for p in places if p.exists()), None)
    if there is None:
        try:
            import kagglehub  # an extra: pip install 'sparseguard[kaggle]'

            there = Path(kagglehub.dataset_download("andrewmvd/medical-mnist"))
        except Exception as error:
            raise _absent("medical-mnist", home, error) from error
    found = read_folder(there, of.pixels(DATASETS["medical_mnist"].size), of.mode, of.broken == "skip", place)
    if found.classes != _SCANS:
        raise ValueError(f"{there} holds the folders {', '.join(found.classes)} instead of {', '.join(_SCANS)}.")
    return found.images, found.labels


def _celeba(of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """Torchvision's, its files known by their checksums."""
    there = (data_home() / "celeba").is_dir()
    try:
        if not there:
            data_home().mkdir(parents=True, exist_ok=True)
        return read_celeba(data_home(), of.pixels(DATASETS["celeba"].size), of.mode, of.attribute, place)
    except ValueError:
        raise
    except Exception as error:
        if there:
            raise ValueError(f"{data_home() / 'celeba'} is damaged or not whole ({error}).") from error
        raise _absent("celeba", data_home(), error) from error


def _lfw_subset(of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """A hundred faces of Labeled Faces in the Wild and a hundred pieces of its backgrounds, in scikit-image's wheel."""
    from skimage.data import lfw_subset

    images = torch.from_numpy(lfw_subset()).float().unsqueeze(1)
    return images, (torch.arange(len(images)) < len(images) // 2).long()


DATASETS: dict[str, Known] = {
    "mnist": Known(
        "MNIST", tuple("0123456789"), partial(_idx, "MNIST"), ("MNIST/raw",), 70_000,
        "CC BY-SA 3.0", "LeCun, Cortes, Burges", bundled=True,
    ),
    "fashion_mnist": Known(
        "Fashion-MNIST", _GARMENTS, partial(_idx, "FashionMNIST"), ("FashionMNIST/raw",), 70_000,
        "MIT", "Zalando SE", bundled=True,
    ),
    "cifar10": Known(
        "CIFAR-10", _THINGS, _cifar10, ("cifar-10-batches-py", "cifar10.npz"), 60_000, "none stated", "Krizhevsky, 2009"
    ),
    "medical_mnist": Known(
        "Medical MNIST", _SCANS, _medical_mnist, ("medical-mnist", "medical-mnist.zip"), 58_954,
        "CC BY-SA 4.0", "MedNIST; Kaggle andrewmvd/medical-mnist", size=28,
    ),
    "celeba": Known(
        "CelebA", ("without", "with"), _celeba, ("celeba",), 202_599,
        "non-commercial research only", "Liu et al., 2015", size=32, attribute=ATTRIBUTE,
    ),
    "lfw_subset": Known(
        "LFW faces", ("background", "face"), _lfw_subset, (), 200, "none stated", "Huang et al., 2007; scikit-image"
    ),
}  # fmt: skip


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
