import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sparseguard import BlackBox
from sparseguard.access import Leaky, WhiteBox
from sparseguard.attacks import CodeDescent, Holdout, Inversion, Refinement, make_attack
from sparseguard.attacks.race import PAYS, decibels
from sparseguard.attacks.refinement import Likelihood
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.metrics import psnr
from sparseguard.scales import SCALES

SMOKE = SCALES["smoke"]


class Shuffled(Leaky):
    """Leaks every pixel, in another order, plus noise if asked for."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
        self.noise, self.calls = noise, 0

    def leak(self, x: Tensor) -> Tensor:
        self.calls += 1
        leak: Tensor = x.flatten(1)[:, self.order].unflatten(1, (1, 28, 28))
        return leak + self.noise * torch.randn_like(leak) if self.noise else leak


class Mixed(Leaky):
    """Leaks all of the image, turned by an orthogonal matrix and stretched by up to 2."""

    def __init__(self) -> None:
        super().__init__()
        turned = torch.linalg.qr(torch.randn(144, 144, generator=torch.Generator().manual_seed(0)))[0]
        self.register_buffer("matrix", turned * torch.linspace(1, 2, 144))
        self.matrix: Tensor

    def leak(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix


def quality(originals: Tensor, images: Tensor) -> float:
    return float(psnr(originals, images).clamp_max(100).mean())


def test_a_linear_leak_of_full_rank_leads_to_the_image(split: Split) -> None:
    """A convex problem with one solution."""
    model, images = Mixed(), split.train_images[:4, :, 8:20, 8:20]
    leak = model.leak(images)
    begin = torch.full_like(images, 0.5)
    *_, found = Likelihood(model, float(leak.var()), 1).descend(begin, leak, rate=0.02, weight=0.0, steps=400)
    torch.testing.assert_close(found, images, atol=0.02, rtol=0)


def test_the_loss_is_the_distance_over_the_variance_and_the_total_variation() -> None:
    image = torch.zeros(2, 1, 2, 3)
    image[0, 0, 1, 2] = 1.0  # one step down, of three, and one across, of four
    leak = torch.full((2, 6), 0.5)

    class Flat(Leaky):
        def leak(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    likelihood = Likelihood(Flat(), 0.25, 1)
    assert float(likelihood.loss(image, leak, 0.0)) == pytest.approx(2 * 0.25 / 0.25)
    assert float(likelihood.loss(image, leak, 1.0)) == pytest.approx(2 + 1 / 3 + 1 / 4)


@pytest.mark.parametrize("steady", [math.inf, 4.0])
def test_steps_of_adam_are_as_long_as_its_rate_until_they_fall(steady: float) -> None:
    """Where the slope is the same everywhere, each step has the length of the rate."""

    class Far(Leaky):
        def leak(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    begin, leak = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.full((1, 4), 1e9, dtype=torch.float64)
    found = list(Likelihood(Far(), 1.0, 1).descend(begin, leak, 0.01, 0.0, 16, steady))
    expected = [sum(0.01 / max(1.0, k / steady) ** 0.5 for k in range(1, step + 1)) for step in range(1, 17)]
    assert [float(image[0, 0, 1, 1]) for image in found] == pytest.approx(expected, rel=1e-4)
    assert len(found) == 16


def test_pixels_under_another_name_are_found(split: Split) -> None:
    """No row of the leak is a row of the image, so the floor of the family alone is far off."""
    box, victims = WhiteBox(Shuffled()), split.train_images[:30]
    found = [
        quality(
            victims,
            attack.fit(box, Holdout(split.attack_images, split.held_images), SMOKE).reconstruct(box.query(victims)),
        )
        for attack in (Inversion(decoders=("ridge",)), Refinement(decoders=("ridge",), steps=80))
    ]
    assert found[0] < 20
    assert found[1] > 35


def test_where_it_does_not_pay_the_decoders_image_is_kept(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ridge regression sees through glass, and steps as large as these only throw it back."""
    monkeypatch.setattr(Refinement, "rates", (5.0,))

    class Glass(Leaky):
        def leak(self, x: Tensor) -> Tensor:
            return x

    box, results = WhiteBox(Glass()), []
    for attack in (Inversion(), Refinement(steps=3)):
        torch.manual_seed(0)
        results.append(attack.fit(box, Holdout(split.attack_images, split.held_images), SMOKE))
    before, after = results
    leak = box.query(split.train_images[:20])
    assert torch.equal(before.reconstruct(leak), after.reconstruct(leak))
    assert after.details["attacker"] == before.details["attacker"]
    assert after.details["steps"] == 0
    assert decibels(after.details["errors"]["refinement"]) < decibels(min(before.details["errors"].values())) + PAYS


