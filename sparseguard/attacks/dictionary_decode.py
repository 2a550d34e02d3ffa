"""Taking the deployed target apart, layer by layer from the leak back to the image, with no network to train.

Whoever holds a sparse layer holds its dictionary, and what a code stands for is the layer's own reconstruction (paper,
eq. 1: the image is nearly the code times the dictionary). The layers around it are undone as far as they can be
(:mod:`.inverses`): normalisations with a known mean exactly, dense layers and convolutions by regularised least squares
with their own weights, what a ReLU cut off and what noise covered by linear regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..access import Access, BlackBox, WhiteBox
from ..checks import flag
from ..ondisk import Gathering
from ..scales import Scale
from ..sparse import SparseCoding2d
from .base import Attack, Fitted, Holdout
from .inverses import inverse
from .least_squares import Map
from .queries import ASKED, Queries
from .ridge import ridge

SAMPLE = 256
"""Hold-out images that the inverses are fitted on: each gives as many examples as it has rows."""


@dataclass(frozen=True)
class DictionaryDecode(Attack):
    """Undo every layer of the target with its own weights and dictionaries.

    Args:
        estimate: do not go back through the dense layers: estimate the last sparse code (without a sparse layer, what
            leaves the front) from the leak by ridge regression, and go back from there.

    Example:
        >>> fitted = DictionaryDecode().fit(box, Holdout(attack_images, held_images), scale)         # doctest: +SKIP
        >>> images = fitted.reconstruct(box.query(victims))                                 # doctest: +SKIP
    """

    access: ClassVar[Access] = "white_box"

    estimate: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        flag("estimate", self.estimate)

    @torch.no_grad()
    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        images, validation = holdout.images, holdout.validation
        front, rest = box.model.to(device).stages() if isinstance(box, WhiteBox) else ([], [])
        layers = [*front, *rest]
        if not layers:
            raise ValueError("dictionary_decode needs a target that it can take apart, layer by layer.")
        inputs = [images[:SAMPLE].to(device)]
        for layer in layers:
            inputs.append(layer(inputs[-1]))
        known = self.observe(box, images[:SAMPLE]).to(device)

        steps: list[Map] = []
        if self.estimate:
            coded = [i for i, layer in enumerate(layers, start=1) if isinstance(layer, SparseCoding2d)]
            cut = max(coded, default=len(front))
            steps.append(self.estimator(nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:]),
                                        images.to(device), validation.to(device), device))  # fmt: skip
            layers, known = layers[:cut], steps[0](known)
        for layer, entered in zip(reversed(layers), reversed(inputs[: len(layers)])):
            steps.append(inverse(layer, known, entered))
            known = steps[-1](known)

        @torch.no_grad()
        def reconstruct(leak: Tensor) -> Tensor:
            x = leak.to(device)
            for step in steps:
                x = step(x)
            return x.clamp(0, 1).to(leak.device)

        parts = [(reconstruct(self.observe(box, part)) - part).square().sum() for part in validation.split(ASKED)]
        attacker = "estimated codes" if self.estimate else "inverted layers"
        return Fitted(reconstruct, {
            "attacker": attacker,
            "errors": {attacker: float(torch.stack(parts).sum()) / validation.numel()},
            "undone": [type(layer).__name__ for layer in reversed(layers)],
        })  # fmt: skip

    def estimator(
        self, coder: nn.Module, rest: nn.Module, images: Tensor, validation: Tensor, device: str
    ) -> nn.Module:
        """Ridge regression from leaks to what leaves ``coder``; ``rest`` makes the leak of it."""

        def observe(code: Tensor) -> Tensor:
            return torch.stack([rest(code.to(device)) for _ in range(self.views)]).mean(0)

        def codes(images: Tensor) -> Tensor:
            gathering = Gathering()
            for part in images.split(ASKED):
                gathering.add(coder(part))
            return gathering.done()

        queries, checks = Queries(observe, codes(images)), Queries(observe, codes(validation[:SAMPLE]))

        def score(network: nn.Module) -> float:
            pairs = checks.in_order(SAMPLE)
            return float(torch.stack([(network(a.to(device)) - b.to(device)).square().sum() for a, b in pairs]).sum())

        leak, code = tuple(queries.sample.shape[1:]), tuple(queries.images.shape[1:])
        return ridge(queries, leak, code, score, device)[1]
