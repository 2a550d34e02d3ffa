from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseguard import BlackBox, SparseCoding2d, list_defenses
from sparseguard.access import Leaky, WhiteBox
from sparseguard.attacks import DictionaryDecode, Fitted, Holdout, make_attack
from sparseguard.attacks.inverses import inverse
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.defenses.base import conv_pair
from sparseguard.metrics import psnr
from sparseguard.normalisation import Normalize, Standardize
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = SCALES["smoke"]


class Flipped(nn.Module):
    """Names the columns of an image in another order: no layer that any table knows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(3)


def target_of(front: Sequence[nn.Module], body: nn.Module | None = None, noise: nn.Module | None = None) -> Target:
    target = Target(front, "split", (1, 28, 28), 10, 8)
    target.body = nn.Sequential(body or nn.Identity())
    target.noise = noise or nn.Identity()
    return target.eval()


def attacked(target: Target, split: Split, estimate: bool = False) -> tuple[Fitted, Tensor]:
    """The fitted attack, and what it makes of the private images."""
    box = WhiteBox(target)
    fitted = DictionaryDecode(estimate=estimate).fit(box, Holdout(split.attack_images, split.held_images), SMOKE)
    return fitted, fitted.reconstruct(box.query(split.train_images))


def affine(x: Tensor, y: Tensor) -> Tensor:
    """What is left of y after the best ``a x + b``."""
    a = ((x - x.mean()) * y).sum() / (x - x.mean()).square().sum()
    return y - y.mean() - a * (x - x.mean())


@pytest.mark.parametrize(("outputs", "bias"), [(28, True), (40, False)])
def test_a_dense_layer_that_has_an_inverse_is_inverted_exactly(outputs: int, bias: bool, split: Split) -> None:
    """In columns too that no hold-out image uses."""
    torch.manual_seed(0)
    _, images = attacked(target_of([Normalize(0.13, 0.31)], nn.Linear(28, outputs, bias=bias)), split)
    torch.testing.assert_close(images, split.train_images, atol=2e-3, rtol=0)


def test_pixels_under_another_name_are_found(split: Split) -> None:
    """By regression on hold-out images: exactly, but for columns that these hardly use."""
    _, images = attacked(target_of([Standardize()], Flipped()), split)
    _, straight = attacked(target_of([Standardize()]), split)
    torch.testing.assert_close(images[..., 6:22], straight[..., 6:22], atol=1e-4, rtol=0)


@pytest.mark.parametrize("estimate", [False, True])
def test_a_code_in_the_open_is_decoded_by_its_own_layer(estimate: bool, split: Split) -> None:
    """The dense part is the identity: the layer's own reconstruction, but for brightness and contrast."""
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 4, lam=0.5, solver="fista")
    fitted, images = attacked(target_of([layer]), split, estimate)
    with torch.no_grad():
        decoded = layer.reconstruct(layer(split.train_images))[:, :, 2:-2, 2:-2]
    assert decoded.shape == images.shape
    inside = (images > 0) & (images < 1)  # not clipped
    x, y = decoded[inside], images[inside]
    assert float(affine(x, y).square().mean()) < (1e-3 if estimate else 1e-5) * float(
        y.var()
    )  # ridge regression is not exact
    assert fitted.details["undone"] == (["SparseCoding2d"] if estimate else ["Identity", "Identity", "SparseCoding2d"])


@torch.no_grad()
def test_brightness_and_contrast_are_those_that_fit_hold_out_images(split: Split) -> None:
    layer, x = Standardize(), split.train_images[:50]
    back = inverse(layer, layer(x), x)(layer(x))
    assert float(back.mean()) == pytest.approx(float(x.mean()), abs=1e-5)
    for other in (back * 1.05, back * 0.95, back + 0.02, back - 0.02):
        assert float(F.mse_loss(back, x)) < float(F.mse_loss(other, x))


