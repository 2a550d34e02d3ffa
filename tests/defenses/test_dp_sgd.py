import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from opacus.accountants import RDPAccountant

from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.scales import SCALES
from sparseguard.targets import Target
from tests.defenses.test_defenses import trained

WHOLE = replace(SCALES["smoke"], dp_epochs=1, dp_batch_size=1000, dp_learning_rate=0.7)  # one step on all images


def one_step(split: Split, **options: float) -> tuple[Target, Target]:
    """The target before and after one step on all private images."""
    torch.manual_seed(0)
    defense = make_defense("dp_sgd", **options)
    target = defense.build(split, "split", WHOLE)
    before = copy.deepcopy(target)
    defense.train(target, split, WHOLE)
    return before, target


def test_a_step_without_noise_is_the_mean_of_clipped_gradients(split: Split) -> None:
    clip = 0.5
    before, after = one_step(split, noise_multiplier=0.0, max_grad_norm=clip)
    total = [torch.zeros_like(parameter) for parameter in before.parameters()]
    clipped = 0
    for image, label in zip(split.train_images, split.train_labels):
        loss = F.cross_entropy(before(image[None]), label[None])
        gradients = torch.autograd.grad(loss, list(before.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        clipped += int(norm > clip)
        for sum_, gradient in zip(total, gradients):
            sum_ += gradient * min(1.0, clip / float(norm))
    assert clipped > 0
    for old, new, sum_ in zip(before.parameters(), after.parameters(), total):
        torch.testing.assert_close(
            new, old - WHOLE.dp_learning_rate * sum_ / len(split.train_images), atol=1e-5, rtol=0
        )


def test_noise_has_the_stated_deviation(split: Split) -> None:
    sigma, clip = 5.0, 0.5
    quiet, noisy = (one_step(split, noise_multiplier=s, max_grad_norm=clip)[1] for s in (0.0, sigma))
    moved = torch.cat([(a - b).detach().flatten() for a, b in zip(noisy.parameters(), quiet.parameters())])
    expected = WHOLE.dp_learning_rate * sigma * clip / len(split.train_images)
    assert float(moved.std()) == pytest.approx(expected, rel=0.1)


def test_epsilon_is_the_accountants(split: Split) -> None:
    target = trained("dp_sgd", split, epochs=3)
    batches = math.ceil(len(split.train_images) / SCALES["smoke"].dp_batch_size)
    accountant = RDPAccountant()
    for _ in range(3 * batches):
        accountant.step(noise_multiplier=1.1, sample_rate=1 / batches)
    assert target.facts == {"ε (δ = 1e-05)": pytest.approx(accountant.get_epsilon(1e-5))}
    assert trained("dp_sgd", split, noise_multiplier=2.0).facts["ε (δ = 1e-05)"] < accountant.get_epsilon(1e-5)
    assert trained("dp_sgd", split, noise_multiplier=0.0).facts["ε (δ = 1e-05)"] == math.inf


def test_without_noise_it_learns_as_the_undefended_target_does(split: Split) -> None:
    accuracy = [
        float((target(split.held_images).argmax(1) == split.held_labels).float().mean())
        for target in (trained("none", split, epochs=12), trained("dp_sgd", split, epochs=12, noise_multiplier=0.0))
    ]
    assert accuracy[1] == pytest.approx(accuracy[0], abs=0.15)


def test_no_gradient_and_no_hook_stays_with_the_target(split: Split) -> None:
    target = trained("dp_sgd", split)
    for parameter in target.parameters():
        assert parameter.grad is None
        assert getattr(parameter, "grad_sample", None) is None
        assert getattr(parameter, "summed_grad", None) is None
    assert not any(module._forward_hooks or module._backward_hooks for module in target.modules())
    assert not target.training
    copy.deepcopy(target)


def test_same_seed_same_target(split: Split) -> None:
    first, second = (trained("dp_sgd", split).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"front": "conv"}, "batch norm mixes the images of a batch, .*; front must be linear or standardized"),
        ({"noise_multiplier": -1.0}, "noise_multiplier must be a finite number from 0 on"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be a finite number greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_defense("dp_sgd", **options)
