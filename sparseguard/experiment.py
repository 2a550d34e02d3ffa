"""An experiment: the only place that knows data, defenses, black box, attacks, metrics and the store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from . import metrics as measure
from .access import grant
from .attacks import ATTACKS, Attack
from .checks import positive, seed_of, whole
from .data import Split, attack_images, check_dataset, fingerprint, judge_images, load_data
from .defenses import DEFENSES, Defense
from .device import default_device, device_name
from .registry import label
from .result import METRICS, Result
from .scales import check_scale
from .store import Store, digest
from .targets import Target, check_setting

VERSIONS = {"data": 1, "targets": 1, "metrics": 1}
"""Each is raised whenever what its room makes of the same input is another thing. A defense and an attack have a
``revision`` of their own, and the sizes of a scale speak for themselves, so that other cells are still read."""
USUAL_ATTACK = "inversion"
"""Labels of rows leave it out; captions name it."""

FID_NOT_ASKED = (
    "FID was not asked for: set fid=True, at a scale with at least 2048 private images (paper); the Inception weights "
    "are downloaded then, or beforehand by `python -m sparseguard data fid`."
)
STAGES = ("training the target", "training the attackers", "measuring")


@dataclass(frozen=True)
class Experiment:
    """One cell of a table.

    Args:
        dataset: ``"mnist"``, ``"fashion_mnist"`` or the path of an ``.npz`` file.
        setting: ``"end_to_end"`` (the last hidden layer leaks) or ``"split"`` (the first dense layer does).
        defense: one of :func:`sparseguard.list_defenses`.
        lam: sparsity of the sparse defenses, one number or one a layer; ``None`` is the defense's default. Defenses
            without a sparse layer have none: it is set to ``None``.
        attack: one of :func:`sparseguard.list_attacks`.
        scale: ``"smoke"``, ``"quick"`` or ``"paper"``.
        seed: of the split, of all weights, batches and noise; a whole number from 0 on.
        options: further options of the defense, for example ``{"b": 1.0}``.
        fid: measure FID where the Inception weights can be had (slow without a GPU).
        attack_options: options of the attack, for example ``{"views": 16}``.
        holdout: hold-out images that the attacker learns from; ``None``: those of the scale's split. More are taken
            from the images that the scale leaves aside.
        holdout_from: data set of the attacker's images, to learn from and to choose by; ``None``: the experiment's own.

    Raises:
        ValueError: anything that is not allowed; the message names the value and what is allowed.

    Example:
        >>> result = Experiment(dataset="mnist", setting="split", defense="none", scale="smoke").run(store=None)
        >>> sorted(result.metrics)[:2], tuple(result.originals.shape)
        (['accuracy', 'fd_judge'], (4, 1, 28, 28))
    """

    dataset: str = "mnist"
    setting: str = "end_to_end"
    defense: str = "none"
    lam: float | tuple[float, ...] | None = None
    attack: str = "inversion"
    scale: str = "quick"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    fid: bool = True
    attack_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    holdout: int | None = None
    holdout_from: str | None = None

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        check_setting(self.setting)
        check_scale(self.scale)
        seed_of(self.seed)
        if self.holdout is not None:
            whole("holdout", self.holdout)
        if self.holdout_from is not None:
            check_dataset(self.holdout_from)
            object.__setattr__(self, "holdout_from", None if self.holdout_from == self.dataset else self.holdout_from)
        if "lam" in self.options:
            raise ValueError(f"lam is a field of its own, not one of the options {dict(self.options)!r}.")
        # one spelling for each cell: floats, tuples, no option that only repeats the default
        lam, takes_lam = self.lam, "lam" in DEFENSES.options(self.defense)
        if lam is not None:
            lam = tuple(positive("lam", v) for v in lam) if isinstance(lam, tuple | list) else positive("lam", lam)
        given = _tuples(self.options) | ({} if lam is None or not takes_lam else {"lam": lam})
        spelled = {key: value for key, value in DEFENSES.spelled(self.defense, given).items() if key != "lam"}
        object.__setattr__(self, "lam", getattr(DEFENSES.make(self.defense, given), "lam", None))
        object.__setattr__(self, "options", spelled)
        attack_options = ATTACKS.spelled(self.attack, _tuples(self.attack_options))
        object.__setattr__(self, "attack_options", attack_options)

    def make_defense(self) -> Defense:
        """The defense with its options."""
        lam = {} if self.lam is None else {"lam": self.lam}
        return DEFENSES.make(self.defense, lam | dict(self.options))

    def make_attack(self) -> Attack:
        """The attack with its options."""
        return ATTACKS.make(self.attack, self.attack_options)

    def unattacked(self) -> Experiment:
        """The cell of the usual attack on the same target: what all attacks on it share."""
        return replace(self, attack=USUAL_ATTACK, attack_options={}, holdout=None, holdout_from=None, fid=False)

    def holdout_images(self, split: Split) -> tuple[Tensor, Tensor]:
        """The images that the attacker learns from, and those that he chooses by."""
        if self.holdout_from is not None:
            other = load_data(self.holdout_from, self.scale, self.seed)
            if other.image_shape != split.image_shape:
                raise ValueError(
                    f"holdout_from must name images of shape {split.image_shape}, not {self.holdout_from} with "
                    f"{other.image_shape}."
                )
            split = other
        return attack_images(split, self.scale, self.holdout), split.held_images

    @property
    def strength(self) -> Any:
        """Value of the option that is the defense's strength; ``None`` if it has none."""
        defense = self.make_defense()
        return None if defense.strength is None else getattr(defense, defense.strength)

    @property
    def defense_label(self) -> str:
        """The defense, its strength and its further options: ``laplace b=1.0``, ``sparse_guard lam=0.5 tau=100``."""
        option = self.make_defense().strength
        return label(self.defense, ({} if option is None else {option: self.strength}) | dict(self.options))

    @property
    def attack_label(self) -> str:
        """The attack, its options, and what its hold-out images are where they are not the split's."""
        known = {"holdout": self.holdout, "holdout_from": self.holdout_from}
        return label(self.attack, dict(self.attack_options) | {k: v for k, v in known.items() if v is not None})

    @property
    def label(self) -> str:
        """What makes a row: the defense, and the attack where it is not the usual one."""
        return self.defense_label + self._under

    @property
    def variant(self) -> str:
        """The label without the strength: what cells of one curve have in common."""
        strength = self.make_defense().strength
        return label(self.defense, {k: v for k, v in self.options.items() if k != strength}) + self._under

    @property
    def _under(self) -> str:
        return "" if self.attack_label == USUAL_ATTACK else f" under {self.attack_label}"

    @property
    def dataset_name(self) -> str:
        """The data set, or the file's name without folder and ending."""
        return Path(self.dataset).stem

    def key(self) -> str:
        """Name of the cell in the store."""
        data = {"dataset": fingerprint(self.dataset), "holdout_from": fingerprint(self.holdout_from or "")}
        return digest(asdict(self) | data | {"versions": self.versions()})

    def versions(self) -> dict[str, Any]:
        """What the result depends on beside the fields: versions of rooms, defense and attack, sizes of the scale."""
        defense, attack = self.make_defense(), self.make_attack()
        sizes = check_scale(self.scale).sizes((*defense.sizes, *attack.sizes))
        return VERSIONS | {"defense": defense.revision, "attack": attack.revision, "sizes": sizes}

    def stored(self, store: Store | None = None) -> Result | None:
        """The result, if the store (by default the usual one) has it; nothing is computed."""
        found = (store or Store()).load(self.key())
        return None if found is None else Result.restore(self, *found)

    def run(
        self,
        store: Store | str | None = "default",
        progress: bool | Callable[[str], None] = True,
        device: str | None = None,
    ) -> Result:
        """Run the experiment, or read its result where the store has it.

        Args:
            store: where finished cells lie; ``"default"`` is :func:`sparseguard.store.home`, ``None`` keeps nothing.
            progress: show what is being done; a function is called with the name of each stage instead.
            device: ``"cpu"``, ``"cuda"``, ...; by default a GPU where there is one.

        Raises:
            ValueError, OSError: bad data, or a store that cannot be written; nothing was lost.
            ArithmeticError: training diverged.
        """
        place = Store() if store == "default" else store if isinstance(store, Store) or store is None else Store(store)
        if place is not None:
            found = self.stored(place)
            if found is not None and not found.fid_can_be_had_now():
                return found
            place.prepare()
        device = device or default_device()
        if callable(progress):
            result = _run(self, device, progress)
        else:
            with tqdm(total=len(STAGES), leave=False, disable=not progress) as bar:

                def show(stage: str) -> None:
                    bar.set_description(f"{self.label}: {stage}")
                    bar.update(STAGES.index(stage) - bar.n)

                result = _run(self, device, show)
        if place is not None:
            place.save(self.key(), *result.dump())
        return result


