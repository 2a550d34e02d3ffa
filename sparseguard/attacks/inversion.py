"""Model inversion with a surrogate inverse network (paper, section 4 "Attack" and A.4).

The attacker queries the deployed target with hold-out images, sees what leaks, and trains inverse networks on the
(leak, image) pairs, each in an optimiser of its own that holds nothing but that network's parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scales import Scale
from ..targets import BlackBox
from .attackers import ATTACKERS, Attacker

LEAKS_IN_MEMORY = 8 * 2**30
"""Bytes of leaks that are kept; beyond it every batch is queried again (the same answer, more computing)."""
LEARNING_RATE = 5e-3
"""Peak of each attacker's one-cycle schedule, for Adam."""
CHECKS = 6
"""Validations during the training of an attacker; the best state is kept."""


@dataclass(frozen=True)
class Inverter:
    """A trained attack.

    ``reconstruct`` maps leaks ``(N, ...)`` to images ``(N, C, H, W)`` in [0, 1]; ``best`` names the attacker that it
    uses, ``errors`` holds the best validation error (mean squared, images in [0, 1]) of each, ``updates`` the number of
    updates that each one took.
    """

    reconstruct: Callable[[Tensor], Tensor]
    best: str
    errors: dict[str, float]
    updates: int


@dataclass
class _Leaks:
    """Leaks of fixed images, batch by batch.

    A deterministic box is asked once an image, and the answers are kept where they fit into memory. A box that answers
    the same question differently is asked anew each time, as a real attacker would, and shows fresh noise each epoch.
    """

    box: BlackBox
    images: Tensor
    kept: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        probe = self.images[:2]
        first, second = self.box.query(probe), self.box.query(probe)
        size = first.element_size() * first[0].numel() * len(self.images)
        if torch.equal(first, second) and size <= LEAKS_IN_MEMORY:
            self.kept = self.box.query(self.images)

    def at(self, index: Tensor) -> Tensor:
        return self.kept[index] if self.kept is not None else self.box.query(self.images[index])


@dataclass(frozen=True)
class Inversion:
    """Train every attacker of the family on the same batches and keep the best by validation error.

    Example:
        >>> inverter = Inversion().fit(box, attack_images, held_images, scale)       # doctest: +SKIP
        >>> images = inverter.reconstruct(box.query(victims))                        # doctest: +SKIP
    """

    def fit(self, box: BlackBox, images: Tensor, validation: Tensor, scale: Scale, device: str = "cpu") -> Inverter:
        """Attack a box.

        Args:
            box: the deployed target.
            images: hold-out images that the attackers train on, ``(N, C, H, W)`` in [0, 1].
            validation: disjoint hold-out images that choose among attackers and stages of training.
            scale: budget: epochs, batch size, hidden units.
            device: where the attackers train.

        Raises:
            ArithmeticError: the leak is not finite.
        """
        leaks, checks = _Leaks(box, images), _Leaks(box, validation)
        sample = leaks.at(torch.arange(min(len(images), 250)))
        if not bool(torch.isfinite(sample).all()):
            raise ArithmeticError("the target leaks NaN or infinite values; it cannot be attacked.")
        mean, std = float(sample.mean()), max(float(sample.std()), 1e-12)
        shape, image_shape = tuple(sample.shape[1:]), tuple(images.shape[1:])
        attackers = {
            name: Attacker(ATTACKERS[name], shape, image_shape, scale.attack_hidden, mean, std).to(device)
            for name in scale.attackers
        }
        per_epoch = len(range(0, len(images), scale.attack_batch_size))
        updates = per_epoch * scale.attack_epochs
        optimizers = {name: torch.optim.Adam(net.parameters(), lr=LEARNING_RATE) for name, net in attackers.items()}
        schedules = [
            torch.optim.lr_scheduler.OneCycleLR(o, LEARNING_RATE, total_steps=updates) for o in optimizers.values()
        ]
        best = {name: (float("inf"), copy.deepcopy(net.state_dict())) for name, net in attackers.items()}
        check_at = {round(updates * (i + 1) / CHECKS) for i in range(CHECKS)}

        for step, index in enumerate(_batches(len(images), scale.attack_batch_size, scale.attack_epochs), start=1):
            leak, truth = leaks.at(index).to(device), images[index].to(device)
            for name, attacker in attackers.items():
                attacker.train()
                loss = F.mse_loss(attacker(leak), truth)
                optimizers[name].zero_grad()
                loss.backward()
                optimizers[name].step()
            for schedule in schedules:
                schedule.step()
            if step in check_at:
                for name, error in validation_errors(attackers, checks, validation, device).items():
                    if error < best[name][0]:
                        best[name] = (error, copy.deepcopy(attackers[name].state_dict()))

        errors = {name: error for name, (error, _) in best.items()}
        winner = min(errors, key=lambda name: errors[name])
        network = attackers[winner]
        network.load_state_dict(best[winner][1])
        network.eval()

        @torch.no_grad()
        def reconstruct(leak: Tensor) -> Tensor:
            images: Tensor = network(leak.to(device)).clamp(0, 1)
            return images.to(leak.device)

        return Inverter(reconstruct, winner, errors, updates)


def _batches(count: int, size: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count).split(size)


@torch.no_grad()
def validation_errors(
    attackers: dict[str, Attacker], leaks: _Leaks, images: Tensor, device: str, batch_size: int = 250
) -> dict[str, float]:
    """Mean squared error of clipped reconstructions, by attacker."""
    totals = dict.fromkeys(attackers, 0.0)
    for index in torch.arange(len(images)).split(batch_size):
        leak, truth = leaks.at(index).to(device), images[index].to(device)
        for name, attacker in attackers.items():
            attacker.eval()
            totals[name] += float((attacker(leak).clamp(0, 1) - truth).square().sum())
    return {name: total / images.numel() for name, total in totals.items()}
