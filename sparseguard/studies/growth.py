"""The first sparse layer of a target as the number of images grows: what its dictionary and its codes are, and cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from ..bending import bend
from ..checks import whole
from ..data import load_data, taken, whole_pool
from ..device import default_device, device_name
from ..experiment import Experiment
from ..scales import check_scale
from ..sparse import SparseCoding2d
from ..store import Cell, Store
from .recalled import Recalled

FRESH = 1000
"""Images that no dictionary is made of: energies and the time of a code are measured on them. A fifth of all, if there
are fewer than five times as many."""
CHUNK = 100
"""Images that are coded, or bent, at a time."""


@dataclass(frozen=True)
class Grown:
    """A layer with a dictionary that was made of so many images.

    Seconds are those of the processor, all threads together, so that other work on the machine does not count; beside a
    GPU they are of the processor that waits for it.

    Attributes:
        experiment: whose first sparse layer it is.
        images, copies: that the dictionary was made of, and how many of them are bent copies of others.
        energy: of eq. 1 of fresh images, over that of their zero codes.
        active: share of neurons that are active on them.
        seconds_dictionary: of learning or choosing the features.
        seconds_code: of the code of one fresh image, the median over batches.
        device: that computed it.
        shipped: when it was packed and of which version, if it came with the package.
    """

    experiment: Experiment
    images: int
    copies: int
    energy: float
    active: float
    seconds_dictionary: float
    seconds_code: float
    device: str
    shipped: str | None = None

    @property
    def seconds(self) -> float:
        """Of the dictionary, and of the codes of all its images."""
        return self.seconds_dictionary + self.images * self.seconds_code


def grown(
    experiments: Sequence[Experiment], sizes: Sequence[int], store: Store | None = None, measure: bool = True
) -> list[Grown]:
    """Every experiment with every number of images, read from the store where it was measured before.

    Images are those of the data set that the experiment's scale has at hand; where these are fewer, bent copies make up
    the rest. A learned dictionary takes one update (:meth:`SparseCoding2d.learn`) a batch, and each image once.

    Args:
        experiments: of sparse defenses; what attacks them does not matter.
        sizes: numbers of images.
        measure: else only what the store has.

    Raises:
        ValueError: an experiment without a sparse layer, or a size that is no whole number from 1 on.
    """
    for e in experiments:
        if e.family != "sparse":
            raise ValueError(f"a dictionary grows in a sparse layer; {e.defense!r} has none.")
    studies = [_study(e, whole("sizes", size)) for size in sizes for e in experiments]
    found = [study.measured(store) if measure else study.stored(store) for study in studies]
    return [one for one in found if one is not None]


def _study(e: Experiment, size: int) -> Recalled[Grown]:
    own = {"study": "growth", "images": size, "fresh": FRESH}
    return Recalled(own, lambda: _compute(e, size), lambda record, _: Grown(e, size, **record), e)


def _compute(e: Experiment, size: int) -> Cell:
    device = default_device()
    fresh, images, copies = gathered(e, size)
    layer = _first_layer(e).to(device)
    make, batch_size = MAKERS[e.options.get("dictionary", "learned")], check_scale(e.scale).batch_size
    with torch.random.fork_rng():
        make(deepcopy(layer), images[:batch_size], batch_size)  # compiled before the clock runs
        torch.manual_seed(e.seed)
        start = time.process_time()
        make(layer, images, batch_size)
        layer.dictionary.sum().item()  # a GPU has done what it was told
        seconds_dictionary = time.process_time() - start
    codes, seconds = [], []
    layer(fresh[:CHUNK].to(device))
    for part in fresh.split(CHUNK):
        start = time.process_time()
        codes.append(layer(part.to(device)))
        codes[-1].sum().item()
        seconds.append((time.process_time() - start) / len(part))
    active = sum(float((code != 0).float().mean((1, 2, 3)).sum()) for code in codes) / len(fresh)
    parts = list(zip((part.to(device) for part in fresh.split(CHUNK)), codes))
    energy = sum(float(layer.energy(x, code).sum()) for x, code in parts)
    zero = sum(float(layer.energy(x, torch.zeros_like(code)).sum()) for x, code in parts)
    record = {
        "copies": copies,
        "energy": energy / zero,
        "active": active,
        "seconds_dictionary": seconds_dictionary,
        "seconds_code": median(seconds),
        "device": device_name(device),
    }
    return record, {}


def gathered(e: Experiment, size: int) -> tuple[Tensor, Tensor, int]:
    """Fresh images, ``size`` others, ``(N, C, H, W)`` in [0, 1], and how many of the latter are bent copies."""
    pool = whole_pool(e.dataset, check_scale(e.scale))
    chance = torch.Generator().manual_seed(e.seed)
    order = torch.randperm(len(pool.labels), generator=chance)
    apart = min(FRESH, len(order) // 5)

    fresh, real = (taken(pool, part).images[:] for part in (order[:apart], order[apart : apart + size]))
    copied = torch.arange(size - len(real)) % len(real)
    copies = [bend(real[part], chance) for part in copied.split(CHUNK) if len(part)]
    images = torch.cat([real, *copies])
    return fresh, images[torch.randperm(size, generator=chance)], len(copied)


def _first_layer(e: Experiment) -> SparseCoding2d:
    with torch.random.fork_rng():
        torch.manual_seed(e.seed)
        target = e.make_defense().build(load_data(e.dataset, e.scale, e.seed), e.setting, check_scale(e.scale))
    layers = [module.requires_grad_(False) for module in target.front if isinstance(module, SparseCoding2d)]
    return layers[0]


@torch.no_grad()
def _learn(layer: SparseCoding2d, images: Tensor, batch_size: int) -> None:
    for part in images.split(batch_size):
        batch = part.to(layer.dictionary.device)
        layer.learn(batch, layer(batch))


def _choose(layer: SparseCoding2d, images: Tensor, batch_size: int) -> None:
    layer.choose(images)


MAKERS: dict[str, Callable[[SparseCoding2d, Tensor, int], None]] = {"learned": _learn, "submodular": _choose}
"""By the option ``dictionary`` of the sparse defenses."""
