"""One run of an experiment: train and deploy the target, let the attack learn, measure what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import metrics as measure
from .access import BlackBox, Victim, grant
from .data import Split, fingerprint, judge_images, load_data
from .deployed import RESUMED, deployable, train_target
from .device import device_name, undisturbed
from .ondisk import Gathering, large
from .result import METRICS, OF_CLASSES, OF_PRIOR, OF_VICTIM, Result
from .resuming import into, rounds
from .scales import check_scale
from .store import Store
from .targets import Target

if TYPE_CHECKING:
    from .attacks import Found
    from .experiment import Experiment

FID_NOT_ASKED = (
    "FID was not asked for: set fid=True, at a scale with at least 2048 private images (medium, paper); the Inception "
    "weights are downloaded then, or beforehand by `python -m sparseguard data fid`."
)
BATCH = 250
"""Images that are rebuilt at a time."""
MEASURED = 50
"""Images that are compared at a time."""
PER_IMAGE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": measure.psnr, "ssim": measure.ssim}
JUDGES = ".judges"
"""Folder of a store: trained judges; it may be deleted at any time."""
STAGES = ("training the target", "training the attackers", "measuring")


@lru_cache(maxsize=2)
def _judged_split(
    dataset: str, content: str, scale: str, seed: int, device: str, folder: Path | None, made: tuple[int, int]
) -> tuple[Split, measure.Judge]:
    """The split and its judge, shared by all defenses of a notebook, and by all processes with one store.

    ``content`` tells a changed file, and ``made`` other versions of data and metrics.
    """
    split = load_data(dataset, scale, seed)
    sizes = check_scale(scale)

    def train() -> measure.Judge:
        return measure.train_judge(judge_images(dataset, scale), sizes, seed, device)

    if folder is None:
        return split, train()
    key = {"judge": content, "sizes": sizes.sizes(()), "seed": seed, "device": device, "versions": list(made)}
    store = Store(folder / JUDGES, shipped=False)
    _, weights = store.recall(key | {"torch": torch.__version__}, lambda: ({"judge": dataset}, train().state_dict()))
    with torch.random.fork_rng():
        judge = measure.Judge(split.image_shape[0], len(split.classes))
    judge.load_state_dict(weights)
    return split, judge.to(device).eval().requires_grad_(False)


def _split_of(experiment: Experiment, device: str, folder: Path | None) -> tuple[Split, measure.Judge]:
    dataset, versions = experiment.dataset, experiment.versions()
    made = versions["data"], versions["metrics"]
    return _judged_split(dataset, fingerprint(dataset), experiment.scale, experiment.seed, device, folder, made)


@lru_cache(maxsize=1)
def _deployable(experiment: Experiment, content: str, device: str, folder: Path | None) -> tuple[Target, float]:
    """The trained target and the seconds that took, shared by the attacks on it; ``content`` tells a changed file."""
    split, _ = _split_of(experiment, device, folder)
    return deployable(experiment, split, device, folder)


@contextmanager
def trained(experiment: Experiment, split: Split, device: str) -> Iterator[Target]:
    """The trained target, for whoever measures something else on it."""
    with undisturbed():
        yield train_target(experiment, split, device)


def compared(originals: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
    """What is measured image by image: ``(N,)`` each."""
    found = {name: torch.empty(len(originals), dtype=torch.float64) for name in PER_IMAGE}  # in one piece: small ones
    for start in range(0, len(originals), MEASURED):  # between large ones keep those from being given back
        part = slice(start, start + MEASURED)
        a, b = originals[part], reconstructions[part]
        for name, metric in PER_IMAGE.items():
            found[name][part] = metric(a, b)
    return found


def resembled(images: Tensor, labels: Tensor, split: Split) -> Tensor:
    """For each image ``(K, C, H, W)`` the private one of its class that is nearest to it, pixel by pixel."""
    return split.train_images[measure.nearest_of_class(images, labels, split.train_images, split.train_labels)]


def of_classes(found: Found, split: Split, judge: measure.Judge) -> tuple[dict[str, float | None], dict[str, Tensor]]:
    """The metrics :data:`OF_CLASSES` and :data:`OF_PRIOR`, and what is measured image by image of the control."""
    labels, sets = found.labels, ((split.train_images, split.train_labels), (split.held_images, split.held_labels))
    known = [(measure.judge_features(judge, images), of) for images, of in sets]
    counts = torch.stack([of.bincount(minlength=len(split.classes)) for _, of in known]).min(0).values

    def measured(images: Tensor) -> dict[str, float | None]:
        features = measure.judge_features(judge, images)
        private, holdout = (
            float(measure.distance_to_class(features, labels, near, of, counts).nanmean()) for near, of in known
        )
        few = len(split.classes) <= 5
        return {
            "judge_top5": None if few else measure.judge_accuracy(judge, images, labels, 5),
            "judge_confidence": measure.judge_confidence(judge, images, labels),
            "distance_private": private,
            "distance_holdout": holdout,
            **measure.manifolds_of_classes(*known[0], features, labels),
        }

    pairs = compared(resembled(found.prior_only, labels, split), found.prior_only)
    prior_only = measured(found.prior_only) | {
        **{name: float(values.mean()) for name, values in pairs.items()},
        "fd_judge": measure.fd_judge(judge, split.train_images, found.prior_only),
        "judge_accuracy": measure.judge_accuracy(judge, found.prior_only, labels),
    }
    numbers = measured(found.images) | {f"{name}_prior_only": number for name, number in prior_only.items()}
    return numbers, {f"{name}_prior_only": values for name, values in pairs.items()}


def _accuracy(box: BlackBox, split: Split) -> float:
    """Of the target as it answers now, on images that nobody learned from."""
    return float((box.classify(split.held_images).argmax(1) == split.held_labels).float().mean())


def run(experiment: Experiment, device: str, show: Callable[[str], None], folder: Path | None = None) -> Result:
    """Compute a cell; ``show`` is told the name of each stage, one of :data:`STAGES`.

    Args:
        folder: of the store: trained targets are kept there, and an attack that was interrupted goes on.

    Raises:
        ValueError: unusable images.
        ArithmeticError: training diverged, or an attack or a metric came to no number.
    """
    scale = check_scale(experiment.scale)
    content = fingerprint(experiment.dataset)
    with undisturbed():
        split, judge = _split_of(experiment, device, folder)
        show(STAGES[0])
        target, seconds_target = _deployable(experiment.unattacked(), content, device, folder)
    going = folder and folder / RESUMED / experiment.key() / device.replace(":", "-")
    with undisturbed(), into(going) as course:
        attack = experiment.make_attack()
        box = grant(attack.access, target)
        torch.manual_seed(experiment.seed)
        accuracy = _accuracy(box, split)

        show(STAGES[1])
        before = course.seconds
        torch.manual_seed(experiment.seed)  # an attack does not depend on how much chance the training used
        known = experiment.holdout_images(split)
        fitted = attack.fit(box, known, scale, device)
        seconds_attack = course.seconds - before

        show(STAGES[2])
        before = course.seconds
        private, labels, found = split.train_images, split.train_labels, fitted.found
        gathering, unclipped = Gathering(), Gathering()
        parts = range(0 if found else math.ceil(len(private) / BATCH))
        at_once = large(4 * private.numel()) or isinstance(box, Victim)
        for k in parts if at_once else rounds(len(parts), "rebuilding", gathering):
            rebuilt = fitted.reconstruct(attack.observe(box, private[k * BATCH : (k + 1) * BATCH]))
            if not bool(torch.isfinite(rebuilt).all()):
                raise ArithmeticError(f"{experiment.label}: the attack's reconstructions are not finite.")
            gathering.add(rebuilt.clamp(0, 1))
            if isinstance(box, Victim):
                unclipped.add(rebuilt)
        originals, reconstructions = (
            (private, gathering.done())
            if found is None
            else (resembled(found.images, found.labels, split), found.images)
        )
        guess = known.images.mean(0)
        per_image = compared(originals, reconstructions)
        guessed = compared(originals, guess.expand(len(originals), -1, -1, -1))
        further, of_control = ({}, {}) if found is None else of_classes(found, split, judge)
        if isinstance(box, Victim):
            further |= measure.as_released(private, unclipped.done())
            further["accuracy_after"] = _accuracy(box, split)
        fid: float | None = None
        fid_note: str | None = FID_NOT_ASKED
        if experiment.fid:
            fid, fid_note = measure.fid(private, reconstructions, scale.downloads, device)
        numbers: dict[str, float | None] = {
            "psnr": float(per_image["psnr"].mean()),
            "ssim": float(per_image["ssim"].mean()),
            "fid": fid,
            "fd_judge": measure.fd_judge(judge, private, reconstructions),
            "row_frechet": measure.row_frechet(originals, reconstructions),
            "judge_accuracy": measure.judge_accuracy(judge, reconstructions, found.labels if found else labels),
            "judge_accuracy_originals": measure.judge_accuracy(judge, private, labels),
            "accuracy": accuracy,
            "psnr_mean_image": float(guessed["psnr"].mean()),
            "ssim_mean_image": float(guessed["ssim"].mean()),
            "seconds_target": seconds_target,
            "seconds_attack": seconds_attack,
            **further,
            "seconds_evaluation": course.seconds - before,
        }
    of_victim = OF_VICTIM if isinstance(box, Victim) else ()
    assert set(numbers) == {*METRICS, *(() if found is None else (*OF_CLASSES, *OF_PRIOR)), *of_victim}
    for name, number in numbers.items():
        if number is not None and math.isnan(number):
            raise ArithmeticError(f"{experiment.label}: {name} is not a number.")
    details = {
        "attack": fitted.details,
        "pool": list(split.pool),
        "train_images": len(private),
        "attack_images": len(known.images),
        "device": device_name(device),
        "torch": torch.__version__,
        "notes": {"fid": fid_note} if fid_note else {},
        "facts": target.facts,
        "versions": experiment.versions(),
        "parameters": sum(p.numel() for p in target.parameters()),
    }
    kept = slice(0, scale.shown)
    return Result(
        experiment,
        numbers,
        {name: values.float() for name, values in (per_image | of_control).items()},
        originals[kept].clone(),
        reconstructions[kept].clone(),
        details,
        {name: tensor.cpu() for name, tensor in target.exhibits.items()},
    )
