"""The seeded split that every experiment starts from.

A data set lies in one fixed order, mixed, with the shares of its classes everywhere. Its first images are the judge's,
which nothing but the evaluation sees; the rest falls into blocks. A seed has a block of its own as long as there are
blocks, so that the private images of two seeds are others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import SSIM_WINDOW
from ..ondisk import OnDisk, cut, joined, large
from ..scales import Scale, check_scale
from .datasets import Images, images_of, load_images
from .known import data_home
from .sources import fingerprint

LEAST = 4
"""Images of a class: the three parts of a split and the judge want some."""
JUDGED = 10
"""The judge has one image in so many at most."""


@dataclass(frozen=True)
class Split:
    """Three disjoint parts of one data set; images float32 ``(N, C, H, W)`` in [0, 1], labels int64 ``(N,)``.

    A part that memory should not hold stays on disk (:class:`~sparseguard.ondisk.OnDisk`).

    ``train`` (70 %) is private: the target trains on it and the attack reconstructs it. The 30 % hold-out is halved:
    ``attack`` trains the attackers, ``held`` measures accuracy and validates the attackers. Where the scale gives the
    attackers more images than that, ``attack`` has them too.
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
    seed: int = 0
    pool: tuple[int, int] = (0, 0)
    """Images that were at hand, and images that the data set has."""
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was computed from these images once: models that several cells share."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        c, h, w = self.train_images.shape[1:]
        return c, h, w


@dataclass(frozen=True)
class _Draw:
    """Which images of a data set are whose: indices, disjoint, together all of them."""

    judge: Tensor
    own: Tensor
    """In 70 / 15 / 15 parts."""
    more: Tensor
    """The attackers' beyond their 15 %."""
    spare: Tensor
    """Of other seeds."""


def _mixed(labels: Tensor) -> Tensor:
    """All indices in a fixed random order in which every stretch has the classes in the shares of the whole."""
    chance = torch.Generator().manual_seed(0)
    place = torch.empty(len(labels), dtype=torch.float64)
    for k in labels.unique().tolist():
        index = (labels == k).nonzero().squeeze(1)
        place[index] = (torch.randperm(len(index), generator=chance) + 0.5).double() / len(index)
    shuffled = torch.randperm(len(labels), generator=chance)  # no class comes first among equals
    return shuffled[place[shuffled].argsort(stable=True)]


def _draw(labels: Tensor, scale: Scale, seed: int) -> _Draw:
    order = _mixed(labels)
    judges = min(scale.judge_images, len(order) // JUDGED)
    rest = order[judges:]
    wanted = len(rest) if scale.images is None else scale.images + scale.attack_more
    size = min(wanted, len(rest))
    more = 0 if scale.images is None else round(size * scale.attack_more / wanted)
    start = seed % (len(rest) // size) * size
    block = rest[start : start + size]
    own, beyond = block[: size - more], block[size - more :]
    own = own[torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))]
    return _Draw(order[:judges], own, beyond, torch.cat([rest[:start], rest[start + size :]]))


def check_images(dataset: str, images: Tensor | OnDisk, labels: Tensor, classes: tuple[str, ...]) -> None:
    """Images that can be split, learned and compared, or a ``ValueError`` that says what is missing."""
    height, width = images.shape[2:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"{dataset}: SSIM needs images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, not {height} x {width}; "
            "size=28, say, enlarges them."
        )
    if len(classes) < 2:
        raise ValueError(f"{dataset}: all images are of one class, {classes[0]!r}; a target tells at least two apart.")
    every = torch.bincount(labels, minlength=len(classes))
    few, count = int(every.argmin()), int(every.min())
    if count < LEAST:
        raise ValueError(
            f"{dataset}: class {classes[few]!r} has {count} image{'s' * (count != 1)}; {LEAST} at least are needed, "
            "some for each part of the split."
        )


def whole_pool(dataset: str, scale: Scale) -> Images:
    """All images of a data set that a scale has at hand, the judge's too; read once for all that take from it."""
    return _read(dataset, fingerprint(dataset), data_home(), not scale.downloads, scale.images is not None)


