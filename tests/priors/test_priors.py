from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparseguard.data import Split
from sparseguard.priors import KINDS, PCA, make_prior
from sparseguard.priors.gan import Generator, train_gan
from sparseguard.priors.search import Descent, descend, evolve
from sparseguard.scales import SCALES

SMOKE = SCALES["smoke"]


def flat() -> PCA:
    """A prior of 3 x 4 images that no clamp reaches near its mean, an orthogonal map of 12 latents."""
    axes = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))[0]
    return PCA(torch.full((1, 3, 4), 0.5), 0.05 * axes)


def test_pca_draws_what_varies_as_the_images_do() -> None:
    chance = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 12, generator=chance)
    images = (0.5 + 0.03 * torch.randn(400, 3, generator=chance) @ mixing).reshape(400, 1, 3, 4)
    drawn = PCA.of(images).sample(20000, chance)
    torch.testing.assert_close(drawn.mean(0), images.mean(0), atol=2e-3, rtol=0)
    torch.testing.assert_close(drawn.flatten(1).T.cov(), images.flatten(1).T.cov(), atol=3e-4, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_a_prior_draws_images_of_its_kind_and_is_frozen(name: str, split: Split) -> None:
    prior = make_prior(name, split.attack_images, split.attack_labels, SMOKE)
    images = prior.sample(7, torch.Generator().manual_seed(0))
    assert images.shape == (7, 1, 28, 28)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    assert torch.equal(images, prior.sample(7, torch.Generator().manual_seed(0)))
    assert not any(weight.requires_grad for weight in prior.parameters())
    latent = prior.draw(2, torch.Generator()).requires_grad_()
    (gradient,) = torch.autograd.grad(prior(latent).sum(), [latent])
    assert float(gradient.abs().min(1).values.max()) > 0


def test_a_gan_is_trained_once_for_the_same_images_and_labels(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Tensor] = []

    def noted(images: Tensor, labels: Tensor, classes: int, epochs: int) -> Generator:
        trained.append(labels)
        return train_gan(images, labels, classes, epochs)

    monkeypatch.setattr("sparseguard.priors.train_gan", noted)
    images, labels = split.attack_images, split.attack_labels
    torch.manual_seed(0)
    first = make_prior("hold_out", images, labels, SMOKE)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))  # chance is left alone
    again = make_prior("shifted", images, None, SMOKE)  # the same images: whose they are is the experiment's affair
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))
    assert [len(seen.unique()) for seen in trained] == [1]
    make_prior("labelled", images, labels, SMOKE)
    assert [len(seen.unique()) for seen in trained] == [1, 10]
    make_prior("hold_out", images.flip(0), labels, SMOKE)
    make_prior("hold_out", images, labels, replace(SMOKE, gan_epochs=2))
    assert len(trained) == 4


def test_a_labelled_prior_without_labels_says_so(split: Split) -> None:
    with pytest.raises(ValueError, match="a labelled prior needs the labels of the attacker's images"):
        make_prior("labelled", split.attack_images, None, SMOKE)


def test_descent_follows_adam_and_reaches_what_is_wanted() -> None:
    prior, chance = flat(), torch.Generator().manual_seed(1)
    wanted, start = prior.draw(7, chance), prior.draw(7, chance)

    def loss(images: Tensor, index: Tensor) -> Tensor:
        found: Tensor = (images - prior(wanted)[index]).square().flatten(1).sum(1)
        return found

    by_hand = start.clone().requires_grad_()
    adam = torch.optim.Adam([by_hand], lr=0.1, betas=(0.1, 0.1))
    for step in range(3):
        adam.param_groups[0]["lr"] = 0.1 if step < 2 else 0.05
        adam.zero_grad()
        loss(prior(by_hand), torch.arange(7)).sum().backward()
        adam.step()
    found, losses = descend(prior, start, loss, Descent(3, 0.1, (0.1, 0.1), (2,), 0.5, batch=3))
    torch.testing.assert_close(found, by_hand.detach())
    assert losses[0] == pytest.approx(float(loss(prior(start), torch.arange(7)).mean()))
    found, losses = descend(prior, start, loss, Descent(400, 0.05))
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)
    assert losses[-1] < 1e-3 * losses[0]


def test_latents_stay_where_no_gradient_comes_back() -> None:
    prior = flat()
    start = prior.draw(4, torch.Generator().manual_seed(1))
    for loss in (lambda images, _: images.detach().flatten(1).sum(1), lambda images, _: 0 * images.flatten(1).sum(1)):
        assert torch.equal(descend(prior, start, loss, Descent(5, 0.1))[0], start)


def test_evolution_keeps_to_its_queries_and_to_the_best_that_it_saw() -> None:
    prior, chance, asked = flat(), torch.Generator().manual_seed(1), [0]
    wanted, start = prior.draw(3, chance), prior.draw(3, chance)

    def loss(images: Tensor, index: Tensor) -> Tensor:
        asked[0] += len(images)
        found: Tensor = (images - prior(wanted)[index]).square().flatten(1).sum(1)
        return found

    before = loss(prior(start), torch.arange(3))
    asked[0] = 0
    found, losses = evolve(prior, start, loss, 600, seed=0)
    assert 550 * 3 < asked[0] <= 600 * 3
    after = loss(prior(found), torch.arange(3))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(float(after.mean()))
    assert bool((after < 0.05 * before).all())
    again, _ = evolve(prior, start, loss, 600, seed=0)
    assert torch.equal(found, again)
    least, _ = evolve(prior, start, loss, 2, seed=0)  # too few for a generation
    assert torch.equal(least, start)
