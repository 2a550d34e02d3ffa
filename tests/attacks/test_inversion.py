import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparseguard import BlackBox, list_attacks, list_defenses
from sparseguard.access import Leaky, WhiteBox, grant
from sparseguard.attacks import ATTACKS, Holdout, Inversion, inversion, make_attack, queries, race
from sparseguard.attacks.decoders import DECODERS, Decoder, Member
from sparseguard.attacks.nearest import Nearest
from sparseguard.attacks.queries import Queries
from sparseguard.attacks.race import PAYS, Runner, decibels, rungs
from sparseguard.attacks.ridge import ridge
from sparseguard.bending import bend
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.metrics import psnr
from sparseguard.scales import SCALES

SMOKE = SCALES["smoke"]


class Glass(Leaky):
    """A target whose leak is the image itself, plus noise if asked for."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.level = noise
        self.head = nn.Linear(1, 1)

    def leak(self, x: Tensor) -> Tensor:
        return x + self.level * torch.randn_like(x) if self.level else x


class Renamed(Glass):
    """A defense that only renames: pixels in another order, as a vector."""

    def leak(self, x: Tensor) -> Tensor:
        order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(0))
        return 3 * x.flatten(1)[:, order] - 1


class Overturned(Glass):
    """A front that moves what it knows of a row far from it, as wide convolutions do."""

    def leak(self, x: Tensor) -> Tensor:
        return x.flip(2)


def counted(box: BlackBox) -> list[int]:
    """The number of images of each query from now on."""
    seen: list[int] = []
    query = box.query

    def call(images: Tensor) -> Tensor:
        seen.append(len(images))
        return query(images)

    box.query = call
    return seen


def quality(box: BlackBox, attack: Any, split: Split, scale: Any = SMOKE) -> float:
    """PSNR of the private images, in dB."""
    torch.manual_seed(0)
    fitted = attack.fit(box, Holdout(split.attack_images, split.held_images), scale)
    victims = split.train_images
    return float(psnr(victims, fitted.reconstruct(attack.observe(box, victims))).mean())


def mean_image(split: Split) -> float:
    """PSNR of guessing it, in dB."""
    guess = split.attack_images.mean(0, keepdim=True).expand_as(split.train_images)
    return float(psnr(split.train_images, guess).mean())


@pytest.mark.parametrize("attack", list_attacks())
@pytest.mark.parametrize("name", ["none", "none_conv", "laplace", "sparse_guard"])
def test_an_attack_leaves_the_target_as_it_was(name: str, attack: str, split: Split) -> None:
    """Invariant 1, bit for bit, buffers included."""
    defense = make_defense(name)
    target = defense.build(split, "split", SMOKE)
    defense.train(target, split, replace(SMOKE, epochs=1))
    box = grant(ATTACKS.check(attack).access, target)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    modes = [m.training for m in target.modules()]
    deployed = inspect.getclosurevars(box.query.__wrapped__).nonlocals["function"].__self__  # type: ignore[attr-defined]
    inside = {key: value.clone() for key, value in deployed.state_dict().items()}
    make_attack(attack).fit(
        box, Holdout(split.attack_images[:20], split.held_images[:10]), replace(SMOKE, attack_updates=2)
    )
    bent = ATTACKS.check(attack).access == "victim"  # its copy is the one that answers, and may change
    for module, kept in ((target, before), *(() if bent else ((deployed, inside),))):
        assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
    assert modes == [m.training for m in target.modules()]
    assert not any(m.training for m in deployed.modules())


def test_access_gives_what_it_says_and_no_more(split: Split) -> None:
    """Invariant 1: a black box holds functions alone; a white box a copy whose fate is no one else's."""
    target = make_defense("none_conv").build(split, "split", SMOKE)
    black, white = grant("black_box", target), grant("white_box", target)
    assert type(black) is BlackBox
    assert not hasattr(black, "__dict__")
    assert isinstance(white, WhiteBox)
    images = split.held_images[:3].clone().requires_grad_()
    assert not black.query(images).requires_grad
    gradient = torch.autograd.grad(white.model.leak(images).sum(), images)[0]
    assert float(gradient.abs().sum()) > 0
    before = white.query(images)
    for parameter in white.model.parameters():
        assert not parameter.requires_grad
        parameter.zero_()
    assert torch.equal(white.query(images), before)
    assert torch.equal(black.query(images), before)
    with pytest.raises(ValueError, match="access must be one of black_box, white_box, victim, not 'root'"):
        grant("root", target)  # type: ignore[arg-type]


