"""The data sets with a name: what is known of each, and how its files are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ..leases import held
from .archives import read_archive
from .celeba import ATTRIBUTE, read_celeba
from .folders import read_folder
from .sources import Source

T = TypeVar("T")


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


def _had(name: str, folder: Path, read: Callable[[bool], T]) -> T:
    """What torchvision reads of a folder. Where that is not whole, one process completes it, and the others wait.

    Args:
        read: told whether it may download; where something is missing it raises a ``RuntimeError`` or ``OSError``.
    """
    with suppress(RuntimeError, OSError):
        return read(False)
    there = folder.is_dir() and any(folder.iterdir())
    try:
        with held(data_home() / ".leases", name):
            return read(True)
    except ValueError:
        raise
    except Exception as error:
        if there:
            raise ValueError(f"{folder} is damaged or not whole, and could not be completed ({error}).") from error
        raise _absent(name, folder, error) from error


def _idx(torchvision: str, of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """A set in MNIST's layout, official training and test sets pooled."""
    from torchvision import datasets  # here: importing it costs a second that the bundled sets need not pay

    raw = data_home() / torchvision / "raw"

    def read(download: bool) -> tuple[Tensor, Tensor]:
        if download and not all((raw / file).exists() for file in _IDX_BYTES):
            getattr(datasets, torchvision)(str(data_home()), download=True)
        for file, size in _IDX_BYTES.items():
            found = (raw / file).stat().st_size
            if found != size:
                kind = ValueError if download else RuntimeError  # it may be another process that is writing it
                raise kind(f"{raw / file} is damaged: {found} bytes instead of {size}; delete it and run again.")
        parts = [getattr(datasets, torchvision)(str(data_home()), train=train) for train in (True, False)]
        images = torch.cat([part.data for part in parts]).unsqueeze(1)
        return images, torch.cat([part.targets for part in parts])

    return _had(torchvision, raw, read)


def _cifar10(of: Source, part: bool, place: Path | None) -> tuple[Tensor, Tensor]:
    """The full set, whose files torchvision knows by their checksums, or the part of it in ``cifar10.npz``."""
    full, some = data_home() / "cifar-10-batches-py", data_home() / "cifar10.npz"
    if part and some.is_file() and not full.is_dir():
        return read_archive(some)
    from torchvision.datasets import CIFAR10  # as above

    def read(download: bool) -> tuple[Tensor, Tensor]:
        sets = [CIFAR10(str(data_home()), train=train, download=download) for train in (True, False)]
        images = torch.cat([torch.from_numpy(one.data) for one in sets]).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor([label for one in sets for label in one.targets])

    return _had("CIFAR10", full, read)


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
    size = of.pixels(DATASETS["celeba"].size)

    def read(download: bool) -> tuple[Tensor, Tensor]:
        return read_celeba(data_home(), size, of.mode, of.attribute, place, download)

    return _had("celeba", data_home() / "celeba", read)


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
