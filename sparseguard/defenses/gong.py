"""Misleading fakes in training: Gong et al. (2023), the paper's GAN-OPT baseline.

The defense of Gong, Wang, Li, Chen and Wang (IEEE TIFS 2023, doi 10.1109/TIFS.2023.3295944), as far as it is public,
and section 4 of the paper: "sophisticated tuning and two types of GAN-generated images". For each protected label ``y``
two kinds of fakes are made by latent optimisation through a GAN of *public* images:

* ``x_pub(y)``: what a classifier of the public images assigns the public class ``y`` mod their number of classes;
* ``x_inv(y)``: what the private model, as it is now, assigns ``y``: what an inversion attack would find.

The target trains plainly as every other; then rounds of tuning, an epoch each, follow with the adjusted loss

    CE(f(x), y) + weight * [ CE(f(x_pub(y)), y) - log(1 - p_y(f(x_inv(y)))) ]

which injects public features into the protected label and pushes out of it what inversion finds.

Simplifications: every label is protected. The public class of a label is fixed. ``-log(1 - p_y)`` stands for raising
the loss of inverted samples, of which it is the bounded form. ``x_pub`` is made once, ``x_inv`` anew in each tuning
epoch, a pool of each from which every step draws a batch. The GAN is small and conditional, and its label
embedding is optimised together with ``z``. The public classifier is a plain target of the split setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Images, Split, check_dataset, counterpart, load_pool
from ..ondisk import cut
from ..priors.search import invert
from ..scales import Scale
from ..targets import Target
from .base import Defense, Family, fit, nonnegative
from .public import in_shape, public_models
from .shared import derived_seed


@dataclass(frozen=True)
class Gong(Defense):
    """Fakes inverted from a public classifier and from the private model enter the loss of further training.

    Args:
        weight: of the adjustment of the loss; 0 is no defense.
        public: the public data set: a name, or the path of one. Empty: the other one for ``mnist`` and
            ``fashion_mnist``; for any other data set, the last fifth of the private images, which then does not train
            the target, whatever the weight. It is brought to the private images' size and channels.
    """

    family: ClassVar[Family] = "fakes"
    strength: ClassVar[str] = "weight"
    sizes: ClassVar[tuple[str, ...]] = ("gan_epochs", "fakes", "inversion_steps", "tuning_epochs")

    weight: float = 1.0
    public: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        nonnegative("weight", self.weight)
        if self.public:
            try:
                check_dataset(self.public)
            except ValueError as error:
                raise ValueError(f"public must be empty or a data set: {error}") from None

    def build(self, split: Split, setting: str, scale: Scale) -> Target:
        if self.public == split.dataset:
            raise ValueError(f"public must be another data set than the private one, not {self.public!r}.")
        return super().build(split, setting, scale)

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        device = next(target.parameters()).device
        public, images, labels = self.public_part(split, scale)
        models = public_models(split, self.public, public, scale, device)
        every = torch.arange(len(split.classes), device=device)
        wanted = every.repeat(max(scale.fakes // len(every), 1))
        chance = torch.Generator(device).manual_seed(derived_seed("fakes"))
        injected = models.fakes(wanted, scale, chance)
        fit(target, images, labels, scale)
        guard = self.guard(target, images, scale, device)
        found, tuned = invert(models.generator, target, wanted, scale.inversion_steps, chance), 0

        def penalty(epoch: int) -> Tensor | float:
            nonlocal found, tuned
            if tuned != epoch:  # inverted anew in each round
                found, tuned = invert(models.generator, target, wanted, scale.inversion_steps, chance), epoch
            index = torch.randint(len(wanted), (scale.batch_size,), generator=chance, device=device)
            labels = wanted[index]
            inject = F.cross_entropy(target(injected[index]), labels)
            push_out = -log_not(target(found[index]), labels).mean()
            return self.weight * (inject + push_out) + guard()

        if self.weight > 0:
            fit(target, images, labels, scale, penalty=penalty, epochs=scale.tuning_epochs, chance=(chance,))
        for name, fakes in (("public", injected), ("inverted", found)):
            target.facts[f"p_y of {name} fakes"] = mean_probability(target, fakes, wanted)
        kinds = models.generator.sample(torch.arange(models.generator.classes, device=device), chance)
        target.exhibits["GAN on public images"] = kinds
        target.exhibits["inverted from the public classifier"] = injected[: len(every)].clone()
        target.exhibits["inverted from the target"] = found[: len(every)].clone()

    def guard(self, target: Target, images: Tensor, scale: Scale, device: torch.device) -> Callable[[], Tensor | float]:
        """What else is added to the loss while tuning; called once, with the plainly trained target. Here nothing."""
        return lambda: 0.0

    def public_part(self, split: Split, scale: Scale) -> tuple[Images, Tensor, Tensor]:
        """Public images in the private ones' shape, and the private images and labels that train the target."""
        images, labels = split.train_images, split.train_labels
        name = self.public or counterpart(split.dataset)
        if not name:
            most = len(images) - max(len(images) // 5, 1)
            public = Images(cut(images, slice(most, None)), labels[most:], split.classes)
            images, labels = cut(images, slice(most)), labels[:most]
        else:
            public = load_pool(name, scale)
        return in_shape(public, split.image_shape), images, labels


@torch.no_grad()
def mean_probability(target: Target, images: Tensor, labels: Tensor) -> float:
    """Mean probability that the target gives each image's label."""
    return float(target(images).softmax(1).gather(1, labels[:, None]).mean())


def log_not(logits: Tensor, labels: Tensor) -> Tensor:
    """``log(1 - p_y)`` of softmax probabilities, ``(B, K)`` and ``(B,)`` to ``(B,)``; exact where ``p_y`` is near 1.

    >>> log_not(torch.tensor([[0.0, 0.0], [0.0, 50.0]]), torch.tensor([0, 1]))
    tensor([ -0.6931, -50.0000])
    """
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return others.logsumexp(1) - logits.logsumexp(1)
