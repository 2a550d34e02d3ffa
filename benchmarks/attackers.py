"""How the decoders of the attack learn, by learning rate and batch size, on three targets together.

    python benchmarks/attackers.py                                  # all decoders, the learning rates around today's
    python benchmarks/attackers.py --decoder unet --rate 1e-3 --rate 2e-3 --batch 16 --batch 32
    python benchmarks/attackers.py --decoder unet --rate 5e-3 --decay 0 --decay 1 --updates 2048
    python benchmarks/attackers.py --copies                         # with and without bent copies
    python benchmarks/attackers.py --optimizers --decoder unet      # Muon and Adam, each at the rates given
    python benchmarks/attackers.py --halving                        # does dropping losers ever drop the winner?

Targets: ``none``, ``none_conv`` and settled ``sparse_guard`` (λ 0.5), MNIST, split, scale ``quick``, one seed. Printed:
dB of validation error after each rung of updates, and seconds of the processor; then, for each decoder, the choice with
the best mean over the targets. The private images are not looked at.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from statistics import mean
from typing import Annotated
from unittest import mock

import torch
import typer
from torch import nn

from sparseguard import Experiment, load_data
from sparseguard.access import BlackBox
from sparseguard.attacks import Holdout, Inversion, race
from sparseguard.attacks.decoders import DECODERS
from sparseguard.attacks.muon import BETAS, Muon
from sparseguard.attacks.race import decibels
from sparseguard.data import Split
from sparseguard.deployed import train_target
from sparseguard.scales import SCALES

TARGETS = ("none", "none_conv", "sparse_guard")


def boxes(scale: str, setting: str, seed: int) -> tuple[Split, dict[str, BlackBox]]:
    """The deployed targets, and the split that they share."""
    split = load_data("mnist", scale, seed)
    cells = [Experiment("mnist", setting, name, scale=scale, seed=seed) for name in TARGETS]
    return split, {cell.defense: BlackBox(train_target(cell, split, "cpu")) for cell in cells}


def course(box: BlackBox, split: Split, scale: str, updates: int, decoders: tuple[str, ...], bent: bool = True) -> str:
    """dB after each rung of every decoder, and seconds."""
    torch.manual_seed(0)
    start = time.process_time()
    attack = Inversion(decoders=decoders, updates=updates, bent=bent)
    fitted = attack.fit(box, Holdout(split.attack_images, split.held_images), SCALES[scale])
    told = [
        f"{name} " + ", ".join(f"{count}: {decibels(error):.2f}" for count, error in rungs)
        for name, rungs in fitted.details["courses"].items()
    ]
    last = [decibels(min(error for _, error in rungs)) for rungs in fitted.details["courses"].values()]
    LAST.append(mean(last))
    return f"{'; '.join(told)} ({time.process_time() - start:.0f} s)"


LAST: list[float] = []


class Adam(Muon):
    """In Muon's place."""

    def __init__(self, network: nn.Module, rate: float, weight_decay: float = 0.0) -> None:
        super().__init__(network, rate, weight_decay)
        self._alike, self._adam = {}, torch.optim.Adam(self.parameters, lr=rate, betas=BETAS)


def main(
    decoder: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    rate: Annotated[list[float] | None, typer.Option(help="learning rates; repeat for several")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="batch sizes; repeat for several")] = None,
    decay: Annotated[list[float] | None, typer.Option(help="weight decays; repeat for several")] = None,
    updates: int = 1024,
    setting: str = "split",
    scale: str = "quick",
    seed: int = 0,
    copies: bool = False,
    optimizers: bool = False,
    halving: bool = False,
) -> None:
    """Print the courses."""
    torch.set_num_threads(1)
    split, targets = boxes(scale, setting, seed)
    if halving:
        for name, box in targets.items():
            everybody = {"hopeless": lambda runner, first: False, "places": lambda rung, count: len(DECODERS)}
            for label, rules in (("as it is", {}), ("nobody dropped", everybody)):
                with ExitStack() as changed:
                    for rule, instead in rules.items():
                        changed.enter_context(mock.patch.object(race, rule, instead))
                    print(f"{name}, {label}: {course(box, split, scale, updates, SCALES[scale].decoders)}", flush=True)
        return
    for member in decoder or list(DECODERS):
        usual = DECODERS[member]
        found: dict[str, float] = {}
        rates = rate or [usual.learning_rate / 2, usual.learning_rate, usual.learning_rate * 2]
        decays = decay or [usual.weight_decay]
        for chosen in product(rates, batch or [usual.batch_size], decays):
            kinds = [(bent, kind) for bent in (True, False)[: 1 + copies] for kind in (Muon, Adam)[: 1 + optimizers]]
            for bent, kind in kinds:
                LAST.clear()
                trial = replace(usual, learning_rate=chosen[0], batch_size=chosen[1], weight_decay=chosen[2])
                note = f"{kind.__name__} at {chosen[0]:g}, batch {chosen[1]}, decay {chosen[2]:g}"
                note += "" if bent else ", own images alone"
                with mock.patch.dict(DECODERS, {member: trial}), mock.patch.object(race, "Muon", kind):
                    for name, box in targets.items():
                        print(f"{name}, {note}: {course(box, split, scale, updates, (member,), bent)}", flush=True)
                found[note] = mean(LAST)
        best = max(found, key=lambda note: found[note])
        print(f"{member}: best mean over targets {found[best]:.2f} dB with {best}\n", flush=True)


if __name__ == "__main__":
    typer.run(main)
