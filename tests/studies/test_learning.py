import pytest
import torch
from torch import Tensor

from sparseguard.sparse import SparseCoding2d
from sparseguard.studies.learning import learn_dictionary


def test_learning_lowers_the_energy_of_fresh_images(fashion: Tensor) -> None:
    torch.manual_seed(0)
    fashion = fashion[:, :, ::2, ::2]
    layer = SparseCoding2d(1, 6, lam=0.5, eta=0.1)
    start = layer.dictionary.detach().clone()
    found = learn_dictionary(layer, fashion[:8], fashion[8:], updates=12, batch_size=8, every=5)
    assert found.updates.tolist() == [0, 5, 10, 12]
    assert (found.energy.diff() < 0).all()
    torch.testing.assert_close(found.before, start)
    torch.testing.assert_close(found.after, layer.dictionary.detach())
    code = layer(fashion[8:])
    zero = 0.5 * layer.canvas(fashion[8:]).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(found.energy[-1], (layer.energy(fashion[8:], code).mean() / zero).detach())
    torch.testing.assert_close(found.use, (code > 0).float().mean((0, 2, 3)))


def test_a_feature_that_is_never_active_is_dead_and_stays(fashion: Tensor) -> None:
    layer = SparseCoding2d(1, 3, lam=0.5)
    with torch.no_grad():
        layer.dictionary[0] = -1.0  # a dark blob on the bright middle of images cropped to it
        layer.normalize_()
    bright = fashion[:4].clamp_min(0.5)[:, :, 10:18, 10:18]
    layer.standardize = False
    found = learn_dictionary(layer, bright, bright, updates=3)
    assert 0 in found.dead
    assert float(found.use[0]) == 0.0
    torch.testing.assert_close(found.before[0], found.after[0])
    with pytest.raises(ValueError, match="updates must be a whole number from 1 on, not 0"):
        learn_dictionary(layer, bright, bright, updates=0)
