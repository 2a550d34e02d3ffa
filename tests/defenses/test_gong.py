import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseguard import Experiment, load_data
from sparseguard.data import Images, Split
from sparseguard.defenses import make_defense
from sparseguard.defenses.base import trained
from sparseguard.defenses.gong import Gong, log_not
from sparseguard.defenses.gong_cl import GongCL, fisher, moved
from sparseguard.defenses.public import in_shape, public_models
from sparseguard.priors.search import invert
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = SCALES["smoke"]
LONGER = replace(SMOKE, epochs=15, tuning_epochs=5, batch_size=16, width=16, gan_epochs=40, inversion_steps=60)
"""Long enough for a target that has learned something to invert."""
CPU = torch.device("cpu")
Fakes = list[tuple[Tensor, Tensor, Tensor]]
"""Images of one inversion, their labels, and the probabilities that the classifier gave them then."""


def train(name: str, split: Split, scale: object = SMOKE, front: str = "linear", **options: object) -> Target:
    torch.manual_seed(0)
    defense = make_defense(name, front=front, **options)
    target = defense.build(split, "split", scale)  # type: ignore[arg-type]
    defense.train(target, split, scale)  # type: ignore[arg-type]
    return target


def same(a: Target, b: Target) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


@pytest.fixture
def fresh(split: Split) -> Split:
    """The split with nothing derived from it."""
    return replace(split, derived={})


@pytest.fixture(scope="module")
def shared_split() -> Split:
    """One whose public models are trained once, for :data:`LONGER`."""
    return load_data("mnist", "smoke", 0)


@pytest.fixture
def fakes(shared_split: Split, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Fakes]:
    """Every inversion of a ``gong`` of some weight."""

    def run(weight: float) -> Fakes:
        made: Fakes = []

        def noted(generator: nn.Module, model: nn.Module, labels: Tensor, *rest: object) -> Tensor:
            images = invert(generator, model, labels, *rest)  # type: ignore[arg-type]
            made.append((images, labels, model(images).softmax(1).detach()))
            return images

        for place in ("gong", "public"):
            monkeypatch.setattr(f"sparseguard.defenses.{place}.invert", noted)
        train("gong", shared_split, LONGER, weight=weight)
        return made

    return run


def share(probabilities: Tensor, labels: Tensor) -> float:
    return float((probabilities.argmax(1) == labels).float().mean())


def test_fakes_are_what_their_classifier_assigns_the_wanted_class(fakes: Callable[[float], Fakes]) -> None:
    """The public kind by the public classifier; the inverted kind by the private model, before it is tuned on them."""
    (public, of_public, by_classifier), *inverted = fakes(1e-9)
    assert share(by_classifier, of_public) > 0.8
    assert len(inverted) == LONGER.tuning_epochs  # anew in each round
    for images, labels, by_target in inverted:
        assert share(by_target, labels) > 0.4  # chance is 0.1; the first target has seen five short epochs
        assert images.shape == public.shape
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert share(*inverted[-1][:0:-1]) > 0.7


def test_the_adjusted_loss_injects_public_features_and_pushes_out_what_inversion_finds(shared_split: Split) -> None:
    plain, tuned = (train("gong", shared_split, LONGER, weight=weight).facts for weight in (0.0, 1.0))
    assert tuned["p_y of public fakes"] > plain["p_y of public fakes"] + 0.2
    assert tuned["p_y of inverted fakes"] < plain["p_y of inverted fakes"] - 0.2


def test_log_not_is_the_log_of_one_minus_the_probability() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 5).double(), torch.arange(20) % 5
    p = logits.softmax(1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(log_not(logits, labels), (1 - p).log())
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    value = log_not(sure, torch.tensor([0]))
    assert float(value.detach()) == pytest.approx(-200)  # where 1 - p is 0 in float32
    (gradient,) = torch.autograd.grad(value.sum(), [sure])
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, 1.0]]))


