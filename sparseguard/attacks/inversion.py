"""Model inversion with a surrogate inverse network (paper, section 4 "Attack" and A.4).

The attacker queries the deployed target with hold-out images and bent copies of them, sees what leaks, and trains a
family of decoders on the (leak, image) pairs, each in an optimiser of its own that holds nothing but that decoder's
parameters, until more training stops paying (:mod:`.race`). Ridge regression is in the family as its floor, and the
mean image beneath it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..access import BlackBox
from ..checks import flag, whole
from ..ondisk import cut
from ..scales import Scale
from .base import Attack, Fitted, Holdout
from .decoders import DECODERS, Decoder, Mean
from .queries import Queries
from .race import PAYS, Runner, race
from .ridge import ridge

RIDGE, MEAN = "ridge", "mean image"
CHECKED = 5000
"""Validation images, at most, that choose among decoders and say when one ends."""


@dataclass(frozen=True)
class Inversion(Attack):
    """Train every decoder of the family on the same pairs and keep the best by validation error.

    Args:
        bent: ask about bent copies of the hold-out images too, where these are few; no more images are needed for it.
        decoders: names of the family's members; ``None``: the scale's.
        updates: most updates of a U-Net, cheaper decoders take more; ``None``: the scale's.

    Example:
        >>> fitted = Inversion().fit(box, Holdout(attack_images, held_images), scale)         # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                          # doctest: +SKIP
    """

    printed_as: ClassVar[str | None] = "inverse-network"
    revision: ClassVar[int] = 2
    sizes: ClassVar[tuple[str, ...]] = ("decoders", "attack_updates", "attack_queries", "attack_hidden")

    bent: bool = True
    decoders: tuple[str, ...] | None = None
    updates: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        flag("bent", self.bent)
        if self.updates is not None:
            whole("updates", self.updates)
        if self.decoders is not None:
            names = tuple(self.decoders) if isinstance(self.decoders, tuple | list) else (self.decoders,)
            if not names or not set(names) <= {RIDGE, *DECODERS}:
                raise ValueError(f"decoders must be among {', '.join((RIDGE, *DECODERS))}, not {self.decoders!r}.")
            object.__setattr__(self, "decoders", names)

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        def observe(asked: Tensor) -> Tensor:
            return self.observe(box, asked)

        images = holdout.images
        queries = Queries(observe, images, scale.attack_queries if self.bent else 0)
        checks = Queries(observe, cut(holdout.validation, slice(CHECKED)))
        leak, image = tuple(queries.sample.shape[1:]), tuple(images.shape[1:])
        mean, std = float(queries.sample.mean()), max(float(queries.sample.std()), 1e-12)

        @torch.no_grad()
        def score(network: nn.Module) -> float:
            network.eval()
            pairs = checks.in_order(CHECKED)
            errors = [(network(a.to(device)).clamp(0, 1) - b.to(device)).square().sum() for a, b in pairs]
            return float(torch.stack(errors).sum()) / checks.images.numel()

        names = self.decoders or scale.decoders
        runners = {
            name: Runner(
                Decoder(DECODERS[name].network, leak, image, scale.attack_hidden, mean, std).to(device),
                DECODERS[name], queries,
            )
            for name in names if name != RIDGE
        }  # fmt: skip
        race(runners, score, self.updates or scale.attack_updates, device)
        mean_image = Mean(images.mean(0)).to(device)
        found: dict[str, tuple[float, nn.Module]] = {MEAN: (score(mean_image), mean_image)}
        for name, runner in runners.items():
            runner.average.load_state_dict(runner.best[1])
            found[name] = runner.best[0], runner.average
        if RIDGE in names:
            found[RIDGE] = ridge(queries, leak, image, score, device)
        best = min(found, key=lambda name: found[name][0])
        details: dict[str, Any] = {
            "attacker": best,
            "errors": {name: error for name, (error, _) in found.items()},
            "courses": {name: [list(rung) for rung in runner.course.items()] for name, runner in runners.items()},
            "updates": {name: max(runner.course) for name, runner in runners.items()},
            "gains": {name: runner.gain for name, runner in runners.items() if len(runner.course) > 1},
            "capped": best in runners and runners[best].gain >= PAYS,
            "queries": len(queries.images),
        }
        return Fitted(reconstruction(found[best][1], device), details)


def reconstruction(network: nn.Module, device: str) -> Callable[[Tensor], Tensor]:
    """What a trained network makes of leaks: images in [0, 1], on the leaks' device."""
    network.eval()

    @torch.no_grad()
    def reconstruct(leak: Tensor) -> Tensor:
        images: Tensor = network(leak.to(device)).clamp(0, 1)
        return images.to(leak.device)

    return reconstruct
