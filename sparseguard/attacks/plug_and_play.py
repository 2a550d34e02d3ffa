"""Plug & Play: what images does the target take for a class? (Struppek et al., ICML 2022; Tables 12, 13, 15.)

A prior draws candidates. The target's confidence chooses some for each class, Adam moves their latents until a random
crop of what they stand for is the class beyond doubt to the target (Poincaré loss), and confidence over stronger crops
chooses what is kept. The gradient is that of the deployed target, noise and sparse layers included. The *prior only*
makes the same choices without the search: what the search adds to that is what the target gave away.
:class:`PlugAndPlayBlackBox` searches by evolution on queries alone.

Against the published configuration: the step size is the prior's own where it is no StyleGAN, mirror images are used
only where the target takes the attacker's own images for the same class when mirrored (no digits), a prior that knows
labels is searched in its label embeddings too, and smaller scales divide the numbers of images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..access import Access, BlackBox
from ..checks import positive, whole
from ..priors import Prior
from ..priors.search import Descent, descend
from ..scales import Scale
from .base import Fitted, Found, Holdout, passes
from .latent_search import LatentSearch, evolved, share
from .nearest import Nearest
from .queries import ASKED

MIRRORED = 0.9
"""Share of the attacker's images that keep their class when mirrored, from which on mirror images are used."""


