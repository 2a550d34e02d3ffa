"""The summaries of the notebooks that vary one thing, by rule: λ (03), noise (05), the attacker's means (10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean

from ..result import Result
from .about import by_attack, by_defense, in_short, seeds_of
from .answers import Groups, hidden, where_from
from .budgets import at_each, images_of, order_of, survives, turned, updates_of
from .compare import average, by_strength, differ
from .explorer import sweeps
from .lambdas import MINIMUM, stages_of
from .looks import base_name, name
from .noise import costs_accuracy, weakest_that_hides
from .reading import hide
from .rule import MARGINS
from .summary import Summary, listed, span


def _said(gap: float, differs: bool, unit: str = " dB", digits: int = 1) -> str:
    return f"{gap:+.{digits}f}{unit}" + ("" if differs else " (within chance)")


def lambda_summary(results: Sequence[Result], settling: Sequence[Result] = ()) -> Summary:
    """Of notebook 03: what more λ and settled codes do to what is rebuilt, to accuracy, to the share of active neurons.

    Args:
        results: cells of sparse defenses that differ in λ.
        settling: those that differ in the time for which the code follows eq. 2, and controls; may be empty.
    """
    swept = {n: of for n, of in sweeps(results).items() if len(of) > 1}
    numbers, told, accuracy, hides, active = [], [], [], [], []
    for of in swept.values():
        (low, weak), *_, (high, strong) = of.items()
        who = name(weak[0].experiment, strength=False)
        gap, sure = differ(strong, weak)
        hides.append(0 if not sure else 1 if gap < 0 else -1)
        numbers.append((f"{gap:+.1f} dB", f"{who}, λ from {low:g} to {high:g}" + ("" if sure else " (within chance)")))
        top = max(of, key=lambda lam: average(of[lam]))
        most = "" if top in (low, high) else f", and most, {average(of[top]):.1f}, at λ={top:g}"
        told.append(f"{who} gives up {average(weak):.1f} dB at λ={low:g}, {average(strong):.1f} at λ={high:g}{most}")
        accuracy += [average(group, "accuracy") for group in of.values()]
        shares = [_mean_fact(group, "active 1 (%)") for group in (weak, strong)]
        active.append(f"{who} from {shares[0]:.0f} to {shares[1]:.0f} %")
    if not swept:
        return Summary([], ["One λ alone was measured: what λ does cannot be told."])
    answer = (
        "A sparser code hides more of the private images" if min(hides) == 1
        else "A sparser code does not hide more of the private images" if max(hides) < 1
        else "Whether a sparser code hides more depends on the number of layers"
    )  # fmt: skip
    if len(seeds_of(results)) == 1:
        answer = "Whether a sparser code hides more, one seed cannot tell"
    sentences = [
        f"**{answer}.**", f"By PSNR, {'; '.join(told)}.",
        f"Meanwhile the share of active neurons in the first layer falls ({', '.join(active)}), and accuracy stays "
        f"between {min(accuracy):.2f} and {max(accuracy):.2f}.",
    ]  # fmt: skip
    stages, controls = stages_of(settling) if settling else ({}, {})
    if len(stages) > 1 and MINIMUM in stages:
        first = next(iter(stages))
        gap, sure = differ(stages[MINIMUM], stages[first])
        chance = "" if sure else " (within chance)"
        numbers.append((f"{gap:+.1f} dB", f"settled codes beside {first} time constants{chance}"))
        beside = [
            f"{_said(*differ(stages[MINIMUM], group))} beside {name(group[0].experiment)}"
            for group in controls.values()
        ]
        more = "hides more" if sure and gap < 0 else f"does not hide more{' either' * (max(hides) < 1)}"
        rest = f": then the attacker gets {' and '.join(beside)}" if beside else ""
        sentences.append(f"Letting the code settle at the minimum of eq. 1 {more}{rest}.")
    sentences.append(where_from(results))
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
        found = next(iter(by_attack(results).values()))
        every += found
        curves = [list(of.values()) for of in by_strength(found).values()]
        sparse = [g for of in curves for g in of if g[0].experiment.family == "sparse"]
        noises = [of for of in curves if of[0][0].experiment.family == "noise"]
        levels += [average(own) for own in sparse]
        enough = [[g for of in noises if (g := weakest_that_hides(of, own))] for own in sparse]
        rows, matched = rows + len(sparse), matched + sum(map(bool, enough))
        free += sum(any(not costs_accuracy(g, own) for g in hiding) for hiding, own in zip(enough, sparse))
        weak += [of[0] for of in noises]
        strong += [of[-1] for of in noises]
        if "none" in (rows_of := by_defense(found)):
            costs += [average(rows_of["none"], "accuracy") - average(of[-1], "accuracy") for of in noises]
    if not rows or not weak:
        return Summary([], ["Noise or sparse rows were not measured, so they cannot be compared."])
    some = f"Noise hides as much as {matched} of {rows} sparse rows" if matched else "No noise here hides as much"
    answer = "Noise hides as much as every sparse row" if matched == rows else some
    price = f", at a cost of {span(costs, 2)} in accuracy" if costs else ""
    sentences = [
        f"**{answer}{f', for {free} of them at an accuracy that cannot be told to be less' * bool(matched)}.**",
        f"The weakest ({listed(_names(weak))}) leaves {span([average(g) for g in weak])} dB, the strongest "
        f"({listed(_names(strong))}) {span([average(g) for g in strong])} dB{price}.",
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
    ends = at_each(results, images_of)
    courses, sizes = (at_each(results, updates_of), ends), list(ends)
    pairs = [p for of in courses for before, after in combinations(of.values(), 2) for p in turned(before, after)]
    most = ends[sizes[-1]]
    order = order_of(most)
    safe, open_ = survives([r for of in most.values() for r in of])
    strongest = _strongest(results)
    count = len(set(pairs))
    tried = [what for what, of in zip(("longer training", "more images"), courses) if len(of) > 1]
    which = f"{count} pair{'s' * (count > 1)} of defenses" if pairs else "no two defenses"
    kept = (
        f"{' or '.join(tried).capitalize()} turned {which} round by more than {MARGINS['psnr']} dB" if tried
        else "Neither more images nor longer training was tried"
    )  # fmt: skip
    floor = average(results, "psnr_mean_image")
    nearly = hidden(most, floor)
    away = f"{listed(nearly)} nearly {hide(nearly)} the images" if nearly else "every defense gives images away"
    named = {n: name(group[0].experiment) for n, group in most.items()}
    best, worst = (f"{named[n]} ({average(most[n]):.1f} dB)" for n in (order[0], order[-1]))
    guess = f", where guessing the mean image has {floor:.1f} dB"
    sentences = [
        f"**{kept}; {away}.**",
        f"With {sizes[-1]:.0f} images of his own the attacker gets least from {best} and most from {worst}{guess}.",
        f"Under the strongest attack that was tried on each: {', '.join(strongest)}.",
        _longest(courses[0])
        or f"{len(safe)} of the {len(safe) + len(open_)} differences of more than 0.5 dB would "
        "survive one more doubling of the attack that gains what the last one did.",
        f"{in_short(results)}; rank defenses by these numbers, not by a weak attack's.",
    ]
    numbers = [
        (f"{count}", "pairs of defenses that more images or updates turn round"),
        (f"{len(safe)} of {len(safe) + len(open_)}", "differences that one more doubling would not close"),
    ]
    if len(sizes) > 1:
        gains = [average(most[n]) - average(ends[sizes[0]][n]) for n in most if n in ends[sizes[0]]]
        numbers.append((f"+{span(gains)} dB", f"what {sizes[-1] / sizes[0]:.0f} times the images buy"))
    return Summary(numbers, sentences)


def _longest(course: dict[float, Groups]) -> str:
    """What the longest training gains over the usual one, and where it ended by itself; empty if none was longer."""
    usual = [size for size, of in course.items() if not any(g[0].experiment.attack_options for g in of.values())]
    longest = max(course, default=0.0)
    if not usual or longest <= usual[0]:
        return ""
    before, after = course[usual[0]], course[longest]
    gains = [average(group) - average(before[label]) for label, group in after.items() if label in before]
    ended = sum(not any(r.details["attack"].get("capped") for r in group) for group in after.values())
    return (
        f"{longest / usual[0]:.0f} times the updates gain {span(gains)} dB, and the attack then ends by itself in "
        f"{ended} of {len(after)} rows."
    )


def _strongest(results: Sequence[Result]) -> list[str]:
    """What the plain network, convolutions, sparse codes and noise give up under the best attack tried on each."""
    found: dict[str, tuple[float, str]] = {}
    for attack, of in by_attack(results).items():
        for group in by_defense(of).values():
            who = name(group[0].experiment)
            found[who] = max(found.get(who, (-math.inf, "")), (average(group), attack))
    wanted = ("none", "none_conv", "gaussian", "sparse_standard", "sparse_guard")
    return [
        f"{who} {psnr:.1f} dB" for who, (psnr, _) in found.items() if any(who.startswith(base_name(d)) for d in wanted)
    ]
