"""Cells are kept apart by the sizes that they depend on, and by no others."""

from dataclasses import asdict, fields

import pytest
import torch

from sparseguard.access import grant
from sparseguard.attacks import ATTACKS, Holdout, list_attacks
from sparseguard.data import Split
from sparseguard.defenses import DEFENSES, list_defenses
from sparseguard.defenses.base import triangle
from sparseguard.scales import COMMON, SCALES, Scale

NAMES = {field.name for field in fields(Scale)}


class Watched(Scale):
    """A scale that remembers which of its sizes were read."""

    def __getattribute__(self, name: str) -> object:
        if name in NAMES:
            seen.add(name)
        return super().__getattribute__(name)

    __hash__ = object.__hash__  # models that cells share are found by the scale; that is no reading of its sizes
    __eq__ = object.__eq__


seen: set[str] = set()


@pytest.fixture
def watched() -> Watched:
    scale = Watched(**asdict(SCALES["smoke"]))
    seen.clear()
    return scale


@pytest.mark.parametrize("name", list_defenses())
def test_a_defense_declares_the_sizes_that_it_reads(name: str, split: Split, watched: Watched) -> None:
    defense = DEFENSES.make(name, {})
    defense.train(defense.build(split, "split", watched), split, watched)
    assert seen - {*COMMON, "downloads"} == set(defense.sizes)  # where files lie is told by the scale's name


@pytest.mark.parametrize("name", list_attacks())
def test_an_attack_declares_the_sizes_that_it_reads(name: str, split: Split, watched: Watched) -> None:
    torch.manual_seed(0)
    attack = ATTACKS.make(name, {})
    target = DEFENSES.make("none", {}).build(split, "split", SCALES["smoke"]).eval()
    attack.fit(
        grant(attack.access, target), Holdout(split.attack_images, split.held_images, split.attack_labels), watched
    )
    assert seen - set(COMMON) == set(attack.sizes)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_sizes_name_what_is_asked_for_and_what_all_depend_on(scale: Scale) -> None:
    assert set(scale.sizes(["tol"])) == {*COMMON, "tol"}
    unnamed = NAMES - {*COMMON, "shown", "downloads"}
    declared = {name for kind in (DEFENSES, ATTACKS) for entry in kind.members.values() for name in entry.sizes}
    assert declared == unnamed, "a size that no cell depends on"


@pytest.mark.parametrize("steps", [1, 7, 14, 400])
def test_the_learning_rate_rises_and_ends_at_nothing(steps: int) -> None:
    rates = [triangle(steps, step) for step in range(steps)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == 0.0
    assert all(0 <= rate <= 1 for rate in rates)
