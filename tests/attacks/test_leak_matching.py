import pytest
import torch
from torch import Tensor

from sparseguard.access import BlackBox, Leaky, WhiteBox
from sparseguard.attacks import Holdout, make_attack
from sparseguard.attacks.leak_matching import LeakMatching, LeakMatchingBlackBox
from sparseguard.data import Split
from sparseguard.metrics import psnr
from sparseguard.priors import make_prior
from sparseguard.scales import SCALES

SMOKE = SCALES["smoke"]


class Glass(Leaky):
    """Everything leaks, with or without noise."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise

    def leak(self, x: Tensor) -> Tensor:
        return x + self.noise * torch.randn_like(x) if self.noise else x

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10]


def known(split: Split) -> Holdout:
    return Holdout(split.attack_images, split.held_images, split.attack_labels)


def test_what_the_prior_can_draw_is_found_from_its_leak(split: Split) -> None:
    """Planted: the private images are the prior's own, which nothing but the search tells from its candidates."""
    torch.manual_seed(0)
    prior = make_prior("pca", split.attack_images, None, SMOKE)
    victims = prior.sample(20, torch.Generator().manual_seed(7))
    box = WhiteBox(Glass())
    fitted = LeakMatching(prior="pca", steps=300).fit(box, known(split), SMOKE)
    exact = psnr(victims, fitted.reconstruct(box.query(victims)))
    assert float(exact.min()) > 32
    start = LeakMatching(prior="pca", steps=1, rate=1e-9).fit(box, known(split), SMOKE)
    assert float(psnr(victims, start.reconstruct(box.query(victims))).mean()) < 28


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("attack", [LeakMatching(), LeakMatchingBlackBox(queries=20000)])
def test_the_search_is_better_than_its_start_or_left_out(attack: LeakMatching, noise: float, split: Split) -> None:
    torch.manual_seed(0)
    box = (WhiteBox if attack.access == "white_box" else BlackBox)(Glass(noise))
    fitted = attack.fit(box, known(split), SMOKE)
    errors, left_out = fitted.details["errors"], "no search" in fitted.details["attacker"]
    assert left_out == (errors["search"] >= errors["start"])
    if not noise:
        assert errors["search"] < 0.95 * errors["start"]
    rebuilt = fitted.reconstruct(box.query(split.held_images[:64]))
    found = float((rebuilt - split.held_images[:64]).square().mean())
    assert found == pytest.approx(min(errors.values()), rel=0.1)


def test_gradients_need_a_white_box_and_leaks_have_to_be_finite(split: Split) -> None:
    class Broken(Glass):
        def leak(self, x: Tensor) -> Tensor:
            return x * float("inf")

    with pytest.raises(ValueError, match="needs a white box"):
        make_attack("leak_matching", prior="pca").fit(BlackBox(Glass()), known(split), SMOKE)
    with pytest.raises(ArithmeticError, match="the target leaks NaN or infinite values"):
        make_attack("leak_matching", prior="pca").fit(WhiteBox(Broken()), known(split), SMOKE)
    with pytest.raises(ValueError, match="queries must be a whole number from 2 on, not 1"):
        make_attack("leak_matching_black_box", queries=1)