@lru_cache(maxsize=2)
def _judged_split(dataset: str, content: str, scale: str, seed: int, device: str) -> tuple[Split, measure.Judge]:
    """The split and its judge, shared by all defenses of a notebook; ``content`` tells a changed file."""
    split = load_data(dataset, scale, seed)
    if min(split.image_shape[1:]) < measure.SSIM_WINDOW:
        height, width = split.image_shape[1:]
        raise ValueError(f"{dataset}: SSIM needs images of at least 11 x 11 pixels, not {height} x {width}.")
    return split, measure.train_judge(judge_images(dataset, scale), check_scale(scale), seed, device)


@lru_cache(maxsize=1)
def _deployable(experiment: Experiment, content: str, device: str) -> tuple[Target, float]:
    """The trained target and the seconds that took, shared by the attacks on it; ``content`` tells a changed file."""
    split, _ = _judged_split(experiment.dataset, content, experiment.scale, experiment.seed, device)
    start = time.perf_counter()
    return train_target(experiment, split, device), time.perf_counter() - start


def train_target(experiment: Experiment, split: Split, device: str) -> Target:
    """The trained target of an experiment on its split. Seeds torch's generator, which the caller keeps for himself."""
    scale = check_scale(experiment.scale)
    torch.manual_seed(experiment.seed)
    defense = experiment.make_defense()
    target = defense.build(split, experiment.setting, scale).to(device)
    defense.train(target, split, scale)
    return target


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def _run(experiment: Experiment, device: str, show: Callable[[str], None]) -> Result:
    scale = check_scale(experiment.scale)
    content = fingerprint(experiment.dataset)
    split, judge = _judged_split(experiment.dataset, content, experiment.scale, experiment.seed, device)
    deterministic = torch.backends.cudnn.flags(deterministic=True, benchmark=False)
    with torch.random.fork_rng(), deterministic:
        show(STAGES[0])
        target, seconds_target = _deployable(experiment.unattacked(), content, device)
        attack = experiment.make_attack()
        box = grant(attack.access, target)
        torch.manual_seed(experiment.seed)
        held = box.classify(split.held_images).argmax(1)

        show(STAGES[1])
        start = time.perf_counter()
        torch.manual_seed(experiment.seed)  # an attack does not depend on how much chance the training used
        attacked, checked = experiment.holdout_images(split)
        fitted = attack.fit(box, attacked, checked, scale, device)
        seconds_attack = time.perf_counter() - start

        show(STAGES[2])
        start = time.perf_counter()
        originals = split.train_images
        reconstructions = torch.cat([fitted.reconstruct(attack.observe(box, part)) for part in originals.split(250)])
        if not bool(torch.isfinite(reconstructions).all()):
            raise ArithmeticError(f"{experiment.label}: the attack's reconstructions are not finite.")
        per_image = {"psnr": measure.psnr(originals, reconstructions), "ssim": measure.ssim(originals, reconstructions)}
        guess = attacked.mean(0, keepdim=True).expand_as(originals)
        fid: float | None = None
        fid_note: str | None = FID_NOT_ASKED
        if experiment.fid:
            fid, fid_note = measure.fid(originals, reconstructions, scale.downloads, device)
        numbers: dict[str, float | None] = {
            "psnr": float(per_image["psnr"].mean()),
            "ssim": float(per_image["ssim"].mean()),
            "fid": fid,
            "fd_judge": measure.fd_judge(judge, originals, reconstructions),
            "row_frechet": measure.row_frechet(originals, reconstructions),
            "judge_accuracy": measure.judge_accuracy(judge, reconstructions, split.train_labels),
            "judge_accuracy_originals": measure.judge_accuracy(judge, originals, split.train_labels),
            "accuracy": float((held == split.held_labels).float().mean()),
            "psnr_mean_image": float(measure.psnr(originals, guess).mean()),
            "ssim_mean_image": float(measure.ssim(originals, guess).mean()),
            "seconds_target": seconds_target,
            "seconds_attack": seconds_attack,
            "seconds_evaluation": time.perf_counter() - start,
        }
    assert set(numbers) == set(METRICS)
    for name, number in numbers.items():
        if number is not None and math.isnan(number):
            raise ArithmeticError(f"{experiment.label}: {name} is not a number.")
    details = {
        "attack": fitted.details,
        "train_images": len(originals),
        "attack_images": len(attacked),
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
        {name: values.float() for name, values in per_image.items()},
        originals[kept].clone(),
        reconstructions[kept].clone(),
        details,
        {name: tensor.cpu() for name, tensor in target.exhibits.items()},
    )
