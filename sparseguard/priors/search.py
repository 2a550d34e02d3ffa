"""Latent optimisation: images that a classifier assigns a wanted class, found in the range of a generator.

What a GAN-based inversion attack does (Zhang et al., CVPR 2020), also in the hands of a defense.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gan import Generator

STEP = 0.2
"""Step size of Adam on the latents."""


def invert(generator: Generator, classifier: nn.Module, labels: Tensor, steps: int, chance: torch.Generator) -> Tensor:
    """Images that ``classifier`` assigns ``labels``, by Adam on the latents that the generator makes them from.

    Args:
        generator: its weights stay as they are.
        classifier: ``(B, C, H, W)`` images in [0, 1] to ``(B, K)`` logits; asked in inference mode, left in its own.
        labels: ``(B,)`` int64, below K.
        steps: of Adam; 0 gives images at random.
        chance: draws the latents and the classes of the generator that the search starts from.

    Returns:
        ``(B, C, H, W)`` in [0, 1], without gradient.
    """
    was_training = classifier.training
    classifier.eval()
    start = torch.randint(generator.classes, labels.shape, generator=chance, device=labels.device)
    latent = generator.latent(start, chance).detach().requires_grad_()
    optimizer = torch.optim.Adam([latent], lr=STEP)
    for _ in range(steps):
        loss = F.cross_entropy(classifier(generator(latent)), labels, reduction="sum")
        (latent.grad,) = torch.autograd.grad(loss, [latent])
        optimizer.step()
    classifier.train(was_training)
    with torch.no_grad():
        images: Tensor = generator(latent)
    return images