def test_every_defense_is_attacked_by_the_same_rule(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 3: the data, the family, and when a decoder ends do not depend on the target."""
    monkeypatch.setattr(race, "hopeless", lambda runner, first: False)
    scale = replace(SMOKE, attack_queries=60)
    for name in list_defenses():
        torch.manual_seed(0)
        target = make_defense(name).build(split, "split", scale)
        fitted = Inversion().fit(BlackBox(target), Holdout(split.attack_images[:20], split.held_images[:20]), scale)
        told = fitted.details
        assert set(told["errors"]) == {*scale.decoders, "mean image"}
        assert told["queries"] == scale.attack_queries
        for decoder, rungs_seen in told["courses"].items():
            counts, errors = zip(*rungs_seen)
            pace = DECODERS[decoder].pace
            steps = rungs(scale.attack_updates)
            steps += [scale.attack_updates * 2**k for k in range(1, DECODERS[decoder].further + 1)]
            assert list(counts) == [pace * count for count in steps][: len(counts)]
            gains = [decibels(b) - decibels(a) for a, b in pairwise(errors)]
            assert all(gain >= PAYS for gain in gains[race.PATIENCE - 1 : -1]), (
                "it went on after a doubling that did not pay"
            )
            assert gains[-1] < PAYS or counts[-1] >= pace * scale.attack_updates, "it ended while it paid"


class Line(nn.Module):
    """A network whose validation error is told beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, leak: Tensor) -> Tensor:
        return self.weight * leak


def run_race(courses: Mapping[str, list[float]], cap: int = 1024, further: int = 0) -> dict[str, Runner]:
    """A race in which each runner has this quality in dB after each rung."""
    asked = Queries(lambda images: images, torch.rand(8, 1, 12, 12))
    runners = {name: Runner(Line(), Member(Line, 1e-3, 2, further=further), asked) for name in courses}
    told = {id(runners[name].average): iter(course) for name, course in courses.items()}
    race.race(runners, lambda network: 10 ** (-next(told[id(network)]) / 10), cap, "cpu")
    return runners


def test_weights_are_averaged_with_growing_length_and_the_rate_rises_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that grow by one with each update: their average in closed form; and the rates that were asked for."""
    rates: list[float] = []

    class Counting:
        def __init__(self, network: nn.Module, rate: float, weight_decay: float) -> None:
            self.weight = next(network.parameters())

        def zero_grad(self) -> None: ...

        def step(self, rate: float) -> None:
            rates.append(rate)
            self.weight.data += 1

    monkeypatch.setattr(race, "Muon", Counting)
    runner = Runner(Line(), Member(Line, 0.1, 2, pace=2), Queries(lambda images: images, torch.rand(8, 1, 12, 12)))
    runner.run(256, "cpu")
    times = torch.arange(1, 513, dtype=torch.float64)
    shares = times ** (race.POWER + 1) - (times - 1) ** (race.POWER + 1)
    expected = float(((1 + times) * shares / shares.sum()).sum())
    assert float(next(runner.average.parameters())) == pytest.approx(expected, rel=1e-4)
    assert rates[0] == pytest.approx(0.1 / race.WARM_UP)
    assert rates[race.WARM_UP - 1] == rates[race.STEADY - 1] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 * (race.STEADY / 512) ** 0.5)


@pytest.mark.parametrize(("images", "decay"), [(race.FEW - 1, 0.7), (race.FEW, 0.0)])
def test_weights_shrink_where_the_attackers_own_images_are_few(
    images: int, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(race, "Muon", lambda network, rate, weight_decay: given.append(weight_decay))
    asked = Queries(lambda asked: asked, torch.rand(images, 1, 2, 2), 2 * race.FEW)
    Runner(Line(), Member(Line, 0.1, weight_decay=0.7), asked)
    assert given == [decay]


def test_a_decoder_ends_when_a_doubling_does_not_pay_and_keeps_its_best() -> None:
    runner = run_race({"a": [10, 12, 13, 13.05, 99, 99]})["a"]
    assert list(runner.course) == [32, 64, 128, 256]
    assert runner.gain == pytest.approx(0.05)
    assert not runner.paying
    slow = run_race({"a": [10, 10, 12, 14, 16, 18]})["a"]
    assert list(slow.course) == rungs(1024)  # a first doubling that does not pay is a slow start
    falling = run_race({"a": [10, 12, 9, 99, 99, 99]})["a"]
    assert decibels(falling.best[0]) == pytest.approx(12)
    capped = run_race({"a": [10, 12, 14, 16, 18, 20]})["a"]
    assert list(capped.course) == rungs(1024) == [32, 64, 128, 256, 512, 1024]
    assert capped.paying


def test_cheap_updates_go_on_where_they_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many doublings as they are allowed, while these pay; one that is behind then does not."""
    rising = [10.0, 12, 14, 16, 18, 20, 21, 22, 23]
    ahead = run_race({"a": rising, "b": [9, 11, 13, 15, 17, 18, 99]}, further=2)
    assert list(ahead["a"].course) == [*rungs(1024), 2048, 4096]
    assert list(ahead["b"].course)[-1] == 512
    assert ahead["a"].paying
    settled = run_race({"a": [*rising[:6], 20.05, 99]}, further=2)["a"]
    assert list(settled.course)[-1] == 2048
    assert list(run_race({"a": [*rising[:5], 18.05, 99]}, further=2)["a"].course)[-1] == 1024
    assert list(run_race({"a": rising})["a"].course)[-1] == 1024


