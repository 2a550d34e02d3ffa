"""A small conditional GAN for images of any shape: what some defenses fake with, and an attacker's prior.

Generator and discriminator both see the label (Mirza and Osindero, 2014). The generator is dense; the discriminator is
convolutional with spectral normalisation (Miyato et al., 2018), conditioned by projection (Miyato and Koyama, 2018),
and trained with the hinge loss. Three things make it learn from a thousand images in less than a minute on one core:

* an auxiliary classifier in the discriminator (Odena et al., 2017) teaches the generator its classes early;
* two images of one class are made to differ as much as two real ones do, a bounded form of the mode-seeking loss of
  Mao et al. (2019): without it, each class is one image;
* the generator starts from the mean image, and what is kept is the running mean of its weights.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..resuming import rounds

LATENT = 32
"""Entries of ``z``, and of the embedding of the label."""
CHANNELS = (16, 32, 64)
"""Of the discriminator's convolutions, each halving the map; further ones repeat the last."""
FEATURES = 64
"""The discriminator's penultimate features."""
SMALLEST = 8
"""The discriminator halves maps until neither side is larger."""
LEARNING_RATE = 1e-3
BATCH = 64
CLASSIFY = 0.3
"""Weight of the auxiliary classifier's loss."""
DIVERSITY = 0.5
"""Weight of the loss that keeps images of one class apart."""
KEEP = 0.98
"""Of the running mean of the generator's weights, kept at each update."""
SHIFT = 2
"""Pixels by which the discriminator's images are shifted at random, against learning them by heart."""


class Generator(nn.Module):
    """From a latent, which is ``z`` beside the embedding of a label, to an image.

    Args:
        mean: image that it starts from, ``(C, H, W)`` in [0, 1].
        classes: number of labels.
    """

    def __init__(self, mean: Tensor, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.embed = nn.Embedding(classes, LATENT)
        self.hidden = nn.Sequential(
            nn.Linear(2 * LATENT, 256), nn.BatchNorm1d(256), nn.ReLU(),
            nn.Linear(256, 512), nn.BatchNorm1d(512), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(512, mean.numel())
        channels, height, width = mean.shape
        self.shape = channels, height, width
        with torch.no_grad():
            self.last.bias.copy_(mean.flatten().clamp(0.02, 0.98).logit())

    def latent(self, labels: Tensor, chance: torch.Generator | None = None) -> Tensor:
        """Random latents of labels ``(B,)``, on their device: ``(B, 2 * LATENT)``."""
        z = torch.randn(len(labels), LATENT, generator=chance, device=labels.device)
        return torch.cat([z, self.embed(labels)], 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1]."""
        images: Tensor = torch.sigmoid(self.last(self.hidden(latent))).reshape(-1, *self.shape)
        return images

    @torch.no_grad()
    def sample(self, labels: Tensor, chance: torch.Generator) -> Tensor:
        """Random images of labels ``(B,)``: ``(B, C, H, W)`` in [0, 1], without gradient."""
        images: Tensor = self(self.latent(labels, chance))
        return images


class Discriminator(nn.Module):
    """From images and labels to a score, high for real ones of that label, and to logits of the label."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        while not layers or max(height, width) > SMALLEST:
            wide = CHANNELS[min(len(layers) // 2, len(CHANNELS) - 1)]
            layers += [spectral_norm(nn.Conv2d(channels, wide, 3, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            channels, height, width = wide, math.ceil(height / 2), math.ceil(width / 2)
        dense = spectral_norm(nn.Linear(channels * height * width, FEATURES))
        self.features = nn.Sequential(*layers, nn.Flatten(), dense, nn.LeakyReLU(0.2))
        self.score = spectral_norm(nn.Linear(FEATURES, 1))
        self.embed = spectral_norm(nn.Embedding(classes, FEATURES))
        self.classify = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``(B,)`` and logits ``(B, classes)``."""
        features = self.features(2 * shifted(images) - 1)
        score = self.score(features).squeeze(1) + (features * self.embed(labels)).sum(1)
        return score, self.classify(features)


def shifted(images: Tensor) -> Tensor:
    """The batch, moved by up to ``SHIFT`` pixels each way."""
    height, width = images.shape[2:]
    down, right = torch.randint(2 * SHIFT + 1, (2,)).tolist()
    return F.pad(images, (SHIFT,) * 4)[:, :, down : down + height, right : right + width]


def distance_within_classes(images: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute difference between images of one class, each compared with one other; 0 where none has another."""
    order = (labels + torch.rand(labels.shape, device=labels.device)).argsort()  # by class, at random within
    a, b = order[:-1], order[1:]
    same = labels[a] == labels[b]
    one, other = images[a[same]], images[b[same]]
    return (one - other).abs().sum() / max(one.numel(), 1)


def train_gan(images: Tensor, labels: Tensor, classes: int, epochs: int) -> Generator:
    """Train a generator, with chance from torch's global generator.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], on the device where it trains.
        labels: ``(N,)`` int64, below ``classes``.
        epochs: passes over the images.

    Returns:
        The generator with the mean of its last weights, in inference mode, its parameters without gradient.

    Raises:
        ArithmeticError: the loss is not finite.
    """
    generator = Generator(images.mean(0), classes).to(images.device)
    discriminator = Discriminator(generator.shape, classes).to(images.device)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.99)) for net in (generator, discriminator)
    ]
    kept = copy.deepcopy(generator).requires_grad_(False).eval()
    apart = distance_within_classes(images, labels).clamp(min=1e-6)
    size = max(min(BATCH, len(images)) // 2, 1)
    for _ in rounds(epochs, "GAN", generator, discriminator, kept, *optimizers):
        for index in torch.randperm(len(images)).to(images.device).split(2 * size):
            real, of_real = images[index], labels[index]
            of_fake = labels[torch.randint(len(labels), (size,)).to(images.device)].repeat(2)
            latent = generator.latent(of_fake)
            fake = generator(latent)

            score, logits = discriminator(torch.cat([real, fake.detach()]), torch.cat([of_real, of_fake]))
            on_real, on_fake = score.split([len(real), len(fake)])
            loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
            loss = loss + CLASSIFY * F.cross_entropy(logits[: len(real)], of_real)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()

            score, logits = discriminator(fake, of_fake)
            one, other = fake.chunk(2)
            loss = CLASSIFY * F.cross_entropy(logits, of_fake) - score.mean()
            loss = loss + DIVERSITY * F.relu(1 - (one - other).abs().mean() / apart)
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
            if not torch.isfinite(loss):
                raise ArithmeticError(f"training of the GAN diverged: the loss is {loss.item()}.")
            with torch.no_grad():
                for mean, weight in zip(kept.parameters(), generator.parameters()):
                    mean.lerp_(weight, 1 - KEEP)
                for statistic, now in zip(kept.buffers(), generator.buffers()):
                    statistic.copy_(now)
    return kept
