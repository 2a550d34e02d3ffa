"""What every attack is: an access that it declares, a few options, and a way to learn from hold-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..access import Access, BlackBox
from ..checks import whole
from ..scales import Scale


@dataclass(frozen=True)
class Found:
    """What an attack on classes found: images ``(K, C, H, W)`` in [0, 1] that stand for labels ``(K,)``.

    The first ones, one a class, are those that the attacker is surest of, and so on. ``prior_only`` are the images that
    the same choice finds without the search, for the same labels: the control.
    """

    images: Tensor
    labels: Tensor
    prior_only: Tensor


@dataclass(frozen=True)
class Fitted:
    """An attack that has learned.

    ``reconstruct`` maps leaks ``(N, ...)``, as :meth:`Attack.observe` gives them, to images ``(N, C, H, W)``; what is
    outside [0, 1] will be clipped.
    ``details`` go into the record and may hold anything that is JSON-able; tables know these names, all optional:

    * ``attacker``: what rebuilt the images in the end;
    * ``errors``: validation error of each that was tried (mean squared, images in [0, 1]);
    * ``updates``, ``gains``: updates that each one took, and dB of validation error that its last doubling gained;
    * ``capped``: the one that was taken was still gaining when its updates ended.
    """

    reconstruct: Callable[[Tensor], Tensor]
    details: dict[str, Any] = field(default_factory=dict)
    found: Found | None = None
    """Of an attack on classes: what is measured then, in place of reconstructions of the private images."""


@dataclass(frozen=True)
class Holdout:
    """The attacker's own images, ``(N, C, H, W)`` in [0, 1], none of them private.

    Attributes:
        images: what he learns from.
        validation: disjoint from these: they choose among attackers and stages of training.
        labels: classes of ``images``, ``(N,)`` int64, for attacks that want them; ``None``: he does not know them.
    """

    images: Tensor
    validation: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Attack:
    """Base of all attacks. The fields of a subclass are its options.

    Args:
        views: leaks of the same image that the attacker sees and averages: more than one helps against noise alone.
    """

    access: ClassVar[Access] = "black_box"
    """What :meth:`fit` is given: queries, or a frozen copy of the target besides."""
    pairs: ClassVar[bool] = True
    """It rebuilds the image behind each leak; else it answers with one that stands for it, of its class say."""
    printed_as: ClassVar[str | None] = None
    """The attack's name in the paper's tables, if they have it."""
    revision: ClassVar[int] = 0
    """Raised whenever this attack's cells would give another result."""
    sizes: ClassVar[tuple[str, ...]] = ()
    """Sizes of a :class:`~sparseguard.scales.Scale` that this attack reads, beside those that all do."""

    views: int = 1

    def __post_init__(self) -> None:
        whole("views", self.views)

    @property
    def shifted(self) -> bool:
        """The attacker's images are of another data set than the private ones."""
        return False

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files that its result depends on."""
        return ()

    def observe(self, box: BlackBox, images: Tensor) -> Tensor:
        """The leak of images as this attacker sees it: ``(N, ...)``.

        Raises:
            ArithmeticError: it is not finite.
        """
        leak = box.query(images)
        for seen in range(1, self.views):
            again = box.query(images)
            if seen == 1 and torch.equal(again, leak):
                break  # nothing to average
            leak = leak + (again - leak) / (seen + 1)
        if not bool(torch.isfinite(leak).all()):
            raise ArithmeticError("the target leaks NaN or infinite values; it cannot be attacked.")
        return leak

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        """Learn to rebuild images.

        Args:
            box: the deployed target: a :class:`~sparseguard.access.WhiteBox` for an attack with that access.
            holdout: the attacker's own images.
            scale: budget.
            device: where the attacker computes.

        Raises:
            ArithmeticError: the leak is not finite.
        """
        raise NotImplementedError


def passes(answer: Callable[[Tensor], Tensor], images: Tensor, draws: int) -> int:
    """How often a target has to be asked for a mean: once, if it answers these images alike, else ``draws`` times."""
    with torch.no_grad():
        return 1 if torch.equal(answer(images), answer(images)) else draws
