import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from sparseguard.sparse import solvers
from sparseguard.studies.competition import closed_form, duel, resting_codes, similar_pair, winner_takes_all


def test_by_hand_until_the_loser_would_cross() -> None:
    """Drives 1.0 and 0.6, lambda 0.5, c = 0.9: the second never becomes active, so P2 has a formula."""
    c, lam = 0.9, 0.5
    times = torch.linspace(0, 8, 50, dtype=torch.float64)
    first, second = closed_form((1.0, 0.6), c, lam, times).T
    torch.testing.assert_close(first, 1 - torch.exp(-times))
    cross = math.log(2.0)  # P1 reaches 0.5
    late = times > cross
    rest = 0.6 - c * (1.0 - lam)
    start = 0.6 * (1 - math.exp(-cross))
    b = (start - rest) * math.exp(cross) - c * cross
    torch.testing.assert_close(second[~late], 0.6 * (1 - torch.exp(-times[~late])))
    torch.testing.assert_close(second[late], rest + (c * times[late] + b) * torch.exp(-times[late]))
    assert float(second.max()) < lam


@pytest.mark.parametrize("similarity", [-0.5, 0.3, 0.7, 0.95])
def test_the_layers_steps_converge_to_the_closed_form(similarity: float) -> None:
    errors = [
        float((d.simulated - d.exact).abs().max())
        for d in (duel(similarity=similarity, tau=tau, duration=3.0) for tau in (15.0, 60.0))
    ]
    assert errors[1] < 0.3 * errors[0] < 0.007  # first order in the step


def test_in_the_end_the_codes_solve_eq_1_and_the_loser_is_silenced() -> None:
    drives, lam = (1.0, 0.8), 0.5
    assert winner_takes_all(drives, lam) == pytest.approx(0.6)
    for similarity in (0.0, 0.4, 0.55, 0.65, 0.9):
        rest = closed_form(drives, similarity, lam, torch.tensor([200.0]))[0]
        codes = (rest - lam).relu()
        assert codes.tolist() == pytest.approx(resting_codes(drives, similarity, lam), abs=1e-6)
        gram = torch.tensor([[1, similarity], [similarity, 1]], dtype=torch.float64)
        slope = gram @ codes - torch.tensor(drives, dtype=torch.float64) + lam  # of the energy, in the code
        assert (slope > -1e-6).all()
        assert float((slope * codes).abs().max()) < 1e-6
        assert (float(codes[1]) == 0.0) == (similarity > 0.6)


@example(0.9, 0.6, 1.0, 0.1)  # the first silent
@example(0.9, 1.0, 0.6, 0.1)  # the second
@example(-0.5, 0.3, 0.2, 0.5)  # both
@given(st.floats(-0.95, 0.95), st.floats(0.05, 1.5), st.floats(0.05, 1.5), st.floats(0.05, 1.0))
def test_resting_codes_minimise_eq_1_whatever_the_angle(c: float, first: float, second: float, lam: float) -> None:
    codes = torch.tensor(resting_codes((first, second), c, lam), dtype=torch.float64)
    assert float(codes.min()) >= 0
    gram = torch.tensor([[1, c], [c, 1]], dtype=torch.float64)
    slope = gram @ codes - torch.tensor([first, second], dtype=torch.float64) + lam  # of the energy, in the code
    assert float(slope.min()) > -1e-9  # no step up lowers it
    assert float((slope * codes).abs().max()) < 1e-9  # and none down


@pytest.mark.parametrize(("angle", "lam"), [(20, 0.5), (40, 0.2), (90, 0.6)])
def test_the_layer_settles_at_the_closed_form(angle: int, lam: float) -> None:
    wide = math.radians(angle)
    found = duel((math.cos(0.3 * wide), math.cos(0.7 * wide)), math.cos(wide), lam, duration=0.1)
    code = solvers.fista(
        found.image, found.features, lam, stride=(1, 1), iterations=2000, tol=1e-8, nonneg=True
    ).code.flatten()  # fmt: skip
    assert code.tolist() == pytest.approx(resting_codes(found.drives, found.similarity, lam), abs=1e-4)


def test_the_pair_has_unit_norm_and_its_similarity_and_the_image_its_drives() -> None:
    for similarity in (-0.4, 0.0, 0.9):
        pair = similar_pair(similarity).flatten(1)
        torch.testing.assert_close(pair @ pair.T, torch.tensor([[1, similarity], [similarity, 1]], dtype=torch.float64))
        found = duel((0.9, 0.7), similarity, duration=0.1)
        torch.testing.assert_close(pair @ found.image.flatten(), torch.tensor([0.9, 0.7], dtype=torch.float64))


def test_nonsense_is_named() -> None:
    with pytest.raises(ValueError, match="similarity must lie between -1 and 1, not 1"):
        duel(similarity=1.0)
    with pytest.raises(ValueError, match="drive must be a finite number greater than 0, not 0"):
        duel(drives=(0.0, 1.0))


def test_a_neuron_that_wakes_and_falls_silent_between_two_times_is_not_missed() -> None:
    drives, similarity, lam = (1.0, 0.9), 0.9, 0.5
    alone = closed_form(drives, similarity, lam, torch.tensor([4.5]))[0]
    fine = closed_form(drives, similarity, lam, torch.linspace(0, 4.5, 4501)[1:])[-1]
    torch.testing.assert_close(alone, fine, atol=1e-9, rtol=0)
