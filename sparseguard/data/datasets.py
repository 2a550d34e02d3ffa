"""Data sets: the bundled mini sets, the full sets through torchvision, and files of your own."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Labelled images: ``images`` ``(N, C, H, W)`` uint8, or float32 in [0, 1]; ``labels`` ``(N,)`` int64."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    torchvision: str
    """Name of the torchvision class, and of its folder under SPARSEGUARD_DATA."""
    classes: tuple[str, ...]


_GARMENTS = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
)  # fmt: skip
DATASETS: dict[str, _Known] = {
    "mnist": _Known("MNIST", tuple("0123456789")),
    "fashion_mnist": _Known("FashionMNIST", _GARMENTS),
}
# Bytes of the unpacked IDX files: a truncated one is noticed before it is read.
_IDX_BYTES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 784,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}


def data_home() -> Path:
    """Folder of the full data sets: ``SPARSEGUARD_DATA``, by default ``~/.cache/sparseguard``."""
    return Path(os.environ.get("SPARSEGUARD_DATA") or "~/.cache/sparseguard").expanduser()


def check_dataset(name: str) -> str:
    """``name`` if it is a known data set or an ``.npz`` file, or a ``ValueError`` with what is allowed."""
    if name in DATASETS or (name.endswith(".npz") and Path(name).is_file()):
        return name
    allowed = ", ".join(DATASETS)
    raise ValueError(f"dataset must be one of {allowed}, or the path of an existing .npz file, not {name!r}.")


def fingerprint(name: str) -> str:
    """The name of a known data set; of a file, what it holds, whatever its name."""
    return hashlib.sha256(Path(name).read_bytes()).hexdigest() if Path(name).is_file() else name


def load_images(name: str, bundled: bool) -> Images:
    """All images of a data set, official training and test sets pooled.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"`` or the path of an ``.npz`` file with ``images`` (``(N, H, W)`` or
            ``(N, H, W, C)``, uint8 or float in [0, 1]) and ``labels`` (``(N,)``, 0 to K - 1).
        bundled: read the mini set that comes with the package instead of the full one.

    Raises:
        ValueError: an unknown name, damaged or unusable contents.
        OSError: the full set is not there and could not be downloaded.
    """
    check_dataset(name)
    if name not in DATASETS:
        return _from_npz(Path(name))
    known = DATASETS[name]
    if bundled:
        with as_file(files("sparseguard.data") / "mini" / f"{name}.npz") as path:
            return _from_npz(path, known.classes)
    return _from_torchvision(known)


def _from_npz(path: Path, classes: tuple[str, ...] | None = None) -> Images:
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except Exception as error:
        raise ValueError(f"{path} is not a readable .npz file with 'images' and 'labels': {error}.") from error
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or len(images) == 0:
        raise ValueError(
            f"{path}: images must be (N, H, W) or (N, H, W, C) and labels (N,), not {images.shape} and {labels.shape}."
        )
    pixels = torch.from_numpy(images if images.dtype == np.uint8 else images.astype(np.float32))
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    if pixels.dtype != torch.uint8:
        bad = ~((pixels >= 0) & (pixels <= 1)).flatten(1).all(1)
        if bool(bad.any()):
            raise ValueError(
                f"{path}: {int(bad.sum())} of {len(pixels)} images hold NaN or values outside [0, 1]; "
                "float images must be finite and in [0, 1]."
            )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"{path}: labels must be whole numbers from 0 on, not {labels.dtype} from {labels.min()}.")
    names = classes or tuple(str(k) for k in range(int(labels.max()) + 1))
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), names)


def _from_torchvision(known: _Known) -> Images:
    from torchvision import datasets  # here: importing it costs a second that the bundled sets need not pay

    home = data_home()
    raw = home / known.torchvision / "raw"
    missing = [file for file in _IDX_BYTES if not (raw / file).exists()]
    if missing:
        try:
            home.mkdir(parents=True, exist_ok=True)
            getattr(datasets, known.torchvision)(str(home), download=True)
        except Exception as error:
            raise OSError(
                f"{known.torchvision} is not in {raw} and could not be downloaded ({error}); set SPARSEGUARD_DATA to "
                "the folder that holds it, or use scale 'quick', whose images are bundled."
            ) from error
    for file, size in _IDX_BYTES.items():
        found = (raw / file).stat().st_size
        if found != size:
            raise ValueError(f"{raw / file} is damaged: {found} bytes instead of {size}; delete it and run again.")
    parts = [getattr(datasets, known.torchvision)(str(home), train=train, download=False) for train in (True, False)]
    images = torch.cat([part.data for part in parts]).unsqueeze(1)
    labels = torch.cat([part.targets for part in parts])
    return Images(images, labels, known.classes)
