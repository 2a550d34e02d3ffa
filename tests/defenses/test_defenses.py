import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseguard import BlackBox, SparseCoding2d, list_defenses
from sparseguard.data import Split, load_data
from sparseguard.defenses import make_defense
from sparseguard.defenses.base import KERNEL
from sparseguard.defenses.sparse import MEASURED, settling
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = SCALES["smoke"]
NOISE = {"gaussian": 0.5, "laplace": 0.5 * math.sqrt(2)}  # standard deviation of the default strength


def trained(name: str, split: Split, setting: str = "split", epochs: int = 1, **options: object) -> Target:
    torch.manual_seed(0)
    scale = replace(SMOKE, epochs=epochs, dp_epochs=epochs)
    defense = make_defense(name, **options)
    target = defense.build(split, setting, scale)
    defense.train(target, split, scale)
    return target


def test_the_registry_knows_what_the_report_compares() -> None:
    expected = (
        "none none_standardized none_conv none_frozen_conv gaussian laplace gan gong gong_cl mi_reg dp_sgd "
        "sparse_standard sparse_guard"
    )
    assert list_defenses() == expected.split()


@pytest.mark.parametrize("name", list_defenses())
@pytest.mark.parametrize("setting", ["split", "end_to_end"])
def test_every_defense_builds_a_target_that_leaks_rows(name: str, setting: str, split: Split) -> None:
    target = make_defense(name).build(split, setting, SMOKE)
    channels = SMOKE.features[-1] if "conv" in name or "sparse" in name else 1
    assert target.leak(split.train_images[:2]).shape == (2, channels, 28, SMOKE.width)
    assert target(split.train_images[:2]).shape == (2, 10)


@pytest.mark.parametrize(
    "name",
    [
        "none",
        "none_standardized",
        "none_conv",
        "none_frozen_conv",
        "laplace",
        "gan",
        "gong",
        "gong_cl",
        "sparse_standard",
        "sparse_guard",
    ],
)
def test_every_defense_learns(name: str, split: Split) -> None:
    target = trained(name, split, epochs=12)
    accuracy = float((target(split.train_images).argmax(1) == split.train_labels).float().mean())
    assert accuracy > 0.4, accuracy
    assert not target.training


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize("mode", [True, False])
def test_noise_is_random_and_on_in_both_modes(name: str, mode: bool, split: Split) -> None:
    """Invariant 2: in the trained target, whatever its mode, and in the deployed one."""
    target = trained(name, split).train(mode)
    x = split.train_images[:50]
    clean = target.body(target.front(x))
    with torch.no_grad():
        for leak in (target.leak(x), BlackBox(target).query(x)):
            noise = leak - clean
            assert float(noise.std()) == pytest.approx(NOISE[name], rel=0.05)
            assert abs(float(noise.mean())) < 0.02
        assert not torch.equal(target.leak(x), target.leak(x))


def test_laplace_trains_with_its_noise_and_gaussian_without(split: Split) -> None:
    assert isinstance(make_defense("gaussian").build(split, "split", SMOKE).noise, nn.Identity)
    assert not isinstance(make_defense("laplace").build(split, "split", SMOKE).noise, nn.Identity)
    noisy = trained("gaussian", split).state_dict()
    for key, value in trained("none", split).state_dict().items():
        torch.testing.assert_close(noisy[key], value)


def test_laplace_strength_scales_the_noise(split: Split) -> None:
    target = trained("laplace", split, b=1.0)
    x = split.train_images[:50]
    noise = (target.leak(x) - target.body(target.front(x))).detach()
    assert float(noise.abs().mean()) == pytest.approx(1.0, rel=0.05)  # E|Laplace(b)| = b


