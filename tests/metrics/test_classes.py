from itertools import combinations

import numpy as np
import prdc
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparseguard.metrics import distance_to_class, manifolds_of_classes, nearest_of_class
from sparseguard.metrics.classes import manifolds


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 7))
def test_the_expected_distance_is_the_mean_over_all_choices(seed: int, chosen: int, more: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    known = torch.rand(chosen + more, 3, generator=chance)
    others = torch.rand(4, 3, generator=chance)  # of a class that nobody asks about, and nearer than any
    features = torch.rand(2, 3, generator=chance)
    labels = torch.tensor([1, 1])
    of_known = torch.tensor([1] * len(known) + [0] * 4)
    found = distance_to_class(features, labels, torch.cat([known, others]), of_known, torch.tensor([4, chosen]))
    apart = torch.cdist(features.double(), known.double()).square()
    by_hand = torch.stack(
        [apart[:, list(some)].min(1).values for some in combinations(range(len(known)), chosen)]
    ).mean(0)
    torch.testing.assert_close(found, by_hand)


def test_with_equal_numbers_sets_of_one_kind_are_equally_far() -> None:
    """105 private images and 22 hold-out images, all drawn alike: the plain nearest one would be of the 105."""
    chance = torch.Generator().manual_seed(0)
    features, many, few = (torch.randn(n, 8, generator=chance) for n in (400, 1050, 220))
    labels, of_many, of_few = (torch.arange(n) % 10 for n in (400, 1050, 220))
    counts = torch.full((10,), 22)
    to_many = distance_to_class(features, labels, many, of_many, counts).mean()
    to_few = distance_to_class(features, labels, few, of_few, counts).mean()
    plain = distance_to_class(features, labels, many, of_many, torch.full((10,), 105)).mean()
    assert float(to_many) == pytest.approx(float(to_few), rel=0.04)
    assert float(plain) < 0.7 * float(to_few)


def test_a_class_without_known_images_is_left_out() -> None:
    features, known = torch.rand(3, 2), torch.rand(4, 2)
    labels, of_known = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 0, 0])
    found = distance_to_class(features, labels, known, of_known, torch.tensor([2, 0]))
    assert found.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("at_a_time", [250, 2])
def test_the_nearest_image_is_of_the_class(at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparseguard.metrics.classes.COMPARED", at_a_time)
    known = torch.tensor([0.0, 0.3, 0.9]).reshape(3, 1, 1, 1)
    images, labels = torch.tensor([0.0, 0.8, 0.8]).reshape(3, 1, 1, 1), torch.tensor([1, 0, 1])
    assert nearest_of_class(images, labels, known, torch.tensor([0, 1, 1])).tolist() == [1, 0, 2]


@given(st.integers(0, 10**6), st.integers(5, 30), st.integers(5, 30), st.floats(-2, 2))
def test_manifolds_are_those_of_prdc(seed: int, real: int, fake: int, shift: float) -> None:
    chance = np.random.default_rng(seed)
    a, b = chance.normal(size=(real, 4)), chance.normal(size=(fake, 4)) + shift
    theirs = prdc.compute_prdc(a, b, nearest_k=3)
    ours = manifolds(torch.from_numpy(a), torch.from_numpy(b), 3)
    assert ours == pytest.approx({name: float(theirs[name]) for name in ours})


def test_manifolds_are_means_over_classes_and_absent_where_a_class_is_too_small() -> None:
    chance = torch.Generator().manual_seed(0)
    real, fake = torch.randn(40, 4, generator=chance), torch.randn(20, 4, generator=chance)
    of_real, of_fake = torch.arange(40) % 2, torch.arange(20) % 2
    found = manifolds_of_classes(real, of_real, fake, of_fake)
    by_class = [manifolds(real[k::2], fake[k::2]) for k in (0, 1)]
    assert found == pytest.approx({name: (by_class[0][name] + by_class[1][name]) / 2 for name in found})
    assert set(manifolds_of_classes(real, of_real, fake[:6], of_fake[:6]).values()) == {None}
    with pytest.raises(ValueError, match="3 neighbours need more images of each kind than 3"):
        manifolds(real, fake[:3], 3)
