"""How near images that stand for a class come to the private images of that class, and to others of it.

An attack on a whole class has no pairs of original and reconstruction. What it found is compared with all private
images of its class, and beside them with hold-out images that nobody saw: what is as near to these tells of the class,
not of the training set. Distances are squared Euclidean ones in the judge's features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

COMPARED = 250
"""Known images at a time."""
NEIGHBOURS = 3
"""k of :func:`manifolds` (Naeem et al. 2020 take 5, Struppek et al. 2022 take 3 a class)."""


def nearest_of_class(images: Tensor, labels: Tensor, known: Tensor, of_known: Tensor) -> Tensor:
    """For each image ``(K, ...)`` the number of the nearest known image ``(N, ...)`` of its class: ``(K,)``."""
    lowest = torch.full((len(images),), math.inf, dtype=torch.float64)
    found = torch.zeros(len(images), dtype=torch.long)
    for first, part in zip(range(0, len(known), COMPARED), known.split(COMPARED)):
        other = labels[:, None] != of_known[None, first : first + COMPARED]
        value, place = _squared(images, part).masked_fill(other, math.inf).min(1)
        found = torch.where(value < lowest, first + place, found)
        lowest = torch.minimum(value, lowest)
    return found


def distance_to_class(features: Tensor, labels: Tensor, known: Tensor, of_known: Tensor, counts: Tensor) -> Tensor:
    """Squared distance to the nearest of some known features of the same class, in expectation: ``(K,)``.

    The nearest of many is nearer than that of few: sets of different sizes compare at equal numbers. Over all choices
    of ``m`` of ``n`` known ones, the k-th nearest is the nearest chosen with probability ``C(n - k, m - 1) / C(n, m)``.

    Args:
        features, labels: ``(K, D)`` and ``(K,)``.
        known, of_known: ``(N, D)`` and ``(N,)``.
        counts: how many known ones are chosen of each class, ``(classes,)``; NaN where none is.
    """
    found = torch.full((len(features),), math.nan, dtype=torch.float64)
    for label in (k for k in labels.unique().tolist() if counts[k]):
        mine = labels == label
        distances = _squared(features[mine], known[of_known == label]).sort(1).values
        n, m = distances.shape[1], int(counts[label])
        rank = torch.arange(1, n - m + 2, dtype=torch.float64)
        chance = (_log_choose(n - rank, m - 1) - _log_choose(torch.tensor(n).double(), m)).exp()
        found[mine] = distances[:, : len(rank)] @ chance
    return found


def manifolds(real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of features ``(N, D)``.

    A ball around each image reaches to its k-th nearest neighbour of the same set. *Precision*: fakes in a ball of a
    real one; *recall*: real ones in a ball of a fake; *density*: balls of real ones around a fake, over k; *coverage*:
    real ones with a fake in their ball.

    Raises:
        ValueError: a set has no more images than ``neighbours``.
    """
    if min(len(real), len(fake)) <= neighbours:
        raise ValueError(f"{neighbours} neighbours need more images of each kind than {min(len(real), len(fake))}.")

    def radii(features: Tensor) -> Tensor:
        return _squared(features, features).kthvalue(neighbours + 1, 1).values  # the nearest is the image itself

    apart = _squared(real, fake)
    inside = apart < radii(real)[:, None]
    return {
        "precision": float(inside.any(0).double().mean()),
        "recall": float((apart < radii(fake)[None]).any(1).double().mean()),
        "density": float(inside.double().sum(0).mean()) / neighbours,
        "coverage": float((apart.min(1).values < radii(real)).double().mean()),
    }


def manifolds_of_classes(real: Tensor, of_real: Tensor, fake: Tensor, of_fake: Tensor) -> dict[str, float | None]:
    """Means over classes of :func:`manifolds`; ``None`` each, if a class has too few images for it."""
    names = ("precision", "recall", "density", "coverage")
    labels = of_fake.unique().tolist()
    least = min(min(int((of_real == k).sum()), int((of_fake == k).sum())) for k in labels)
    if least <= NEIGHBOURS:
        return dict.fromkeys(names)
    found = [manifolds(real[of_real == k], fake[of_fake == k]) for k in labels]
    return {name: sum(of[name] for of in found) / len(found) for name in names}


def _squared(a: Tensor, b: Tensor) -> Tensor:
    exact = torch.cdist(a.double().flatten(1), b.double().flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    return exact.square()


def _log_choose(n: Tensor, k: int) -> Tensor:
    return torch.lgamma(n + 1) - math.lgamma(k + 1) - torch.lgamma(n - k + 1)
