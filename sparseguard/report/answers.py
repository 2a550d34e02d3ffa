"""The summary of notebooks 01 and 02, by rule: what is rebuilt, sparsity's share in it, and what hides more."""

from __future__ import annotations

from collections.abc import Sequence

from ..result import Result
from .about import by_attack, by_defense, grouped, in_short
from .compare import average, differ
from .looks import name
from .reading import SLACK, hide
from .rule import MARGINS
from .summary import Summary, listed, percent, span

Groups = dict[str, list[Result]]


def _name(group: Sequence[Result]) -> str:
    return name(group[0].experiment)


def _family(groups: Groups, *families: str) -> Groups:
    return {label: group for label, group in groups.items() if group[0].experiment.family in families}


def hidden(groups: Groups, floor: float) -> list[str]:
    """Names of the rows that give up no more than 1 dB over the mean image."""
    return [_name(g) for g in groups.values() if average(g) < floor + 1]


def against(groups: Groups, other: Sequence[Result]) -> dict[int, list[str]]:
    """Labels of the rows that hide more (1), less (-1) and neither (0) than another row, by the rule of readings.

    Of one seed no test can be made: then by its numbers, beyond the rule's margin.
    """
    found: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for label, group in groups.items():
        gap, sure = differ(group, other)
        if len(group) == len(other) == 1:
            sure = abs(gap) > MARGINS["psnr"]
        found[0 if not sure else 1 if gap < 0 else -1].append(label)
    return found


def where_from(results: Sequence[Result]) -> str:
    """Data set, scale, seeds and the attack's end, in one sentence."""
    groups = grouped(results, lambda r: (r.experiment.setting, r.experiment.defense_label))
    gaining = [n for n, group in groups.items() if any(r.details["attack"].get("capped") for r in group)]
    told = in_short(results)
    if gaining:
        rows = "every row" if len(gaining) == len(groups) else f"{len(gaining)} of {len(groups)} rows"
        return f"{told}; the attack was still gaining in {rows}: a longer one may rebuild more."
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
    groups = by_defense(first)
    floor, sparse = average(first, "psnr_mean_image"), _family(groups, "sparse")
    nearly = hidden(groups, floor)
    answer = f"{listed(nearly)} nearly {hide(nearly)} the images" if nearly else "no defense here hides the images"
    numbers, levels = [], []
    if "none" in groups:
        what = "rebuilt without a defense (PSNR; lower: hidden better)"
        numbers.append((f"{average(groups['none']):.1f} dB", what))
    if "none_conv" in groups:
        numbers.append((f"{average(groups['none_conv']):.1f} dB", "through ordinary convolutions"))
        if sparse:
            answer += f", and {_sparse_verdict(sparse, groups['none_conv'])}"
    if sparse:
        numbers.append((f"{span([average(g) for g in sparse.values()])} dB", "through sparse coding layers"))
        for defense, of in _by_kind(sparse).items():
            levels.append(f"{defense} {span([average(g) for g in of])} dB")
    sentences = [f"**{answer[0].upper()}{answer[1:]}.**"]
    guess = f" (guessing the mean image, without any leak: {floor:.1f} dB)"
    if levels:
        sentences.append(f"By PSNR the attacker gets from {', from '.join(levels)}{guess}.")
    elif numbers:
        sentences.append(f"The attacker gets {numbers[0][0]} of PSNR without a defense{guess}.")
    sentences += [*better_defense(first), _judged(groups), where_from(first)]
    return Summary(numbers, sentences)


def _by_kind(groups: Groups) -> dict[str, list[list[Result]]]:
    """Groups by the name of the defense alone."""
    return grouped(groups.values(), lambda group: name(group[0].experiment, strength=False).split(" τ")[0])


def better_defense(results: Sequence[Result]) -> list[str]:
    """Which defense hides more than most sparse rows that classify no better; nothing where there is no sparse row."""
    groups = by_defense(results)
    sparse = _family(groups, "sparse")
    if not sparse:
        return []
    rivals = [group for group in groups.values() if group[0].experiment.family not in ("sparse", "control")]
    beaten = []
    for rival in rivals:
        most = average(rival, "accuracy") + SLACK
        no_better = {label: group for label, group in sparse.items() if average(group, "accuracy") <= most}
        beaten.append(against(no_better, rival)[-1])
    if not any(beaten):
        return ["No other defense that classifies as well is known to hide more than a sparse row."]
    rival, of = max(zip(rivals, beaten), key=lambda pair: (len(pair[1]), -average(pair[0])))
    gaps = [average(sparse[label]) - average(rival) for label in of]
    rows = "every sparse row" if len(of) == len(sparse) else f"{len(of)} of {len(sparse)} sparse rows"
    accurate = span([average(sparse[label], "accuracy") for label in of], 2)
    return [
        f"If accuracy has to be kept, {_name(rival)} is the better defense: it hides {span(gaps)} dB more than {rows}, "
        f"at an accuracy of {average(rival, 'accuracy'):.2f} (theirs: {accurate})."
    ]


def _judged(groups: Groups) -> str:
    seen = [average(group, "judge_accuracy") for group in groups.values()]
    original = average(next(iter(groups.values())), "judge_accuracy_originals")
    return (f"A classifier trained elsewhere still sees the class in {percent(seen)} of the rebuilt images, and in "
            f"{percent([original])} of the originals.")  # fmt: skip
