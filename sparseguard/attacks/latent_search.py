"""What attacks that search the latents of a prior have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ..access import BlackBox, Leaky, WhiteBox
from ..checks import positive, whole
from ..priors import SIZES, TRUNCATION, Prior, check_prior, checkpoint, make_prior
from ..priors.search import Loss, evolve
from ..scales import Scale
from .base import Attack, Holdout


@dataclass(frozen=True)
class LatentSearch(Attack):
    """Base of the attacks that search a prior.

    Args:
        prior: ``hold_out`` (a GAN of the attacker's images), ``labelled`` (one that is told their labels too),
            ``shifted`` (a GAN of another data set's images, ``holdout_from``), ``pca`` (principal components), or
            ``stylegan:PATH`` (a checkpoint, see :mod:`sparseguard.priors.stylegan`).
        candidates: images that the prior draws; the scale takes its share (``search``).
        rate: step size of Adam; ``None``: the prior's.
        truncation: how far the latents that a StyleGAN draws lie from its mean one, over how far they would.
        draws: passes that estimate a mean, where the target's noise makes its answers random.
    """

    sizes: ClassVar[tuple[str, ...]] = ("search", *SIZES)

    prior: str = "hold_out"
    candidates: int = 2000
    rate: float | None = None
    truncation: float = TRUNCATION
    draws: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prior(self.prior)
        for name in ("candidates", "draws"):
            whole(name, getattr(self, name))
        positive("truncation", self.truncation)
        if self.rate is not None:
            positive("rate", self.rate)

    @property
    def shifted(self) -> bool:
        return self.prior == "shifted"

    @property
    def reads(self) -> tuple[Path, ...]:
        file = checkpoint(self.prior)
        return () if file is None else (file,)

    def trained(self, holdout: Holdout, scale: Scale, device: str) -> tuple[Prior, Tensor, torch.Generator]:
        """The prior, its candidates' latents, and what further chance comes from."""
        prior = make_prior(self.prior, holdout.images, holdout.labels, scale, device, self.truncation)
        chance = torch.Generator(device).manual_seed(int(torch.randint(2**31, ())))
        return prior, prior.draw(share(self.candidates, scale), chance), chance

    def step_size(self, prior: Prior) -> float:
        """Of Adam."""
        return prior.rate if self.rate is None else self.rate

    def opened(self, box: BlackBox, device: str) -> Leaky:
        """The target that a descent goes through."""
        if not isinstance(box, WhiteBox):
            raise ValueError("a search by gradients needs a white box: it descends through the target.")
        return box.model.to(device)


def share(number: int, scale: Scale) -> int:
    """The scale's share of a published number, one at least."""
    return max(round(number * scale.search), 1)


def evolved(prior: Prior, start: Tensor, loss: Loss, queries: int, scale: Scale) -> tuple[Tensor, list[float]]:
    """:func:`~sparseguard.priors.search.evolve` with the scale's share of queries and chance from torch's generator."""
    return evolve(prior, start, loss, max(share(queries, scale), 2), int(torch.randint(2**30, ())))
