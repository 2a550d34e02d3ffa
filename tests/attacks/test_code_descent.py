from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sparseguard.access import Leaky, WhiteBox
from sparseguard.attacks import CodeDescent, Fitted, Holdout
from sparseguard.attacks.code_descent import Passing, Until, beginning
from sparseguard.attacks.race import PAYS, decibels
from sparseguard.attacks.refinement import mean_square
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.scales import SCALES
from sparseguard.sparse import SparseCoding2d, operators

SMOKE = SCALES["smoke"]


def small(lam: float, seed: int = 0) -> tuple[SparseCoding2d, Tensor]:
    """A settled layer in double precision, and two images of 6 x 6."""
    torch.manual_seed(seed)
    layer = SparseCoding2d(1, 3, 3, lam=lam, solver="fista", standardize=False, tol=1e-10, iterations=20_000).double()
    return layer.requires_grad_(False), torch.rand(2, 1, 6, 6, dtype=torch.float64)


def slope(layer: nn.Module, images: Tensor, along: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((layer(images) * along).sum(), [images])
    return gradient


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparseguard.attacks.code_descent.ACCURACY", 1e-10)
    monkeypatch.setattr("sparseguard.attacks.code_descent.STEPS", 500)


@pytest.mark.parametrize("seed", range(3))
def test_what_goes_forward_is_the_layers_own_code(seed: int) -> None:
    layer, images = small(0.3, seed)
    assert torch.equal(Passing(layer, 0.05)(images), layer(images))


@pytest.mark.usefixtures("exactly")
def test_with_a_hard_threshold_the_gradient_is_the_minimums_own() -> None:
    layer, images = small(0.3)
    along = torch.randn_like(layer(images))
    torch.testing.assert_close(slope(Passing(layer, 1e-9), images, along), slope(layer, images, along))


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("softness", [0.02, 0.3])
def test_the_gradient_solves_the_soft_system_that_its_docstring_states(softness: float) -> None:
    """Against the matrices themselves, column by column."""
    layer, images = small(0.4)
    image, code = images[:1], layer(images[:1])
    units = torch.eye(code.numel(), dtype=code.dtype).view(-1, *code.shape[1:])
    synthesis = operators.synthesis(units, layer.dictionary, (1, 1), (8, 8)).flatten(1).T
    drive = code.flatten() + synthesis.T @ (layer.canvas(image).flatten() - synthesis @ code.flatten()) - layer.lam
    passed = torch.sigmoid(drive / softness).diag()
    eye = torch.eye(len(drive), dtype=code.dtype)
    moves = torch.linalg.solve(eye + passed @ (synthesis.T @ synthesis - eye), passed @ synthesis.T)
    along = torch.randn_like(code)
    expected = (moves.T @ along.flatten()).view(1, 1, 8, 8)[..., 1:-1, 1:-1]
    torch.testing.assert_close(slope(Passing(layer, softness), image, along), expected)


def test_a_layer_that_is_silent_everywhere_has_a_way_back_all_the_same() -> None:
    layer, images = small(lam=2.0)
    layer.lam = 1.05 * float(operators.analysis(layer.canvas(images), layer.dictionary, (1, 1)).amax())
    code = layer(images)
    assert not bool(code.any())
    assert not bool(slope(layer, images, torch.ones_like(code)).any())
    assert bool(slope(Passing(layer, 0.1), images, torch.ones_like(code)).any())


def test_it_descends_where_a_settled_codes_own_gradient_does_not(split: Split) -> None:
    """From black images, to which no neuron answers: there is no gradient at all to go by."""
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 8, 5, lam=0.5, solver="fista", standardize=False).requires_grad_(False)
    images = split.train_images[:4]
    wanted, begin = layer(images), torch.full_like(images, 0.01)
    found = {}
    for name, through in (("own", layer), ("soft", Passing(layer, 0.3))):
        image = begin.clone().requires_grad_()
        adam = torch.optim.Adam([image], lr=0.02)
        for _ in range(60):
            (image.grad,) = torch.autograd.grad((through(image) - wanted).square().sum(), [image])
            adam.step()
        found[name] = float((layer(image.detach()) - wanted).square().sum() / wanted.square().sum())
    assert found["own"] == pytest.approx(1.0)
    assert found["soft"] < 0.3


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("none", []),
        ("none_conv", ["Standardize", "Conv2d"]),
        ("sparse_standard", ["SparseCoding2d"]),
        ("sparse_guard", ["SparseCoding2d"]),
    ],
)
def test_what_is_decoded_leaves_the_first_layer_with_weights(name: str, layers: list[str], split: Split) -> None:
    target = make_defense(name).build(split, "split", SMOKE).eval()
    first = Until(beginning(target.stages()[0]))
    assert [type(layer).__name__ for layer in first.layers] == layers
    images = split.train_images[:2]
    x = images
    for layer in target.stages()[0][: len(layers)]:
        x = layer(x)
    assert torch.equal(first.leak(images), x)