@pytest.mark.parametrize("name", list(NOISE))
@pytest.mark.parametrize("setting", ["end_to_end", "split"])
def test_relative_noise_is_in_units_of_the_leak(name: str, setting: str, split: Split) -> None:
    """Of the leak of the network that is deployed, whatever its scale; and in training already where noise is on."""
    torch.manual_seed(0)
    defense = make_defense(name, relative=True)
    target = defense.build(split, setting, SMOKE)
    with torch.no_grad():
        for parameter in target.body[0].parameters():
            parameter.mul_(30)
    if name == "laplace":
        x = split.train_images[:100]
        clean = target.body(target.front(x)).detach()
        noise = (target.train().leak(x) - clean).detach()
        assert float(noise.std() / clean.std()) == pytest.approx(NOISE[name], rel=0.1)
    defense.train(target, split, SMOKE)
    clean = target.body(target.front(split.train_images)).detach()
    noise = (target.leak(split.train_images) - clean).detach()
    assert float(noise.std() / clean.std()) == pytest.approx(NOISE[name], rel=0.05)
    assert target.facts["std of the noise"] == pytest.approx(float(noise.std()), rel=0.05)
    again = target.leak(split.held_images * 0)  # a flat image does not make the noise smaller
    assert float((again - target.body(target.front(split.held_images * 0))).detach().std()) == pytest.approx(
        float(noise.std()), rel=0.1
    )


def test_the_conv_control_learns_its_filters_and_the_frozen_one_keeps_them(split: Split) -> None:
    for name, frozen in (("none_conv", False), ("none_frozen_conv", True)):
        torch.manual_seed(0)
        defense = make_defense(name)
        target = defense.build(split, "split", SMOKE)
        convs = [m for m in target.front if isinstance(m, nn.Conv2d)]
        before = [m.weight.detach().clone() for m in convs]
        defense.train(target, split, SMOKE)
        assert len(convs) == 2
        assert all(torch.equal(m.weight, b) == frozen for m, b in zip(convs, before))
        assert all(m.weight.requires_grad != frozen for m in convs)


def brightness_and_contrast_matter(target: Target, x: torch.Tensor) -> bool:
    """To what leaks, before any noise."""
    with torch.no_grad():
        plain, darker = (target.body(target.front(images)) for images in (x, 0.1 + 0.5 * x))
    return not torch.allclose(plain, darker, atol=1e-3)


@pytest.mark.parametrize("name", ["none", "gaussian", "laplace", "gan", "gong", "gong_cl", "mi_reg", "dp_sgd"])
def test_behind_standardisation_a_leak_knows_neither_brightness_nor_contrast(name: str, split: Split) -> None:
    x = split.train_images[:50]
    target = trained(name, split, front="standardized")
    assert not brightness_and_contrast_matter(target, x)
    assert not target.training
    assert bool(torch.isfinite(BlackBox(target).query(x)).all())
    assert brightness_and_contrast_matter(trained(name, split), x)


def test_the_standardized_control_is_none_but_for_its_front(split: Split) -> None:
    control, plain = trained("none_standardized", split), trained("none", split, front="standardized")
    assert [type(m).__name__ for m in control.front] == ["Standardize"]
    assert all(torch.equal(a, b) for a, b in zip(control.parameters(), plain.parameters()))
    assert [p.shape for p in control.parameters()] == [p.shape for p in trained("none", split).parameters()]


def dictionaries(target: Target) -> list[torch.Tensor]:
    return [m.dictionary.detach().clone() for m in target.front if isinstance(m, SparseCoding2d)]


