import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sparseguard import SparseCoding2d
from sparseguard.data import load_images
from sparseguard.sparse import SOLVERS, standardize


@given(
    st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 3, 5]), st.integers(1, 3),
    st.integers(3, 10), st.integers(3, 10), st.sampled_from(SOLVERS),
)  # fmt: skip
def test_shapes(c: int, f: int, k: int, s: int, h: int, w: int, solver: str) -> None:
    layer = SparseCoding2d(c, f, k, stride=s, lam=0.1, iterations=20, tau=20.0, solver=solver)  # type: ignore[arg-type]
    x = torch.rand(2, c, h, w)
    code = layer(x)
    assert code.shape == (2, f, math.ceil(h / s), math.ceil(w / s))
    assert bool((code >= 0).all())
    assert layer.canvas(x).shape == layer.reconstruct(code, (h, w)).shape == (2, c, h + k - 1, w + k - 1)
    assert layer.energy(x, code).shape == layer.gap(x, code).shape == (2,)
    assert layer(x[:0]).shape == (0, *code.shape[1:])
    torch.testing.assert_close(layer.dictionary.flatten(1).norm(dim=1), torch.ones(f))


def test_reconstruct_without_a_size_returns_the_canvas_where_the_stride_divides_the_image() -> None:
    layer = SparseCoding2d(1, 4, 5, stride=2)
    assert layer.reconstruct(layer(torch.rand(1, 1, 28, 28))).shape == (1, 1, 32, 32)


@given(st.integers(1, 3), st.integers(2, 9), st.floats(-5, 5), st.floats(0.01, 100))
def test_standardize_is_mean_zero_and_unbiased_unit_deviation(c: int, n: int, offset: float, scale: float) -> None:
    x = torch.randn(3, c, n, n, generator=torch.Generator().manual_seed(n)) * scale + offset
    y = standardize(x)
    torch.testing.assert_close(y.flatten(1).mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.flatten(1).std(1), torch.ones(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 255.0, 1e6, -3.7, 1e-20])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_image_has_an_all_zero_code_and_a_finite_gradient(value: float, solver: str) -> None:
    layer = SparseCoding2d(1, 8, lam=0.1, iterations=50, tau=10.0, solver=solver)  # type: ignore[arg-type]
    x = torch.full((2, 1, 28, 28), value, requires_grad=True)
    code = layer(x)
    assert not code.any()
    code.sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


def test_a_constant_image_in_a_batch_leaves_the_others_alone(fashion: torch.Tensor) -> None:
    layer = SparseCoding2d(1, 8, lam=0.25)
    batch = torch.cat([fashion[:2], torch.full((1, 1, 28, 28), 0.3)])
    torch.testing.assert_close(layer(batch)[:2], layer(fashion[:2]), atol=1e-5, rtol=1e-4)


def test_brightness_and_contrast_do_not_change_the_code(fashion: torch.Tensor) -> None:
    layer = SparseCoding2d(1, 8, lam=0.25)
    torch.testing.assert_close(layer(0.5 * fashion + 0.2), layer(fashion), atol=1e-4, rtol=1e-3)


def test_nonneg_false_codes_both_signs(fashion: torch.Tensor) -> None:
    code = SparseCoding2d(1, 8, lam=0.25, nonneg=False)(fashion)
    assert bool((code < 0).any())
    assert bool((code > 0).any())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lam": 0.0}, "lam must be a finite number greater than 0, not 0.0"),
        ({"lam": -1.0}, "lam must be"),
        ({"lam": float("nan")}, "lam must be"),
        ({"lam": float("inf")}, "lam must be"),
        ({"tau": 0.0}, "tau must be"),
        ({"iterations": 0}, "iterations must be a whole number"),
        ({"stride": 0}, "stride must be a positive whole number"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"features": 0}, "features must be"),
        ({"solver": "ista"}, "solver must be one of lca, euler, fista, single, not 'ista'"),
    ],
)
def test_wrong_parameters_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseCoding2d(**({"in_channels": 1, "features": 4} | wrong))  # type: ignore[arg-type]


def test_numpy_numbers_are_numbers() -> None:
    layer = SparseCoding2d(1, np.int64(4), lam=np.float32(0.25))  # type: ignore[arg-type]
    assert (layer.features, layer.lam) == (4, 0.25)


def test_wrong_inputs_are_named() -> None:
    layer = SparseCoding2d(1, 4, stride=3)
    with pytest.raises(ValueError, match=r"stride .* is larger than the image"):
        layer(torch.rand(1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"codes \(N, 1, H, W\), not \(1, 2, 8, 8\)"):
        layer(torch.rand(1, 2, 8, 8))
    with pytest.raises(ValueError, match="NaN"):
        layer(torch.full((1, 1, 8, 8), float("nan")))


def test_learn_follows_the_gradient_of_the_energy(fashion: torch.Tensor) -> None:
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 6, stride=2, lam=0.25)
    code = layer(fashion).detach()
    before = layer.dictionary.detach().clone()
    layer.energy(fashion, code).sum().backward()
    assert layer.dictionary.grad is not None
    active = (code > 0).sum(dim=(0, 2, 3))[:, None, None, None]
    expected = before - layer.eta * layer.dictionary.grad / (1 + active)
    expected /= expected.flatten(1).norm(dim=1)[:, None, None, None]
    layer.learn(fashion, code)
    torch.testing.assert_close(layer.dictionary.detach(), expected)


