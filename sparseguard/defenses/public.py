"""What a defense makes of public images: a GAN and a classifier, shared by the cells of a split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Images, Split
from ..normalisation import Normalize
from ..ondisk import CHUNK, OnDisk
from ..priors.gan import Generator
from ..priors.search import invert
from ..scales import Scale
from ..targets import Target
from .base import fit
from .shared import shared, shared_gan


@dataclass(frozen=True)
class PublicModels:
    """A conditional generator of public images, and a classifier of their classes."""

    generator: Generator
    classifier: Target

    def fakes(self, labels: Tensor, scale: Scale, chance: torch.Generator) -> Tensor:
        """Images that the public classifier assigns the public class of each label: the label mod their number."""
        return invert(self.generator, self.classifier, labels % self.generator.classes, scale.inversion_steps, chance)


def public_models(split: Split, name: str, public: Images, scale: Scale, device: torch.device) -> PublicModels:
    """Train both on public images of the private ones' shape, or take those that another cell of the split trained.

    The classifier is a plain target of the split setting. Classes without an image are left out.
    """
    present, labels = public.labels.unique(return_inverse=True)
    classes = len(present)

    def train() -> Target:
        front = [Normalize.of(public.images)]
        classifier = Target(front, "split", split.image_shape, classes, scale.width).to(device)
        fit(classifier, public.images, labels, scale)
        return classifier.requires_grad_(False)

    generator = shared_gan(split, f"public {name}", public.images, labels, classes, scale, device)
    classifier: Target = shared(split, f"classifier of public {name}", scale, device, train)
    return PublicModels(generator, classifier)


def in_shape(images: Images, shape: tuple[int, int, int]) -> Images:
    """Images brought to ``(C, H, W)``: interpolated; where the channels differ, their mean, repeated.

    >>> from sparseguard.data import Images
    >>> tuple(in_shape(Images(torch.rand(2, 1, 28, 28), torch.arange(2), ("a", "b")), (3, 14, 12)).images.shape)
    (2, 3, 14, 12)
    """
    pixels = images.images
    if pixels.shape[1:] == shape:
        return images
    if isinstance(pixels, OnDisk):
        parts = (in_shape(Images(part, images.labels, images.classes), shape).images for part in pixels.split(CHUNK))
        return Images(OnDisk.scratch(parts), images.labels, images.classes)
    if pixels.shape[1] != shape[0]:
        pixels = pixels.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    if pixels.shape[2:] != shape[1:]:
        pixels = F.interpolate(pixels, shape[1:], mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
    return Images(pixels.contiguous(), images.labels, images.classes)