def test_one_tuning_step_follows_the_adjusted_loss(fresh: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of one batch, and no plain epoch: the update is -lr * the gradient of the docstring's loss, by hand."""
    count = len(fresh.train_images)
    scale = replace(SMOKE, epochs=0, tuning_epochs=1, batch_size=count, gan_epochs=1, decay=False)
    rng = torch.Generator().manual_seed(0)
    pools = [torch.rand(40, 1, 28, 28, generator=rng) for _ in range(2)]
    left = list(pools)
    for place in ("gong", "public"):
        monkeypatch.setattr(f"sparseguard.defenses.{place}.invert", lambda *_: left.pop(0))
    drawn: list[Tensor] = []
    randint = torch.randint

    def noted(*args: object, **kwargs: object) -> Tensor:
        drawn.append(randint(*args, **kwargs))  # type: ignore[call-overload]
        return drawn[-1]

    torch.manual_seed(0)
    defense = make_defense("gong", weight=0.7)
    target = defense.build(fresh, "split", scale)
    public_models(fresh, "", *public_of(fresh, scale), scale, CPU)  # so that what follows draws its batch alone
    before = [p.detach().clone() for p in target.parameters()]
    monkeypatch.setattr(torch, "randint", noted)
    defense.train(target, fresh, scale)
    after = [p.detach().clone() for p in target.parameters()]
    (index,) = [d for d in drawn if d.shape == (scale.batch_size,)]
    labels = (torch.arange(10).repeat(4))[index]
    with torch.no_grad():
        for p, b in zip(target.parameters(), before):
            p.copy_(b)
    p_y = target(pools[1][index]).softmax(1).gather(1, labels[:, None])
    adjusted = F.cross_entropy(target(pools[0][index]), labels) - (1 - p_y).log().mean()
    loss = F.cross_entropy(target(fresh.train_images), fresh.train_labels) + 0.7 * adjusted
    for a, b, g in zip(after, before, torch.autograd.grad(loss, list(target.parameters()))):
        torch.testing.assert_close(a, b - scale.learning_rate * g, rtol=1e-4, atol=1e-6)


def public_of(split: Split, scale: object) -> tuple[Images]:
    public, _, _ = Gong().public_part(split, scale)  # type: ignore[arg-type]
    return (public,)


@pytest.mark.parametrize("name", ["gong", "gong_cl"])
@pytest.mark.parametrize("front", ["linear", "standardized", "conv"])
def test_weight_0_is_no_defense_bit_for_bit_and_weight_1_is_not(name: str, front: str, fresh: Split) -> None:
    none = train("none", fresh, front=front)
    assert same(train(name, fresh, front=front, weight=0.0), none)
    assert not same(train(name, fresh, front=front), none)


@pytest.mark.parametrize("name", ["gong", "gong_cl"])
def test_public_models_at_hand_give_the_same_target(name: str, fresh: Split) -> None:
    first, derived = train(name, fresh), dict(fresh.derived)
    second = train(name, fresh)
    assert fresh.derived == derived
    assert len(derived) == 2  # a GAN and a classifier
    assert same(first, second)
    assert first.facts == second.facts
    assert all(torch.equal(first.exhibits[name], second.exhibits[name]) for name in first.exhibits)


def test_fisher_information_of_a_linear_softmax_is_known_in_closed_form() -> None:
    """E over y of the squared gradient: (p_k - [k = y])^2 averaged is p_k (1 - p_k), times x^2 for a weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    image = torch.rand(1, 1, 2, 2)
    p = model(image).softmax(1)[0].detach()
    weight, bias = fisher(model, image.expand(1500, -1, -1, -1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(bias, p * (1 - p), rtol=0.15, atol=0)
    torch.testing.assert_close(weight, (p * (1 - p))[:, None] * image.flatten().square(), rtol=0.15, atol=0)


def test_the_elastic_penalty_is_a_weighted_squared_distance() -> None:
    model = nn.Linear(2, 1)
    anchor = [parameter.detach() - 0.5 for parameter in trained(model)]
    information = [torch.tensor([[1.0, 2.0]]), torch.tensor([4.0])]
    assert float(moved(model, anchor, information).detach()) == pytest.approx(0.25 * 7)


def noting(guard: Callable[..., Any], at: list[tuple[list[Tensor], list[Tensor]]]) -> Callable[..., Any]:
    """``guard``, and the parameters it is called at and their information are appended to ``at``."""

    def noted(self: Gong, target: Target, images: Tensor, *rest: object) -> Any:
        information = fisher(target, images[:50], torch.Generator().manual_seed(0))
        at.append(([p.detach().clone() for p in trained(target)], information))
        return guard(self, target, images, *rest)

    return noted


def test_continual_learning_stays_closer_to_the_plain_weights(
    shared_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the Fisher information at the end of the plain training."""
    seen: dict[str, float] = {}
    for name, kind in (("gong", Gong), ("gong_cl", GongCL)):
        at: list[tuple[list[Tensor], list[Tensor]]] = []
        monkeypatch.setattr(kind, "guard", noting(kind.guard, at))
        target = train(name, shared_split, LONGER)
        ((anchor, information),) = at
        seen[name] = float(moved(target, anchor, information).detach())
        monkeypatch.undo()
    assert seen["gong_cl"] < 0.5 * seen["gong"], seen


def test_no_consolidation_is_gong_and_too_much_does_not_diverge(shared_split: Split) -> None:
    torch.testing.assert_close(
        train("gong_cl", shared_split, consolidation=0.0).state_dict(), train("gong", shared_split).state_dict()
    )
    assert all(bool(p.isfinite().all()) for p in train("gong_cl", shared_split, consolidation=1e9).parameters())


def test_public_images_are_the_other_grey_set_or_a_disjoint_part(split: Split, tmp_path: Path) -> None:
    public, images, labels = Gong().public_part(split, SMOKE)
    other = load_data("fashion_mnist", "smoke", 0)
    assert len(public.images) == SMOKE.images
    theirs = {image.numpy().tobytes() for image in public.images}
    assert all(image.numpy().tobytes() in theirs for image in other.train_images)
    assert torch.equal(images, split.train_images)
    assert torch.equal(labels, split.train_labels)
    own = own_images(tmp_path / "own.npz")
    mine = load_data(own, "smoke", 0)
    public, images, labels = Gong().public_part(mine, SMOKE)
    assert len(public.images) == len(mine.train_images) // 5
    assert torch.equal(torch.cat([images, public.images]), mine.train_images)
    assert torch.equal(torch.cat([labels, public.labels]), mine.train_labels)
    public, images, _ = Gong(public="mnist").public_part(mine, SMOKE)
    assert public.images.shape == (SMOKE.images, 3, 14, 12)
    assert torch.equal(images, mine.train_images)


def own_images(path: Path) -> str:
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.random((60, 14, 12, 3)), labels=np.arange(60) % 3)
    return str(path)


