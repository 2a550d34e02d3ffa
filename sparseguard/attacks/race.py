"""Training that ends when it stops paying: every decoder by the same rule.

Updates double from rung to rung. After each one a decoder is validated; it ends when the doubling improved its
validation error by less than :data:`PAYS`, when a cap is hit, when it is so far behind that doubling once more, at the
same gain, would not bring it to the front, or when later rungs have no place for it (successive halving). One with
cheap updates that is ahead at the last rung goes on for further doublings. What is validated and kept is an average of
the weights whose length grows with the training (Karras et al., CVPR 2024, section 3), so that any moment is as good an
end as the end of a schedule made for it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..resuming import Kept
from .decoders import Member
from .muon import Muon
from .queries import Queries

PAYS = 0.1
"""dB of validation error below which a doubling of the updates did not pay."""
RUNGS, SHORTEST = 6, 32
"""Rungs up to the cap, each twice the one before, and the least updates of the first."""
ALL = 3
"""Rungs that every decoder takes part in."""
PATIENCE = 2
"""Rungs after which a doubling can end it: a slow start is no end."""
WARM_UP, STEADY = 50, 256
"""Updates over which the learning rate rises, and from which on it falls as their inverse root."""
FEW = 1000
"""Images of the attacker's own below which weights shrink: a U-Net rebuilds 0.5 to 0.8 dB more from 225 images for it,
0.3 dB more from 900, and less from 4,000 (``benchmarks/attackers.py --decay``)."""
LONGEST_GRADIENT = 1.0
"""Longer ones are shortened: leaks of any target have to be learned without a learning rate of its own."""
POWER = 6.94
"""Weights of update t count as t^POWER: the average spans a tenth of the training."""


def decibels(error: float) -> float:
    """Of a mean squared error of images in [0, 1].

    >>> round(decibels(0.01), 6)
    20.0
    """
    return -10 * math.log10(max(error, 1e-12))


@dataclass
class Runner:
    """One decoder in training.

    ``course`` holds the validation error after each rung by updates; ``best`` the lowest with its weights.
    """

    network: nn.Module
    member: Member
    queries: Queries
    course: dict[int, float] = field(default_factory=dict)
    best: tuple[float, dict[str, Tensor]] = field(init=False)
    dropped: bool = False

    def __post_init__(self) -> None:
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.best = math.inf, copy.deepcopy(self.average.state_dict())
        self._optimizer = Muon(
            self.network, self.member.learning_rate, self.member.weight_decay if self.queries.own < FEW else 0.0
        )
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        self._batches = self.queries.batches(self.member.batch_size, generator)
        self._updates = 0

    def state_dict(self) -> dict[str, Any]:
        """What its training goes on with, but for the course."""
        networks = [self.network.state_dict(), self.average.state_dict(), self.best[1]]
        return {"networks": networks, "optimizer": self._optimizer.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with that; its course is there already."""
        network, average, best = state["networks"]
        self.network.load_state_dict(network)
        self.average.load_state_dict(average)
        self.best = self.best[0], best
        self._optimizer.load_state_dict(state["optimizer"])
        self._skip(state["updates"])

    def _skip(self, updates: int) -> None:
        while self._updates < updates:
            self._updates += 1
            next(self._batches)

    def recall(self, updates: int, error: float) -> None:
        """What :meth:`run` and :meth:`validate` came to in an earlier process, but for the weights."""
        self._skip(updates * self.member.pace)
        self.validate(error)

    def run(self, updates: int, device: str, after: Callable[[], None] = lambda: None) -> None:
        """Train up to so many updates of the U-Net, at the decoder's own pace; ``after`` is called after each."""
        weights: list[Tensor] = list(self.network.parameters())
        averages: list[Tensor] = list(self.average.parameters())
        self.network.train()
        while self._updates < updates * self.member.pace:
            self._updates += 1
            index = next(self._batches)
            leak, truth = self.queries.leaks(index), self.queries.images[index]
            loss = F.mse_loss(self.network(leak.to(device)), truth.to(device))
            rate = min(1.0, self._updates / WARM_UP) / max(1.0, self._updates / STEADY) ** 0.5
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, LONGEST_GRADIENT)
            self._optimizer.step(self.member.learning_rate * rate)
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 1 - (1 - 1 / self._updates) ** (POWER + 1))
            after()

    def validate(self, error: float) -> None:
        """Write down the error that the average has now."""
        self.course[self._updates] = error
        if error < self.best[0]:
            self.best = error, copy.deepcopy(self.average.state_dict())

    @property
    def gain(self) -> float:
        """dB that the last doubling gained; infinite before the first."""
        errors = list(self.course.values())
        return decibels(errors[-1]) - decibels(errors[-2]) if len(errors) > 1 else math.inf

    @property
    def outlook(self) -> float:
        """dB after a further doubling, if that gained as much as the last one did."""
        return decibels(self.best[0]) + max(self.gain, 0.0)

    @property
    def expected(self) -> float:
        """The same if it gained half as much: gains of decoders that learn about halve from doubling to doubling."""
        return decibels(self.best[0]) + max(self.gain, 0.0) / 2

    @property
    def paying(self) -> bool:
        """A further doubling can be expected to pay."""
        return not self.dropped and (len(self.course) <= PATIENCE or self.gain >= PAYS)


