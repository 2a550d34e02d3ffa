"""Images in ``.npz`` files: ``images`` and ``labels``, or the parts of MedMNIST's convention. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PARTS = ("train", "val", "test")
"""Of MedMNIST's convention: ``train_images``, ``train_labels``, and so on; pooled in this order."""


def read_archive(path: Path) -> tuple[Tensor, Tensor]:
    """Images ``(N, C, H, W)``, uint8 or float32 in [0, 1], and labels ``(N,)`` int64, 0 to K - 1.

    Raises:
        ValueError: it holds something else; the sentence says what.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = set(archive.files)
            parts = [p for p in PARTS if {f"{p}_images", f"{p}_labels"} <= names]
            own = {"images", "labels"} <= names
            pairs = [("images", "labels")] if own else [(f"{p}_images", f"{p}_labels") for p in parts]
            arrays = [(archive[images], archive[labels]) for images, labels in pairs]
    except Exception as error:
        raise ValueError(f"{path} is not a readable .npz file with 'images' and 'labels': {error}.") from error
    if not arrays:
        held = ", ".join(sorted(names)) or "nothing"
        raise ValueError(
            f"{path} is not a readable .npz file with 'images' and 'labels', or 'train_images', 'train_labels' and so "
            f"on: it holds {held}."
        )
    read = [_pair(path, *pair) for pair in arrays]
    kinds = sorted({f"{tuple(images.shape[1:])} {images.dtype}".replace("torch.", "") for images, _ in read})
    if len(kinds) > 1:
        raise ValueError(f"{path}: its parts hold images of different kinds: {' and '.join(kinds)}.")
    return torch.cat([images for images, _ in read]), torch.cat([labels for _, labels in read])


def _pair(path: Path, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or len(images) == 0:
        raise ValueError(
            f"{path}: images must be (N, H, W) or (N, H, W, C) and labels (N,), not {images.shape} and {labels.shape}."
        )
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        first = "; these look as if channels came first" if images.shape[1] in (1, 3) else ""
        raise ValueError(f"{path}: images have 1 channel or 3, the last axis, not {images.shape}{first}.")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{path}: images must be uint8, or float in [0, 1], not {images.dtype}.")
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
        kind = labels.dtype if not np.issubdtype(labels.dtype, np.number) else f"{labels.dtype} from {labels.min()}"
        raise ValueError(f"{path}: labels must be whole numbers from 0 on, not {kind}.")
    return pixels, torch.from_numpy(labels.astype(np.int64))
