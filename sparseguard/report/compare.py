"""What curves and readings share: cells by strength, their numbers over seeds, the paper's beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..attacks import ATTACKS
from ..experiment import Experiment
from ..paper import Printed, printed
from ..result import Result


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


def printed_row(e: Experiment) -> Printed | None:
    """The paper's row of a cell, or ``None``."""
    return printed(e.setting, e.dataset, e.defense, e.lam, dict(e.options), printed_attack(e))


def printed_number(group: Sequence[Result], metric: str) -> float | None:
    """One number of it, by the name of the column or metric."""
    row = printed_row(group[0].experiment)
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