def test_a_loser_is_dropped_only_when_its_last_gain_once_more_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "places", lambda rung, count: 3)
    found = run_race({"ahead": [20, 21, 21.5, 22, 22.2, 22.3], "behind": [10, 16, 18, 19, 9, 9],
                      "late": [14, 18, 21, 23, 24, 24.5]})  # fmt: skip
    assert list(found["behind"].course) == [32, 64, 128]  # 16 + 6 reaches 21, 18 + 2 not 21.5
    assert found["behind"].dropped
    assert list(found["late"].course) == rungs(1024)
    assert not found["ahead"].dropped or found["ahead"].best[0] > found["late"].best[0]


def test_later_rungs_have_fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "hopeless", lambda runner, first: False)
    courses = {name: [k + 1.0, k + 2, k + 3, k + 5, k + 7, k + 9] for k, name in enumerate("abcd")}
    courses["late"] = [1.0, 2.0, 9.0, 11.0, 13.0, 15.0]  # behind, but it gains most
    found = run_race(courses)
    counts = {name: len(runner.course) for name, runner in found.items()}
    assert counts == {"a": 3, "b": 3, "c": 5, "d": 5, "late": 6}
    assert found["late"].paying
    assert not found["d"].paying


def test_the_last_place_is_for_whom_half_of_the_last_gain_brings_to_the_front() -> None:
    """A doubling gains about half of what the one before did: 2.2 dB more do not follow on 2.2."""
    found = run_race({"ahead": [20, 25, 28, 29.9, 30.7, 31.3], "behind": [10, 16, 22, 27.4, 29.6, 30.3]})
    assert [len(found[name].course) for name in ("ahead", "behind")] == [6, 5]
    found = run_race({"ahead": [20, 25, 28, 28.6, 29.0, 29.2], "behind": [10, 16, 22, 26.5, 28.5, 30.3]})
    assert [len(found[name].course) for name in ("ahead", "behind")] == [5, 6]


@pytest.mark.parametrize("scale", SCALES.values())
def test_every_scale_names_decoders_that_exist_and_a_floor(scale: Any) -> None:
    assert set(scale.decoders) <= {"ridge", *DECODERS}
    assert "ridge" in scale.decoders
    assert scale.attack_updates % race.SHORTEST == 0


