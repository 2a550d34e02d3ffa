"""The released attack, and each switch between it and an attack."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparseguard import Experiment
from sparseguard.access import Victim
from sparseguard.attacks import AsReleased, Fitted, Holdout, as_released
from sparseguard.attacks.as_released import Released
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.report import results_table
from sparseguard.result import OF_VICTIM
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = replace(SCALES["smoke"], epochs=1)
WHOLE: dict[str, Any] = {"train_attacker": True, "change_target": False, "noise": True, "half": False, "decay": 0.0}
State = dict[str, Tensor]


def state(module: nn.Module) -> State:
    return {name: value.clone() for name, value in module.named_parameters()}


def changed(module: nn.Module, before: State) -> set[str]:
    return {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}


class Seen:
    """An attack on a fresh target: what its network and its victim were before, and what they are now."""

    def __init__(self, split: Split, monkeypatch: pytest.MonkeyPatch, defense: str = "none", **options: Any) -> None:
        made: list[nn.Module] = []
        first: list[State] = []

        class Watched(as_released.InverseNetwork):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                made.append(self)
                first.append(state(self))

        monkeypatch.setattr(as_released, "InverseNetwork", Watched)
        torch.manual_seed(0)
        built = make_defense(defense)
        self.target: Target = built.build(split, options.pop("setting", "split"), SMOKE)
        built.train(self.target, split, SMOKE)
        self.box, kept = Victim(self.target), copy.deepcopy(self.target)
        self.holdout = Holdout(split.attack_images[:20], split.held_images[:20])
        self.fitted: Fitted = AsReleased(**{"updates": 8} | options).fit(self.box, self.holdout, SMOKE)
        self.of_victim = changed(self.box.model, state(kept))
        self.of_attacker = changed(made[0], first[0])
        assert changed(self.target, state(kept)) == set()


def test_as_released_the_attacker_stays_and_the_targets_leaking_layers_move(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(split, monkeypatch)
    assert seen.of_attacker == set()
    assert seen.of_victim == {"body.0.weight", "body.0.bias"}
    assert seen.fitted.details["attacker"] == "random network"
    assert (seen.fitted.details["changed"], seen.fitted.details["given"]["batch"]) == (2, 1)
    deep = Seen(split, monkeypatch, setting="end_to_end")
    assert {name.split(".")[0] for name in deep.of_victim} == {"body"}
    assert len(deep.of_victim) == 8


@pytest.mark.parametrize("defense", ["none", "laplace"])  # asked once, and asked again for each batch
def test_as_written_the_attacker_moves_and_the_target_stays(
    defense: str, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(split, monkeypatch, defense, **WHOLE)
    assert len(seen.of_attacker) == 4
    assert seen.of_victim == set()
    both = Seen(split, monkeypatch, train_attacker=True)
    assert (len(both.of_attacker), len(both.of_victim)) == (4, 2)
    assert seen.fitted.details["attacker"] == both.fitted.details["attacker"] == "trained network"


def test_with_neither_in_the_optimiser_nothing_is_trained(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(split, monkeypatch, change_target=False)
    assert (seen.of_attacker, seen.of_victim) == (set(), set())
    told = seen.fitted.details
    assert (told["updates"], told["capped"], len(told["curve"])) == ({"random network": 0}, False, 1)
    assert make_defense("dp_sgd").released_attack == {"change_target": False}
    assert make_defense("none").released_attack == {}


def test_the_random_network_learns_to_see_because_the_target_is_bent(split: Split) -> None:
    torch.manual_seed(0)
    target = make_defense("none").build(split, "end_to_end", replace(SMOKE, width=32)).eval()
    box, holdout = Victim(target), Holdout(split.attack_images, split.held_images)
    fitted = AsReleased(updates=4096, rate=0.02).fit(box, holdout, SMOKE)
    errors = [error for _, error in fitted.details["curve"]]
    assert errors[-1] < 0.6 * errors[0]
    assert [step for step, _ in fitted.details["curve"]] == [2**k for k in range(13)]
    images = split.train_images[:50]
    rebuilt = fitted.reconstruct(box.query(images)).clamp(0, 1)
    assert float((rebuilt - images).square().mean()) == pytest.approx(errors[-1], rel=0.5)
    with torch.no_grad():  # its own leaks, before it was bent, tell that network nothing
        untouched = fitted.reconstruct(target.leak(images)).clamp(0, 1)
    assert float((untouched - images).square().mean()) > 1.5 * errors[-1]


@pytest.mark.parametrize("noise", [False, True])
def test_noise_is_off_unless_it_is_switched_on(noise: bool, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(split, monkeypatch, "laplace", noise=noise)
    images = split.held_images[:3]
    assert torch.equal(seen.box.query(images), seen.box.query(images)) != noise
    assert not torch.equal(seen.target.leak(images), seen.target.leak(images))  # the trained one keeps it


@pytest.mark.parametrize("half", [None, False])
def test_sparse_targets_are_kept_in_16_bits(half: bool | None, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(split, monkeypatch, "sparse_guard", half=half, updates=2)
    moved = [p for name, p in seen.box.model.named_parameters() if name.startswith("body")]
    assert all(torch.equal(p, p.half().float()) for p in moved) == (half is None)
    assert seen.fitted.details["given"]["half"] == (half is None)


@pytest.mark.parametrize("dictionaries", [False, True])
def test_dictionaries_have_no_gradient_unless_they_are_given_one(
    dictionaries: bool, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(split, monkeypatch, "sparse_guard", dictionaries=dictionaries, updates=2)
    assert any("dictionary" in name for name in seen.of_victim) == dictionaries
    assert any(name.startswith("body") for name in seen.of_victim)


def test_sparse_targets_take_fewer_updates_of_more_images_and_weight_decay(split: Split) -> None:
    plain, sparse = (make_defense(name).build(split, "split", SMOKE) for name in ("none", "sparse_standard"))
    paper = SCALES["paper"]
    assert AsReleased()._of(plain, paper) == Released(batch=1, updates=500_000, half=False, decay=0.0)
    assert AsReleased()._of(sparse, paper) == Released(batch=16, updates=31_250, half=True, decay=1e-3)
    assert AsReleased()._of(plain, SMOKE).updates == 1000
    equal = AsReleased(batch=10, half=False, decay=0.0, updates=7)
    assert equal._of(sparse, SMOKE) == Released(batch=10, updates=7, half=False, decay=0.0)


@pytest.mark.parametrize("defense", ["none", "laplace"])
def test_a_target_that_stays_is_asked_once_unless_its_noise_is_on(
    defense: str, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    leak = Target.leak

    def counted(target: Target, x: Tensor) -> Tensor:
        asked.append(len(x))
        return leak(target, x)

    monkeypatch.setattr(Target, "leak", counted)
    Seen(split, monkeypatch, defense, **WHOLE | {"updates": 64, "batch": 3})
    assert (asked.count(3) > 0) == (defense == "laplace")


def test_weight_decay_shrinks_what_moves(split: Split) -> None:
    target = make_defense("none").build(split, "split", SMOKE).eval()
    norms = []
    for decay in (0.0, 1.0):
        box = Victim(target)
        AsReleased(updates=200, decay=decay).fit(box, Holdout(split.attack_images, split.held_images), SMOKE)
        norms.append(float(next(box.model.body.parameters()).detach().norm()))  # type: ignore[union-attr]
    assert norms[1] < 0.95 * norms[0]


def test_a_cell_has_the_released_numbers_and_the_accuracy_afterwards() -> None:
    cell = Experiment("mnist", "split", "none", scale="smoke", attack="as_released", attack_options={"updates": 64})
    result = cell.run(None, progress=False)
    assert set(OF_VICTIM) <= set(result.metrics)
    assert all(result.metrics[name] is not None for name in OF_VICTIM)
    assert float(result.reconstructions.min()) >= 0
    assert float(result.reconstructions.max()) <= 1
    after = result.metrics["accuracy_after"]
    assert any(f"whose accuracy is {after:.3f} afterwards" in note for note in results_table([result]).footnotes)
    usual = replace(cell, attack="inversion", attack_options={}).run(None, progress=False)
    assert set(OF_VICTIM).isdisjoint(usual.metrics)
    assert usual.metrics["accuracy"] == result.metrics["accuracy"]  # the target that others attack is untouched
    untouched = replace(cell, attack_options=WHOLE | {"updates": 1}).run(None, progress=False)
    assert untouched.metrics["accuracy_after"] == untouched.metrics["accuracy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be a whole number"),
        ({"updates": -1}, "updates must be a whole number"),
        ({"rate": 0.0}, "rate must be a finite number greater than 0"),
        ({"decay": math.nan}, "decay must be a finite number greater than 0"),
        ({"half": "yes"}, "half must be"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AsReleased(**options)


@pytest.mark.parametrize(("updates", "doublings"), [(8, 1.0), (12, math.log2(1.5)), (1, 1.0)])
def test_what_the_end_gained_is_told_for_a_whole_doubling(
    updates: int, doublings: float, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([2.0**-k for k in range(9)])
    monkeypatch.setattr(as_released, "_error", lambda *_: next(errors))
    told = Seen(split, monkeypatch, updates=updates).fitted.details
    step = 10 * math.log10(2) if updates > 1 else 0.0
    assert told["gains"]["random network"] == pytest.approx(step / doublings)
    assert told["capped"] == (updates > 1)


def test_an_attack_that_diverges_says_when(split: Split) -> None:
    target = make_defense("none").build(split, "split", SMOKE).eval()
    with pytest.raises(ArithmeticError, match=r"the attack diverged at update \d+"):
        AsReleased(rate=1e6, updates=200).fit(Victim(target), Holdout(split.attack_images, split.held_images), SMOKE)


def test_a_leak_without_the_images_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"leaks with the image's 28 rows, not \(64, 4, 4\)"):
        as_released.InverseNetwork((64, 4, 4), (1, 28, 28), 8)
