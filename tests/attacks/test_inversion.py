import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparseguard.attacks.inversion as inversion
from sparseguard import BlackBox, list_attacks, list_defenses
from sparseguard.attacks import Inversion, make_attack
from sparseguard.attacks.attackers import ATTACKERS, Attacker
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.metrics import psnr
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = SCALES["smoke"]


class Glass(Target):
    """A target whose leak is the image itself, plus noise if asked for."""

    def __init__(self, noise: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.level = noise
        self.head = nn.Sequential(nn.Linear(1, 1))

    def leak(self, x: Tensor) -> Tensor:
        return x + self.level * torch.randn_like(x) if self.level else x


def counted(box: BlackBox) -> tuple[BlackBox, list[int]]:
    """The same box, with the number of images of each query written down."""
    seen: list[int] = []
    query = box.query

    def call(images: Tensor) -> Tensor:
        seen.append(len(images))
        return query(images)

    box.query = call
    return box, seen


@pytest.mark.parametrize("name", ["none", "none_conv", "laplace", "sparse_guard"])
def test_an_attack_leaves_the_target_as_it_was(name: str, split: Split) -> None:
    """Invariant 1, bit for bit, buffers included."""
    defense = make_defense(name)
    target = defense.build(split, "split", SMOKE)
    defense.train(target, split, replace(SMOKE, epochs=1))
    box = BlackBox(target)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    modes = [m.training for m in target.modules()]
    deployed = inspect.getclosurevars(box.query.__wrapped__).nonlocals["function"].__self__  # type: ignore[attr-defined]
    inside = {key: value.clone() for key, value in deployed.state_dict().items()}
    Inversion().fit(box, split.attack_images, split.held_images, replace(SMOKE, attack_epochs=1))
    for module, kept in ((target, before), (deployed, inside)):
        assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
    assert modes == [m.training for m in target.modules()]
    assert not any(m.training for m in deployed.modules())


def test_every_defense_is_attacked_with_the_same_budget(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 3: attackers, updates of each, and batch sizes do not depend on the target."""
    budgets = {}
    for name in list_defenses():
        steps: list[int] = []

        step = torch.optim.Adam.step

        def counted_step(optimizer: torch.optim.Adam, log: list[int] = steps, step: Any = step) -> None:
            log.append(1)
            step(optimizer)

        monkeypatch.setattr(torch.optim.Adam, "step", counted_step)
        target = make_defense(name).build(split, "split", SMOKE)
        result = Inversion().fit(BlackBox(target), split.attack_images, split.held_images, SMOKE)
        budgets[name] = (tuple(result.errors), result.updates, len(steps))
        monkeypatch.undo()
    assert len(set(budgets.values())) == 1, budgets
    attackers, updates, steps_taken = budgets["none"]
    assert attackers == SMOKE.attackers
    assert updates == SMOKE.attack_epochs * 45 // SMOKE.attack_batch_size
    assert steps_taken == updates * len(attackers)


def test_every_scale_names_attackers_that_exist() -> None:
    assert all(set(scale.attackers) <= set(ATTACKERS) and len(scale.attackers) > 1 for scale in SCALES.values())


def test_a_glass_target_is_seen_through(split: Split) -> None:
    """The leak is the image: the attack must find the way back."""
    scale = replace(SMOKE, attack_epochs=60, attack_hidden=64)
    torch.manual_seed(0)
    box = BlackBox(Glass())
    attack = Inversion().fit(box, split.attack_images, split.held_images, scale)
    victims = split.train_images
    assert float(psnr(victims, attack.reconstruct(box.query(victims))).mean()) > 18
    assert attack.errors[attack.best] == min(attack.errors.values())


def test_a_target_that_leaks_nothing_teaches_the_mean_image(split: Split) -> None:
    class Wall(Glass):
        def leak(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    torch.manual_seed(0)
    attack = Inversion().fit(BlackBox(Wall()), split.attack_images, split.held_images, replace(SMOKE, attack_epochs=30))
    rebuilt = attack.reconstruct(torch.zeros_like(split.train_images))
    torch.testing.assert_close(rebuilt[0], rebuilt[-1])
    guess = split.attack_images.mean(0, keepdim=True).expand_as(split.train_images)
    difference = float(psnr(split.train_images, rebuilt).mean() - psnr(split.train_images, guess).mean())
    assert abs(difference) < 1.0


def test_a_deterministic_box_is_asked_once_and_a_random_one_anew(split: Split) -> None:
    images, scale = split.attack_images, SMOKE
    box, seen = counted(BlackBox(Glass()))
    Inversion().fit(box, images, split.held_images, scale)
    assert sum(seen) == 2 * 4 + len(images) + len(split.held_images)
    box, seen = counted(BlackBox(Glass(noise=0.5)))
    Inversion().fit(box, images, split.held_images, scale)
    assert sum(seen) >= scale.attack_epochs * len(images)


def test_leaks_that_do_not_fit_into_memory_are_asked_again_with_the_same_result(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for limit in (inversion.LEAKS_IN_MEMORY, 0):
        monkeypatch.setattr(inversion, "LEAKS_IN_MEMORY", limit)
        torch.manual_seed(0)
        results.append(Inversion().fit(BlackBox(Glass()), split.attack_images, split.held_images, SMOKE).errors)
    assert results[0] == pytest.approx(results[1], rel=1e-4)


@pytest.mark.parametrize("name", ATTACKERS)
@pytest.mark.parametrize("leak", [(1, 28, 8), (6, 28, 8), (4, 7, 7), (12,)])
def test_attackers_take_any_leak(name: str, leak: tuple[int, ...]) -> None:
    attacker = Attacker(ATTACKERS[name], leak, (1, 28, 28), 16, 0.0, 1.0)
    assert attacker(torch.rand(2, *leak)).shape == (2, 1, 28, 28)


def test_reconstructions_are_images(split: Split) -> None:
    attack = Inversion().fit(BlackBox(Glass()), split.attack_images, split.held_images, SMOKE)
    rebuilt = attack.reconstruct(100 * torch.randn(5, 1, 28, 28))
    assert rebuilt.shape == (5, 1, 28, 28)
    assert 0 <= float(rebuilt.min()) <= float(rebuilt.max()) <= 1


def test_a_leak_that_is_not_finite_ends_with_a_sentence(split: Split) -> None:
    class Broken(Glass):
        def leak(self, x: Tensor) -> Tensor:
            return x / 0

    with pytest.raises(ArithmeticError, match="leaks NaN or infinite"):
        Inversion().fit(BlackBox(Broken()), split.attack_images, split.held_images, SMOKE)


def test_unknown_attacks_are_named() -> None:
    assert list_attacks() == ["inversion"]
    with pytest.raises(ValueError, match="attack must be one of inversion, not 'guess'"):
        make_attack("guess")
