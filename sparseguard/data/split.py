"""The seeded split that every experiment starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..scales import Scale, check_scale
from .datasets import Images, load_images


@dataclass(frozen=True)
class Split:
    """Three disjoint parts of one data set; images float32 ``(N, C, H, W)`` in [0, 1], labels int64 ``(N,)``.

    ``train`` (70 %) is private: the target trains on it and the attack reconstructs it. The 30 % hold-out is halved:
    ``attack`` trains the attackers, ``held`` measures accuracy and validates the attackers.
    """

    train_images: Tensor
    train_labels: Tensor
    attack_images: Tensor
    attack_labels: Tensor
    held_images: Tensor
    held_labels: Tensor
    classes: tuple[str, ...]
    dataset: str
    """Name of the data set, or path of the file, that the images are from."""
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was computed from these images once: models that several cells share."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        c, h, w = self.train_images.shape[1:]
        return c, h, w


def _balanced(labels: Tensor, classes: int, total: int) -> Tensor:
    """Indices of the first ``total // classes`` images of each class."""
    return torch.cat([(labels == k).nonzero().squeeze(1)[: total // classes] for k in range(classes)])


def load_pool(dataset: str, scale: Scale) -> Images:
    """The images of a data set that a scale uses, balanced where it does not use all; float32 in [0, 1].

    Raises:
        ValueError, OSError: as :func:`load_data`.
    """
    pool = load_images(dataset, bundled=scale.images is not None)
    images, labels = pool.images, pool.labels
    if scale.images is not None:
        chosen = _balanced(labels, len(pool.classes), scale.images)
        images, labels = images[chosen], labels[chosen]
    return Images(images.float() / 255 if images.dtype == torch.uint8 else images, labels, pool.classes)


def spare_images(dataset: str, scale: str) -> Tensor:
    """Images of a data set that a scale leaves aside, in a fixed shuffled order: ``(N, C, H, W)`` float32 in [0, 1].

    They are in no split of that scale, so an attacker may have them. Of the set that the scale reads: at a scale with
    bundled images, the rest of those.

    >>> spare_images("mnist", "quick").shape
    torch.Size([3500, 1, 28, 28])
    """
    size = check_scale(scale)
    if size.images is None:
        return load_pool(dataset, size).images[:0]
    pool = load_images(dataset, bundled=True)
    left = torch.ones(len(pool.labels), dtype=torch.bool)
    left[_balanced(pool.labels, len(pool.classes), size.images)] = False
    images = pool.images[left][torch.randperm(int(left.sum()), generator=torch.Generator().manual_seed(0))]
    return images.float() / 255 if images.dtype == torch.uint8 else images


def attack_images(split: Split, scale: str, count: int | None = None) -> Tensor:
    """So many hold-out images for an attacker: the split's, then :func:`spare_images`; ``None``: the split's.

    Raises:
        ValueError: there are not so many.
    """
    own = split.attack_images
    if count is None or count <= len(own):
        return own[:count]
    spare = spare_images(split.dataset, scale)
    if count > len(own) + len(spare):
        raise ValueError(
            f"holdout must be at most {len(own) + len(spare)} for {split.dataset} at scale {scale!r}, not {count}."
        )
    return torch.cat([own, spare[: count - len(own)]])


def load_data(dataset: str, scale: str = "quick", seed: int = 0) -> Split:
    """Load a data set and split it 70 / 15 / 15 with a seed (paper, section 4: 70/30).

    Args:
        dataset: ``"mnist"``, ``"fashion_mnist"`` or the path of an ``.npz`` file of your own.
        scale: ``"smoke"`` and ``"quick"`` use the bundled mini sets, ``"paper"`` the full ones.
        seed: of the permutation; not negative.

    Raises:
        ValueError: unknown names, unusable images, a class without a training image.
        OSError: a full set that is not there and cannot be downloaded.

    Example:
        >>> split = load_data("mnist", scale="smoke", seed=0)
        >>> split.train_images.shape, len(split.attack_images), len(split.held_images)
        (torch.Size([210, 1, 28, 28]), 45, 45)
    """
    pool = load_pool(dataset, check_scale(scale))
    order = torch.randperm(len(pool.labels), generator=torch.Generator().manual_seed(seed))
    cut, half = round(0.7 * len(order)), round(0.85 * len(order))
    train, attack, held = order[:cut], order[cut:half], order[half:]
    counts = torch.bincount(pool.labels[train], minlength=len(pool.classes))
    if bool((counts == 0).any()):
        name = pool.classes[int((counts == 0).nonzero()[0])]
        raise ValueError(f"{dataset}: class {name!r} has no training image in the split of seed {seed}.")
    return Split(
        pool.images[train], pool.labels[train],
        pool.images[attack], pool.labels[attack],
        pool.images[held], pool.labels[held],
        pool.classes, dataset,
    )  # fmt: skip
