"""What curves and readings share: cells by strength, their numbers over seeds, the paper's beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from ..attacks import ATTACKS
from ..experiment import Experiment
from ..paper import Printed, printed
from ..result import Result
from .about import M
from .rule import MARGINS, difference

Number = Callable[[Result], float | None]
Curves = dict[str, dict[float, list[Result]]]


def values(group: Sequence[Result], metric: str) -> list[float]:
    """One number a seed.

    Raises:
        ValueError: one was not measured, and no number stands for it.
    """
    found = [number for r in group if (number := r.metrics[metric]) is not None]
    if len(found) < len(group):
        raise ValueError(f"{metric} of {group[0].experiment.label} was not measured in every seed.")
    return found


def average(group: Sequence[Result], metric: str = "psnr") -> float:
    """Mean over seeds."""
    return mean(values(group, metric))


def shared(a: Sequence[M], b: Sequence[M], number: Callable[[M], float]) -> tuple[list[float], list[float]]:
    """A number of the seeds that both rows have, in the same order."""
    ours, theirs = ({one.experiment.seed: number(one) for one in of} for of in (a, b))
    both = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in both], [theirs[seed] for seed in both]


def gap_of(a: Sequence[M], b: Sequence[M], number: Callable[[M], float], margin: float) -> tuple[float, bool]:
    """``a`` minus ``b`` in the mean over the seeds that both have, and whether the rule calls it a difference.

    Rows that share no seed are compared by their means, and never differ.
    """
    of, than = shared(a, b, number)
    return difference(of, than, margin) if of else (mean(map(number, a)) - mean(map(number, b)), False)


def number_of(metric: str) -> Callable[[Result], float]:
    """A metric of one result, as :func:`values`."""
    return lambda r: values([r], metric)[0]


def differ(a: Sequence[Result], b: Sequence[Result], metric: str = "psnr") -> tuple[float, bool]:
    """:func:`gap_of` in a metric."""
    return gap_of(a, b, number_of(metric), MARGINS[metric])


def by_strength(results: Sequence[Result]) -> Curves:
    """Seeds of each strength of each defense (and further options), from weak to strong; others are left out."""
    return along(results, lambda r: s if isinstance(s := r.experiment.strength, float) else None, "variant")


def along(results: Sequence[Result], number: Number, name: str = "defense_label") -> Curves:
    """Seeds by a name and a number of theirs, from small to large; cells without that number are left out."""
    found: Curves = {}
    for r in results:
        if (at := number(r)) is not None:
            found.setdefault(getattr(r.experiment, name), {}).setdefault(at, []).append(r)
    return {label: dict(sorted(of.items())) for label, of in found.items()}


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
