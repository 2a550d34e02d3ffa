from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from sparseguard import Experiment, priors
from sparseguard.data import Split, judge_images
from sparseguard.defenses import make_defense
from sparseguard.defenses.shared import derived_seed, shared
from sparseguard.metrics import judge_accuracy, train_judge
from sparseguard.priors.gan import Discriminator, Generator, distance_within_classes, train_gan
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = SCALES["smoke"]


def trained(name: str, split: Split, front: str = "linear", **options: object) -> Target:
    torch.manual_seed(0)
    defense = make_defense(name, front=front, **options)
    target = defense.build(split, "split", SMOKE)
    defense.train(target, split, SMOKE)
    return target


def same(a: Target, b: Target) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values())
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.fixture
def fresh(split: Split) -> Split:
    """The split with nothing derived from it."""
    return replace(split, derived={})


def test_an_independent_judge_reads_what_the_gan_draws(split: Split) -> None:
    """Trained on 210 private images only, it draws each class so that a judge of 1,050 others' kind knows it."""
    judge = train_judge(judge_images("mnist", "quick"), SCALES["quick"], seed=5)
    torch.manual_seed(0)
    generator = train_gan(split.train_images, split.train_labels, 10, epochs=60)
    labels = torch.arange(10).repeat(20)
    images = generator.sample(labels, torch.Generator().manual_seed(0))
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert judge_accuracy(judge, images, labels) > 0.5
    apart = distance_within_classes(split.train_images, split.train_labels)
    assert float(distance_within_classes(images, labels)) > 0.2 * float(apart)  # not one image a class


def test_distance_within_classes_is_the_mean_over_pairs_of_one_class() -> None:
    images = torch.tensor([0.0, 1.0, 0.2, 0.3]).reshape(4, 1, 1, 1).expand(4, 2, 3, 3)
    labels = torch.tensor([0, 1, 0, 1])
    assert float(distance_within_classes(images, labels)) == pytest.approx((0.2 + 0.7) / 2)
    assert float(distance_within_classes(images, torch.arange(4))) == 0.0


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 14, 12), (3, 32, 32), (3, 64, 64), (1, 11, 40)])
def test_images_of_any_shape_and_number_of_classes(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(9, *shape), torch.arange(9) % 3
    generator = train_gan(images, labels, 3, epochs=1)
    assert generator.sample(labels, torch.Generator()).shape == images.shape
    score, logits = Discriminator(shape, 3)(images, labels)
    assert (score.shape, logits.shape) == ((9,), (9, 3))


def test_a_generator_starts_from_the_mean_image() -> None:
    mean = torch.rand(1, 12, 12) * 0.9 + 0.05
    generator = Generator(mean, 2).eval()
    with torch.no_grad():
        generator.last.weight.zero_()
    torch.testing.assert_close(generator.sample(torch.tensor([1]), torch.Generator()), mean[None])


@pytest.mark.parametrize("front", ["linear", "standardized", "conv"])
def test_weight_0_is_no_defense_bit_for_bit_and_weight_1_is_not(front: str, fresh: Split) -> None:
    none = trained("none", fresh, front)
    assert same(trained("gan", fresh, front, weight=0.0), none)
    assert not same(trained("gan", fresh, front), none)


def test_a_gan_at_hand_gives_the_same_target_as_one_trained_anew(fresh: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained("gan", fresh)
    assert len(fresh.derived) == 1
    monkeypatch.setattr(priors, "train_gan", lambda *_: pytest.fail("trained again"))
    second = trained("gan", fresh)
    assert same(first, second)
    assert first.facts == second.facts
    assert all(torch.equal(first.exhibits[name], second.exhibits[name]) for name in first.exhibits)


def test_shared_models_depend_on_name_scale_and_seed_and_leave_chance_alone(fresh: Split) -> None:
    device = torch.device("cpu")

    def draw(name: str, seed: int, scale: str = "smoke") -> float:
        torch.manual_seed(seed)
        expected = derived_seed(name)
        drawn: torch.Tensor = shared(fresh, name, SCALES[scale], device, lambda: torch.rand(1))
        assert derived_seed(name) == expected
        after = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(1))
        return float(drawn)

    assert draw("a", 0) == draw("a", 0)
    assert len({draw("a", 0), draw("b", 0), draw("a", 1)}) == 3
    draw("a", 0, "quick")
    assert len(fresh.derived) == 4


def test_one_step_follows_the_gradient_of_both_losses(fresh: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch, one epoch: the update is -lr * gradient of CE(real) + weight * CE(generated), taken by hand."""
    scale = replace(SMOKE, epochs=1, batch_size=len(fresh.train_images), gan_epochs=1, decay=False)
    drawn: list[tuple[torch.Tensor, torch.Tensor]] = []
    sample = Generator.sample

    def noted(generator: Generator, labels: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        drawn.append((sample(generator, labels, chance), labels))
        return drawn[-1][0]

    monkeypatch.setattr(Generator, "sample", noted)
    torch.manual_seed(0)
    defense = make_defense("gan", weight=0.7)
    target = defense.build(fresh, "split", scale)
    before = [p.detach().clone() for p in target.parameters()]
    real = F.cross_entropy(target(fresh.train_images), fresh.train_labels)
    wanted = torch.autograd.grad(real, list(target.parameters()))
    torch.manual_seed(0)
    defense.train(target, fresh, scale)
    fakes, labels = drawn[0]
    assert fakes.shape == fresh.train_images.shape
    assert torch.equal(drawn[-1][1], torch.arange(10))
    after = [p.detach().clone() for p in target.parameters()]
    with torch.no_grad():
        for p, b in zip(target.parameters(), before):
            p.copy_(b)
    generated = torch.autograd.grad(F.cross_entropy(target(fakes), labels), list(target.parameters()))
    for a, b, w, g in zip(after, before, wanted, generated):
        torch.testing.assert_close(a, b - scale.learning_rate * (w + 0.7 * g), rtol=1e-4, atol=1e-6)
        assert float(g.abs().max()) > 0


def test_what_a_result_keeps_is_generated(fresh: Split) -> None:
    result = Experiment(defense="gan", setting="split", scale="smoke", fid=False).run(store=None, progress=False)
    shown = result.exhibits["generated, one a class"]
    assert shown.shape == (10, 1, 28, 28)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1
    assert 0 <= result.details["facts"]["accuracy on generated"] <= 1
    private = fresh.train_images.flatten(1)
    assert float(torch.cdist(shown.flatten(1), private).min()) > 0.5


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), True])
def test_a_wrong_weight_is_named(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be a finite number from 0 on, not"):
        make_defense("gan", weight=weight)
