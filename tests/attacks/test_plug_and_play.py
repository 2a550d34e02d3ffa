import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparseguard import Experiment, load_data
from sparseguard.access import BlackBox, Leaky, WhiteBox
from sparseguard.attacks import Holdout, make_attack
from sparseguard.attacks.plug_and_play import PlugAndPlay, keeps_class_mirrored, poincare
from sparseguard.data import Split, judge_images
from sparseguard.defenses import make_defense
from sparseguard.metrics import judge_accuracy, train_judge
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE, QUICK = SCALES["smoke"], SCALES["quick"]


def known(split: Split) -> Holdout:
    return Holdout(split.attack_images, split.held_images, split.attack_labels)


class Brightest(Leaky):
    """Its classes are four quarters of the image: the brighter one is, the surer the class."""

    def __init__(self, blocked: bool = False) -> None:
        super().__init__()
        self.blocked = blocked

    def leak(self, x: Tensor) -> Tensor:
        quarters = (x.detach() if self.blocked else x).unflatten(3, (2, -1)).unflatten(2, (2, -1))
        means: Tensor = quarters.mean((1, 3, 5)).flatten(1)
        return means

    def forward(self, x: Tensor) -> Tensor:
        return 20 * self.leak(x)


def test_the_loss_is_the_distance_in_the_poincare_ball() -> None:
    """By hand for logits (3, -1): u = (0.75, -0.25), v = (0, 0.9999)."""
    square = 0.75**2 + (-0.25 - 0.9999) ** 2
    inside = (1 - 0.75**2 - 0.25**2) * (1 - 0.9999**2)
    found = poincare(torch.tensor([[3.0, -1.0]]).double(), torch.tensor([1]))
    assert float(found) == pytest.approx(math.acosh(1 + 2 * square / inside), rel=1e-6)
    logits = torch.tensor([[0.5, -0.2, 0.1], [5.0, 0.0, 0.0]], requires_grad=True)
    loss = poincare(logits, torch.tensor([0, 0]))
    loss.sum().backward()
    assert bool(loss[1] < loss[0])
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize(("name", "more"), [("plug_and_play", {}), ("plug_and_play_black_box", {"queries": 20000})])
def test_the_search_finds_what_the_target_asks_for(name: str, more: dict[str, int], split: Split) -> None:
    """For each quarter, images in which it is brighter against the others than in what the prior alone offers."""
    torch.manual_seed(0)
    attack = make_attack(name, prior="pca", candidates=3000, tries=300, results=200, **more)
    box = (WhiteBox if attack.access == "white_box" else BlackBox)(Brightest())
    fitted = attack.fit(box, known(split), SMOKE)
    found, losses, sure = fitted.found, fitted.details["losses"], fitted.details["confidence"]
    assert found is not None
    assert found.labels.tolist() == [*range(4)] * 4
    assert found.images.shape == found.prior_only.shape == (16, 1, 28, 28)
    assert min(losses) < losses[0] - 0.05
    assert sure["search"] > sure["prior only"] + 0.05
    share = box.classify(found.images).softmax(1).gather(1, found.labels[:, None]).mean()
    before = box.classify(found.prior_only).softmax(1).gather(1, found.labels[:, None]).mean()
    assert float(share) > float(before) + 0.05
    # each leak is answered with the found image that leaks most alike
    assert torch.equal(fitted.reconstruct(box.query(found.images)), found.images)


def test_without_gradients_the_search_adds_nothing(split: Split) -> None:
    torch.manual_seed(0)
    fitted = PlugAndPlay(prior="pca").fit(WhiteBox(Brightest(blocked=True)), known(split), SMOKE)
    assert fitted.found is not None
    assert torch.equal(fitted.found.images, fitted.found.prior_only)
    assert fitted.details["confidence"]["search"] == fitted.details["confidence"]["prior only"]


def test_the_lift_is_the_targets_and_none_on_random_weights() -> None:
    """An independent judge reads more of the digits for the search, but not where the target learned nothing."""
    split = load_data("mnist", "quick", 0)
    judge = train_judge(judge_images("mnist", "quick"), QUICK, 0)
    lifts: list[float] = []
    for trained in (True, False):
        torch.manual_seed(0)
        defense = make_defense("none_conv")
        target: Target = defense.build(split, "end_to_end", QUICK)
        if trained:
            defense.train(target, split, QUICK)
        fitted = PlugAndPlay(prior="pca").fit(WhiteBox(target), known(split), QUICK)
        assert fitted.found is not None
        images, labels, before = fitted.found.images, fitted.found.labels, fitted.found.prior_only
        lifts.append(judge_accuracy(judge, images, labels) - judge_accuracy(judge, before, labels))
        assert len(labels) == 100
    assert lifts[0] > 0.2  # 0.37 was measured; one of 100 images that is told apart by chance alone makes 0.06
    assert abs(lifts[1]) < 0.15


