"""Generative models of images, and the search in their latents; they see images and labels, nothing else.

An attacker names the prior that it searches. It is trained on the images that the attacker has, with bent copies where
they are few, once for the same images: it is kept beside the results, in ``.priors``.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor

from ..bending import bend
from ..checks import one_of
from ..ondisk import CHUNK, raw
from ..places import home
from ..resuming import beside, keeping
from ..scales import Scale
from ..store import Cell, Store
from .base import Prior
from .conditional import Conditional
from .gan import Generator, train_gan
from .pca import PCA
from .stylegan import TRUNCATION, load_stylegan

KINDS = ("hold_out", "labelled", "shifted", "pca")
"""What a prior is called: a GAN of the attacker's hold-out images, one that is told their labels too, one of images of
another data set, and principal components; beside these ``stylegan:PATH``, a checkpoint of your own."""
STYLEGAN = "stylegan:"
REVISION = 0
"""Raised whenever the same images would give another GAN."""
SIZES = ("gan_epochs", "attack_queries")
"""Sizes of a :class:`~sparseguard.scales.Scale` that a prior depends on."""


def check_prior(name: str) -> str:
    """``name`` if it is one of :data:`KINDS`, or ``stylegan:`` and the path of a file; else a ``ValueError``."""
    file = checkpoint(name) if isinstance(name, str) else None
    if file is None:
        return one_of("prior", name, (*KINDS, f"{STYLEGAN}PATH"))
    if not file.is_file():
        raise ValueError(f"there is no StyleGAN checkpoint {file}.")
    return name


def checkpoint(name: str) -> Path | None:
    """The file that a prior's name points to; ``None`` for one that is trained here."""
    return Path(name.removeprefix(STYLEGAN)).expanduser() if name.startswith(STYLEGAN) else None


def make_prior(
    name: str, images: Tensor, labels: Tensor | None, scale: Scale, device: str = "cpu", truncation: float = TRUNCATION
) -> Prior:
    """The prior of that name, of these images.

    Args:
        name: as :func:`check_prior` has it; a ``shifted`` prior is a ``hold_out`` one, of images from elsewhere.
        images: ``(N, C, H, W)`` in [0, 1].
        labels: ``(N,)`` int64, for a ``labelled`` one.
        truncation: of a StyleGAN.

    Raises:
        ValueError: labels are missing, or a checkpoint is of another kind or of other images.
        ArithmeticError: the GAN's training diverged.
    """
    file = checkpoint(name)
    if file is not None:
        channels, height, width = images.shape[1:]
        return load_stylegan(file, (channels, height, width), truncation).to(device)
    sizes = {size: getattr(scale, size) for size in SIZES}
    images = images[: scale.attack_queries]
    if name == "labelled" and labels is None:
        raise ValueError("a labelled prior needs the labels of the attacker's images; hold_out does without.")
    told = labels[: len(images)] if name == "labelled" and labels is not None else torch.zeros(len(images)).long()
    chance = torch.Generator().manual_seed(0)
    copies = max(math.ceil(scale.attack_queries / len(images)) - 1, 0)
    asked = torch.cat([images, *(bend(images, chance) for _ in range(copies))])
    if name == "pca":
        return PCA.of(asked).to(device)
    present, told = told.unique(return_inverse=True)

    def train() -> Cell:
        with torch.random.fork_rng(), beside("prior"):
            torch.manual_seed(0)  # the same prior for every cell that has these images
            trained = train_gan(asked.to(device), told.repeat(copies + 1).to(device), len(present), scale.gan_epochs)
        return {"prior": "gan", "images": len(images)}, trained.state_dict()

    of = {"images": _hash(images), "labels": _hash(told)}
    key = {"prior": "gan", "revision": REVISION, "device": str(device), "sizes": sizes} | of
    _, weights = Store(_folder(), shipped=False).recall(key, train)
    with torch.random.fork_rng():
        generator = Generator(images.mean(0), len(present))
    generator.load_state_dict(weights)
    return Conditional(generator).to(device)


def kept_gan(images: Tensor, labels: Tensor, classes: int, epochs: int) -> Generator:
    """:func:`~sparseguard.priors.gan.train_gan`; where results are kept, by one process for all, beside them."""
    if not keeping():
        return train_gan(images, labels, classes, epochs)
    of = {"images": _hash(images), "labels": _hash(labels), "classes": classes, "epochs": epochs}
    key = {"gan": of, "revision": REVISION, "device": str(images.device), "seed": torch.initial_seed()}

    def train() -> Cell:
        return {"gan": "of images", "images": len(images)}, train_gan(images, labels, classes, epochs).state_dict()

    _, weights = Store(_folder(), shipped=False).recall(key, train)
    generator = Generator(images[:1].mean(0), classes).to(images.device)
    generator.load_state_dict(weights)
    return generator.requires_grad_(False).eval()


def _folder() -> Path:
    return home() / ".priors"


def _hash(values: Tensor) -> str:
    found = hashlib.sha256()
    for part in values.split(CHUNK):  # they may lie on disk
        found.update(raw(part))
    return found.hexdigest()


__all__ = [
    "KINDS", "PCA", "SIZES", "TRUNCATION", "Conditional", "Prior", "check_prior", "checkpoint", "kept_gan",
    "make_prior",
]  # fmt: skip