@pytest.mark.parametrize("asked", [250, 7])
def test_the_nearest_image_is_the_one_itself_where_the_attacker_has_it(
    asked: int, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparseguard.attacks.nearest.ASKED", asked)  # all at once, and in several pieces
    box, own = BlackBox(Renamed()), split.attack_images
    fitted = make_attack("nearest").fit(box, Holdout(own, split.held_images), SMOKE)
    assert torch.equal(fitted.reconstruct(box.query(own.flip(0))), own.flip(0))


@pytest.mark.parametrize("attack", [k for k, of in ATTACKS.members.items() if of.pairs and of.access != "victim"])
@pytest.mark.parametrize("target", [Glass(), Renamed()], ids=["glass", "renamed"])
def test_a_planted_leak_is_found(target: Leaky, attack: str, split: Split) -> None:
    """The leak is the image, or only renames its pixels: every attack must find the way back."""
    box = grant(ATTACKS.check(attack).access, target)
    try:
        found = quality(box, make_attack(attack), split)
    except ValueError as error:
        if "take apart" not in str(error):
            raise
        pytest.skip("it has a planted leak of its own, in a target that can be taken apart")
    assert found > mean_image(split) + 4


def test_a_target_that_leaks_its_label_yields_the_class_mean_and_nothing_better(split: Split) -> None:
    class Label(Glass):
        """Leaks the one-hot label of the image that it is shown, known by heart."""

        def leak(self, x: Tensor) -> Tensor:
            known = torch.cat([split.train_images, split.attack_images, split.held_images]).flatten(1)
            labels = torch.cat([split.train_labels, split.attack_labels, split.held_labels])
            nearest = torch.cdist(x.flatten(1), known).argmin(1)
            return F.one_hot(labels[nearest], 10).float()

    means = torch.stack([split.attack_images[split.attack_labels == k].mean(0) for k in range(10)])
    stand_in = float(psnr(split.train_images, means[split.train_labels]).mean())
    found = quality(BlackBox(Label()), Inversion(bent=False), split)
    assert found < stand_in + 0.5
    assert found > mean_image(split) - 0.3


def test_a_decoder_that_diverges_is_not_the_answer(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = {"rows": replace(DECODERS["rows"], learning_rate=float("inf"))}
    monkeypatch.setattr(inversion, "DECODERS", DECODERS | wild)
    fitted = Inversion(decoders=("rows",)).fit(
        BlackBox(Glass()), Holdout(split.attack_images, split.held_images), SMOKE
    )
    assert fitted.details["attacker"] == "mean image"
    assert fitted.reconstruct(torch.rand(2, 1, 28, 28)).shape == (2, 1, 28, 28)


def test_a_target_that_leaks_nothing_teaches_the_mean_image(split: Split) -> None:
    class Wall(Glass):
        def leak(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    assert quality(BlackBox(Wall()), Inversion(bent=False), split) == pytest.approx(mean_image(split), abs=0.2)


def test_more_images_and_more_views_are_never_worse_beyond_noise(split: Split) -> None:
    box = BlackBox(Glass(noise=1.0))
    few = replace(split, attack_images=split.attack_images[:15])
    attack = Inversion(decoders=("ridge", "neighbours"), updates=64)
    assert quality(box, attack, split) > quality(box, attack, few) - 0.3
    assert quality(box, replace(attack, views=16), split) > quality(box, attack, split) + 1.0


def test_views_average_noise_and_ask_a_steady_box_no_more_than_needed(split: Split) -> None:
    images, noisy = split.held_images, BlackBox(Glass(noise=0.5))
    off = [(Inversion(views=n).observe(noisy, images) - images).std() for n in (1, 25)]
    assert float(off[0] / off[1]) == pytest.approx(5.0, rel=0.1)
    steady = BlackBox(Glass())
    seen = counted(steady)
    assert torch.equal(Inversion(views=25).observe(steady, images), images)
    assert len(seen) == 2


def test_a_deterministic_box_is_asked_once_and_a_random_one_anew(split: Split) -> None:
    images, scale = split.attack_images, SMOKE
    box = BlackBox(Glass())
    seen = counted(box)
    Inversion().fit(box, Holdout(images, split.held_images), scale)
    assert sum(seen) == 2 * 4 + 2 * len(images) - len(images) + scale.attack_queries + 2 * len(split.held_images)
    box = BlackBox(Glass(noise=0.5))
    seen = counted(box)
    Inversion(decoders=("rows",)).fit(box, Holdout(images, split.held_images), scale)
    assert sum(seen) > DECODERS["rows"].batch_size * scale.attack_updates / 2


def test_leaks_that_do_not_fit_into_memory_are_asked_again_with_the_same_result(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for limit in (queries.LEAKS_KEPT, 0):
        monkeypatch.setattr(queries, "LEAKS_KEPT", limit)
        torch.manual_seed(0)
        fitted = Inversion().fit(BlackBox(Glass()), Holdout(split.attack_images, split.held_images), SMOKE)
        results.append(fitted.details["errors"])
    assert results[0] == pytest.approx(results[1], rel=1e-4)


@given(st.integers(1, 3), st.integers(12, 33), st.integers(12, 33))
def test_bent_copies_are_images_that_differ_a_little(channels: int, height: int, width: int) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    images = torch.exp(-4 * (x**2 + y**2)).expand(40, channels, height, width)  # a disc in the middle
    copies = bend(images, torch.Generator().manual_seed(0))
    assert copies.shape == images.shape
    assert 0 <= float(copies.min()) <= float(copies.max()) <= 1
    off = (copies - images).square().flatten(1).mean(1)
    assert float(off.min()) > 0
    assert float(off.max()) < float((images - images.mean()).square().mean())


def test_half_of_each_batch_are_the_attackers_own_images() -> None:
    asked = Queries(lambda images: images, torch.rand(10, 1, 12, 12), most=40)
    assert len(asked.images) == 40
    batches = asked.batches(8, torch.Generator().manual_seed(0))
    own = {tuple(image.flatten().tolist()) for image in asked.images[:10]}
    for _ in range(5):
        index = next(batches)
        leak, truth = asked.leaks(index), asked.images[index]
        assert torch.equal(leak, truth)
        assert sum(tuple(image.flatten().tolist()) in own for image in truth) == 4


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("leak", [(1, 28, 8), (6, 28, 8), (4, 7, 7), (5, 6), (12,), (2, 3, 4, 5)])
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 31, 30)])
def test_decoders_take_any_leak(name: str, leak: tuple[int, ...], image: tuple[int, ...]) -> None:
    decoder = Decoder(DECODERS[name].network, leak, image, 16, 0.0, 1.0)
    assert decoder(torch.rand(2, *leak)).shape == (2, *image)


def test_what_a_decoder_sees_of_the_leak() -> None:
    """``rows`` sees one row of it, ``neighbours`` five, and convolutions after them two more; ``mixer`` all."""
    for name, sees in (("rows", 2), ("neighbours", 4), ("mixer", 28)):
        torch.manual_seed(0)
        decoder = Decoder(DECODERS[name].network, (3, 28, 8), (1, 28, 28), 16, 0.0, 1.0)
        leak = torch.rand(1, 3, 28, 8, requires_grad=True)
        decoder(leak)[0, 0, 14].sum().backward()
        assert leak.grad is not None
        touched = leak.grad[0].abs().sum((0, 2)).nonzero().flatten().tolist()
        assert touched == list(range(max(14 - sees, 0), min(14 + sees + 1, 28)))


def test_rows_that_leak_elsewhere_are_found_by_who_sees_all_of_them(split: Split) -> None:
    """The mixer rebuilds images from rows in another order, where decoding each alone must fail."""
    scale = replace(SMOKE, attack_hidden=64, attack_updates=128)
    found = {name: quality(BlackBox(Overturned()), Inversion(decoders=(name,)), split, scale)
             for name in ("rows", "mixer")}  # fmt: skip
    assert found["mixer"] > found["rows"] + 3


@pytest.mark.parametrize(("leak", "elements"), [((2, 12, 9), 2 * 9 * 7), ((40,), 40)])
def test_ridge_is_the_closed_form(leak: tuple[int, ...], elements: int) -> None:
    """Both systems, of elements and of examples, give scikit-learn's answer, and a linear leak is inverted exactly."""
    from sklearn.linear_model import Ridge

    from sparseguard.attacks.ridge import solutions

    for examples in (elements + 20, elements - 20):
        x, y = torch.randn(examples, elements), torch.randn(examples, 5)
        gram = x.T @ x if elements <= examples else x @ x.T
        penalty = 1e-2 * float(gram.diagonal().mean())
        expected = torch.from_numpy(Ridge(alpha=penalty, fit_intercept=False).fit(x.numpy(), y.numpy()).coef_).float()
        *_, third, _, _ = solutions(x, y)
        torch.testing.assert_close(third, expected.T, atol=1e-4, rtol=1e-3)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 12, 6, generator=generator)
    mix = torch.randn(6, 18, generator=generator) if len(leak) == 3 else torch.randn(72, 40, generator=generator)

    def observe(shown: Tensor) -> Tensor:
        mixed = (shown if len(leak) == 3 else shown.flatten(1)) @ mix
        return mixed.unflatten(-1, (9, 2)).movedim(-1, 1).squeeze(2) if len(leak) == 3 else mixed

    asked = Queries(observe, images[:200])
    error, network = ridge(
        asked, leak, (1, 12, 6),
        lambda n: float((n(observe(images[200:])) - images[200:]).square().mean()), "cpu",
    )  # fmt: skip
    assert (error < 1e-6) == (len(leak) == 3)  # forty numbers do not hold 72 pixels
    assert network(observe(images[200:])).shape == images[200:].shape


