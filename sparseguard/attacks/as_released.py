"""The attack of the released code, told again from what it does; no attacker could run it.

There the inverse network is random and stays so: the optimiser holds the parameters of the *target*, whose leaking
layers are trained, on hold-out images, until the random network decodes them. Noise is off, because the target is in
inference mode; sparse targets take batches of 16 instead of 1, weight decay, 16-bit numbers, and dictionaries without
a gradient. Each of these is a switch, so that one can be turned after the other until nothing is left of them: then a
network that learns attacks a target that stays as it is, which is what the paper's text says. With neither of the two
in the optimiser nothing is trained at all, which is what the released files of DP-SGD do.

What differs here from there: the target is trained as everywhere in this package, and its momentum is not carried over;
of 16-bit numbers only the storage of weights, gradients and momentum is repeated, not each sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..access import Access, BlackBox, Leaky, Victim
from ..checks import flag, positive, whole
from ..normalisation import standardised, unstandardised
from ..ondisk import large
from ..resuming import Held, rounds
from ..scales import Scale
from .base import Attack, Fitted, Holdout
from .race import PAYS, decibels

RATE, MOMENTUM = 1e-3, 0.9
PASSED = 500_000
"""Images that pass in all: 10,000 hold-out images fifty times."""
BATCH, BATCH_SPARSE, DECAY_SPARSE = 1, 16, 1e-3
"""Of the released files, those of sparse targets apart."""
WIDE = 16
"""Channels of the transposed convolutions."""
WATCHED = 200
"""Validation images that the curve is measured on."""
ASKED = 64
"""Images that the changed target is asked about at a time."""


@dataclass(frozen=True)
class AsReleased(Attack):
    """Bend the target until a random network decodes it; or, switch by switch, attack it.

    Args:
        train_attacker: the inverse network is in the optimiser; in no released file it is.
        change_target: the target is, as in every released file but those of DP-SGD.
        noise: the noise of the target is on while it leaks, to the attack and to what measures it.
        half: weights, gradients and momentum are kept in 16 bits; ``None``: where the target has sparse layers.
        dictionaries: the dictionaries of sparse layers are trained with the rest.
        batch: images an update; ``None``: 16 where the target has sparse layers, else 1.
        decay: weight decay; ``None``: 1e-3 where the target has sparse layers, else 0.
        updates: as many; ``None``: so many that 500,000 images pass, or the scale's share of them.
        rate: of SGD with momentum 0.9.

    Example:
        >>> AsReleased(train_attacker=True, change_target=False, noise=True, half=False).access
        'victim'
    """

    access: ClassVar[Access] = "victim"
    printed_as: ClassVar[str | None] = "inverse-network"
    sizes: ClassVar[tuple[str, ...]] = ("attack_hidden", "released")

    train_attacker: bool = False
    change_target: bool = True
    noise: bool = False
    half: bool | None = None
    dictionaries: bool = False
    batch: int | None = None
    decay: float | None = None
    updates: int | None = None
    rate: float = RATE

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("train_attacker", "change_target", "noise", "dictionaries"):
            flag(name, getattr(self, name))
        if self.half is not None:
            flag("half", self.half)
        for name in ("batch", "updates"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))
        if self.decay is not None and self.decay != 0:
            positive("decay", self.decay)
        positive("rate", self.rate)

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        assert isinstance(box, Victim)
        victim = box.model
        if not self.noise:
            victim.silence()
        where = next(victim.parameters()).device
        images, watched = (part.to(where) for part in (holdout.images, holdout.validation[:WATCHED]))
        with torch.no_grad():
            leaked = victim.leak(images[:1])
        inverse = InverseNetwork(tuple(leaked.shape[1:]), tuple(images.shape[1:]), scale.attack_hidden).to(where)
        given = self._of(victim, scale)
        before = [parameter.detach().clone() for parameter in victim.parameters()]
        curve = self._train(victim, inverse, images, watched, given)
        changed = [bool((p != old).any()) for p, old in zip(victim.parameters(), before, strict=True)]
        (earlier, before_it), (updates, error) = [curve[0], *curve][-2:]
        doublings = math.log2(updates / earlier) if updates > earlier else 1.0
        gain = (decibels(error) - decibels(before_it)) / doublings
        name = "trained network" if self.train_attacker else "random network"
        told: dict[str, Any] = {
            "attacker": name, "errors": {name: error}, "updates": {name: updates}, "gains": {name: gain},
            "capped": gain >= PAYS, "curve": curve, "changed": sum(changed), "parameters": len(changed),
            "given": asdict(given),
        }  # fmt: skip
        return Fitted(lambda leak: inverse.images(leak.to(where)).to(leak.device), told)

    def _of(self, victim: Leaky, scale: Scale) -> Released:
        """What is left to the released files, those of sparse targets apart."""
        sparse = any(map(_is_dictionary, victim.state_dict()))
        batch = self.batch or (BATCH_SPARSE if sparse else BATCH)
        return Released(
            batch=batch,
            updates=self.updates or max(round(scale.released * PASSED / batch), 1),
            half=sparse if self.half is None else self.half,
            decay=(DECAY_SPARSE if sparse else 0.0) if self.decay is None else self.decay,
        )

    def _train(
        self, victim: Leaky, inverse: InverseNetwork, images: Tensor, watched: Tensor, given: Released
    ) -> list[tuple[int, float]]:
        """Updates, and the error on watched images after them: at powers of two, and at the end."""
        for name, parameter in victim.named_parameters():
            trained = self.dictionaries if _is_dictionary(name) else parameter.requires_grad
            parameter.requires_grad_(self.change_target and trained)
        inverse.requires_grad_(self.train_attacker)
        held = [p for module in (victim, inverse) for p in module.parameters() if p.requires_grad]
        if not held:
            return [(0, _error(victim, inverse, watched))]
        optimizer = torch.optim.SGD(held, lr=self.rate, momentum=MOMENTUM, weight_decay=given.decay)
        leak = _known(victim, images) if not self.change_target else None
        ends = sorted({2**k for k in range(given.updates.bit_length())} | {given.updates})
        errors, order = torch.zeros(len(ends), dtype=torch.float64), torch.zeros(len(images), dtype=torch.int64)
        batches = math.ceil(len(images) / given.batch)
        if given.half:
            halve(held)
        for step in rounds(given.updates, "updates", victim, inverse, optimizer, Held(errors, order)):
            if step % batches == 0:
                order.copy_(torch.randperm(len(images)))
            place = step % batches * given.batch
            index = order[place : place + given.batch].to(images.device)
            seen = images[index]
            leaked = victim.leak(seen) if leak is None else leak[index]
            loss = F.mse_loss(inverse(leaked), standardised(seen))
            if not bool(torch.isfinite(loss)):
                raise ArithmeticError(f"the attack diverged at update {step + 1}: its loss is {loss.item()}.")
            optimizer.zero_grad()
            loss.backward()
            if given.half:
                halve(p.grad for p in held if p.grad is not None)
            optimizer.step()
            if given.half:
                halve(held)
                halve(state["momentum_buffer"] for state in optimizer.state.values())
            if step + 1 in ends:
                errors[ends.index(step + 1)] = _error(victim, inverse, watched)
        return list(zip(ends, errors.tolist(), strict=True))


@dataclass(frozen=True)
class Released:
    """What the released files of a target say of its attack."""

    batch: int
    updates: int
    half: bool
    decay: float


class InverseNetwork(nn.Module):
    """The released one: two dense layers along the leak's last axis; transposed convolutions where it has channels.

    Its batch norm is never in inference mode: it takes each batch's statistics. Answers are standardised images.
    """

    def __init__(self, leak: tuple[int, ...], image: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.leak = (1, 1, 1, *leak)[-3:]
        channels, rows, columns = self.leak
        if rows != image[1]:
            raise ValueError(f"the released network decodes leaks with the image's {image[1]} rows, not {leak}.")
        layers: list[nn.Module] = [nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, image[2])]
        if channels != image[0]:
            for a, b in ((channels, WIDE), (WIDE, WIDE)):
                layers += [nn.ReLU(), nn.ConvTranspose2d(a, b, 5, padding=2, bias=False), nn.BatchNorm2d(b)]
            layers += [nn.ReLU(), nn.ConvTranspose2d(WIDE, image[0], 5, padding=2, bias=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, leak: Tensor) -> Tensor:
        answer: Tensor = self.layers(leak.reshape(-1, *self.leak))
        return answer

    @torch.no_grad()
    def images(self, leak: Tensor) -> Tensor:
        """In the units of images in [0, 1], not clipped, so many at a time as the released code takes."""
        return torch.cat([unstandardised(self(part)) for part in leak.split(ASKED)])


@torch.no_grad()
def halve(tensors: Iterable[Tensor]) -> None:
    """Round to what 16 bits can hold, in place."""
    for tensor in tensors:
        tensor.copy_(tensor.half())


def _is_dictionary(name: str) -> bool:
    """Whether a parameter of that name is the dictionary of a sparse layer."""
    return name.rpartition(".")[2] == "dictionary"


@torch.no_grad()
def _known(victim: Leaky, images: Tensor) -> Tensor | None:
    """The leaks of all images, where they are the same each time and memory can hold them."""
    first = victim.leak(images[:1])
    if large(len(images) * first.nbytes) or not torch.equal(victim.leak(images[:1]), first):
        return None
    return torch.cat([victim.leak(part) for part in images.split(ASKED)])


@torch.no_grad()
def _error(victim: Leaky, inverse: InverseNetwork, images: Tensor) -> float:
    """Mean squared error of what is rebuilt of images, clipped to [0, 1]."""
    rebuilt = torch.cat([inverse.images(victim.leak(part)) for part in images.split(ASKED)])
    return float(F.mse_loss(rebuilt.clamp(0, 1), images))
