"""Features chosen among patches: what greedy reaches beside exhaustive search; its shortcuts change nothing."""

import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparseguard.sparse import solvers
from sparseguard.sparse.selection import choose

LAM = 0.4
problems = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000), st.booleans())
"""Patches, their entries, features, seed, codes of one sign."""


def draw(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def each_saves(patches: Tensor, nonneg: bool) -> Tensor:
    """Energy that each patch as a feature, ``columns``, saves of each patch, ``rows``: all pairs at once."""
    drives = patches @ F.normalize(patches, dim=1).T
    return ((drives if nonneg else drives.abs()) - LAM).relu().square() / 2


def worth(pairs: Tensor, index: tuple[int, ...] | list[int]) -> float:
    return float(pairs[:, list(index)].amax(1).sum()) if len(index) else 0.0


def naive(pairs: Tensor, count: int) -> list[int]:
    """Greedy by the definition: everything computed in every round."""
    chosen: list[int] = []
    for _ in range(count):
        values = {j: worth(pairs, [*chosen, j]) for j in range(len(pairs)) if j not in chosen}
        best = max(values, key=lambda j: values[j], default=None)
        if best is None or values[best] <= worth(pairs, chosen) * (1 + 1e-9):
            break
        chosen.append(best)
    return chosen


@given(problems)
def test_greedy_saves_what_the_theorem_says_of_the_best_set(problem: tuple[int, int, int, int, bool]) -> None:
    count, size, features, seed, nonneg = problem
    patches = draw(count, size, seed)
    pairs = each_saves(patches, nonneg)
    found = choose(patches, features, LAM, nonneg=nonneg)
    best = max(worth(pairs, s) for s in combinations(range(count), min(features, count)))
    assert worth(pairs, found.members) >= (1 - 1 / math.e) * best - 1e-12
    assert worth(pairs, found.members) <= best + 1e-9
    assert sum(found.gains) == pytest.approx(worth(pairs, found.members))


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 8), st.integers(0, 10_000), st.booleans())
def test_lazy_greedy_is_greedy_and_computes_less(count: int, size: int, features: int, seed: int, nonneg: bool) -> None:
    patches = draw(count, size, seed)
    found = choose(patches, features, LAM, nonneg=nonneg, columns=1)
    assert found.members == naive(each_saves(patches, nonneg), features)
    assert found.gains == sorted(found.gains, reverse=True)
    assert all(gain > 0 for gain in found.gains)
    assert found.evaluations <= sum(count - k for k in range(features) if k < count)


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 70), st.integers(1, 70), st.sampled_from([0.0, 0.3]))
def test_blocks_change_nothing(count: int, features: int, rows: int, columns: int, epsilon: float) -> None:
    patches = draw(count, 5, rows)
    found, whole = (
        choose(
            patches, features, LAM, epsilon=epsilon, generator=torch.Generator().manual_seed(1), rows=r, columns=c
        )
        for r, c in ((rows, columns), (10_000, 10_000))
    )  # fmt: skip
    assert found.members == whole.members
    assert found.gains == pytest.approx(whole.gains)


def test_lazy_greedy_computes_few_gains() -> None:
    patches = torch.randn(4000, 9, generator=torch.Generator().manual_seed(0))
    assert choose(patches, 16, LAM).evaluations < 0.4 * 16 * 4000


@given(st.integers(1, 6), st.integers(0, 1000), st.integers(2, 4))
def test_no_copy_is_chosen_while_another_patch_adds_something(kinds: int, seed: int, copies: int) -> None:
    """Orthogonal patches, several copies of each: one of each kind, and then nothing is left to add."""
    patches = 2 * torch.eye(kinds).repeat(copies, 1)[torch.randperm(kinds * copies)]
    found = choose(patches, kinds + 2, LAM)
    assert sorted(patches[found.members].argmax(1).tolist()) == list(range(kinds))
    assert found.gains == pytest.approx([copies * (2 - LAM) ** 2 / 2] * kinds)


def test_patches_that_save_nothing_are_not_chosen() -> None:
    patches = torch.tensor([[0.0, 0.0], [LAM / 2, 0.0], [0.0, 3.0]])
    assert choose(patches, 3, LAM).members == [2]
    assert choose(patches[:2], 3, LAM).members == []
    assert choose(patches[:0], 3, LAM).members == []


def test_a_feature_that_points_away_serves_codes_of_both_signs_alone() -> None:
    patches = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    assert len(choose(patches, 2, LAM).members) == 2
    assert len(choose(patches, 2, LAM, nonneg=False).members) == 1


def test_stochastic_greedy_reaches_its_bound_in_the_mean() -> None:
    patches = draw(14, 3, 7)
    pairs = each_saves(patches, True)
    best = max(worth(pairs, s) for s in combinations(range(14), 4))
    reached, looked = [], []
    for seed in range(40):
        found = choose(patches, 4, LAM, epsilon=0.3, generator=torch.Generator().manual_seed(seed), columns=1)
        reached.append(worth(pairs, found.members) / best)
        looked.append(found.evaluations)
    assert len(set(reached)) > 1
    assert sum(reached) / 40 >= 1 - 1 / math.e - 0.3
    assert max(looked) <= 4 * math.ceil(14 / 4 * math.log(1 / 0.3))


def test_pools_are_as_large_as_epsilon_says_and_drawn_until_something_is_found() -> None:
    patches = draw(100, 4, 3)
    assert choose(patches, 1, LAM, epsilon=0.9, columns=1).evaluations == math.ceil(100 * math.log(1 / 0.9))
    patches[:] = 0
    patches[70] = 1.0
    for seed in range(5):
        found = choose(patches, 4, LAM, epsilon=0.9, generator=torch.Generator().manual_seed(seed))
        assert found.members == [70]


def test_many_patches_are_chosen_among_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = draw(60, 5, 0)

    def chosen() -> list[list[int]]:
        return [choose(patches, 8, LAM, generator=torch.Generator().manual_seed(seed)).members for seed in range(4)]

    assert all(index == naive(each_saves(patches, True), 8) for index in chosen())
    monkeypatch.setattr("sparseguard.sparse.selection.MANY", 59)
    assert len(set(map(tuple, chosen()))) > 1


def test_epsilon_is_checked() -> None:
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"epsilon must be from 0 on and below 1, not {wrong}"):
            choose(torch.rand(3, 2), 1, LAM, epsilon=wrong)


@given(st.integers(1, 5), st.integers(0, 1000), st.booleans())
def test_what_a_feature_saves_of_a_patch_is_the_energy_of_eq_1(size: int, seed: int, nonneg: bool) -> None:
    """One patch, one feature, one neuron: the solver's own minimum."""
    one, other = draw(2, size, seed)
    feature = F.normalize(other, dim=0).reshape(1, 1, 1, size)
    canvas = one.reshape(1, 1, 1, size)
    code = solvers.fista(canvas, feature, LAM, stride=(1, 1), iterations=2000, tol=1e-12, nonneg=nonneg).code
    energy = 0.5 * (canvas - code * feature).square().sum() + LAM * code.abs().sum()
    expected = each_saves(torch.stack([one, other]), nonneg)[0, 1]
    assert float(0.5 * canvas.square().sum() - energy) == pytest.approx(float(expected), abs=1e-8)
