"""The rule that decides what counts as a difference, in closed form and against scipy's own tests."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from sparseguard.report.rule import MARGINS, RATE, RELATIONS, RULE, Paired, decide, difference, verdict, vote

THREE = [3.0, 3.1, 2.9]


@pytest.mark.parametrize(
    ("of", "relation", "expected"),
    [
        ([1.0, 1.1, 0.9], "lower", 1), ([1.0, 1.1, 0.9], "higher", -1), ([1.0, 1.1, 0.9], "not_lower", -1),
        ([1.0, 1.1, 0.9], "not_higher", 1), ([1.0, 1.1, 0.9], "same", -1),
        ([2.0, 4.2, 2.9], "lower", 0), ([2.0, 4.2, 2.9], "higher", 0), ([2.0, 4.2, 2.9], "not_lower", 0),
        ([2.0, 4.2, 2.9], "not_higher", 0), ([2.0, 4.2, 2.9], "same", 0),
        ([3.01, 3.1, 2.9], "same", 1), ([3.01, 3.1, 2.9], "not_lower", 1), ([3.01, 3.1, 2.9], "lower", 0),
        ([5.0, 5.1, 4.9], "higher", 1), ([5.0, 5.1, 4.9], "not_higher", -1), ([5.0, 5.1, 4.9], "not_lower", 1),
    ],
)  # fmt: skip
def test_outcomes_against_a_row_of_three(of: list[float], relation: str, expected: int) -> None:
    """What cannot be told apart is undecided, whatever is claimed."""
    assert decide([Paired(of, THREE, relation, 0.5)]) == [expected]


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=8))
def test_the_one_sided_test_is_scipys(pairs: list[tuple[float, float]]) -> None:
    of, than = [a for a, _ in pairs], [b for _, b in pairs]
    gaps = [a - b for a, b in pairs]
    if max(gaps) - min(gaps) < 1e-3:
        return
    pair = Paired(of, than, "higher")
    assert pair.above(0.0) == pytest.approx(float(ttest_rel(of, than, alternative="greater").pvalue), abs=1e-9)
    assert pair.below(0.0) == pytest.approx(float(ttest_rel(of, than, alternative="less").pvalue), abs=1e-9)
    assert pair.above(0.3) == pytest.approx(pair.below(0.3), abs=1e-9) or pair.above(0.3) + pair.below(0.3) == (
        pytest.approx(1.0)
    )
    low, high = ttest_rel(of, than).confidence_interval()
    assert pair.half == pytest.approx(float(high - low) / 2)


def test_rows_are_compared_within_seeds() -> None:
    """Seeds that differ by ten and rows that differ by one: only the pairs tell."""
    of, than = [10.0, 20.0, 30.1], [11.0, 21.0, 31.0]
    assert decide([Paired(of, than, "lower", 0.5)]) == [1]
    assert decide([Paired(of, [21.0, 31.0, 11.0], "lower", 0.5)]) == [0]


def test_equivalence_needs_data_and_a_difference_needs_a_margin() -> None:
    wide, narrow = [3.6, 2.3, 3.2], [3.05, 3.12, 2.95]
    assert decide([Paired(wide, THREE, "same", 0.5)]) == [0]
    assert decide([Paired(narrow, THREE, "same", 0.5)]) == [1]
    assert decide([Paired([2.6, 2.7, 2.5001], THREE, "lower", 0.5)]) == [0]  # certain, and too small to count
    assert decide([Paired([2.4, 2.5, 2.3001], THREE, "lower", 0.5)]) == [1]
    assert decide([Paired([3.4, 3.5, 3.3001], THREE, "higher", 0.5)]) == [0]
    assert decide([Paired([3.6, 3.7, 3.5001], THREE, "higher", 0.5)]) == [1]


@pytest.mark.parametrize("relation", RELATIONS)
def test_one_seed_decides_nothing(relation: str) -> None:
    assert decide([Paired([1.0], [3.0], relation, 0.5)]) == [0]


@pytest.mark.parametrize("relation", RELATIONS)
def test_chance_alone_seldom_comes_out_as_claimed(relation: str) -> None:
    """Rows at the edge of what is claimed, or alike, three seeds, 400 times, each alone: one in twenty at most."""
    edge = {"not_lower": -0.5, "not_higher": 0.5, "same": 0.5}.get(relation, 0.0)
    draws = torch.randn(400, 2, 3, generator=torch.Generator().manual_seed(0)).mul(0.3)

    def share(shift: float, sign: int) -> float:
        pairs = [Paired((of + shift).tolist(), than.tolist(), relation, 0.5 if edge else 0.0) for of, than in draws]
        return sum(decide([pair])[0] == sign for pair in pairs) / len(pairs)

    assert share(edge, 1) <= RATE + 0.02
    assert share(0.0, -1) <= RATE + 0.02


def test_false_discoveries_are_held_over_all_that_is_judged_together() -> None:
    """Where nothing differs, hardly anything is decided; alone, one in twenty each way would be."""
    draws = torch.randn(400, 2, 5, generator=torch.Generator().manual_seed(1))
    pairs = [Paired(of.tolist(), than.tolist(), "lower") for of, than in draws]
    assert sum(outcome != 0 for outcome in decide(pairs)) <= 2
    alone = sum(decide([pair])[0] != 0 for pair in pairs)
    assert 10 <= alone <= 40
    real = [Paired([1.0, 1.1, 0.9, 1.05, 0.95], [3.0, 3.2, 2.9, 3.1, 2.95], "lower")] * 100
    assert decide([*real, *pairs])[:100] == [1] * 100


@pytest.mark.parametrize(
    ("of", "relation", "expected"),
    [([4.0, 4.0], "not_higher", -1), ([2.0, 2.0], "not_higher", 1), ([2.0, 4.0], "higher", 0),
     ([3.0, 4.0], "same", 0), ([3.0, 3.0], "same", 1), ([3.0, 2.0], "not_higher", 1), ([3.0, 2.0], "lower", 0),
     ([3.0, 3.0], "lower", 0), ([3.0, 3.0], "not_lower", 1), ([1.0, 2.0], "lower", 1)],
)  # fmt: skip
def test_without_chance_every_seed_must_agree(of: list[float], relation: str, expected: int) -> None:
    assert decide([Paired(of, [3.0, 3.0], relation, certain=True)]) == [expected]


@pytest.mark.parametrize(
    ("votes", "every", "expected"),
    [([], False, "not tested"), ([[1]], False, "holds"), ([[0]], False, "not shown"), ([[-1]], False, "contradicted"),
     ([[1] * 9 + [0]], False, "holds"), ([[1] * 9 + [0]], True, "holds in part"),
     ([[1] * 8 + [0] * 2], False, "holds in part"), ([[1], [-1]], False, "holds in part"),
     ([[1], [-1], [-1]], False, "contradicted"), ([[0], [-1]], False, "contradicted"),
     ([[1, -1], [0]], False, "holds in part")],
)  # fmt: skip
def test_verdicts_at_their_limits(votes: list[list[int]], every: bool, expected: str) -> None:
    assert verdict(votes, every) == expected


def test_a_vote_against_needs_more_against_than_for() -> None:
    assert [vote([1, 1, -1]), vote([1, -1]), vote([1, -1, -1]), vote([0, 0, -1])] == [0, 0, -1, -1]


def test_differences_of_readings_are_paired_and_need_a_margin() -> None:
    gap, differs = difference([10.0, 20.0, 30.1], [11.0, 21.0, 31.0], 0.5)
    assert (round(gap, 3), differs) == (-0.967, True)
    assert not difference([10.0, 20.0, 30.1], [11.0, 21.0, 31.0], 1.0)[1]
    assert not difference([3.0, 3.1], [1.0, 1.1, 0.9])[1]


def test_bad_pairs_are_refused_in_one_sentence_and_the_rule_states_its_margins() -> None:
    with pytest.raises(ValueError, match=r"relation must be one of lower, higher, .* not 'less'\."):
        Paired([1.0], [1.0], "less")
    with pytest.raises(ValueError, match=r"same seeds, at least one, not 1 and 2\."):
        Paired([1.0], [1.0, 2.0], "same")
    assert f"more than {MARGINS['psnr']} dB of PSNR" in RULE
    assert "5%" in RULE or "5 %" in RULE


def test_what_has_no_chance_in_it_does_not_help_what_has() -> None:
    """A sure comparison is no discovery: it makes no other one likelier."""
    doubtful = Paired([1.0, 1.2, 1.1], [2.0, 2.5, 2.0], "lower", 0.5)
    sure = [Paired([1.0], [2.0], "lower", certain=True)] * 100
    others = [Paired([1.0, 2.0, 3.0], [3.0, 2.0, 1.5], "lower", 0.5)] * 10
    assert decide([doubtful]) == [1]
    assert decide([doubtful, *others])[0] == decide([doubtful, *others, *sure])[0] == 0
    assert decide(sure) == [1] * 100
