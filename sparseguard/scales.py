"""What ``smoke``, ``quick`` and ``paper`` mean: every size and duration that depends on the scale, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import one_of


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale.

    The paper prints none of the network's training parameters; ``paper`` takes the values of the released code (SGD
    1e-3 with momentum 0.9, batch 64, 25 epochs, width 500, 50 attack epochs).
    """

    images: int | None
    """Pooled images used, balanced, from the bundled set; ``None``: the whole full set."""
    width: int
    """Units of the target's dense layers."""
    features: tuple[int, ...]
    """Features of the sparse (or control) layers, in order; a longer stack repeats the last."""
    epochs: int
    """Target training."""
    batch_size: int
    learning_rate: float
    dp_learning_rate: float
    """Of DP-SGD, which has no momentum."""
    decoders: tuple[str, ...]
    """Members of the family that an inversion trains; the best by validation error rebuilds the images."""
    attack_updates: int
    """Most updates of a U-Net, a power of 2 times 32; cheaper decoders take more for the same computing."""
    attack_queries: int
    """Images that the attacker asks about: where its own are fewer, bent copies make up the rest."""
    attack_hidden: int
    """Hidden units of the decoders."""
    judge_epochs: int
    gan_epochs: int
    """Training of a conditional GAN, where a defense has one (paper, section 4: 25); more where images are few."""
    fakes: int
    """Images of each kind that a defense inverts through a GAN, each time it does."""
    inversion_steps: int
    """Steps of latent optimisation for each of them."""
    fisher_images: int
    """Private images that the Fisher information of consolidated weights is estimated on."""
    tol: float
    """Relative duality gap of a sparse code at the minimum of eq. 1, or its relative error on the trajectory."""
    shown: int
    """Reconstructions that a result keeps: the ones its notebook shows."""
    downloads: bool
    """Full data sets and Inception weights may be downloaded."""


SCALES: dict[str, Scale] = {
    "smoke": Scale(
        images=300, width=8, features=(4, 6),
        epochs=2, batch_size=32, learning_rate=0.02, dp_learning_rate=0.5,
        decoders=("ridge", "rows"), attack_updates=64, attack_queries=200,
        attack_hidden=32,
        gan_epochs=3, fakes=40, inversion_steps=10, fisher_images=20,
        judge_epochs=4, tol=1e-2, shown=4, downloads=False,
    ),
    "quick": Scale(
        images=1500, width=32, features=(8, 16),
        epochs=2, batch_size=16, learning_rate=0.02, dp_learning_rate=0.3,
        decoders=("ridge", "rows", "unet"), attack_updates=1024, attack_queries=3600,
        attack_hidden=256,
        gan_epochs=40, fakes=200, inversion_steps=80, fisher_images=200,
        judge_epochs=8, tol=1e-2, shown=16, downloads=False,
    ),
    "paper": Scale(
        images=None, width=500, features=(16, 28),
        epochs=25, batch_size=64, learning_rate=1e-3, dp_learning_rate=0.05,
        decoders=("ridge", "dense", "rows", "neighbours", "unet"), attack_updates=32768, attack_queries=10500,
        attack_hidden=800,
        gan_epochs=25, fakes=1000, inversion_steps=100, fisher_images=1000,
        judge_epochs=10, tol=1e-3, shown=16, downloads=True,
    ),
}  # fmt: skip


def check_scale(name: str) -> Scale:
    """The :class:`Scale` of that name, or a ``ValueError`` with the list of what is allowed."""
    return SCALES[one_of("scale", name, SCALES)]