def test_a_descent_ends_when_it_stops_paying_and_says_what_its_last_doubling_gained(split: Split) -> None:
    box, known = WhiteBox(Shuffled()), Holdout(split.attack_images, split.held_images)
    model = box.model
    assert isinstance(model, Shuffled)
    told, calls = {}, {}
    for most in (2, 64, 2048):
        torch.manual_seed(0)
        before = model.calls
        told[most] = Refinement(decoders=("ridge",), steps=most).fit(box, known, SMOKE).details
        calls[most] = model.calls - before
    for most in (2, 64):
        assert told[most]["steps"] == most, "pixels that are still on their way"
        assert told[most]["capped"]
        assert told[most]["gains"]["refinement of ridge"] >= PAYS
    assert 64 < told[2048]["steps"] < 1024
    assert calls[2048] < 6 * 2048, "not one of its choices was ended early"
    assert not told[2048]["capped"]
    assert told[2048]["gains"]["refinement of ridge"] < PAYS
    torch.manual_seed(0)
    usual = Refinement(decoders=("ridge",)).fit(box, known, SMOKE).details
    assert usual["steps"] == SMOKE.descent


@pytest.mark.parametrize("name", ["none", "none_conv", "laplace", "mi_reg", "sparse_guard"])
def test_it_is_never_worse_on_validation_images_and_leaves_the_target_alone(name: str, split: Split) -> None:
    defense = make_defense(name)
    target = defense.build(split, "split", SMOKE)
    defense.train(target, split, replace(SMOKE, epochs=1))
    box = WhiteBox(target)
    modules = (target, box.model)
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in modules]
    fitted = Refinement(decoders=("ridge",), steps=3).fit(
        box, Holdout(split.attack_images, split.held_images[:12]), SMOKE
    )
    details, errors = fitted.details, fitted.details["errors"]
    if details["steps"]:
        assert details["attacker"] == "refinement of ridge"
        assert decibels(errors["refinement"]) > decibels(errors["ridge"])
    else:
        assert details["attacker"] == "ridge"
    images = fitted.reconstruct(box.query(split.train_images[:70]))
    assert images.shape == (70, 1, 28, 28)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    for module, kept in zip(modules, before):
        assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
        assert not any(m.training for m in module.modules())


def test_it_goes_through_the_gradient_of_settled_sparse_codes(split: Split) -> None:
    torch.manual_seed(0)
    model = WhiteBox(make_defense("sparse_guard").build(split, "split", SMOKE)).model
    images = split.train_images[:3]
    leak = model.leak(images)
    likelihood = Likelihood(model, float(leak.var()), 1)
    begin = (images + 0.1 * torch.randn_like(images)).clamp(0, 1)
    *_, found = likelihood.descend(begin, leak, rate=0.01, weight=0.0, steps=20)
    assert float(likelihood.loss(found, leak, 0.0)) < 0.5 * float(likelihood.loss(begin, leak, 0.0))


@pytest.mark.parametrize(("noise", "passes"), [(0.0, 1), (0.5, 3)])
def test_a_random_target_is_asked_for_its_mean(noise: float, passes: int, split: Split) -> None:
    torch.manual_seed(0)
    seen = []

    class Counted(Refinement):
        def observe(self, box: BlackBox, images: Tensor) -> Tensor:
            assert isinstance(box, WhiteBox)
            seen.append(box.model)
            return super().observe(box, images)

    images = split.attack_images
    Counted(decoders=("ridge",), steps=1, draws=3).fit(WhiteBox(Shuffled(noise)), Holdout(images, images[:10]), SMOKE)
    (model,) = set(seen)
    assert isinstance(model, Shuffled)
    # two passes ask whether it is random; then one step for each of six choices, for two more since another weight than
    # the first is best, and one to check
    assert model.calls == 2 + 9 * passes


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        ("refinement", {"steps": 0}, "steps must be a whole number from 1 on, not 0"),
        ("refinement", {"steps": True}, "steps must be a whole number from 1 on, not True"),
        ("refinement", {"draws": 2.5}, "draws must be a whole number from 1 on, not 2.5"),
        ("refinement", {"decoders": "guess"}, "decoders must be among ridge, .*, not 'guess'"),
        ("refinement", {"walk": 1}, "attack 'refinement' has no option 'walk'; its options are .*steps, draws"),
        ("code_descent", {"softness": 0}, "softness must be a finite number greater than 0, not 0"),
        ("code_descent", {"softness": math.nan}, "softness must be a finite number greater than 0, not nan"),
        ("code_descent", {"steps": 0}, "steps must be a whole number from 1 on, not 0"),
        ("code_descent", {"soft": 1}, "attack 'code_descent' has no option 'soft'; its options are .*softness"),
    ],
)
def test_bad_options_are_named(attack: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_attack(attack, **options)


@pytest.mark.parametrize("attack", [Refinement, CodeDescent])
def test_a_black_box_is_not_enough(attack: type[Refinement], split: Split) -> None:
    with pytest.raises(ValueError, match=f"{attack.name} needs a white box"):
        attack().fit(BlackBox(Shuffled()), Holdout(split.attack_images, split.held_images), SMOKE)


def test_it_is_not_the_attack_of_the_papers_tables() -> None:
    assert Refinement.printed_as is None
    assert isinstance(make_attack("refinement"), Refinement)
