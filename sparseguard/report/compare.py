"""What curves and readings share: cells by strength, their numbers over seeds, and when two of them differ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from statistics import mean

from scipy.stats import ttest_ind

from ..attacks import ATTACKS
from ..experiment import Experiment
from ..paper import Printed, printed
from ..result import Result

APART = 1.05
"""Ratio of the geometric means of two rows' seconds from which they differ; seconds are compared as logarithms."""
MOST, FEW = 0.9, 0.1
"""Shares of its comparisons from which, and up to which, a claim holds and does not."""
VERDICTS = ("holds", "holds in part", "does not hold", "not tested")


def verdict(as_claimed: int, comparisons: int) -> str:
    """One of :data:`VERDICTS` on a claim.

    >>> verdict(9, 10), verdict(8, 10), verdict(1, 10), verdict(0, 0)
    ('holds', 'holds in part', 'does not hold', 'not tested')
    """
    if not comparisons:
        return "not tested"
    share = as_claimed / comparisons
    return "holds" if share >= MOST else "does not hold" if share <= FEW else "holds in part"


def measured(results: Sequence[Result], metrics: Sequence[str]) -> tuple[list[Result], list[str]]:
    """Results of the cells that have all of these numbers in every seed, and the labels of the other cells."""
    absent = dict.fromkeys(r.experiment.label for r in results if any(r.metrics[m] is None for m in metrics))
    return [r for r in results if r.experiment.label not in absent], list(absent)


def left_out(labels: Sequence[str]) -> list[str]:
    """The sentence that a reading owes to the cells it says nothing about; none where there are none.

    >>> left_out(["none", "gan"]), left_out([])
    (['Not measured in every seed, so left out: `none`, `gan`.'], [])
    """
    return [f"Not measured in every seed, so left out: {', '.join(f'`{name}`' for name in labels)}."] if labels else []


def values(group: Sequence[Result], metric: str) -> list[float]:
    """One number a seed.

    Raises:
        ValueError: one was not measured, and no number stands for it; :func:`measured` leaves such cells out.
    """
    found = [number for r in group if (number := r.metrics[metric]) is not None]
    if len(found) < len(group):
        raise ValueError(f"{metric} of {group[0].experiment.label} was not measured in every seed.")
    return found


def difference(a: Sequence[float], b: Sequence[float], least: float = 0.0) -> tuple[float, bool]:
    """Mean of ``a`` minus mean of ``b``, one number a seed, and whether that is called a difference.

    It is if it is more than ``least`` and Welch's t-test gives p < 0.05; with one seed it never is.

    >>> difference([3.0, 3.1, 2.9], [2.0, 2.1, 1.9], 0.5)[1], difference([3.0], [2.0])
    (True, (1.0, False))
    """
    gap = mean(a) - mean(b)
    if min(len(a), len(b)) < 2 or abs(gap) <= least:
        return gap, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # seeds that agree to the last digit
        return gap, bool(ttest_ind(a, b, equal_var=False).pvalue < 0.05)


def told_apart(of: Sequence[float], than: Sequence[float], least: float = 0.0) -> int:
    """1 if ``of`` is higher by the rule of :func:`difference`, -1 if it is lower, 0 if they cannot be told apart."""
    gap, differs = difference(of, than, least)
    return (gap > 0) - (gap < 0) if differs else 0


def as_claimed(sign: int, relation: str) -> int:
    """What a claim (``lower``, ``higher``, ``not_lower``, ``not_higher``, ``same``) makes of a difference.

    Args:
        sign: 1 higher, -1 lower, 0 a tie.

    Returns:
        1 as claimed, -1 the other way, 0 neither: a tie is neither under ``lower`` and ``higher``, else as claimed.

    >>> [as_claimed(0, relation) for relation in ("lower", "higher", "not_lower", "not_higher", "same")]
    [0, 0, 1, 1, 1]
    """
    if relation == "same":
        return 1 if sign == 0 else -1
    if relation.startswith("not_"):
        return -1 if sign == (-1 if relation == "not_lower" else 1) else 1
    return sign if relation == "higher" else -sign


def outcome(of: Sequence[float], than: Sequence[float], relation: str, least: float = 0.0) -> int:
    """Whether two rows, one number a seed each, are as a claim says.

    >>> outcome([1.0, 1.1], [2.0, 2.1], "lower"), outcome([1.0, 1.1], [2.0, 2.1], "not_lower")
    (1, -1)
    >>> outcome([1.0, 2.0], [1.1, 2.1], "lower"), outcome([1.0, 2.0], [1.1, 2.1], "same")
    (0, 1)
    """
    return as_claimed(told_apart(of, than, least), relation)


def by_strength(results: Sequence[Result]) -> dict[str, dict[float, list[Result]]]:
    """Seeds of each strength of each defense (and further options), from weak to strong; others are left out."""
    found: dict[str, dict[float, list[Result]]] = {}
    for r in results:
        e = r.experiment
        if isinstance(e.strength, float):
            found.setdefault(e.variant, {}).setdefault(e.strength, []).append(r)
    return {name: dict(sorted(of.items())) for name, of in found.items()}


def printed_attack(e: Experiment) -> str | None:
    """The paper's name of a cell's attack; ``None`` where it has no such attack, or not with these options."""
    return ATTACKS.check(e.attack).printed_as if e.attack_label == e.attack else None


def printed_row(group: Sequence[Result]) -> Printed | None:
    """The paper's row of a cell, or ``None``."""
    e = group[0].experiment
    return printed(e.setting, e.dataset, e.defense, e.lam, dict(e.options), printed_attack(e))


def printed_number(group: Sequence[Result], metric: str) -> float | None:
    """One number of it, by the name of the column or metric."""
    row = printed_row(group)
    return None if row is None else row.numbers[metric]


def printed_curves(
    curves: Mapping[str, Mapping[float, Sequence[Result]]], metric: str
) -> dict[str, dict[float, float]]:
    """The paper's numbers along :func:`by_strength`, by defense: a row that several regimes can mean is there once."""
    found: dict[str, dict[float, float]] = {}
    for of in curves.values():
        for strength, group in of.items():
            if (value := printed_number(group, metric)) is not None:
                found.setdefault(group[0].experiment.defense, {})[strength] = value
    return {defense: dict(sorted(of.items())) for defense, of in found.items()}