def test_noise_is_averaged_over_draws(split: Split) -> None:
    """A batch of 4 tries and 2 steps: two passes with a gradient, or two times four where the answers are random."""
    calls = [0]

    class Noisy(Brightest):
        def __init__(self, noise: float) -> None:
            super().__init__()
            self.noise = noise

        def leak(self, x: Tensor) -> Tensor:
            calls[0] += x.requires_grad
            leak = super().leak(x)
            return leak + self.noise * torch.randn_like(leak)

    for noise, passes in ((0.01, 8), (0.0, 2)):
        calls[0] = 0
        attack = PlugAndPlay(prior="pca", candidates=50, tries=50, results=50, steps=2)
        attack.fit(WhiteBox(Noisy(noise)), known(split), SMOKE)
        assert calls[0] == passes


def test_mirror_images_are_used_where_they_show_the_same_class(split: Split) -> None:
    class Left(Brightest):
        def forward(self, x: Tensor) -> Tensor:
            half = x.shape[3] // 2
            return torch.stack([x[..., :half].mean((1, 2, 3)), x[..., half:].mean((1, 2, 3))], 1)

    class Height(Brightest):
        def forward(self, x: Tensor) -> Tensor:
            half = x.shape[2] // 2
            return torch.stack([x[..., :half, :].mean((1, 2, 3)), x[..., half:, :].mean((1, 2, 3))], 1)

    assert keeps_class_mirrored(BlackBox(Height()), split.attack_images)
    assert not keeps_class_mirrored(BlackBox(Left()), split.attack_images)


def test_a_cell_of_classes_is_measured_beside_prior_only() -> None:
    cell = Experiment(
        setting="split", scale="smoke", attack="plug_and_play", attack_options={"prior": "pca", "tries": 500,
                                                                                "results": 250}
    )  # fmt: skip
    result = cell.run(store=None, progress=False)
    split = load_data("mnist", "smoke", 0)
    assert len(result.per_image["psnr"]) == 50
    assert result.metrics["psnr"] == pytest.approx(float(result.per_image["psnr"].mean()), abs=1e-4)
    assert all(bool((shown == split.train_images).flatten(1).all(1).any()) for shown in result.originals)
    for name in ("psnr", "ssim", "judge_accuracy", "judge_top5", "judge_confidence", "distance_private", "coverage"):
        assert result.metrics[name] is not None
        assert result.metrics[f"{name}_prior_only"] is not None
    assert (result.metrics["judge_top5"] or 0) >= (result.metrics["judge_accuracy"] or 1)
    assert result.details["train_images"] == len(split.train_images)


def test_a_shifted_prior_is_of_the_other_data_set() -> None:
    cell = Experiment(attack="plug_and_play", attack_options={"prior": "shifted"}, scale="smoke")
    assert cell.holdout_from == "fashion_mnist"
    split = load_data("mnist", "smoke", 0)
    assert torch.equal(cell.holdout_images(split).images, load_data("fashion_mnist", "smoke", 0).attack_images)
    with pytest.raises(ValueError, match="another data set than 'cifar10': name it as holdout_from"):
        Experiment(dataset="cifar10", attack="plug_and_play", attack_options={"prior": "shifted"})


def test_a_cell_depends_on_what_the_priors_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "g.pt"
    keys = []
    for content in ("a", "b", "a"):
        file.write_text(content)
        keys.append(Experiment(attack="leak_matching", attack_options={"prior": f"stylegan:{file}"}).key())
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prior": "diffusion"},
            "prior must be one of hold_out, labelled, shifted, pca, stylegan:PATH, not 'diffusion'",
        ),
        ({"candidates": 0}, "candidates must be a whole number from 1 on, not 0"),
        ({"steps": 0}, "steps must be a whole number from 1 on, not 0"),
        ({"results": 300}, "not 2000 candidates, 200 tries and 300 results"),
        ({"rate": 0.0}, "rate must be a finite number greater than 0, not 0.0"),
        ({"crop": 1.2}, "a crop must be a share of the image, 1 at most, not 1.2"),
        ({"xi": 0.0}, "xi must be a finite number greater than 0, not 0.0"),
        ({"truncation": -1.0}, "truncation must be a finite number greater than 0, not -1.0"),
        ({"betas": (0.1, 1.0)}, "betas must be two numbers in order, below 1, not"),
        ({"final_ratio": (1.2, 0.8)}, "final_ratio must be two numbers in order, not"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make_attack("plug_and_play", **options)


def test_a_target_that_answers_with_maps_is_refused(split: Split) -> None:
    class Maps(Leaky):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(ValueError, match=r"must answer with logits \(N, classes\), not \(\d+, 1, 28, 28\)"):
        PlugAndPlay(prior="pca").fit(WhiteBox(Maps()), known(split), SMOKE)


def test_a_target_without_finite_answers_is_refused(split: Split) -> None:
    class Broken(Brightest):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float("nan")

    with pytest.raises(ArithmeticError, match="the target's answers are not finite"):
        PlugAndPlay(prior="pca").fit(WhiteBox(Broken()), known(split), SMOKE)
    with pytest.raises(ValueError, match="needs a white box"):
        PlugAndPlay(prior="pca").fit(BlackBox(Brightest()), known(split), SMOKE)
