"""The summary of the notebooks that sweep something: λ and settling (03), noise (05), the attacker's means (10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean

from ..result import Result
from .about import by_attack, by_defense, in_short
from .answers import floor_of, where_from
from .budgets import along, images_of, order_of, survives, turned, updates_of
from .compare import by_strength, measured, values
from .explorer import sweeps
from .lambdas import differ
from .looks import base_name, name
from .noise import costs_accuracy, weakest_that_hides
from .settling import MINIMUM, stages_of
from .summary import Summary, listed, span


def _mean(group: Sequence[Result], metric: str = "psnr") -> float:
    return mean(values(group, metric))


def _said(gap: float, differs: bool, unit: str = " dB", digits: int = 1) -> str:
    return f"{gap:+.{digits}f}{unit}" + ("" if differs else " (within chance)")


def lambda_summary(results: Sequence[Result], settling: Sequence[Result] = ()) -> Summary:
    """Of notebook 03: what more λ and settled codes do to what is rebuilt, to accuracy, to the share of active neurons.

    Args:
        results: cells of sparse defenses that differ in λ.
        settling: those that differ in the time for which the code follows eq. 2, and controls; may be empty.
    """
    found = measured(results, ("psnr", "accuracy"))[0]
    swept = {n: of for n, of in sweeps(found).items() if len(of) > 1}
    numbers, told, accuracy, hides, active = [], [], [], [], []
    for of in swept.values():
        (low, weak), *_, (high, strong) = of.items()
        who = name(weak[0].experiment, strength=False)
        gap, sure = differ("psnr", weak, strong)
        hides.append(0 if not sure else 1 if gap < 0 else -1)
        numbers.append((f"{gap:+.1f} dB", f"{who}, λ from {low:g} to {high:g}" + ("" if sure else " (within chance)")))
        top = max(of, key=lambda lam: _mean(of[lam]))
        most = "" if top in (low, high) else f", and most, {_mean(of[top]):.1f}, at λ={top:g}"
        told.append(f"{who} gives up {_mean(weak):.1f} dB at λ={low:g}, {_mean(strong):.1f} at λ={high:g}{most}")
        accuracy += [_mean(group, "accuracy") for group in of.values()]
        shares = [_mean_fact(group, "active 1 (%)") for group in (weak, strong)]
        active.append(f"{who} from {shares[0]:.0f} to {shares[1]:.0f} %")
    if not swept:
        return Summary([], ["One λ alone was measured: what λ does cannot be told."])
    answer = (
        "A sparser code hides more" if min(hides) == 1
        else "A sparser code does not hide more" if max(hides) < 1 else "Whether a sparser code hides more depends on "
        "the number of layers"
    )  # fmt: skip
    sentences = [
        f"**{answer} of the private images.**", f"By PSNR, {'; '.join(told)}.",
        f"Meanwhile the share of active neurons in the first layer falls ({', '.join(active)}), and accuracy stays "
        f"between {min(accuracy):.2f} and {max(accuracy):.2f}.",
    ]  # fmt: skip
    stages, controls = stages_of(settling) if settling else ({}, {})
    if len(stages) > 1 and MINIMUM in stages:
        first = next(iter(stages))
        gap, sure = differ("psnr", stages[first], stages[MINIMUM])
        chance = "" if sure else " (within chance)"
        numbers.append((f"{gap:+.1f} dB", f"settled codes beside {first} time constants{chance}"))
        beside = [
            f"{_said(*differ('psnr', group, stages[MINIMUM]))} beside {name(group[0].experiment)}"
            for group in controls.values()
        ]
        hide = "hides more" if sure and gap < 0 else "does not hide more either"
        rest = f": then the attacker gets {' and '.join(beside)}" if beside else ""
        sentences.append(f"Letting the code settle at the minimum of eq. 1 {hide}{rest}.")
    sentences.append(where_from(found))
    return Summary(numbers[:3], sentences)


def _mean_fact(group: Sequence[Result], fact: str) -> float:
    return mean(float(r.details["facts"].get(fact, math.nan)) for r in group)


def noise_summary(by_setting: Mapping[str, Sequence[Result]]) -> Summary:
    """Of notebook 05: how many sparse rows a noise matches, at what strength and what accuracy."""
    rows = matched = free = 0
    every: list[Result] = []
    costs: list[float] = []
    levels: list[float] = []
    weak: list[list[Result]] = []
    strong: list[list[Result]] = []
    for results in by_setting.values():
        found = measured(next(iter(by_attack(results).values())), ("psnr", "accuracy"))[0]
        every += found
        curves = [list(of.values()) for of in by_strength(found).values()]
        sparse = [g for of in curves for g in of if g[0].experiment.family == "sparse"]
        noises = [of for of in curves if of[0][0].experiment.family == "noise"]
        levels += [_mean(own) for own in sparse]
        enough = [[g for of in noises if (g := weakest_that_hides(of, own))] for own in sparse]
        rows, matched = rows + len(sparse), matched + sum(map(bool, enough))
        free += sum(any(not costs_accuracy(g, own) for g in hiding) for hiding, own in zip(enough, sparse))
        weak += [of[0] for of in noises]
        strong += [of[-1] for of in noises]
        if "none" in (rows_of := by_defense(found)):
            costs += [_mean(rows_of["none"], "accuracy") - _mean(of[-1], "accuracy") for of in noises]
    if not rows or not weak:
        return Summary([], ["Noise or sparse rows were not measured, so they cannot be compared."])
    some = f"Noise hides as much as {matched} of {rows} sparse rows" if matched else "No noise here hides as much"
    answer = "Noise hides as much as every sparse row" if matched == rows else some
    price = f", at a cost of {span(costs, 2)} in accuracy" if costs else ""
    sentences = [
        f"**{answer}, in {free} cases at an accuracy that cannot be told to be less.**",
        f"The weakest ({listed(_names(weak))}) leaves {span([_mean(g) for g in weak])} dB, the strongest "
        f"({listed(_names(strong))}) {span([_mean(g) for g in strong])} dB{price}.",
        "It hides from one look: an attacker who may ask about the same image many times averages noise away "
        "(notebook 10).",
        where_from(every),
    ]
    numbers = [
        (f"{matched} of {rows}", "sparse rows that some noise matches"),
        (f"{free} of {rows}", "of them without a loss of accuracy that can be told"),
        (f"{span(levels)} dB", "what sparse rows give up"),
    ]
    return Summary(numbers, sentences)


def _names(groups: Sequence[Sequence[Result]]) -> list[str]:
    return list(dict.fromkeys(name(group[0].experiment) for group in groups))


def budgets_summary(results: Sequence[Result]) -> Summary:
    """Of notebook 10: whether the order of the defenses survives, who hides most and least, what the best attack is."""
    curves = along(results, images_of)
    sizes = sorted({size for of in curves.values() for size in of})
    ends = {s: {n: of[s] for n, of in curves.items() if s in of} for s in sizes}
    by_updates = along(results, updates_of)
    lengths = sorted({size for of in by_updates.values() for size in of})
    steps = [({n: of[s] for n, of in by_updates.items() if s in of} for s in pair) for pair in pairwise(lengths)]
    pairs = [p for step in steps for p in turned(*step)]
    pairs += [p for a, b in pairwise(sizes) for p in turned(ends[a], ends[b])]
    most = ends[sizes[-1]]
    order = order_of(most)
    safe, open_ = survives([r for of in most.values() for r in of])
    strongest = _strongest(results)
    kept = (
        "Neither more images nor longer training turns the order of the defenses round" if not pairs
        else f"More images or longer training turn {len(set(pairs))} pairs of defenses round"
    )  # fmt: skip
    named = {n: name(group[0].experiment) for n, group in most.items()}
    best, worst = (f"{named[n]} ({_mean(most[n]):.1f} dB)" for n in (order[0], order[-1]))
    floor = floor_of(results)
    guess = "" if floor is None else f", where guessing the mean image has {floor:.1f} dB"
    sentences = [
        f"**{kept}; every defense gives images away under its strongest attack.**",
        f"With {sizes[-1]:.0f} images of his own the attacker gets least from {best} and most from {worst}{guess}.",
        f"Under the strongest attack that was tried on each: {', '.join(strongest)}.",
        f"{len(safe)} of the {len(safe) + len(open_)} differences of more than 0.5 dB would survive one more doubling "
        "of the attack that gains what the last one did.",
        f"{in_short(results)}; rank defenses by these numbers, not by a weak attack's.",
    ]
    numbers = [
        (f"{len(set(pairs))}", "pairs of defenses that a stronger attacker turns round"),
        (f"{len(safe)} of {len(safe) + len(open_)}", "differences that one more doubling would not close"),
    ]
    if len(sizes) > 1:
        gains = [_mean(most[n]) - _mean(ends[sizes[0]][n]) for n in most if n in ends[sizes[0]]]
        numbers.append((f"+{span(gains)} dB", f"what {sizes[-1] / sizes[0]:.0f} times the images buy"))
    return Summary(numbers, sentences)


def _strongest(results: Sequence[Result]) -> list[str]:
    """What the plain network, convolutions, sparse codes and noise give up under the best attack tried on each."""
    found: dict[str, tuple[float, str]] = {}
    for attack, of in by_attack(results).items():
        for group in by_defense(of).values():
            who = name(group[0].experiment)
            found[who] = max(found.get(who, (-math.inf, "")), (_mean(group), attack))
    wanted = ("none", "none_conv", "gaussian", "sparse_standard", "sparse_guard")
    return [
        f"{who} {psnr:.1f} dB" for who, (psnr, _) in found.items() if any(who.startswith(base_name(d)) for d in wanted)
    ]