def rungs(cap: int) -> list[int]:
    """Updates at which decoders are validated.

    >>> rungs(4096)
    [128, 256, 512, 1024, 2048, 4096]
    """
    found = [cap >> k for k in range(RUNGS)]
    return [updates for updates in reversed(found) if updates >= SHORTEST or updates == cap]


def places(rung: int, count: int) -> int:
    """How many decoders take part in a rung, of so many rungs: all in the first three, then three, in the last one.

    >>> [places(rung, 6) for rung in range(3, 6)], places(1, 2) > 100
    ([3, 3, 1], True)
    """
    return 10**9 if rung < ALL else 3 if rung < count - 1 else 1


def hopeless(runner: Runner, first: float) -> bool:
    """What it can hope for does not reach ``first``, the best so far in dB."""
    return runner.outlook < first


def race(runners: Mapping[str, Runner], score: Callable[[nn.Module], float], cap: int, device: str) -> None:
    """Train all until no doubling pays, dropping those that cannot win.

    A race that was interrupted is decided anew from the errors that were found, and goes on with the weights.

    Args:
        runners: by name; what came of each is found in it.
        score: validation error of a network.
        cap: most updates of each.
    """
    steps, errors = rungs(cap), list[float]()
    kept = Kept("race", *runners.values())
    known: list[float] | None = kept.read()

    def keep() -> None:
        if kept.due:
            kept.keep(errors)

    def leg(runner: Runner, updates: int) -> None:
        nonlocal known
        if known is not None and len(errors) == len(known):
            kept.restore()
            known = None
        if known is None:
            runner.run(updates, device, keep)
            errors.append(score(runner.average))
            runner.validate(errors[-1])
        else:
            errors.append(known[len(errors)])
            runner.recall(updates, errors[-1])

    for rung, updates in enumerate(steps):
        if rung >= ALL:
            last = rung == len(steps) - 1
            ranked = sorted(runners.values(), key=lambda r: -(r.expected if last else r.outlook))
            for runner in ranked[places(rung, len(steps)) :]:
                runner.dropped = True
        for runner in [r for r in runners.values() if r.paying]:
            leg(runner, updates)
        first = max((decibels(r.best[0]) for r in runners.values()), default=-math.inf)
        for runner in [r for r in runners.values() if r.paying and rung >= ALL - 1]:
            runner.dropped = hopeless(runner, first)
    for ahead in sorted((r for r in runners.values() if r.paying), key=lambda r: r.best[0])[:1]:
        for further in range(ahead.member.further):
            if ahead.paying:
                leg(ahead, 2 * cap << further)
