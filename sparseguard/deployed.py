"""The trained target of an experiment: trained by one process for all that attack it, and kept beside the results.

What is kept may be deleted at any time, and the oldest goes by itself where all take more than :data:`ROOM`. A target
that cannot be put together again from its weights, bit for bit, is not kept: each process trains it for itself then.
"""

from __future__ import annotations

import shutil
import warnings
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .data import Split
from .leases import held
from .places import digest
from .resuming import into
from .scales import check_scale
from .store import LEASES, Cell, Store, Unwritable
from .targets import Target

if TYPE_CHECKING:
    from .experiment import Experiment

KEPT, RESUMED = ".targets", ".resume"
"""Folders of a store: of trained targets, and of what interrupted computations go on with."""
ROOM = 16 * 2**30
"""Bytes that kept targets take at most, but for the latest; one of the paper's size has 0.8 GB."""
COMPARED = 8
"""Images whose leaks have to be the same before a target is kept."""


def train_target(experiment: Experiment, split: Split, device: str) -> Target:
    """The trained target of an experiment on its split. Seeds torch's generator, which the caller keeps for himself."""
    scale = check_scale(experiment.scale)
    torch.manual_seed(experiment.seed)
    defense = experiment.make_defense()
    target = defense.build(split, experiment.setting, scale).to(device)
    defense.train(target, split, scale)
    return target


def deployable(experiment: Experiment, split: Split, device: str, folder: Path | None) -> tuple[Target, float]:
    """The trained target and the seconds that its training took, in whichever processes.

    Args:
        folder: of the store; ``None``: nothing is kept.

    Raises:
        ArithmeticError: training diverged.
    """
    if folder is None:
        with into(None) as course:
            return train_target(experiment, split, device), course.seconds
    name = digest({"target": experiment.target_key(), "device": device, "torch": torch.__version__})
    store = Store(folder / KEPT, shipped=False)
    with held(folder / LEASES, name):
        found = store.load(name)
        if found is not None:
            return _together(experiment, split, device, found), float(found[0]["seconds"])
        with into(folder / RESUMED / name) as course:
            target, seconds = train_target(experiment, split, device), course.seconds
        cell = _apart(target, seconds)
        try:
            if _same(target, _together(experiment, split, device, cell), split.held_images[:COMPARED].to(device)):
                store.save(name, *cell)
                _bound(folder, ROOM)
        except RuntimeError:  # weights that an untrained target has no place for
            pass
        except Unwritable as error:
            warnings.warn(f"a trained target is not kept: {error}", stacklevel=2)
        shutil.rmtree(folder / RESUMED / name, ignore_errors=True)
        return target, seconds


def _bound(folder: Path, most: int) -> None:
    """Remove the targets that were kept first, but those in use, until the others take no more than so many bytes."""
    with suppress(OSError):  # another process removes them too
        cells = [folder / KEPT / name for name in Store(folder / KEPT, shipped=False).names()]
        latest_first = sorted(cells, key=lambda cell: cell.stat().st_mtime, reverse=True)
        sizes = [sum(file.stat().st_size for file in cell.iterdir()) for cell in latest_first]
        for cell, total in [*zip(latest_first, accumulate(sizes), strict=True)][1:]:
            if total > most:
                with held(folder / LEASES, cell.name, wait=False) as free:
                    if free:
                        shutil.rmtree(cell, ignore_errors=True)


def _apart(target: Target, seconds: float) -> Cell:
    weights = {f"weights.{name}": tensor for name, tensor in target.state_dict().items()}
    exhibits = {f"exhibits.{name}": tensor for name, tensor in target.exhibits.items()}
    return {"facts": target.facts, "seconds": seconds}, weights | exhibits


def _together(experiment: Experiment, split: Split, device: str, cell: Cell) -> Target:
    record, tensors = cell

    def group(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(name): t.to(device) for key, t in tensors.items() if key.startswith(name)}

    defense = experiment.make_defense()
    with torch.random.fork_rng():
        target = defense.build(split, experiment.setting, check_scale(experiment.scale))
    defense.deploy(target)
    target.to(device).load_state_dict(group("weights."))
    target.facts, target.exhibits = dict(record["facts"]), group("exhibits.")
    return target.eval()


@torch.no_grad()
def _same(one: Target, other: Target, images: Tensor) -> bool:
    seen = []
    for target in (one, other):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            seen.append((target.leak(images), target(images)))
    return str(one) == str(other) and all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
