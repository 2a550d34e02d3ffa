"""Leak matching: the latent of a prior whose image leaks what was seen.

The search of :mod:`.plug_and_play`, for one private image at a time, on the squared distance of leaks (GLASS, NeurIPS
2023, does so in a StyleGAN). Adam starts from the prior's candidate whose leak is nearest, or, where that leaks more
alike, from what ridge regression on the candidates says. What comes back lies in the prior's range, so that it looks
like an image however little the leak tells. Validation images say whether the search is better than its start.
:class:`LeakMatchingBlackBox` searches by evolution on queries alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..access import Access, BlackBox
from ..checks import whole
from ..priors import Prior
from ..priors.search import Descent, descend
from ..scales import Scale
from .base import Fitted, Holdout, passes
from .latent_search import LatentSearch, evolved
from .nearest import flat_leaks, nearest
from .queries import ASKED
from .refinement import mean_square
from .ridge import solutions

MOST = 4096
"""Candidates that the regression learns from at most."""
CHECKED = 5
"""One in so many of them chooses its penalty."""
CHOOSING = 64
"""Validation images, at most, that say whether the search pays."""
Search = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LeakMatching(LatentSearch):
    """Search a prior for the image behind each leak.

    Args:
        prior, candidates, rate, draws: as of :class:`~sparseguard.attacks.latent_search.LatentSearch`.
        steps: of Adam.

    Example:
        >>> fitted = LeakMatching().fit(box, Holdout(images, validation, labels), scale)     # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                                  # doctest: +SKIP
    """

    access: ClassVar[Access] = "white_box"
    prior: str = "pca"
    candidates: int = 10000
    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("steps", self.steps)

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        prior, latents, _ = self.trained(holdout, scale, device)
        with torch.no_grad():
            drawn = (prior(part) for part in latents.split(ASKED))
            known = flat_leaks(lambda images: self.observe(box, images).cpu(), drawn)
        search = self.searching(box, prior, scale, device)

        @torch.no_grad()
        def image(latent: Tensor, like: Tensor) -> Tensor:
            images: Tensor = prior(latent)
            return images.to(like.device)

        guess = latents_by_ridge(known[:MOST], latents[:MOST].cpu())

        @torch.no_grad()
        def start(leak: Tensor) -> Tensor:
            flat = leak.flatten(1).cpu()
            place, guessed = nearest(known, flat), guess(flat).to(latents)
            seen = self.observe(box, prior(guessed)).flatten(1).cpu()
            closer = (seen - flat).square().sum(1) < (known[place] - flat).square().sum(1)
            return torch.where(closer.to(latents.device)[:, None], guessed, latents[place.to(latents.device)])

        truth = holdout.validation[:CHOOSING]
        leak = self.observe(box, truth)
        first = start(leak)
        ended = search(first, leak.to(device))
        errors = {name: mean_square(image(at, leak), truth) for name, at in (("start", first), ("search", ended))}
        pays = errors["search"] < errors["start"]

        def reconstruct(leak: Tensor) -> Tensor:
            found = start(leak)
            return image(search(found, leak.to(device)) if pays else found, leak)

        attacker = f"{self.prior} prior" + ", no search" * (not pays)
        return Fitted(reconstruct, {"attacker": attacker, "errors": errors})

    def searching(self, box: BlackBox, prior: Prior, scale: Scale, device: str) -> Search:
        """From latents to start with and the leaks that are wanted to latents that leak so."""
        model = self.opened(box, device)
        draws = passes(model.leak, prior.sample(2, torch.Generator(device)), self.draws)
        course = Descent(self.steps, self.step_size(prior), batch=64)

        def search(start: Tensor, wanted: Tensor) -> Tensor:
            def loss(images: Tensor, index: Tensor) -> Tensor:
                leak = torch.stack([model.leak(images) for _ in range(draws)]).mean(0)
                return (leak - wanted[index]).square().flatten(1).mean(1)

            return descend(prior, start, loss, course)[0]

        return search


@dataclass(frozen=True)
class LeakMatchingBlackBox(LeakMatching):
    """The same on queries alone: each latent evolves (CMA-ES), by the same loss.

    Args:
        queries: images that the target is shown for each leak; the scale takes its share.
    """

    access: ClassVar[Access] = "black_box"

    queries: int = 10000

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("queries", self.queries, 2)

    def searching(self, box: BlackBox, prior: Prior, scale: Scale, device: str) -> Search:
        def search(start: Tensor, wanted: Tensor) -> Tensor:
            def loss(images: Tensor, index: Tensor) -> Tensor:
                return (box.query(images) - wanted[index]).square().flatten(1).mean(1)

            return evolved(prior, start, loss, self.queries, scale)[0]

        return search


def latents_by_ridge(leaks: Tensor, latents: Tensor) -> Callable[[Tensor], Tensor]:
    """Latents ``(N, D)`` of leaks ``(N, E)`` by ridge regression; some of the pairs choose the penalty."""
    middle, centre = leaks.mean(0), latents.mean(0)
    x, y = leaks - middle, latents - centre
    apart = max(len(x) // CHECKED, 1)
    found = [
        (float((x[:apart] @ weight - y[:apart]).square().sum()), weight) for weight in solutions(x[apart:], y[apart:])
    ]
    weight = min(found, key=lambda tried: tried[0])[1] if found else torch.zeros(x.shape[1], y.shape[1])
    return lambda leak: (leak - middle) @ weight + centre
