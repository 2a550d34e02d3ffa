"""Frechet distances between originals and reconstructions: FID, and two that must never be called so."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

BATCH = 50
"""Images that Inception sees at a time."""
INCEPTION_FEATURES = 2048
INCEPTION_MINIMUM = INCEPTION_FEATURES
"""Fewest images for FID: with fewer than features, the covariances are singular and the number is biased."""


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Frechet distance of the Gaussians fitted to two sets of features, ``(N, D)`` each.

    ``||mu_a - mu_b||^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` (Heusel et al. 2017), with the matrix root taken through
    symmetric eigendecompositions, so that singular covariances need no regularisation.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets of features (N >= 2, D) are compared, not {a.shape} and {b.shape}.")
    mean = np.square(a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)).sum()
    cov_a, cov_b = (np.atleast_2d(np.cov(x.astype(np.float64), rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return max(float(mean + np.trace(cov_a) + np.trace(cov_b) - 2 * cross), 0.0)


def row_frechet(originals: Tensor, reconstructions: Tensor, batch_size: int = 64) -> float:
    """The quantity that the released code of the paper prints as FID (unit 10^3); not FID.

    In each batch, originals and reconstructions are scaled to 0..255 by the batch's own range, separately; then only
    the first image's first channel counts: its pixel rows are the samples. The mean over batches, divided by 1000.
    """

    def first_rows(batch: Tensor) -> NDArray[np.floating]:
        low, high = batch.min(), batch.max()
        scaled = (255 * (batch - low) / (high - low).clamp_min(1e-12)).to(torch.uint8)
        rows: NDArray[np.floating] = scaled[0, 0].double().cpu().numpy()
        return rows

    pairs = zip(originals.split(batch_size), reconstructions.split(batch_size))
    return float(np.mean([frechet_distance(first_rows(a), first_rows(b)) for a, b in pairs])) / 1000


def inception_weights() -> Path:
    """Where pytorch-fid's Inception weights lie once they have been downloaded (torch hub's cache)."""
    from pytorch_fid.inception import FID_WEIGHTS_URL

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(FID_WEIGHTS_URL).name


def fid_obstacle(count: int, download: bool) -> str | None:
    """Why FID cannot be measured on ``count`` images, in one sentence; ``None`` where it can."""
    if count < INCEPTION_MINIMUM:
        return f"FID needs at least {INCEPTION_MINIMUM} images, as many as Inception has features, not {count}."
    if not inception_weights().is_file() and not download:
        return (
            f"FID needs pytorch-fid's Inception weights in {inception_weights()}: run `python -m sparseguard data fid` "
            "once with a network, or at scale 'medium' or 'paper', which download them."
        )
    return None


def load_inception() -> nn.Module:
    """pytorch-fid's Inception network, its 2048 pooled features; the weights are downloaded where they miss.

    Raises:
        OSError: the weights are neither cached nor to be had, or are damaged.
    """
    from pytorch_fid.inception import FID_WEIGHTS_URL, InceptionV3

    try:
        # pytorch-fid would unpickle the file as it is; this checks the download, and that it holds tensors only
        torch.hub.load_state_dict_from_url(FID_WEIGHTS_URL, map_location="cpu", check_hash=True, weights_only=True)
        network: nn.Module = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[INCEPTION_FEATURES]])
        return network.eval()
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(f"Inception weights could not be loaded into {inception_weights()} ({message}).") from error


@torch.no_grad()
def fid(
    originals: Tensor, reconstructions: Tensor, download: bool = False, device: str = "cpu"
) -> tuple[float | None, str | None]:
    """Frechet inception distance (Heusel et al. 2017) with pytorch-fid's network, between ``(N, C, H, W)`` in [0, 1].

    Returns:
        The distance and ``None``, or ``None`` and the one sentence that says why it was not measured.
    """
    obstacle = fid_obstacle(min(len(originals), len(reconstructions)), download)
    if obstacle:
        return None, obstacle
    try:
        network = load_inception().to(device)
    except OSError as error:
        return None, str(error)

    def features(images: Tensor) -> NDArray[np.floating]:
        parts = []
        for part in images.split(BATCH):
            batch = part.clamp(0, 1)
            rgb = batch.expand(-1, 3, -1, -1) if batch.shape[1] == 1 else batch
            parts.append(F.adaptive_avg_pool2d(network(rgb.float().to(device))[0], 1).flatten(1).cpu())
        result: NDArray[np.floating] = torch.cat(parts).numpy()
        return result

    distance = frechet_distance(features(originals), features(reconstructions))
    return (distance, None) if math.isfinite(distance) else (None, "FID is not finite on these images.")
