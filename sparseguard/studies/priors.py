"""What an attacker's prior draws by itself, before any target is searched: how good it is, and what it looks like."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from .. import metrics as measure
from ..data import judge_images, load_data
from ..device import default_device, device_name
from ..experiment import Experiment
from ..priors import make_prior
from ..scales import check_scale
from ..store import Cell, Store
from .recalled import Recalled

DRAWN, SHOWN = 1000, 16
"""Images that are measured, and of them those that are kept."""


@dataclass(frozen=True)
class Drawn:
    """What a prior draws.

    Attributes:
        prior: its name.
        seed: of the split whose hold-out images it learned from.
        images: the first of them, ``(K, C, H, W)`` in [0, 1].
        confidence, confidence_held: mean probability of the class that the judge finds likeliest, in drawn images and
            in hold-out images.
        accuracy: share in which the judge sees the label that was asked for; ``None`` where the prior has no labels.
        fd_judge: Fréchet distance in the judge's features to hold-out images that the prior did not learn from.
        coverage: share of these that have a drawn image among their nearest.
        classes: share of the classes that the judge sees in one drawn image of a hundred or more.
        seconds: of all this: the judge's training and the metrics, and the prior's where it was not at hand.
    """

    prior: str
    seed: int
    images: Tensor
    confidence: float
    confidence_held: float
    accuracy: float | None
    fd_judge: float
    coverage: float
    classes: float
    seconds: float
    device: str


def drawn(
    dataset: str,
    priors: Sequence[str],
    scale: str,
    seeds: Sequence[int] | int,
    store: Store | None = None,
    measure: bool = True,
) -> list[Drawn]:
    """Every prior and seed, read from the store where it was measured before.

    Args:
        priors: names, as the attacks' option ``prior`` has them.
        measure: else only what the store has.

    Raises:
        ValueError: anything that is not allowed.
    """
    every = [seeds] if isinstance(seeds, int) else list(seeds)
    studies = [_study(dataset, prior, scale, seed) for prior in priors for seed in every]
    found = [study.measured(store) if measure else study.stored(store) for study in studies]
    return [one for one in found if one is not None]


def _study(dataset: str, prior: str, scale: str, seed: int) -> Recalled[Drawn]:
    cell = Experiment(dataset, scale=scale, seed=seed, attack="leak_matching", attack_options={"prior": prior})
    names = [field.name for field in fields(Drawn) if field.name not in ("prior", "seed", "images")]

    def restore(record: dict[str, Any], arrays: dict[str, Tensor]) -> Drawn:
        return Drawn(prior, seed, arrays["images"], **{name: record[name] for name in names})

    return Recalled({"study": "priors", "images": DRAWN}, lambda: _compute(cell, prior), restore, cell)


def drawn_labels(known: Tensor, count: int) -> Tensor:
    """The labels that a labelled prior of these draws images of, in its order: those that it has seen, in turn.

    >>> drawn_labels(torch.tensor([3, 0, 3]), 4).tolist()
    [0, 3, 0, 3]
    """
    present: Tensor = known.unique()
    return present[torch.arange(count) % len(present)]


@torch.no_grad()
def _compute(cell: Experiment, prior: str) -> Cell:
    start, device, scale = time.perf_counter(), default_device(), check_scale(cell.scale)
    split = load_data(cell.dataset, cell.scale, cell.seed)
    known = cell.holdout_images(split)
    with torch.enable_grad():
        model = make_prior(prior, known.images, known.labels, scale, device)
    images = model.sample(DRAWN, torch.Generator(device).manual_seed(cell.seed)).cpu()
    with torch.enable_grad():
        judge = measure.train_judge(judge_images(cell.dataset, cell.scale), scale, cell.seed, device)
    features, held = (measure.judge_features(judge, of) for of in (images, split.held_images))
    seen = judge.classifier(features.to(device)).softmax(1).cpu()
    asked = drawn_labels(split.attack_labels, DRAWN)
    shares = torch.bincount(seen.argmax(1), minlength=len(split.classes)) / DRAWN
    record = {
        "confidence": float(seen.max(1).values.mean()),
        "confidence_held": float(judge.classifier(held.to(device)).softmax(1).max(1).values.mean()),
        "accuracy": float((seen.argmax(1) == asked).float().mean()) if prior == "labelled" else None,
        "fd_judge": measure.frechet_distance(features.double().numpy(), held.double().numpy()),
        "coverage": measure.manifolds(held, features)["coverage"],
        "classes": float((shares >= 0.01).float().mean()),
        "seconds": time.perf_counter() - start,
        "device": device_name(device),
    }
    return record, {"images": images[:SHOWN].clone()}