@torch.no_grad()
def test_normalisations_with_a_known_mean_are_undone_exactly() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    for values in (norm.weight, norm.bias, norm.running_mean):
        assert values is not None
        values.normal_()
    assert norm.running_var is not None
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(4, 3, 5, 6)
    for layer in (norm.eval(), nn.BatchNorm2d(3, affine=False).eval(), Normalize(0.3, 2.0), nn.Identity()):
        torch.testing.assert_close(inverse(layer, layer(x), x)(layer(x)), x, atol=1e-4, rtol=1e-4)
    norm.weight[1] = 0.0
    back = inverse(norm, norm(x), x)(norm(x))
    assert bool(torch.isfinite(back).all())
    torch.testing.assert_close(back[:, [0, 2]], x[:, [0, 2]], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_passed_a_relu_is_kept_and_what_did_not_is_below_zero() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 2, 6, 8) @ torch.randn(8, 8)
    back = inverse(nn.ReLU(), x.relu(), x)(x.relu())
    assert torch.equal(back[x > 0], x[x > 0])
    assert bool((back[x <= 0] <= 0).all())
    assert float(F.mse_loss(back, x)) < 0.5 * float(F.mse_loss(x.relu(), x))


@torch.no_grad()
@pytest.mark.parametrize("conv", [nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(1, 12, 3, stride=2, bias=False)])
def test_a_convolution_with_more_features_than_pixels_is_inverted(conv: nn.Conv2d, split: Split) -> None:
    torch.manual_seed(0)
    conv.reset_parameters()
    x = split.attack_images[:, :, :27, :27]
    victims = split.train_images[:50, :, :27, :27]
    assert float(psnr(victims, inverse(conv, conv(x), x)(conv(victims))).mean()) > 30


@torch.no_grad()
def test_noise_is_answered_with_the_best_linear_estimate() -> None:
    """Of independent elements with variance 4 and noise of variance 1: 4/5 of what is seen."""
    torch.manual_seed(0)
    x = 2 * torch.randn(400, 1, 10, 5)
    back = inverse(nn.Module(), x + torch.randn_like(x), x)
    slope = back(torch.ones(1, 1, 10, 5)) - back(torch.zeros(1, 1, 10, 5))
    torch.testing.assert_close(slope, torch.full_like(slope, 0.8), atol=0.1, rtol=0)


@pytest.mark.parametrize("estimate", [False, True])
@pytest.mark.parametrize("name", list_defenses())
def test_every_defense_is_taken_apart_and_left_as_it_was(name: str, estimate: bool, split: Split) -> None:
    torch.manual_seed(0)
    target = make_defense(name).build(split, "split", SMOKE).eval()
    box = WhiteBox(target)
    modules = (target, box.model)
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in modules]
    victims = split.train_images[:20]
    attack = DictionaryDecode(estimate=estimate)
    fitted = attack.fit(box, Holdout(split.attack_images, split.held_images[:8]), SMOKE)
    images = fitted.reconstruct(attack.observe(box, victims))
    assert images.shape == victims.shape
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    guess = split.attack_images.mean(0, keepdim=True).expand_as(victims)
    # under as much noise as laplace's it is hardly better than the mean image
    assert float(F.mse_loss(images, victims)) < 1.1 * float(F.mse_loss(guess, victims))
    assert list(fitted.details["errors"]) == [fitted.details["attacker"]]
    for module, kept in zip(modules, before):
        assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
        assert not any(m.training for m in module.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimate": 1}, "estimate must be true or false, not 1"),
        ({"views": 0}, "views must be a whole number from 1 on, not 0"),
        ({"lam": 0.5}, "attack 'dictionary_decode' has no option 'lam'; its options are views, estimate"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_attack("dictionary_decode", **options)


def test_what_cannot_be_taken_apart_is_named(split: Split) -> None:
    class Closed(Leaky):
        def leak(self, x: Tensor) -> Tensor:
            return x

    images = split.attack_images
    for box in (BlackBox(target_of([Standardize()])), WhiteBox(Closed())):
        with pytest.raises(ValueError, match="needs a target that it can take apart, layer by layer"):
            DictionaryDecode().fit(box, Holdout(images, images), SMOKE)
    with pytest.raises(ValueError, match="no way back through a MaxPool2d: it changes channels or rows"):
        attacked(target_of([nn.MaxPool2d(2)]), split)


def test_a_leak_that_is_not_finite_ends_with_a_sentence(split: Split) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 0

    with pytest.raises(ArithmeticError, match="leaks NaN or infinite"):
        attacked(target_of(conv_pair(1, 2), noise=Broken()), split)