class Shuffled(Leaky):
    """Leaks every pixel, in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.order, self.calls = torch.randperm(784, generator=torch.Generator().manual_seed(0)), 0

    def leak(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.flatten(1)[:, self.order].view(-1, 1, 28, 28)


class Halved(Leaky):
    """A front that codes every other row alone, and what leaks of it is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 1, stride=(2, 1), bias=False)
        nn.init.ones_(self.first.weight)

    def stages(self) -> tuple[list[nn.Module], list[nn.Module]]:
        return [self.first], []

    def leak(self, x: Tensor) -> Tensor:
        leak: Tensor = self.first(x)
        return leak


def test_the_code_is_decoded_and_not_the_image_that_was_found(split: Split) -> None:
    """Rows that the front does not look at stay as the descent began; a decoder knows them from hold-out images."""
    box, known = WhiteBox(Halved()), Holdout(split.attack_images, split.held_images)
    truth = split.train_images[:20]
    decoder = CodeDescent(decoders=("ridge",)).finishing(box.model, known, SMOKE, "cpu")
    assert decoder.details["code"]["attacker"] == "ridge"
    odd = torch.arange(28) % 2 == 1
    spoiled = torch.where(odd[:, None], torch.rand_like(truth), truth)
    rebuilt = decoder.reconstruct(spoiled)
    assert mean_square(rebuilt, truth) < 0.2 * mean_square(spoiled, truth)
    torch.testing.assert_close(rebuilt, decoder.reconstruct(truth))


def test_what_is_made_of_the_found_image_is_the_answer(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures in black and white, which rounding makes of an image that is nearly right."""
    monkeypatch.setattr(CodeDescent, "finishing", lambda *_: Fitted(torch.round))
    images = [part.round() for part in (split.attack_images, split.held_images, split.train_images[:20])]
    box = WhiteBox(Shuffled())
    found = CodeDescent(decoders=("ridge",), steps=64).fit(box, Holdout(*images[:2]), SMOKE)
    assert found.details["steps"] > 0
    assert mean_square(found.reconstruct(box.query(images[2])), images[2]) < 1e-3


def test_a_descent_is_judged_by_what_is_made_of_its_image(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is made black, going on pays for none, and the decoder's image is kept."""
    black = Fitted(torch.zeros_like)
    monkeypatch.setattr(CodeDescent, "finishing", lambda *_: black)
    monkeypatch.setattr(CodeDescent, "passable", lambda _, model: model)  # not a copy, so that its passes are counted
    box, known = WhiteBox(Shuffled()), Holdout(split.attack_images, split.held_images)
    found = CodeDescent(decoders=("ridge",), steps=512).fit(box, known, SMOKE)
    assert found.details["steps"] == 0
    assert isinstance(box.model, Shuffled)
    assert box.model.calls < 400, "a descent that gains nothing went on"


@pytest.mark.parametrize("name", ["none", "none_conv", "gaussian", "sparse_guard"])
def test_it_is_never_worse_on_validation_images_and_leaves_the_target_alone(name: str, split: Split) -> None:
    defense = make_defense(name)
    target = defense.build(split, "split", SMOKE)
    defense.train(target, split, replace(SMOKE, epochs=1))
    box = WhiteBox(target)
    modules = (target, box.model)
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in modules]
    kinds = [[type(m) for m in module.modules()] for module in modules]
    fitted = CodeDescent(decoders=("ridge",), steps=3).fit(
        box, Holdout(split.attack_images, split.held_images[:12]), SMOKE
    )
    details, errors = fitted.details, fitted.details["errors"]
    if details["steps"]:
        assert details["steps"] == 3, "the only look at the validation images"
        assert details["attacker"] == "code descent of ridge"
        assert decibels(errors["code descent"]) >= decibels(errors["ridge"]) + PAYS
    else:
        assert details["attacker"] == "ridge"
    assert ("code" in details) == (name in ("none_conv", "sparse_guard"))
    images = fitted.reconstruct(box.query(split.train_images[:70]))
    assert images.shape == (70, 1, 28, 28)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    for module, kept, kind in zip(modules, before, kinds):
        assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
        assert [type(m) for m in module.modules()] == kind
        assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize(("tau", "passing"), [(None, 2), (1000.0, 0)])
def test_codes_that_do_not_settle_are_differentiated_along_their_steps(
    tau: float | None, passing: int, split: Split
) -> None:
    model = WhiteBox(make_defense("sparse_guard", tau=tau).build(split, "split", SMOKE)).model
    images = split.train_images[:3]
    found = CodeDescent().passable(model)
    assert sum(isinstance(layer, Passing) for layer in found.modules()) == passing
    assert torch.equal(found.leak(images), model.leak(images))


def test_without_a_front_it_is_a_refinement(split: Split) -> None:
    target = make_defense("none").build(split, "split", SMOKE)
    model = WhiteBox(target).model
    images = split.train_images[:3]
    assert torch.equal(
        CodeDescent().finishing(model, Holdout(images, images), SMOKE, "cpu").reconstruct(images), images
    )
