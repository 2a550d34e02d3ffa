"""The summary of the notebooks about leaks, by rule: what is rebuilt, what sparsity adds, what hides more."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from ..result import Result
from .about import by_attack, by_defense, in_short
from .compare import measured, values
from .looks import name
from .reading import SLACK, hide, noted_difference
from .rule import MARGINS
from .summary import Summary, listed, percent, span

Groups = dict[str, list[Result]]


def _psnr(group: Sequence[Result]) -> float:
    return mean(values(group, "psnr"))


def _accuracy(group: Sequence[Result]) -> float:
    return mean(values(group, "accuracy"))


def _name(group: Sequence[Result]) -> str:
    return name(group[0].experiment)


def _family(groups: Groups, *families: str) -> Groups:
    return {label: group for label, group in groups.items() if group[0].experiment.family in families}


def floor_of(results: Sequence[Result]) -> float | None:
    """PSNR of the mean hold-out image; ``None`` where it was not measured."""
    found = [value for r in results if (value := r.metrics["psnr_mean_image"]) is not None]
    return mean(found) if found else None


def hidden(groups: Groups, floor: float | None) -> list[str]:
    """Names of the rows that give up no more than 1 dB over the mean image."""
    return [] if floor is None else [_name(g) for g in groups.values() if _psnr(g) < floor + 1]


def against(groups: Groups, other: Sequence[Result]) -> dict[int, list[str]]:
    """Labels of the rows that hide more (1), less (-1) and neither (0) than another row, by the rule of readings.

    Of one seed no test can be made: then by its numbers, beyond the rule's margin.
    """
    found: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for label, group in groups.items():
        gap, sure = noted_difference(group, other)
        if len(group) == len(other) == 1:
            sure = abs(gap) > MARGINS["psnr"]
        found[0 if not sure else 1 if gap < 0 else -1].append(label)
    return found


def where_from(results: Sequence[Result]) -> str:
    """Data set, scale, seeds and the attack's end, in one sentence."""
    groups = by_defense(results)
    gaining = [n for n, group in groups.items() if any(r.details["attack"].get("capped") for r in group)]
    told = in_short(results)
    if gaining:
        rows = "every row" if len(gaining) == len(groups) else f"{len(gaining)} of {len(groups)} rows"
        return f"{told}; the attack was still gaining in {rows}: a longer one rebuilds more."
    return f"{told}; whoever has more images or another decoder can only do better."


def _sparse_verdict(sparse: Groups, conv: Sequence[Result]) -> str:
    """Whether sparse rows hide more than convolutions, in the words of an answer."""
    found, count = against(sparse, conv), len(sparse)
    seed = ", in the one seed that was measured" if len(conv) == 1 else ""
    if not found[1]:
        less = f"; {len(found[-1])} of {count} sparse rows {hide(found[-1])} less" if found[-1] else ""
        return f"sparse coding hides no more than ordinary convolutions in its place{seed}{less}"
    if len(found[1]) == count:
        return f"sparse coding hides more than ordinary convolutions in its place{seed}"
    which = listed([_name(sparse[label]) for label in found[1]])
    return f"of {count} sparse rows {which} {hide(found[1])} more than ordinary convolutions in their place{seed}"


def leak_summary(results: Sequence[Result]) -> Summary:
    """Of notebooks 01 and 02: whether anything hides the images, sparsity's own share, and what hides more.

    Under the first attack among the results.
    """
    first = next(iter(by_attack(results).values()))
    found = measured(first, ("psnr", "accuracy"))[0]
    groups = by_defense(found)
    if not groups:
        return Summary([], ["Nothing was measured in every seed, so nothing can be said.", where_from(first)])
    floor, sparse = floor_of(found), _family(groups, "sparse")
    nearly = hidden(groups, floor)
    answer = f"{listed(nearly)} nearly hide the images" if nearly else "no defense here hides the images"
    numbers, levels = [], []
    if "none" in groups:
        what = "rebuilt without a defense (PSNR; lower: hidden better)"
        numbers.append((f"{_psnr(groups['none']):.1f} dB", what))
    if "none_conv" in groups:
        numbers.append((f"{_psnr(groups['none_conv']):.1f} dB", "through ordinary convolutions"))
        if sparse:
            answer += f", and {_sparse_verdict(sparse, groups['none_conv'])}"
    if sparse:
        numbers.append((f"{span([_psnr(g) for g in sparse.values()])} dB", "through sparse coding layers"))
        for defense, of in _by_kind(sparse).items():
            levels.append(f"{defense} {span([_psnr(g) for g in of])} dB")
    sentences = [f"**{answer[0].upper()}{answer[1:]}.**"]
    guess = "" if floor is None else f" (guessing the mean image, without any leak: {floor:.1f} dB)"
    if levels:
        sentences.append(f"By PSNR the attacker gets from {', from '.join(levels)}{guess}.")
    elif numbers:
        sentences.append(f"The attacker gets {numbers[0][0]} of PSNR without a defense{guess}.")
    sentences += [*better_defense(found), *_judged(found), where_from(found)]
    return Summary(numbers, sentences)


def _by_kind(groups: Groups) -> dict[str, list[list[Result]]]:
    """Groups by the name of the defense alone."""
    kinds: dict[str, list[list[Result]]] = {}
    for group in groups.values():
        e = group[0].experiment
        kinds.setdefault(name(e, strength=False).split(" τ")[0], []).append(group)
    return kinds


def better_defense(results: Sequence[Result]) -> list[str]:
    """Which defense hides more than most sparse rows and classifies as well; nothing where there is no sparse row."""
    groups = by_defense(measured(results, ("psnr", "accuracy"))[0])
    sparse = _family(groups, "sparse")
    if not sparse:
        return []
    least = mean(_accuracy(group) for group in sparse.values()) - SLACK
    rivals = [
        group for group in groups.values()
        if group[0].experiment.family not in ("sparse", "control") and _accuracy(group) >= least
    ]  # fmt: skip
    beaten = [against(sparse, rival)[-1] for rival in rivals]
    if not any(beaten):
        return ["No other defense that classifies as well is known to hide more than a sparse row."]
    rival, of = max(zip(rivals, beaten), key=lambda pair: (len(pair[1]), -_psnr(pair[0])))
    gaps = [_psnr(sparse[label]) - _psnr(rival) for label in of]
    rows = "every sparse row" if len(of) == len(sparse) else f"{len(of)} of {len(sparse)} sparse rows"
    accurate = span([_accuracy(sparse[label]) for label in of], 2)
    return [
        f"If accuracy has to be kept, {_name(rival)} is the better defense: it hides {span(gaps)} dB more than {rows}, "
        f"at an accuracy of {_accuracy(rival):.2f} (theirs: {accurate})."
    ]


def _judged(results: Sequence[Result]) -> list[str]:
    groups = by_defense(measured(results, ("judge_accuracy", "judge_accuracy_originals"))[0])
    if not groups:
        return []
    seen = [mean(values(group, "judge_accuracy")) for group in groups.values()]
    original = mean(values(next(iter(groups.values())), "judge_accuracy_originals"))
    return [f"A classifier trained elsewhere still sees the class in {percent(seen)} of the rebuilt images, and in "
            f"{percent([original])} of the originals."]  # fmt: skip
