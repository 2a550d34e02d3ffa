"""An audit finds what was planted, finds nothing where nothing is, and leaves the audited module alone."""

import copy
import dataclasses
import math
import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseguard import audit
from sparseguard.access import BlackBox, WhiteBox
from sparseguard.attacks import ATTACKS, Fitted, Holdout, Inversion
from sparseguard.auditing import ATTACK, CLASS_MEAN, MEAN, NEAREST, RANDOM, Audit
from sparseguard.data import Split
from sparseguard.report import audit_figure, audit_reading, audit_table
from sparseguard.scales import Scale
from sparseguard.tap import Tapped, untrain

RIDGE = {"decoders": ("ridge",)}


class Do(nn.Module):
    """Any function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)


def after(hidden: nn.Module, rest: nn.Module | None = None) -> nn.Module:
    """A network whose submodule ``hidden`` comes first."""
    return nn.Sequential(OrderedDict(hidden=hidden, rest=rest or Do(lambda x: x)))


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return after(nn.Sequential(nn.Flatten(), nn.Linear(784, 64)), nn.Sequential(nn.ReLU(), nn.Linear(64, 10)))


@pytest.fixture(scope="module")
def images(split: Split) -> Tensor:
    return split.train_images


@pytest.fixture(scope="module")
def found(images: Tensor, split: Split) -> Audit:
    return audit(small(), images, split.train_labels, leak="hidden", scale="smoke")


def mean(values: Tensor) -> float:
    return float(values.mean())


def test_an_image_that_only_changed_its_name_is_found(images: Tensor) -> None:
    found = audit(after(Do(lambda x: 3 - 2 * x.flip(3))), images, leak="hidden", scale="smoke", attack_options=RIDGE)
    assert found.leak_shape == (1, 28, 28)
    assert mean(found.psnr[ATTACK]) > 40 > 20 > mean(found.psnr[NEAREST]) > mean(found.psnr[MEAN]) - 5
    assert mean(found.ssim[ATTACK]) > 0.99
    assert found.psnr[ATTACK].shape == found.ssim[NEAREST].shape == (len(images) * 2 // 5,)
    torch.testing.assert_close(found.reconstructions, found.originals, atol=0.02, rtol=0)
    assert RANDOM not in found.psnr  # no parameters, no random weights
    reading = audit_reading(found)
    assert re.match(r"- \*\*hidden \(1 × 28 × 28\) gives away \d\d\.\d dB more than the best control", reading)
    assert "most images can be read" in reading


def test_a_label_gives_the_mean_of_its_class_and_nothing_better(images: Tensor, split: Split) -> None:
    def label(x: Tensor) -> Tensor:  # of the nearest image known: exact for the images themselves
        nearest = torch.cdist(x.flatten(1), images.flatten(1)).argmin(1)
        return F.one_hot(split.train_labels[nearest], 10).float()

    found = audit(after(Do(label)), images, split.train_labels, leak="hidden", scale="smoke", attack_options=RIDGE)
    assert abs(mean(found.psnr[ATTACK]) - mean(found.psnr[CLASS_MEAN])) < 0.2
    assert mean(found.psnr[ATTACK]) > mean(found.psnr[MEAN]) + 0.3
    assert found.accuracy == 1.0
    assert "gives away no more" in audit_reading(found).splitlines()[0]


def test_the_class_mean_is_the_mean_of_the_attackers_images_of_that_class(images: Tensor) -> None:
    classes = torch.arange(len(images)) % 3
    tagged = images * 0.5 + classes[:, None, None, None] * 0.2
    found = audit(small(), tagged, classes, leak="hidden", scale="smoke", attack_options=RIDGE)
    own = (found.originals.amin((1, 2, 3)) / 0.2).round()
    assert torch.equal((found.rebuilt[CLASS_MEAN].amin((1, 2, 3)) / 0.2).round(), own)
    assert len(own.unique()) > 1


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(28, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.squeeze(1)
        mixed: Tensor = self.attend(rows, rows, rows)[0]
        return mixed.flatten(1)


@pytest.mark.parametrize(
    ("module", "name", "shape"),
    [
        (after(nn.Sequential(nn.Flatten(), nn.Linear(784, 300))), "hidden", (300,)),
        (after(nn.Conv2d(1, 8, 4, stride=2, padding=1)), "hidden", (8, 14, 14)),
        (after(nn.Conv2d(1, 4, 3, padding=1)), "hidden", (4, 28, 28)),
        (Attention(), "attend", (28, 28)),  # attention gives (output, weights)
        (after(Do(lambda x: {"none": None, "map": [x, x.mean(1)]})), "hidden", (1, 28, 28)),
        (after(nn.Linear(28, 6)).double(), "hidden", (1, 28, 6)),
    ],
    ids=["vector", "smaller map", "map", "tokens", "mapping", "double"],
)
def test_leaks_of_any_shape(module: nn.Module, name: str, shape: tuple[int, ...], images: Tensor) -> None:
    preprocess = Tensor.double if shape[-1] == 6 else None
    found = audit(module, images, leak=name, scale="smoke", preprocess=preprocess)
    assert found.leak_shape == shape
    assert mean(found.psnr[ATTACK]) > mean(found.psnr[MEAN]) + 1


def test_a_place_of_a_smaller_map_is_unfolded_into_its_pixels(images: Tensor) -> None:
    folded = after(Do(lambda x: F.pixel_unshuffle(x, 4)))
    only = {"decoders": ("unet",), "updates": 128}
    found = audit(folded, images, leak="hidden", scale="smoke", attack_options=only)
    assert found.leak_shape == (16, 7, 7)
    assert mean(found.psnr[ATTACK]) > 20.7  # 22.2; resized instead 19.2


def test_of_several_calls_the_last_leaks_and_later_layers_do_not_reach_back(images: Tensor) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.relu = nn.Linear(28, 28), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = self.relu(self.linear(x))
            return x

    module = Twice()
    x = images[:5]
    leak = Tapped(module, "linear", None, x).leak(x)
    torch.testing.assert_close(leak, module.linear(F.relu(module.linear(x))))
    assert float(leak.min()) < 0
    torch.testing.assert_close(Tapped(module, "", None, x).leak(x), module(x))  # the whole module


def test_the_forward_pass_ends_at_the_leak(images: Tensor) -> None:
    passed: list[Tensor] = []
    module = after(nn.Conv2d(1, 2, 3), Do(passed.append))
    tapped = Tapped(module, "hidden", None, images[:3])
    assert len(passed) == 2  # to see how often it is called
    tapped.leak(images[:3])
    assert len(passed) == 2


def test_preprocessing_and_the_modules_own_hooks_are_part_of_what_is_deployed(images: Tensor) -> None:
    module = after(nn.Flatten())
    module.get_submodule("hidden").register_forward_hook(lambda m, i, o: o + 7)
    leak = Tapped(module, "hidden", lambda x: x / 2, images[:3]).leak(images[:3])
    torch.testing.assert_close(leak, images[:3].flatten(1) / 2 + 7)


def test_the_module_is_untouched(images: Tensor) -> None:
    torch.manual_seed(0)
    module = after(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)), nn.Flatten())
    module.get_submodule("rest").eval()
    module.get_parameter("hidden.1.bias").requires_grad_(False)
    module.get_submodule("hidden.0").register_forward_hook(lambda m, i, o: None)
    module(images[:4]).sum().backward()
    before, gradients = copy.deepcopy(module), [held.grad for held in module.parameters()]  # no copy has gradients
    copies = [None if gradient is None else gradient.clone() for gradient in gradients]
    random = torch.get_rng_state()
    given = images.clone()
    audit(module, images, leak="hidden", scale="smoke", attack_options=RIDGE)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(images, given)
    for (name, part), old in zip(module.named_modules(), before.modules(), strict=True):
        assert part.training == old.training, name
        assert list(part._forward_hooks) == list(old._forward_hooks), name
        assert not part._forward_pre_hooks
    for name, held in module.state_dict().items():
        assert torch.equal(held, before.state_dict()[name]), name
    frees = [held.requires_grad for held in module.parameters()]
    assert frees == [held.requires_grad for held in before.parameters()] == [True, True, True, False]
    for held, gradient, copied in zip(module.parameters(), gradients, copies, strict=True):
        assert held.grad is gradient
        assert gradient is None or copied is None or torch.equal(gradient, copied)


def test_the_copy_is_in_inference_mode(images: Tensor) -> None:
    leak = Tapped(after(nn.Dropout(0.5)).train(), "hidden", None, images[:3]).leak(images[:3])
    assert torch.equal(leak, images[:3])


def test_random_weights_tell_what_training_hid(images: Tensor) -> None:
    """Weights of nought leak nothing; drawn anew they leak."""
    module = small()
    nn.init.zeros_(module.get_parameter("hidden.1.weight"))
    found = audit(module, images, leak="hidden", scale="smoke", attack_options=RIDGE)
    assert mean(found.psnr[RANDOM]) > mean(found.psnr[ATTACK]) + 1
    assert abs(mean(found.psnr[ATTACK]) - mean(found.psnr[MEAN])) < 0.01
    assert re.search(r"with random weights leaks \d\.\d dB more", audit_reading(found).splitlines()[0])


def test_parameters_without_an_initialisation_are_shuffled() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(100.0).view(10, 10))

    module = Plain()
    untrain(module)
    assert not torch.equal(module.weight, torch.arange(100.0).view(10, 10))
    assert torch.equal(module.weight.flatten().sort().values, torch.arange(100.0))


def test_same_seed_same_result(images: Tensor, split: Split, found: Audit) -> None:
    torch.manual_seed(12345)
    module = small()
    torch.rand(7)
    again = audit(module, images, split.train_labels, leak="hidden", scale="smoke")
    other = audit(module, images, split.train_labels, leak="hidden", scale="smoke", seed=1, attack_options=RIDGE)
    assert list(found.psnr) == [ATTACK, MEAN, CLASS_MEAN, NEAREST, RANDOM]
    for name, values in found.psnr.items():
        assert torch.equal(values, again.psnr[name]), name
        assert torch.equal(found.ssim[name], again.ssim[name]), name
        assert torch.equal(found.rebuilt[name], again.rebuilt[name]), name
    assert found.details == again.details
    assert not torch.equal(found.originals, other.originals)


def test_victims_are_not_among_what_the_attacker_learns_from(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    class Spy(Inversion):
        def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
            seen.extend((holdout.images, holdout.validation))
            return super().fit(box, holdout, scale, device)

    monkeypatch.setitem(ATTACKS.members, "inversion", Spy)
    few, others = images[:20], images[20:50]

    def sets(held: Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in held}

    found = audit(small(), few, leak="hidden", scale="smoke", attack_options=RIDGE)
    victims = sets(few) - sets(seen[0]) - sets(seen[1])
    assert (found.attack_images, found.validation_images, len(found.psnr[ATTACK])) == (8, 4, 8)
    assert len(victims) == 8
    assert sets(found.originals) <= victims
    assert not sets(seen[0]) & sets(seen[1])

    found = audit(small(), few, holdout=others, leak="hidden", scale="smoke", attack_options=RIDGE)
    assert (found.attack_images, found.validation_images, len(found.psnr[ATTACK])) == (20, 10, 20)
    assert sets(seen[-2]) | sets(seen[-1]) == sets(others)
    assert torch.equal(found.originals, few[:4])


def test_an_attack_is_given_the_access_that_it_declares(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[BlackBox] = []

    class Spy(Inversion):
        def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
            given.append(box)
            if isinstance(box, WhiteBox):
                x = holdout.images[:2].clone().requires_grad_()
                box.model.leak(x).square().sum().backward()
                assert x.grad is not None
                assert float(x.grad.abs().sum()) > 0
            return super().fit(box, holdout, scale, device)

    class White(Spy):
        access = "white_box"

    monkeypatch.setitem(ATTACKS.members, "inversion", Spy)
    monkeypatch.setitem(ATTACKS.members, "white", White)
    how: dict[str, Any] = {"leak": "hidden", "scale": "smoke", "attack_options": RIDGE}
    audit(small(), images[:20], access="white_box", attack="white", **how)
    assert all(type(box) is WhiteBox for box in given)
    given.clear()
    audit(small(), images[:20], access="white_box", **how)
    assert all(type(box) is BlackBox for box in given)
    with pytest.raises(ValueError, match="attack 'white' needs access 'white_box', more than 'black_box'"):
        audit(small(), images[:20], attack="white", **how)


class Never(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)
        self.sequence = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        turned: Tensor = self.sequence(x.transpose(0, 1))
        return turned


class Uncopyable(nn.Module):
    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        raise RuntimeError("held by a lock\nand more")


GOOD = torch.linspace(0, 1, 20 * 28 * 28).view(20, 1, 28, 28)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"leak": "hiden"}, "leak must name a submodule, not 'hiden'; there is hidden, hidden.1, hidden.0."),
    ({"leak": 3}, "leak must name a submodule, not 3; there is hidden, hidden.0, hidden.1, rest, rest.0, rest.1"),
    ({"module": Never(), "leak": "idle"}, "the module never calls its submodule 'idle', so nothing leaks there"),
    (
        {"module": Never(), "leak": "sequence"},
        "'sequence' puts out (1, 2, 28, 28) for 2 images, not one entry an image",
    ),
    ({"module": after(Do(lambda x: "text"))}, "the output of 'hidden' holds no tensor"),
    ({"module": nn.Linear, "leak": ""}, "module must be a torch.nn.Module, not type"),
    ({"module": Uncopyable(), "leak": ""}, "the module cannot be copied: held by a lock"),
    ({"preprocess": lambda x: x[:, :, 1:]}, "the module does not run on these images: mat1 and mat2"),
    ({"images": GOOD[0]}, "images must be a tensor of floats (N, C, H, W), not torch.float32 (1, 28, 28)"),
    ({"images": GOOD.numpy()}, "images must be a tensor of floats (N, C, H, W), not ndarray"),
    ({"images": (255 * GOOD).byte()}, "images must be a tensor of floats (N, C, H, W), not torch.uint8"),
    ({"images": GOOD * 2}, "images must lie in [0, 1], not from 0.0 to 2.0"),
    ({"images": GOOD.clone().fill_(math.nan)}, "images must lie in [0, 1], not from nan to nan"),
    ({"images": GOOD[:9]}, "images must be 10 or more of 11 x 11 pixels or more, not torch.float32 (9, 1, 28, 28)"),
    ({"images": GOOD[..., :10]}, "images must be 10 or more of 11 x 11 pixels or more"),
    ({"holdout": GOOD[:9]}, "holdout must be 10 or more of 11 x 11 pixels"),
    ({"holdout": GOOD.expand(-1, 3, -1, -1)}, "holdout must hold images (1, 28, 28), not (3, 28, 28)"),
    (
        {"labels": torch.zeros(19, dtype=torch.long)},
        "labels must be a tensor of 20 whole numbers, not torch.int64 (19,)",
    ),
    ({"labels": torch.zeros(20)}, "labels must be a tensor of 20 whole numbers, not torch.float32 (20,)"),
    ({"labels": [0] * 20}, "labels must be a tensor of 20 whole numbers, not list"),
    ({"access": "grey_box"}, "access must be one of black_box, white_box, not 'grey_box'"),
    ({"attack": "magic"}, "attack must be one of "),
    ({"attack_options": {"epochs": 3}}, "attack 'inversion' has no option 'epochs'"),
    ({"scale": "huge"}, "scale must be one of smoke, quick, medium, paper, not 'huge'"),
    ({"seed": -1}, "seed must be a whole number from 0 to 2147483647, not -1"),
    ({"seed": True}, "seed must be a whole number from 0 to 2147483647, not True"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_one_sentence(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"module": small(), "images": GOOD, "leak": "hidden", "scale": "smoke"} | change
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        audit(given.pop("module"), given.pop("images"), **given)
    assert len(str(raised.value).splitlines()) == 1


def test_a_leak_that_is_not_finite_is_refused(images: Tensor) -> None:
    with pytest.raises(ArithmeticError, match="NaN or infinite"):
        audit(after(Do(lambda x: x / 0)), images, leak="hidden", scale="smoke")


def test_images_too_large_for_ridge_are_left_to_the_other_decoders(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparseguard.attacks.ridge.LARGEST", 64 * 784 - 1)
    found = audit(small(), images[:20], leak="hidden", scale="smoke", attack_options={"updates": 256})
    assert found.details[ATTACK]["attacker"] == "rows"
    alone = audit(small(), images[:20], leak="hidden", scale="smoke", attack_options=RIDGE)
    assert alone.details[ATTACK]["attacker"] == "mean image"


def test_the_table_says_what_it_is_about(found: Audit, images: Tensor) -> None:
    table = audit_table(found)
    gain = found.details[ATTACK]["gains"].get(found.details[ATTACK]["attacker"])
    for part in ("Leak hidden (64)", "black box", "attack inversion", "scale smoke", "seed 0",
                 f"{len(images) * 2 // 5} images rebuilt", f"{found.attack_images} learned from",
                 f"accuracy on the victims {found.accuracy:.3f}"):  # fmt: skip
        assert part in table.caption
    assert len(table.frame) == 5
    assert table.frame["PSNR (dB)"][0].startswith(f"{mean(found.psnr[ATTACK]):.2f} ± ")
    assert gain is None or f"gained {gain:.2f} dB" in table.caption


@pytest.mark.parametrize(
    ("capped", "words"), [(True, "it was still gaining when its 64 updates ended"), (False, "no cap ended it")]
)
def test_table_and_reading_say_whether_the_cap_ended_the_attack(found: Audit, capped: bool, words: str) -> None:
    details = {"attacker": "rows", "gains": {"rows": 0.73}, "updates": {"rows": 64}, "capped": capped}
    told = dataclasses.replace(found, details=found.details | {ATTACK: details})
    for text in (audit_table(told).caption, audit_reading(told)):
        assert f"the last doubling of the best decoder (rows) gained 0.73 dB, {'and ' * capped}{words}" in text
    assert ("a longer one may rebuild more" in audit_reading(told)) == capped


def test_the_figure_shows_originals_reconstructions_and_every_control(found: Audit) -> None:
    axes = audit_figure(found).axes
    assert len(axes) == 6 * len(found.originals)
    labels = [axis.get_ylabel() for axis in axes if axis.get_ylabel()]
    assert labels[0] == "original"
    assert labels[1].startswith("the attack, on the trained module")
    assert len(labels) == 6


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (2.0, "gives away 2.0 dB more than {}, and most images can be read"),
        (0.4, "gives away no more (+0.4 dB) than {}, and so none is read from it"),
        (-3.0, "gives away no more (-3.0 dB) than {}, and so none is read from it"),
    ],
)
def test_the_readings_first_sentence_follows_the_numbers(found: Audit, gap: float, words: str) -> None:
    flat = torch.full_like(found.psnr[ATTACK], 12.0)
    psnr = {ATTACK: flat + gap, MEAN: flat - 2, NEAREST: flat, RANDOM: flat + gap + 1}
    ssim = {name: torch.full_like(flat, 0.7 if name == ATTACK else 0.1) for name in psnr}
    first = audit_reading(dataclasses.replace(found, psnr=psnr, ssim=ssim)).splitlines()[0]
    assert words.format("the best control, the hold-out image of nearest leak") in first
    assert "** (100% reach an SSIM of 0.6, 0% of the control's)" in first
    assert first.endswith("the same module with random weights leaks 1.0 dB more.")


@pytest.mark.parametrize(
    ("readable", "words"), [(40, "some images"), (1, "hardly any image"), (0, "none")], ids=["some", "one", "none"]
)
def test_the_reading_says_how_many_images_can_be_read(found: Audit, readable: int, words: str) -> None:
    flat = torch.full_like(found.psnr[ATTACK], 12.0)
    values = torch.full_like(flat, 0.3)
    values[:readable] = 0.7
    told = dataclasses.replace(found, psnr={ATTACK: flat + 5, MEAN: flat}, ssim={ATTACK: values, MEAN: flat * 0})
    assert len(flat) >= 80
    assert f"the mean hold-out image, and {words} can be read** (" in audit_reading(told)


def test_a_labelled_prior_is_told_the_labels_of_the_attackers_images(images: Tensor) -> None:
    options: dict[str, Any] = {"leak": "hidden", "scale": "smoke", "access": "white_box", "attack": "leak_matching"}
    labels = torch.arange(len(images)) % 2
    found = audit(small(), images, labels, attack_options={"prior": "labelled"}, **options)
    assert found.details[ATTACK]["attacker"].startswith("labelled prior")
    with pytest.raises(ValueError, match="a labelled prior needs the labels of the attacker's images"):
        audit(small(), images, attack_options={"prior": "labelled"}, **options)