@pytest.mark.parametrize("train_first", [True, False])
def test_sparse_guard_trains_as_the_paper_says(
    train_first: bool, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second dictionary by `learn` after each step; the first by backpropagation, or not at all (footnote 1)."""
    torch.manual_seed(0)
    defense = make_defense("sparse_guard", train_first=train_first)
    target = defense.build(split, "split", SMOKE)
    first, second = (m for m in target.front if isinstance(m, SparseCoding2d))
    before = dictionaries(target)
    coded: list[tuple[SparseCoding2d, int]] = []
    learned: list[SparseCoding2d] = []
    forward, learn = SparseCoding2d.forward, SparseCoding2d.learn

    def counted_forward(layer: SparseCoding2d, x: torch.Tensor) -> torch.Tensor:
        coded.append((layer, len(x)))
        return forward(layer, x)

    def counted_learn(layer: SparseCoding2d, x: torch.Tensor, code: torch.Tensor) -> None:
        learned.append(layer)
        learn(layer, x, code)

    monkeypatch.setattr(SparseCoding2d, "forward", counted_forward)
    monkeypatch.setattr(SparseCoding2d, "learn", counted_learn)
    defense.train(target, split, SMOKE)
    after = dictionaries(target)
    steps = SMOKE.epochs * math.ceil(len(split.train_images) / SMOKE.batch_size)
    assert learned == [second] * steps
    assert torch.equal(after[0], before[0]) != train_first
    assert not torch.equal(after[1], before[1])
    assert second.dictionary.grad is None
    for dictionary in after:
        torch.testing.assert_close(dictionary.flatten(1).norm(dim=1), torch.ones(len(dictionary)))
    images_coded = sum(n for layer, n in coded if layer is first)
    assert images_coded == len(split.train_images) * (SMOKE.epochs if train_first else 1) + MEASURED


@pytest.mark.parametrize("name", ["sparse_standard", "sparse_guard"])
def test_chosen_dictionaries_are_pieces_of_private_images_and_stay(name: str, split: Split) -> None:
    torch.manual_seed(0)
    defense = make_defense(name, dictionary="submodular")
    target = defense.build(split, "split", SMOKE)
    layers = [m for m in target.front if isinstance(m, SparseCoding2d)]
    seen: list[list[torch.Tensor]] = [[] for _ in layers]
    for layer, of in zip(layers, seen):
        layer.register_forward_hook(lambda layer, *_, of=of: of.append(layer.dictionary.detach().clone()))
    defense.train(target, split, SMOKE)
    assert all(torch.equal(now, of[0]) for of in seen for now in of)  # from the first code on
    canvas = layers[0].canvas(split.train_images)
    patches = F.normalize(F.unfold(canvas, KERNEL).mT.flatten(0, 1), dim=1)
    likeness = patches @ layers[0].dictionary.detach().flatten(1).T
    torch.testing.assert_close(likeness.amax(0), torch.ones(layers[0].features), atol=1e-5, rtol=0)
    assert not any(layer.dictionary.requires_grad for layer in layers)
    assert target.exhibits == {}  # what results keep travels
    assert target.facts["cosine 1"] > 0.98


def test_a_single_step_is_one_time_constant_and_no_minimum(split: Split) -> None:
    defense = make_defense("sparse_guard", solver="single")
    assert defense.time == 1.0
    torch.manual_seed(0)
    target = defense.build(split, "split", SMOKE).eval()
    assert settling(target, split.train_images[:8], 1e-4)["cosine 1"] < 0.95


@pytest.mark.parametrize("name", ["sparse_standard", "sparse_guard"])
def test_the_longer_a_code_settles_the_nearer_it_is_to_the_minimum(name: str, split: Split) -> None:
    found = []
    for tau in (1000.0, 500.0, 100.0, 10.0, None):  # at 50 time constants LCA has arrived
        torch.manual_seed(0)
        target = make_defense(name, tau=tau).build(split, "split", SMOKE).eval()
        state = torch.get_rng_state()
        facts = settling(target, split.train_images[:8], 1e-4)
        assert torch.equal(torch.get_rng_state(), state)
        code = target.front[0](split.train_images[:8])
        assert facts["active 1 (%)"] == pytest.approx(100 * float((code > 0).float().mean()))
        found.append(facts)
    layers = 1 + (name == "sparse_guard")
    assert list(found[0]) == ["active 1 (%)", "cosine 1", "active 2 (%)", "cosine 2"][: 2 * layers]
    for layer in range(1, layers + 1):
        cosines = [facts[f"cosine {layer}"] for facts in found]
        assert cosines[:4] == sorted(cosines[:4])
        assert 0.3 < cosines[0] < 0.9
        assert min(cosines[3:]) > 0.98


def test_codes_without_an_active_neuron_agree(split: Split) -> None:
    target = make_defense("sparse_standard", lam=1e6, tau=1000.0).build(split, "split", SMOKE).eval()
    assert settling(target, split.train_images[:2], 1e-3) == {"active 1 (%)": 0.0, "cosine 1": 1.0}


def test_structure_of_the_sparse_targets(split: Split) -> None:
    target = make_defense("sparse_guard", lam=(0.1, 0.2, 0.3), pairs=3, downstream=(5,)).build(split, "split", SMOKE)
    names = [type(m).__name__ for m in target.front]
    assert names == ["SparseCoding2d", "BatchNorm2d"] * 3 + ["Conv2d", "ReLU"]
    assert [m.lam for m in target.front if isinstance(m, SparseCoding2d)] == [0.1, 0.2, 0.3]
    assert target.leak(split.train_images[:1]).shape[1] == 5
    standard = make_defense("sparse_standard").build(split, "split", SMOKE)
    assert [m.lam for m in standard.front if isinstance(m, SparseCoding2d)] == [0.25]


@pytest.mark.parametrize("name", ["sparse_standard", "sparse_guard"])
@pytest.mark.parametrize(
    ("options", "regime"),
    [
        ({}, ("fista", None)),
        ({"solver": "fista"}, ("fista", None)),
        ({"tau": 1000}, ("lca", 1000.0)),
        ({"tau": 100.0, "solver": "lca"}, ("lca", 100.0)),
        ({"solver": "lca"}, ("lca", 1000.0)),
        ({"solver": "euler"}, ("euler", 1000.0)),
        ({"solver": "single"}, ("single", None)),
    ],
)
def test_codes_settle_unless_a_time_constant_is_asked_for(
    name: str, options: dict[str, object], regime: tuple[str, float | None], split: Split
) -> None:
    layers = [m for m in make_defense(name, **options).build(split, "split", SMOKE).front if hasattr(m, "dictionary")]
    assert len(layers) == (2 if name == "sparse_guard" else 1)
    for layer in layers:
        assert isinstance(layer, SparseCoding2d)
        assert (layer.solver, layer.tau if layer.solver in ("lca", "euler") else None) == regime


def test_all_but_tau_are_table_5s_values_by_default(split: Split) -> None:
    layer = make_defense("sparse_guard").build(split, "split", SMOKE).front[0]
    assert isinstance(layer, SparseCoding2d)
    assert (layer.lam, layer.iterations, layer.eta) == (0.5, 500, 0.01)
    assert (layer.kernel_size, layer.stride) == ((5, 5), (1, 1))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("blur", {}, "defense must be one of none, none_standardized, none_conv"),
        ("none", {"b": 1.0}, "defense 'none' has no option 'b'; its options are front"),
        ("laplace", {"b": 0.0}, "b must be a finite number greater than 0, not 0.0"),
        ("gaussian", {"sigma": float("nan")}, "sigma must be"),
        ("laplace", {"relative": 1}, "relative must be true or false, not 1"),
        ("sparse_guard", {"lam": -0.5}, "lam must be a finite number greater than 0, not -0.5"),
        ("sparse_guard", {"lam": (0.1, 0.2, 0.3)}, "one for each of the 2 pairs"),
        ("sparse_standard", {"lam": (0.1, 0.2)}, "lam must be one number"),
        ("sparse_guard", {"solver": "adam"}, "solver must be one of"),
        ("sparse_guard", {"pairs": 0}, "pairs must be a whole number"),
        ("none", {"front": "resnet"}, "front must be one of linear, standardized, conv, frozen_conv"),
        ("sparse_guard", {"front": "standardized"}, "has sparse layers in front, not 'standardized'"),
        ("sparse_guard", {"tau": 0.0}, "tau must be a finite number greater than 0, not 0.0"),
        ("sparse_guard", {"tau": 100.0, "solver": "fista"}, 'solver="fista" has none, not 100.0'),
        ("sparse_guard", {"tau": 100.0, "solver": "single"}, 'solver="single" has none, not 100.0'),
        ("sparse_guard", {"iterations": 9, "solver": "single"}, 'solver="single" takes one, not 9'),
        ("sparse_guard", {"dictionary": "random"}, "dictionary must be one of learned, submodular, not 'random'"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_defense(name, **options)


def test_divergence_ends_with_a_sentence(split: Split) -> None:
    defense = make_defense("none")
    scale = replace(SMOKE, learning_rate=1e30)
    with pytest.raises(ArithmeticError, match="training diverged"):
        defense.train(defense.build(split, "split", scale), split, scale)


def test_laplace_noise_behind_convolutions_does_not_diverge() -> None:
    """End to end, at quick, the gradients of this split grow without end unless long ones are shortened."""
    split, scale = load_data("mnist", "quick", 0), SCALES["quick"]
    torch.manual_seed(0)
    defense = make_defense("laplace", front="conv")
    target = defense.build(split, "end_to_end", scale)
    defense.train(target, split, scale)
    right = BlackBox(target).classify(split.held_images).argmax(1) == split.held_labels
    assert float(right.float().mean()) > 0.6
