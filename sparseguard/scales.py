"""What ``smoke``, ``quick``, ``medium`` and ``paper`` mean: every size that depends on the scale, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .checks import one_of


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale.

    The paper prints none of the network's training parameters; ``paper`` takes the values of the released code (SGD
    1e-3 with momentum 0.9, batch 64, 25 epochs, width 500, 50 attack epochs).
    """

    images: int | None
    """Images that a seed's 70 / 15 / 15 parts are made of; ``None``: all but the judge's."""
    attack_more: int
    """Hold-out images that the attackers have beyond their 15 %."""
    judge_images: int
    """Images that the judge learns from, and nobody else; a tenth of all where there are few."""
    width: int
    """Units of the target's dense layers."""
    features: tuple[int, ...]
    """Features of the sparse (or control) layers, in order; a longer stack repeats the last."""
    epochs: int
    """Target training."""
    batch_size: int
    learning_rate: float
    decay: bool
    """The learning rate rises over the first twentieth of the training and then falls to 0 in a line."""
    dp_epochs: int
    dp_batch_size: int
    dp_learning_rate: float
    """Of DP-SGD, which has no momentum, and needs longer training with larger batches."""
    decoders: tuple[str, ...]
    """Members of the family that an inversion trains; the best by validation error rebuilds the images."""
    attack_updates: int
    """Most updates of a U-Net, a power of 2 times 32; cheaper decoders take more for the same computing."""
    attack_queries: int
    """Images that the attacker asks about: where its own are fewer, bent copies make up the rest."""
    attack_hidden: int
    """Hidden units of the decoders."""
    descent: int
    """Most steps of a descent from a decoder's image through the target."""
    search: float
    """Share of the published numbers of images that a search in a prior's latents takes."""
    released: float
    """Share of the images that the released code passes through its attack."""
    judge_epochs: int
    gan_epochs: int
    """Training of a conditional GAN, where a defense has one (paper, section 4: 25); more where images are few."""
    fakes: int
    """Images of each kind that a defense inverts through a GAN, each time it does."""
    inversion_steps: int
    """Steps of latent optimisation for each of them."""
    tuning_epochs: int
    """Further training of a target with such fakes, which are made anew for each."""
    fisher_images: int
    """Private images that the Fisher information of consolidated weights is estimated on."""
    tol: float
    """Relative duality gap of a sparse code at the minimum of eq. 1, or its relative error on the trajectory."""
    shown: int
    """Reconstructions that a result keeps: the ones its notebook shows."""
    downloads: bool
    """Full data sets, not the bundled ones, and Inception weights may be downloaded."""

    def sizes(self, names: Iterable[str]) -> dict[str, Any]:
        """The sizes that every cell depends on, and those of these names; JSON-able."""
        found = {name: getattr(self, name) for name in (*COMMON, *names)}
        return {name: list(size) if isinstance(size, tuple) else size for name, size in found.items()}


COMMON = (
    "images", "attack_more", "judge_images", "judge_epochs", "width", "features", "epochs", "batch_size",
    "learning_rate", "decay",
)  # fmt: skip
"""Sizes that every cell depends on; what only some defenses or attacks read is among their ``sizes``."""


SCALES: dict[str, Scale] = {
    "smoke": Scale(
        images=300, attack_more=0, judge_images=200, width=8, features=(4, 6),
        epochs=2, batch_size=32, learning_rate=0.02, decay=True,
        dp_epochs=2, dp_batch_size=32, dp_learning_rate=0.5,
        decoders=("ridge", "rows"), attack_updates=64, attack_queries=200,
        attack_hidden=32, descent=16, search=0.02, released=0.002,
        gan_epochs=3, fakes=40, inversion_steps=10, tuning_epochs=2, fisher_images=20,
        judge_epochs=20, tol=1e-2, shown=4, downloads=False,
    ),
    "quick": Scale(
        images=1500, attack_more=0, judge_images=500, width=32, features=(8, 16),
        epochs=5, batch_size=16, learning_rate=0.02, decay=True,
        dp_epochs=20, dp_batch_size=128, dp_learning_rate=0.5,
        decoders=("ridge", "mixer", "unet"), attack_updates=2048, attack_queries=3600,
        attack_hidden=256, descent=256, search=0.2, released=0.1,
        gan_epochs=40, fakes=200, inversion_steps=80, tuning_epochs=4, fisher_images=200,
        judge_epochs=40, tol=1e-2, shown=16, downloads=False,
    ),
    "medium": Scale(
        images=10000, attack_more=2500, judge_images=5000, width=64, features=(8, 16),
        epochs=6, batch_size=16, learning_rate=0.02, decay=True,
        dp_epochs=15, dp_batch_size=256, dp_learning_rate=1.0,
        decoders=("ridge", "mixer", "unet"), attack_updates=4096, attack_queries=8000,
        attack_hidden=256, descent=256, search=0.5, released=0.2,
        gan_epochs=25, fakes=500, inversion_steps=100, tuning_epochs=4, fisher_images=500,
        judge_epochs=15, tol=1e-2, shown=16, downloads=True,
    ),
    "paper": Scale(
        images=None, attack_more=0, judge_images=2000, width=500, features=(16, 28),
        epochs=25, batch_size=64, learning_rate=1e-3, decay=False,
        dp_epochs=25, dp_batch_size=64, dp_learning_rate=0.05,
        decoders=("ridge", "dense", "rows", "neighbours", "mixer", "unet"), attack_updates=32768, attack_queries=10500,
        attack_hidden=800, descent=1024, search=1.0, released=1.0,
        gan_epochs=25, fakes=1000, inversion_steps=100, tuning_epochs=12, fisher_images=1000,
        judge_epochs=40, tol=1e-3, shown=16, downloads=True,
    ),
}  # fmt: skip


def check_scale(name: str) -> Scale:
    """The :class:`Scale` of that name, or a ``ValueError`` with the list of what is allowed."""
    return SCALES[one_of("scale", name, SCALES)]