@dataclass(frozen=True)
class PlugAndPlay(LatentSearch):
    """Search a prior for images that the target takes for each class.

    The defaults are the published ones; of the numbers of images the scale takes its share (``search``).

    Args:
        prior, candidates, rate, draws: as of :class:`~sparseguard.attacks.latent_search.LatentSearch`.
        tries: of the candidates, those that are optimised for each class.
        results: of these, those that are kept for each class.
        steps, batch: of Adam, and latents at a time.
        betas: its decay rates.
        milestones, factor: steps after which the step size is multiplied by the factor.
        xi: what the wanted class lacks to certainty in the loss.
        crop: smallest share of the image that a crop keeps while searching.
        judgements, final_crop, final_ratio: crops that choose what is kept, the shares of the image that they keep,
            and their ratios of width to height.

    Example:
        >>> PlugAndPlay(prior="pca", results=10).tries
        200
    """

    access: ClassVar[Access] = "white_box"
    pairs: ClassVar[bool] = False
    printed_as: ClassVar[str | None] = "plug-and-play"

    tries: int = 200
    results: int = 50
    steps: int = 50
    batch: int = 25
    betas: tuple[float, float] = (0.1, 0.1)
    milestones: tuple[int, ...] = (30, 40)
    factor: float = 0.1
    xi: float = 1e-4
    crop: float = 0.9
    judgements: int = 100
    final_crop: tuple[float, float] = (0.5, 0.9)
    final_ratio: tuple[float, float] = (0.8, 1.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("betas", "milestones", "final_crop", "final_ratio"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name} must be several numbers, not {getattr(self, name)!r}.")
        for name in ("tries", "results", "steps", "batch", "judgements"):
            whole(name, getattr(self, name))
        if not self.results <= self.tries <= self.candidates:
            kept = f"{self.candidates} candidates, {self.tries} tries and {self.results} results"
            raise ValueError(f"results are chosen among tries, and these among candidates: not {kept}.")
        for name in ("factor", "xi"):
            positive(name, getattr(self, name))
        for step in self.milestones:
            whole("milestones", step)
        for bound in self.final_ratio:
            positive("final_ratio", bound)
        for part in (self.crop, *self.final_crop):
            if positive("a crop", part) > 1:
                raise ValueError(f"a crop must be a share of the image, 1 at most, not {part!r}.")
        for name in ("betas", "final_crop", "final_ratio"):
            low, high = getattr(self, name)
            if not 0 <= low <= high or (name == "betas" and high >= 1):
                raise ValueError(f"{name} must be two numbers in order{', below 1' * (name == 'betas')}, "
                                 f"not {getattr(self, name)!r}.")  # fmt: skip

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        prior, latents, chance = self.trained(holdout, scale, device)
        tries, results, judgements = (share(number, scale) for number in (self.tries, self.results, self.judgements))
        mirrors = keeps_class_mirrored(box, holdout.images[:ASKED])

        def confidence(images: Tensor) -> Tensor:
            views = [images, images.flip(3)] if mirrors else [images]
            return torch.stack([box.classify(view).softmax(1) for view in views]).mean(0)

        first = torch.cat([confidence(shown) for shown in self._shown(prior, latents)])
        if first.ndim != 2:
            raise ValueError(f"the target must answer with logits (N, classes), not {tuple(first.shape)}.")
        if not bool(torch.isfinite(first).all()):
            raise ArithmeticError("the target's answers are not finite; it cannot be attacked.")
        classes = first.shape[1]
        labels = torch.arange(classes, device=latents.device).repeat_interleave(tries)
        start = latents[first.T.topk(tries).indices.flatten()]
        ended, losses = self.search(box, prior, start, labels, scale, device)
        size = prior.sample(1, torch.Generator(device)).shape[2:]
        stronger = cropping(size, self.final_crop, self.final_ratio)
        crops = [chance.initial_seed() + k for k in range(judgements)]

        def judged(latents: Tensor) -> Tensor:
            """Mean confidence ``(N,)`` in each one's label, over the same crops whenever it is asked."""
            images = torch.cat(self._shown(prior, latents))
            total = torch.zeros(len(images), device=images.device)
            with torch.random.fork_rng():
                for seed in crops:
                    torch.manual_seed(seed)
                    total += confidence(stronger(images)).gather(1, labels[:, None])[:, 0]
            return total / judgements

        kept, sure = {}, {}
        first_try = tries * torch.arange(classes, device=latents.device)[:, None]
        for name, points in (("search", ended), ("prior only", start)):
            found = judged(points)
            best = (found.view(classes, tries).topk(results).indices + first_try).T.flatten()  # the surest first
            kept[name], sure[name] = torch.cat(self._shown(prior, points[best])).cpu(), float(found[best].mean())
        asked = torch.arange(classes).repeat(results)
        answer = Nearest(views=self.views).fit(box, Holdout(kept["search"], holdout.validation), scale, device)
        details: dict[str, Any] = {
            "attacker": f"{self.prior} prior",
            "losses": losses,
            "confidence": sure,
            "mirrored": mirrors,
            "tries": tries,
        }
        return Fitted(answer.reconstruct, details, Found(kept["search"], asked, kept["prior only"]))

    def search(
        self, box: BlackBox, prior: Prior, start: Tensor, labels: Tensor, scale: Scale, device: str
    ) -> tuple[Tensor, list[float]]:
        """Latents that are the labels to the target, and the mean loss along the way."""
        model, two = self.opened(box, device), prior(start[:2])
        draws = passes(model, two, self.draws)
        weaker = cropping(two.shape[2:], (self.crop, 1.0))

        def loss(images: Tensor, index: Tensor) -> Tensor:
            return torch.stack([poincare(model(weaker(images)), labels[index], self.xi) for _ in range(draws)]).mean(0)

        course = Descent(self.steps, self.step_size(prior), self.betas, self.milestones, self.factor, self.batch)
        return descend(prior, start, loss, course)

    def _shown(self, prior: Prior, latents: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [prior(part) for part in latents.split(ASKED)]


@dataclass(frozen=True)
class PlugAndPlayBlackBox(PlugAndPlay):
    """The same on queries alone: each latent evolves (CMA-ES), by the same loss.

    Args:
        queries: images that the target is shown for each latent; of it the scale takes its share, as of the others.
    """

    access: ClassVar[Access] = "black_box"
    printed_as: ClassVar[str | None] = None

    queries: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("queries", self.queries, 2)

    def search(
        self, box: BlackBox, prior: Prior, start: Tensor, labels: Tensor, scale: Scale, device: str
    ) -> tuple[Tensor, list[float]]:
        weaker = cropping(prior(start[:1]).shape[2:], (self.crop, 1.0))

        def loss(images: Tensor, index: Tensor) -> Tensor:
            return poincare(box.classify(weaker(images)), labels[index], self.xi)

        return evolved(prior, start, loss, self.queries, scale)


def cropping(
    size: tuple[int, int] | torch.Size, share: tuple[float, float], ratio: tuple[float, float] = (1.0, 1.0)
) -> Callable[[Tensor], Tensor]:
    """A random crop of such a share of images and such a ratio of its sides, resized to their size."""
    from torchvision.transforms.v2 import RandomResizedCrop  # here: importing it costs two seconds

    crop: Callable[[Tensor], Tensor] = RandomResizedCrop(size, share, ratio, antialias=True)
    return crop


def poincare(logits: Tensor, labels: Tensor, xi: float = 1e-4) -> Tensor:
    """Distance in the Poincaré ball of the logits, of L1 norm 1, from the one-hot label, ``xi`` inside: ``(N,)``.

    >>> far, near = poincare(torch.tensor([[1.0, 3.0], [9.0, -1.0]]), torch.tensor([0, 0]))
    >>> bool(far > near > 0)
    True
    """
    u = F.normalize(logits, p=1.0, dim=1)
    v = (F.one_hot(labels, logits.shape[1]).to(u) - xi).clamp(0, 1)
    apart, inside = (u - v).square().sum(1), (1 - u.square().sum(1)) * (1 - v.square().sum(1))
    return torch.acosh(1 + 2 * apart / inside.clamp_min(1e-6))


def keeps_class_mirrored(box: BlackBox, images: Tensor) -> bool:
    """The target takes nearly all of these images for the same class when they are mirrored."""
    same = box.classify(images).argmax(1) == box.classify(images.flip(3)).argmax(1)
    return float(same.float().mean()) >= MIRRORED