def test_in_shape_keeps_grey_values_and_averages_channels() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    images = Images(pixels, torch.arange(2), ("a", "b"))
    torch.testing.assert_close(in_shape(images, (1, 8, 8)).images, pixels.mean(1, keepdim=True))
    assert torch.equal(in_shape(images, (3, 8, 8)).images, pixels)
    flat = Images(torch.full((2, 1, 28, 28), 0.25), torch.arange(2), ("a", "b"))
    torch.testing.assert_close(in_shape(flat, (3, 14, 40)).images, torch.full((2, 3, 14, 40), 0.25))


@pytest.mark.parametrize("name", ["gan", "gong", "gong_cl"])
def test_colour_images_of_odd_sizes_run(name: str, tmp_path: Path) -> None:
    own = own_images(tmp_path / "own.npz")
    cell = Experiment(dataset=own, setting="split", defense=name, scale="smoke", fid=False)
    result = cell.run(store=None, progress=False)
    assert result.reconstructions.shape == (4, 3, 14, 12)
    assert {tuple(shown.shape) for shown in result.exhibits.values()} == {(3, 3, 14, 12)}
    assert all(math.isfinite(value) for value in result.details["facts"].values())


def test_what_a_result_keeps_is_generated() -> None:
    cell = Experiment(defense="gong_cl", setting="end_to_end", scale="smoke", fid=False)
    result = cell.run(store=None, progress=False)
    names = ["GAN on public images", "inverted from the public classifier", "inverted from the target"]
    assert sorted(result.exhibits) == sorted(names)
    assert {tuple(shown.shape) for shown in result.exhibits.values()} == {(10, 1, 28, 28)}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gong", {"weight": -1.0}, "weight must be a finite number from 0 on, not -1.0"),
        (
            "gong",
            {"public": "imagenet"},
            "public must be empty or a data set: dataset must be one of mnist, fashion_mnist, ",
        ),
        ("gong_cl", {"consolidation": float("nan")}, "consolidation must be a finite number from 0 on, not nan"),
        ("gong", {"consolidation": 1.0}, "has no option 'consolidation'; its options are front, weight, public"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_defense(name, **options)


def test_the_private_set_is_not_public(split: Split) -> None:
    with pytest.raises(ValueError, match="public must be another data set than the private one, not 'mnist'"):
        make_defense("gong", public="mnist").build(split, "split", SMOKE)
