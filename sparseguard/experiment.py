"""An experiment: what a cell of a table is, what it is called, and where its result lies; :mod:`.trial` runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import trial
from .attacks import ATTACKS, Attack, Holdout
from .checks import flag, positive, seed_of, whole
from .data import Split, at_hand, attack_images, check_dataset, counterpart, file_hash, fingerprint, load_data, source
from .defenses import DEFENSES, Defense, Family
from .deployed import RESUMED
from .device import default_device
from .leases import held
from .places import digest
from .progress import bar
from .registry import label
from .result import Result
from .scales import check_scale
from .store import LEASES, NotMeasured, Store, opened
from .targets import check_setting

VERSIONS = {"data": 1, "targets": 1, "metrics": 1}
"""Each is raised whenever what its room makes of the same input is another thing. A defense and an attack have a
``revision`` of their own, and the sizes of a scale speak for themselves, so that other cells are still read."""
USUAL_ATTACK = "inversion"
"""Labels of rows leave it out; captions name it."""


@dataclass(frozen=True)
class Experiment:
    """One cell of a table.

    Args:
        dataset: a known data set or the path of your own, as :func:`sparseguard.data.check_dataset` has it.
        setting: ``"end_to_end"`` (the last hidden layer leaks) or ``"split"`` (the first dense layer does).
        defense: one of :func:`sparseguard.list_defenses`.
        lam: sparsity of the sparse defenses, one number or one a layer; ``None`` is the defense's default. Defenses
            without a sparse layer have none: it is set to ``None``.
        attack: one of :func:`sparseguard.list_attacks`.
        scale: ``"smoke"``, ``"quick"``, ``"medium"`` or ``"paper"``.
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
    fid: bool = False
    attack_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    holdout: int | None = None
    holdout_from: str | None = None

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        check_setting(self.setting)
        check_scale(self.scale)
        flag("fid", self.fid)
        object.__setattr__(self, "seed", seed_of(self.seed))
        if self.holdout is not None:
            object.__setattr__(self, "holdout", whole("holdout", self.holdout))
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
        if self.make_attack().shifted and self.holdout_from is None:
            if not counterpart(self.dataset):
                raise ValueError(
                    f"a shifted prior is of another data set than {self.dataset!r}: name it as holdout_from."
                )
            object.__setattr__(self, "holdout_from", counterpart(self.dataset))

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

    def holdout_images(self, split: Split) -> Holdout:
        """What the attacker learns from and chooses by."""
        if self.holdout_from is not None:
            other = load_data(self.holdout_from, self.scale, self.seed)
            if other.image_shape != split.image_shape:
                raise ValueError(
                    f"holdout_from must name images of shape {split.image_shape}, not {self.holdout_from} with "
                    f"{other.image_shape}."
                )
            split = other
        attacked = attack_images(split, self.scale, self.holdout)
        return Holdout(attacked.images, split.held_images, attacked.labels)

    @property
    def at_hand(self) -> bool:
        """Whether its images can be read without a download."""
        bundled = not check_scale(self.scale).downloads
        return all(at_hand(dataset, bundled) for dataset in (self.dataset, self.holdout_from) if dataset)

    @property
    def family(self) -> Family:
        """What the defense is put together with."""
        return DEFENSES.check(self.defense).family

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
        """The data set, or the path's last part without ending; and the size that its images are resized to, if any."""
        return source(self.dataset).short

    def key(self) -> str:
        """Name of the cell in the store."""
        return self._digest(self.versions())

    def target_key(self) -> str:
        """Name of its target, whatever attacks that."""
        return self.unattacked()._digest(self.versions(attacked=False))

    def _digest(self, versions: dict[str, Any]) -> str:
        reads = DEFENSES.check(self.defense).reads
        content = {
            "dataset": fingerprint(self.dataset),
            "holdout_from": fingerprint(self.holdout_from or ""),
            "options": {k: fingerprint(value) if k in reads else value for k, value in self.options.items()},
        }
        return digest(asdict(self) | content | {"versions": versions})

    def versions(self, attacked: bool = True) -> dict[str, Any]:
        """What the result depends on beside the fields: versions of rooms, defense and attack, sizes of the scale.

        Args:
            attacked: else the target alone.
        """
        defense, attack = self.make_defense(), self.make_attack()
        sizes = check_scale(self.scale).sizes((*defense.sizes, *(attack.sizes if attacked else ())))
        by: dict[str, Any] = {"attack": attack.revision} if attacked else {}
        if attacked and attack.reads:
            by["reads"] = [file_hash(file) for file in attack.reads]
        return VERSIONS | {"defense": defense.revision, **by, "sizes": sizes}

    def stored(self, store: Store | None = None) -> Result | None:
        """The result, if the store (by default the usual one) has it; nothing is computed."""
        found = (store or Store()).load(self.key())
        return None if found is None else Result.restore(self, *found)

    def run(
        self,
        store: Store | str | None = "default",
        progress: bool | Callable[[str], None] = True,
        device: str | None = None,
        wait: bool = True,
    ) -> Result:
        """Run the experiment, or read its result where the store has it.

        Of all processes that share a store, one computes it.

        Args:
            store: where finished cells lie; ``"default"`` is :func:`sparseguard.store.home`, ``None`` keeps nothing.
            progress: show what is being done; a function is called with the name of each stage instead.
            device: ``"cpu"``, ``"cuda"``, ...; by default a GPU where there is one.
            wait: for another process that computes it.

        Raises:
            ValueError, OSError: bad data, or a store that cannot be written; nothing was lost.
            ArithmeticError: training diverged.
            BlockingIOError: another process computes it, and it was not to be waited for.
        """
        place = opened(store)
        device = device or default_device()
        found = None if place is None else self._finished(place)
        if found is not None:
            return found
        NotMeasured.check(self.label)
        if place is None:
            return self._computed(progress, device, None)
        place.prepare()
        with held(place.folder / LEASES, self.key(), wait) as mine:
            if not mine:
                raise BlockingIOError(f"{self.label} is being computed by another process.")
            found = self._finished(place)
            if found is None:
                found = self._computed(progress, device, place.folder)
                place.save(self.key(), *found.dump())
                shutil.rmtree(place.folder / RESUMED / self.key(), ignore_errors=True)
            return found

    def _finished(self, place: Store) -> Result | None:
        found = self.stored(place)
        return None if found is not None and found.fid_can_be_had_now() else found

    def _computed(self, progress: bool | Callable[[str], None], device: str, folder: Path | None) -> Result:
        if callable(progress):
            return trial.run(self, device, progress, folder)
        with bar(len(trial.STAGES), shown=progress) as moved:

            def show(stage: str) -> None:
                moved.n = trial.STAGES.index(stage)
                moved.set_description_str(f"{self.label}: {stage}")

            return trial.run(self, device, show, folder)


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