def test_reconstructions_are_images(split: Split) -> None:
    fitted = Inversion().fit(BlackBox(Glass()), Holdout(split.attack_images, split.held_images), SMOKE)
    rebuilt = fitted.reconstruct(100 * torch.randn(5, 1, 28, 28))
    assert rebuilt.shape == (5, 1, 28, 28)
    assert 0 <= float(rebuilt.min()) <= float(rebuilt.max()) <= 1


def test_a_leak_that_is_not_finite_ends_with_a_sentence(split: Split) -> None:
    class Broken(Glass):
        def leak(self, x: Tensor) -> Tensor:
            return x / 0

    with pytest.raises(ArithmeticError, match="leaks NaN or infinite"):
        Inversion().fit(BlackBox(Broken()), Holdout(split.attack_images, split.held_images), SMOKE)

    class Standardised(Glass):
        def leak(self, x: Tensor) -> Tensor:
            return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)

    images = torch.rand(400, 1, 28, 28)
    images[300] = 0.5  # one constant image among many, beyond the first that are looked at
    for attack in (Inversion(), Nearest()):
        with pytest.raises(ArithmeticError, match="leaks NaN or infinite"):
            attack.fit(BlackBox(Standardised()), Holdout(images, split.held_images), SMOKE)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("guess", {}, "attack must be one of inversion.*, not 'guess'"),
        ("inversion", {"look": 2}, "attack 'inversion' has no option 'look'; its options are views, bent"),
        ("inversion", {"views": 0}, "views must be a whole number from 1 on, not 0"),
        ("inversion", {"updates": 1.5}, "updates must be a whole number from 1 on, not 1.5"),
        ("inversion", {"bent": 1}, "bent must be true or false, not 1"),
        ("plug_and_play", {"betas": 0.1}, "betas must be several numbers, not 0.1"),
        ("plug_and_play", {"milestones": 30}, "milestones must be several numbers, not 30"),
        ("plug_and_play", {"final_ratio": (0.0, 1.0)}, "final_ratio must be a finite number greater than 0, not 0.0"),
        ("inversion", {"decoders": 5}, "decoders must be among .*mixer.*, not 5"),
        ("inversion", {"decoders": ("oracle",)}, "decoders must be among .*mixer.*, not"),
    ],
)
def test_bad_attacks_are_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_attack(name, **options)


def test_a_second_attack_is_one_file_and_one_line(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """What README shows: a subclass with one method, under a name."""
    from sparseguard.attacks import Attack, Fitted

    @dataclass(frozen=True)
    class Guess(Attack):
        def fit(self, box: BlackBox, holdout: Holdout, scale: Any, device: str = "cpu") -> Fitted:
            return Fitted(lambda leak: holdout.images.mean(0, keepdim=True).expand(len(leak), -1, -1, -1))

    monkeypatch.setitem(ATTACKS.members, "guess", Guess)
    assert quality(BlackBox(Glass()), make_attack("guess"), split) == pytest.approx(mean_image(split))
