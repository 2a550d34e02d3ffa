"""Search in the latents of a generator: with gradients, and without.

:func:`invert` finds images that a classifier assigns a wanted class, what a GAN-based inversion attack does (Zhang et
al., CVPR 2020), also in the hands of a defense. :func:`descend` and :func:`evolve` minimise any loss of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from cmaes import SepCMA
from torch import Tensor, nn

from ..resuming import Held, Kept, rounds
from .base import Prior
from .gan import Generator

STEP = 0.2
"""Step size of Adam on the latents, in :func:`invert`."""
SPREAD = 0.5
"""Standard deviation that :func:`evolve` starts with: latents have one of about 1."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of images ``(B, C, H, W)`` and their numbers ``(B,)`` among all that are searched: ``(B,)``."""


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


@dataclass(frozen=True)
class Descent:
    """How Adam goes: ``steps`` of size ``rate``, times ``factor`` after each of ``milestones``, ``batch`` at a time."""

    steps: int
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    milestones: Sequence[int] = ()
    factor: float = 0.1
    batch: int = 25


def descend(prior: Prior, start: Tensor, loss: Loss, course: Descent) -> tuple[Tensor, list[float]]:
    """Adam on latents.

    Where no gradient comes back, the latents stay.

    Returns:
        The latents ``(N, D)`` after the last step, and the mean loss before each step.
    """
    ends, losses = start.clone(), torch.zeros(course.steps, dtype=torch.float64)
    parts = torch.arange(len(start), device=start.device).split(course.batch)
    for part in rounds(len(parts), "descent", Held(ends, losses)):
        index = parts[part]
        latent = start[index].clone().requires_grad_()
        adam = torch.optim.Adam([latent], lr=course.rate, betas=course.betas)
        falls = torch.optim.lr_scheduler.MultiStepLR(adam, list(course.milestones), course.factor)
        for step in range(course.steps):
            with torch.enable_grad():
                found = loss(prior(latent), index)
                if found.requires_grad:
                    (latent.grad,) = torch.autograd.grad(found.sum(), [latent])
                else:
                    latent.grad = torch.zeros_like(latent)
            losses[step] += float(found.detach().sum())
            adam.step()
            falls.step()
        ends[index] = latent.detach()
    return ends, (losses / len(start)).tolist()


@torch.no_grad()
def evolve(prior: Prior, start: Tensor, loss: Loss, queries: int, seed: int) -> tuple[Tensor, list[float]]:
    """Separable CMA-ES (Ros and Hansen, PPSN 2008) on latents, one population each: no gradient is asked for.

    A search that was interrupted is led by the answers that it had up to where it goes on.

    Args:
        queries: images that are shown for each latent, at most; as many generations as that pays for.

    Returns:
        The best latents ``(N, D)`` that were seen, the start among them, and the mean of the best losses after each
        generation.
    """
    everyone = torch.arange(len(start), device=start.device)
    best, lowest = start.clone(), loss(prior(start), everyone)
    searches = [
        SepCMA(mean=latent.double().cpu().numpy(), sigma=SPREAD, seed=seed + number)
        for number, latent in enumerate(start)
    ]
    size = searches[0].population_size
    losses: list[float] = []
    answers = torch.zeros((queries - 1) // size, len(start), size, dtype=lowest.dtype, device=lowest.device)
    kept = Kept("evolution", Held(answers))
    known: int = kept.read() or 0
    if known:
        kept.restore()
    for generation, found in enumerate(answers):
        asked = np.stack([[search.ask() for _ in range(size)] for search in searches])
        latents = torch.from_numpy(asked).to(start)
        if generation >= known:
            found[:] = torch.stack([loss(prior(latents[:, k]), everyone) for k in range(size)], 1)
        for search, points, values in zip(searches, asked, found.double().cpu().numpy()):
            search.tell(list(zip(points, values.tolist())))
        value, place = found.min(1)
        better = value < lowest
        best[better] = latents[everyone, place][better]
        lowest = torch.where(better, value, lowest)
        losses.append(float(lowest.mean()))
        if kept.due and generation >= known:
            kept.keep(generation + 1)
    return best, losses
