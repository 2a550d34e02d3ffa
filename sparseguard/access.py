"""What an attacker holds of a deployed target: queries alone, or a frozen copy besides.

An attack declares which of the two it needs, and is given nothing else. A third kind is no attacker's: a target that
its attack may change, which the released code of the paper takes for granted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from .checks import one_of

Access = Literal["black_box", "white_box", "victim"]
BATCH = 64
"""Images a forward pass, where a longer batch is cut."""


class Leaky(nn.Module):
    """A classifier whose hidden activations leak."""

    def leak(self, x: Tensor) -> Tensor:
        """What the attacker sees: ``(N, C, H, W) -> (N, ...)``, noise included."""
        raise NotImplementedError

    def stages(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The modules that make the leak of an image one after the other, those of the front and the rest.

        Both are empty where the leak is not made so.
        """
        return [], []

    def silence(self) -> None:
        """Take the noise on the leak away, where there is any."""


class BlackBox:
    """A deployed target: images in, leaks out, nothing else within reach.

    The box holds a private copy of the target in inference mode, closed over by the functions below, so that whoever
    holds the box has no module, parameter or gradient to use, and later training of the original changes nothing here.
    Noise layers stay on: they do not depend on the mode.

    Args:
        target: the trained target.
        batch_size: images a forward pass.

    Example:
        >>> box = BlackBox(target)                        # doctest: +SKIP
        >>> leak = box.query(images)                      # doctest: +SKIP
    """

    __slots__ = ("classify", "query")

    query: Callable[[Tensor], Tensor]
    """Leak of images ``(N, C, H, W)`` in [0, 1]: ``(N, ...)``, detached, on the images' device."""
    classify: Callable[[Tensor], Tensor]
    """Class logits ``(N, classes)`` of images, noise included."""

    def __init__(self, target: Leaky, batch_size: int = BATCH) -> None:
        self._answers(frozen(target), batch_size)

    def _answers(self, deployed: Leaky, batch_size: int) -> None:
        device = next(deployed.parameters(), torch.empty(0)).device

        def batched(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            @torch.no_grad()
            def call(images: Tensor) -> Tensor:
                parts = [function(part.to(device)).to(images.device) for part in images.split(batch_size)]
                return torch.cat(parts)

            return call

        self.query = batched(deployed.leak)
        self.classify = batched(deployed)


class WhiteBox(BlackBox):
    """The same, and a copy of the deployed target that the attacker may take apart and differentiate in its input.

    The copy is the attacker's own: whatever is done to it changes nothing of what answers the queries. Its parameters
    are frozen, its noise is on.
    """

    __slots__ = ("model",)

    model: Leaky

    def __init__(self, target: Leaky) -> None:
        super().__init__(target)
        self.model = frozen(target)


class Victim(BlackBox):
    """A copy of the deployed target that the attack may change, and that answers the queries as it is by then.

    The trained target stays as it was. No attacker has this: it is there to repeat a procedure that needs it.
    """

    __slots__ = ("model",)

    model: Leaky

    def __init__(self, target: Leaky) -> None:
        self.model = copy.deepcopy(target).eval()
        self._answers(self.model, BATCH)


def frozen(target: Leaky) -> Leaky:
    """A copy in inference mode whose parameters take no gradient."""
    return copy.deepcopy(target).eval().requires_grad_(False)


def grant(access: Access, target: Leaky) -> BlackBox:
    """What an attack that declares this access is given.

    Raises:
        ValueError: another kind of access.
    """
    kinds: dict[str, type[BlackBox]] = {"black_box": BlackBox, "white_box": WhiteBox, "victim": Victim}
    return kinds[one_of("access", access, kinds)](target)
