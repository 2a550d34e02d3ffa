import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sparseguard import BlackBox
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.defenses.mi_reg import FIRST_SIGMA, GaussianBottleneck
from sparseguard.scales import SCALES
from tests.defenses.test_defenses import trained


@pytest.fixture
def bottleneck() -> GaussianBottleneck:
    torch.manual_seed(0)
    made = GaussianBottleneck(6)
    torch.nn.init.normal_(made.spread.weight)
    torch.nn.init.normal_(made.spread.bias)
    return made


def test_the_divergence_is_that_of_two_gaussians(bottleneck: GaussianBottleneck) -> None:
    x = torch.randn(3, 2, 5, 6)
    bottleneck(x)
    sigma = torch.nn.functional.softplus(bottleneck.spread(x))
    expected = kl_divergence(Normal(x, sigma), Normal(0.0, 1.0)).sum() / 3
    torch.testing.assert_close(bottleneck.divergence, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_what_comes_out_is_a_draw_around_what_goes_in(bottleneck: GaussianBottleneck, training: bool) -> None:
    x = torch.randn(1, 1, 1, 6)
    drawn = bottleneck.train(training)(x.expand(20000, -1, -1, -1)) - x
    sigma = torch.nn.functional.softplus(bottleneck.spread(x)).flatten()
    torch.testing.assert_close(drawn.flatten(1).std(0), sigma, rtol=0.03, atol=0.01)
    assert bool((drawn.flatten(1).mean(0).abs() < 0.05 * sigma + 0.01).all())


def test_gradients_pass_the_draw(bottleneck: GaussianBottleneck) -> None:
    x = torch.randn(4, 1, 3, 6, requires_grad=True)
    bottleneck(x).square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).all())
    assert bottleneck.spread.bias.grad is not None
    assert bool((bottleneck.spread.bias.grad != 0).all())


def test_the_divergence_falls_as_beta_rises_and_accuracy_with_it(split: Split) -> None:
    found = []
    for beta in (0.0, 1e-2, 1e-1):
        target = trained("mi_reg", split, epochs=12, beta=beta)
        accuracy = float((target(split.train_images).argmax(1) == split.train_labels).float().mean())
        found.append((target.facts["KL (nats)"], accuracy))
    (kl_none, acc_none), (kl_some, acc_some), (kl_much, acc_much) = found
    assert kl_none > 2 * kl_some > 4 * kl_much > 0
    assert acc_none > acc_some > acc_much
    assert acc_none > 0.4
    assert acc_much < 0.2


def test_without_pressure_it_is_the_undefended_target_within_noise(split: Split) -> None:
    plain, free = trained("none", split, epochs=12), trained("mi_reg", split, epochs=12, beta=0.0)
    leak = free.leak(split.train_images[:50]) - free.body(free.front(split.train_images[:50]))
    assert float(leak.detach().std()) < 2 * FIRST_SIGMA
    accuracy = [float((t(split.held_images).argmax(1) == split.held_labels).float().mean()) for t in (plain, free)]
    assert accuracy[1] == pytest.approx(accuracy[0], abs=0.15)


def test_the_deployed_target_draws_anew(split: Split) -> None:
    box = BlackBox(trained("mi_reg", split))
    assert not torch.equal(box.query(split.train_images[:3]), box.query(split.train_images[:3]))


def test_wrong_betas_are_named() -> None:
    for value in (-1.0, float("nan"), float("inf"), True):
        with pytest.raises(ValueError, match="beta must be a finite number from 0 on"):
            make_defense("mi_reg", beta=value)


@pytest.mark.parametrize(("setting", "drawn"), [("split", False), ("end_to_end", True)])
def test_before_the_classifier_only_a_leak_that_is_there_too_is_random(split: Split, setting: str, drawn: bool) -> None:
    torch.manual_seed(0)
    defense = make_defense("mi_reg", before="classifier", beta=0.1)
    target = defense.build(split, setting, SCALES["smoke"])
    defense.train(target, split, SCALES["smoke"])
    x = split.train_images[:20]
    assert torch.equal(target.leak(x), target.leak(x)) != drawn
    assert not torch.equal(target(x), target(x))
    free = make_defense("mi_reg", before="classifier", beta=0.0)
    torch.manual_seed(0)
    loose = free.build(split, setting, SCALES["smoke"])
    free.train(loose, split, SCALES["smoke"])
    assert loose.facts["KL (nats)"] > target.facts["KL (nats)"] > 0
    with pytest.raises(ValueError, match="before must be one of head, classifier, not 'leak'"):
        make_defense("mi_reg", before="leak")
