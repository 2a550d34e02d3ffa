"""A layer on more and more images: which images these are, what is measured of them, and that it is measured once."""

import pytest
import torch

from sparseguard import Experiment, SparseCoding2d
from sparseguard.bending import bend
from sparseguard.data import load_images
from sparseguard.scales import SCALES
from sparseguard.studies import growth
from sparseguard.studies.growth import gathered, grown

SMOKE = SCALES["smoke"]


@pytest.fixture(autouse=True)
def fewer_fresh_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "FRESH", 60)


def cell(seed: int = 0, **options: object) -> Experiment:
    return Experiment("mnist", "split", "sparse_guard", 0.5, scale="smoke", seed=seed, options=options)


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_fresh_images_are_no_others_and_copies_make_up_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, images, copies = gathered(cell(), 100)
    assert (len(fresh), len(images), copies) == (60, 100, 0)
    everything = rows(load_images("mnist", bundled=True).images.float() / 255)
    assert rows(fresh) | rows(images) <= everything
    assert not rows(fresh) & rows(images)
    assert float(images.max()) == 1.0

    few = load_images("mnist", bundled=True)
    few = type(few)(few.images[:40], few.labels[:40], few.classes)
    monkeypatch.setattr(growth, "whole_pool", lambda *_: few)
    fresh, images, copies = gathered(cell(), 100)
    assert (len(fresh), len(images), copies) == (8, 100, 68)
    real = rows(images) & rows(few.images.float() / 255)
    assert len(real) == 32
    assert len(rows(images)) == 100
    bent = bend(fresh, torch.Generator().manual_seed(0))
    assert float((bent - fresh).abs().mean()) > 0.01  # copies are no repetitions


def test_a_seed_draws_images_and_the_same_ones_for_every_row() -> None:
    assert torch.equal(gathered(cell(), 50)[1], gathered(cell(solver="single", dictionary="submodular"), 50)[1])
    assert not torch.equal(gathered(cell(), 50)[1], gathered(cell(seed=1), 50)[1])


def test_what_is_measured_is_what_the_layer_does() -> None:
    """Both dictionaries made once more by hand."""
    for dictionary in ("learned", "submodular"):
        e = cell(solver="single", dictionary=dictionary)
        (one,) = grown([e], [96])
        fresh, images, copies = gathered(e, 96)
        torch.manual_seed(e.seed)
        layer = SparseCoding2d(1, SMOKE.features[0], lam=0.5, solver="single", tol=SMOKE.tol).requires_grad_(False)
        torch.manual_seed(e.seed)
        if dictionary == "submodular":
            assert layer.choose(images) == SMOKE.features[0]
        else:
            for batch in images.split(SMOKE.batch_size):
                layer.learn(batch, layer(batch))
        code = layer(fresh)
        zero = layer.energy(fresh, torch.zeros_like(code)).mean()
        assert one.energy == pytest.approx(float(layer.energy(fresh, code).mean() / zero), rel=1e-4)
        assert one.active == pytest.approx(float((code != 0).float().mean()), rel=1e-4)
        assert (one.images, one.copies, one.experiment) == (96, copies, e)
        assert min(one.seconds_dictionary, one.seconds_code) > 0
        assert one.seconds == pytest.approx(one.seconds_dictionary + 96 * one.seconds_code)


def test_it_is_measured_once_and_stays_blank_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell(solver="single"), cell(solver="single", dictionary="submodular")]
    state = torch.get_rng_state()
    first = grown(cells, [40, 80])
    assert torch.equal(torch.get_rng_state(), state)
    assert [(one.images, one.experiment) for one in first] == [(size, e) for size in (40, 80) for e in cells]
    monkeypatch.setattr(growth, "_compute", lambda *_: pytest.fail("computed again"))
    assert grown(cells, [40, 80]) == grown(cells, [40, 80], measure=False) == first
    assert grown(cells, [41], measure=False) == grown([cell()], [40], measure=False) == []


def test_another_attack_measures_the_same_layer() -> None:
    (one,) = grown([cell(solver="single")], [40])
    other = Experiment("mnist", "split", "sparse_guard", 0.5, "nearest", "smoke", options={"solver": "single"})
    (again,) = grown([other], [40], measure=False)
    assert again.energy == one.energy


def test_wrong_rows_and_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="a dictionary grows in a sparse layer; 'none_conv' has none"):
        grown([Experiment(defense="none_conv")], [10])
    with pytest.raises(ValueError, match="sizes must be a whole number from 1 on, not 0"):
        grown([cell()], [0])