@torch.no_grad()
def test_learning_lowers_the_energy_of_fresh_images_until_it_settles() -> None:
    images = load_images("fashion_mnist", bundled=True).images.float() / 255
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    train, fresh = images[:4800].split(16), images[-32:]
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 8, lam=0.25, eta=0.3, tol=1e-2)
    energies = []
    for step, batch in enumerate(train):
        if step % 100 == 0:
            energies.append(float(layer.energy(fresh, layer(fresh)).mean()))
        layer.learn(batch, layer(batch))
    energies.append(float(layer.energy(fresh, layer(fresh)).mean()))
    assert energies[1] < 0.4 * energies[0]
    assert energies[3] == pytest.approx(energies[2], rel=0.03)
    torch.testing.assert_close(layer.dictionary.flatten(1).norm(dim=1), torch.ones(8))
    assert layer.dead_features() == []


def test_dead_features_are_named_until_they_are_active_again() -> None:
    layer = SparseCoding2d(1, 3, standardize=False, lam=0.1)
    with torch.no_grad():
        layer.dictionary[0] = -layer.dictionary[0].abs()  # bright images never excite it
        layer.dictionary[1:] = layer.dictionary[1:].abs()
    x = torch.rand(2, 1, 8, 8)
    for _ in range(3):
        layer.learn(x, layer(x).detach())
    assert layer.dead_features(updates=3) == [0]
    assert layer.dead_features(updates=4) == []
    layer.learn(-x, layer(-x).detach())
    assert layer.dead_features(updates=1) == [1, 2]


def test_a_lost_feature_is_drawn_anew() -> None:
    layer = SparseCoding2d(1, 3)
    with torch.no_grad():
        layer.dictionary[0] = 0
        layer.dictionary[1, 0, 0, 0] = float("nan")
    layer.normalize_()
    torch.testing.assert_close(layer.dictionary.detach().flatten(1).norm(dim=1), torch.ones(3))


def test_the_code_reconstructs_the_canvas(fashion: torch.Tensor) -> None:
    """With a small lambda, a settled code explains most of the standardised image."""
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 16, lam=0.1, tau=100.0)
    canvas = layer.canvas(fashion)
    left = (canvas - layer.reconstruct(layer(fashion))).flatten(1).square().sum(1)
    assert bool((left < 0.1 * canvas.flatten(1).square().sum(1)).all())


@given(st.integers(1, 3), st.sampled_from([3, 5]), st.integers(1, 3), st.integers(3, 9), st.booleans())
def test_chosen_features_are_what_neurons_see_of_the_images(c: int, k: int, s: int, n: int, standardized: bool) -> None:
    chance = torch.Generator().manual_seed(n)
    x = torch.rand(12, c, n, n + 1, generator=chance)
    layer = SparseCoding2d(c, 3, k, stride=s, lam=1e-3, standardize=standardized)
    assert layer.choose(x, chance) == 3
    canvas = layer.canvas(x)
    every = [
        canvas[:, :, i : i + k, j : j + k].flatten(1)
        for i in range(0, n, s) for j in range(0, n + 1, s)
    ]  # fmt: skip
    seen = F.normalize(torch.stack(every), dim=2).flatten(0, 1)
    likeness = seen @ layer.dictionary.detach().flatten(1).T
    torch.testing.assert_close(likeness.amax(0), torch.ones(3), atol=1e-5, rtol=0)


def test_a_choice_depends_on_its_generator_alone_and_leaves_the_global_one() -> None:
    x, layers = torch.rand(40, 1, 9, 9), [SparseCoding2d(1, 4) for _ in range(2)]
    state = torch.get_rng_state()
    for layer in layers:
        layer.choose(x, torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layers[0].dictionary, layers[1].dictionary)
    layers[1].choose(x, torch.Generator().manual_seed(6))
    assert not torch.equal(layers[0].dictionary, layers[1].dictionary)


def test_where_nothing_saves_energy_features_stay_as_they_are() -> None:
    layer = SparseCoding2d(1, 4)
    before = layer.dictionary.detach().clone()
    assert layer.choose(torch.full((20, 1, 9, 9), 0.3)) == 0
    assert layer.choose(torch.rand(0, 1, 9, 9)) == 0
    torch.testing.assert_close(layer.dictionary.detach(), before)
    assert layer.choose(torch.rand(2, 1, 9, 9)) == 2
    torch.testing.assert_close(layer.dictionary.detach()[2:], before[2:])
    assert not torch.equal(layer.dictionary[:2], before[:2])


@torch.no_grad()
def test_a_chosen_dictionary_leaves_less_energy_than_a_random_one(fashion: torch.Tensor) -> None:
    images = load_images("fashion_mnist", bundled=True).images.float() / 255
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 8, solver="fista")
    random = layer.energy(fashion, layer(fashion))
    layer.choose(images[:1000])
    assert bool((layer.energy(fashion, layer(fashion)) < 0.7 * random).all())