@lru_cache(maxsize=2)
def _read(dataset: str, content: str, home: Path, bundled: bool, part: bool) -> Images:
    """A pool, kept since the judge and every seed take their images from it; ``content`` tells a changed file."""
    return load_images(dataset, bundled, part)


def taken(pool: Images, index: Tensor) -> Images:
    """Some of a pool; float32 in [0, 1], on disk if they are many and the pool is."""
    if isinstance(pool.images, OnDisk) and large(4 * len(index) * pool.images.shape[1:].numel()):
        return Images(pool.images.part(index), pool.labels[index], pool.classes)
    images = pool.images[index]
    return Images(images.float() / 255 if images.dtype == torch.uint8 else images, pool.labels[index], pool.classes)


def load_pool(dataset: str, scale: Scale) -> Images:
    """As many images of a data set as a split of the scale has, without the judge's; float32 in [0, 1].

    Raises:
        ValueError, OSError: as :func:`load_data`.
    """
    pool = whole_pool(dataset, scale)
    return taken(pool, _draw(pool.labels, scale, 0).own)


def judge_images(dataset: str, scale: str) -> Images:
    """The judge's images of a data set, which are in no split, no attack and no defense; float32 in [0, 1].

    >>> judge_images("mnist", "quick").images.shape
    torch.Size([500, 1, 28, 28])
    """
    size = check_scale(scale)
    pool = whole_pool(dataset, size)
    return taken(pool, _draw(pool.labels, size, 0).judge)


def attack_images(split: Split, scale: str, count: int | None = None) -> Images:
    """So many hold-out images for an attacker: the split's, then those of other seeds; ``None``: the split's.

    Raises:
        ValueError: there are not so many.
    """
    own, labels = split.attack_images, split.attack_labels
    if count is None or count <= len(own):
        return Images(cut(own, slice(count)), labels[:count], split.classes)
    size = check_scale(scale)
    pool = whole_pool(split.dataset, size)
    spare = _draw(pool.labels, size, split.seed).spare
    if count > len(own) + len(spare):
        raise ValueError(
            f"holdout must be at most {len(own) + len(spare)} for {split.dataset} at scale {scale!r}, not {count}."
        )
    more = taken(pool, spare[: count - len(own)])
    return Images(joined(own, more.images), torch.cat([labels, more.labels]), split.classes)


def load_data(dataset: str, scale: str = "quick", seed: int = 0) -> Split:
    """Load a data set and split it 70 / 15 / 15 with a seed (paper, section 4: 70/30).

    Args:
        dataset: a known data set or the path of your own, as :func:`sparseguard.data.check_dataset` has it.
        scale: ``"smoke"`` and ``"quick"`` use the bundled mini sets, ``"medium"`` and ``"paper"`` the full ones.
        seed: which images, and in which part; not negative. At ``"quick"`` three seeds share no image of their parts,
            at ``"medium"`` five; seeds beyond that mix the parts of one of these anew, as all do at ``"paper"``.

    Raises:
        ValueError: unknown names, unusable images, a class without a training image.
        OSError: a full set that is not there and cannot be downloaded.

    Example:
        >>> split = load_data("mnist", scale="smoke", seed=0)
        >>> split.train_images.shape, len(split.attack_images), len(split.held_images)
        (torch.Size([210, 1, 28, 28]), 45, 45)
    """
    size = check_scale(scale)
    pool = whole_pool(dataset, size)
    check_images(dataset, pool.images, pool.labels, pool.classes)
    draw = _draw(pool.labels, size, seed)
    end, half = round(0.7 * len(draw.own)), round(0.85 * len(draw.own))
    train, attack, held = draw.own[:end], torch.cat([draw.own[end:half], draw.more]), draw.own[half:]
    counts = torch.bincount(pool.labels[train], minlength=len(pool.classes))
    if bool((counts == 0).any()):
        name = pool.classes[int((counts == 0).nonzero()[0])]
        raise ValueError(f"{dataset}: class {name!r} has no training image in the split of seed {seed}.")
    private, attackers, checks = (taken(pool, index) for index in (train, attack, held))
    return Split(
        private.images, private.labels,
        attackers.images, attackers.labels,
        checks.images, checks.labels,
        pool.classes, dataset, seed, (len(pool.labels), images_of(dataset) or len(pool.labels)),
    )  # fmt: skip
