"""Training on real and generated images, the paper's GAN baseline.

Paper, section 4: "We train a GAN for 25 epochs to generate fake samples, then train the target model with both
original and GAN-generated samples." Loss of a batch of real images ``x`` with labels ``y``:

    CE(f(x), y) + weight * CE(f(G(z, y')), y')

with as many generated images as the batch size, labels ``y'`` drawn from the private ones, a fresh ``z`` each step.
Gradients of both terms reach the target, none the generator.

Simplifications: the paper prints no network and no loss of its GAN; this one is small (``priors.gan``).
At small scales it trains for more epochs, because there are fewer images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Split
from ..scales import Scale
from ..targets import Target
from .base import Defense, Family, fit, nonnegative
from .shared import derived_seed, shared_gan


@dataclass(frozen=True)
class GAN(Defense):
    """A conditional GAN is trained on the private images, the target on real and generated ones.

    Args:
        weight: of the loss on generated images; 0 is no defense.
    """

    family: ClassVar[Family] = "fakes"
    strength: ClassVar[str] = "weight"
    sizes: ClassVar[tuple[str, ...]] = ("gan_epochs", "fakes")

    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        nonnegative("weight", self.weight)

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        device = next(target.parameters()).device
        images, labels, classes = split.train_images, split.train_labels, len(split.classes)
        generator = shared_gan(split, "private", images, labels, classes, scale, device)
        chance = torch.Generator(device).manual_seed(derived_seed("fakes"))
        labels = labels.to(device)

        def fakes(count: int) -> tuple[Tensor, Tensor]:
            index = torch.randint(len(labels), (count,), generator=chance, device=device)
            return generator.sample(labels[index], chance), labels[index]

        def penalty(epoch: int) -> Tensor | float:
            if self.weight == 0:
                return 0.0
            images, labels = fakes(scale.batch_size)
            return self.weight * F.cross_entropy(target(images), labels)

        fit(target, split.train_images, split.train_labels, scale, penalty=penalty, chance=(chance,))
        generated, asked = fakes(scale.fakes)
        with torch.no_grad():
            target.facts["accuracy on generated"] = float((target(generated).argmax(1) == asked).float().mean())
        target.exhibits["generated, one a class"] = generator.sample(torch.arange(classes, device=device), chance)
