"""What the costs of defenses say, in words: the paper's statements on compute time, the stages, and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import mean

from ..studies.costs import STAGE_NAMES, Cost
from .about import by_attack, by_defense
from .compare import gap_of, shared
from .costs import Number, largest_peak, printed_ratio, seconds_of, total_seconds
from .reading import Reading
from .rule import ALONE, APART, CALLED, RATE, Paired, decide, sentence, verdict

RULE = (
    f"Rule: one row is quicker than another {CALLED} for the logarithms of seconds and the geometric means lie more "
    f"than {APART - 1:.0%} apart; {ALONE} The pairs of a claim are judged together, false discoveries held at "
    f"{RATE:.0%}, by the words of `00_overview`, which judges all claims together."
)
GONG = ("gong", "gong_cl")


def _log(number: Number) -> Callable[[Cost], float]:
    return lambda cost: math.log(number(cost) or math.nan)


def faster(a: Sequence[Cost], b: Sequence[Cost], number: Number) -> tuple[float, bool]:
    """Ratio of the geometric means of ``a`` and ``b``, and whether the rule calls it a difference."""
    gap, differs = gap_of(a, b, _log(number), math.log(APART))
    return math.exp(gap), differs


def _claim(groups: dict[str, list[Cost]], tiers: Sequence[Sequence[str]], number: Number) -> str | None:
    """How many pairs of rows of an earlier and a later tier (defenses or families) differ as claimed: quicker."""
    by_tier = [
        [g for g in groups.values() if {g[0].experiment.defense, g[0].experiment.family} & set(tier)] for tier in tiers
    ]
    rows = [(a, b) for first, later in combinations(by_tier, 2) for a in first for b in later]
    pairs = [both for a, b in rows if (both := shared(a, b, _log(number)))[0]]
    if not pairs:
        return None
    outcomes = decide([Paired(*both, "lower", math.log(APART)) for both in pairs])
    right, wrong, neither = (outcomes.count(sign) for sign in (1, -1, 0))
    return (
        f"of {len(pairs)} pairs {right} differ that way, {wrong} the other way, {neither} cannot be "
        f"told apart: {sentence(verdict([outcomes]))}"
    )


def _against(label: str, groups: dict[str, list[Cost]], rivals: Sequence[str], ratio: float | None) -> str:
    """A row of sparse-guard beside each benchmark (Table 16's caption)."""
    found = {name: faster(groups[label], groups[name], total_seconds) for name in rivals}
    slower = [f"`{name}` ({times:.2f}×)" for name, (times, differs) in found.items() if differs and times > 1]
    quicker = [f"`{name}` ({times:.2f}×)" for name, (times, differs) in found.items() if differs and times < 1]
    parts = [f"slower than {', '.join(slower)}"] if slower else []
    parts += [f"quicker than {', '.join(quicker)}"] if quicker else []
    alike = len(rivals) - len(slower) - len(quicker)
    parts += [f"not to be told apart from {alike} of {len(rivals)}"] if alike else []
    printed = f", printed {ratio:.2f} times" if ratio else ""
    times = faster(groups[label], groups["none"], total_seconds)[0]
    return f"`{label}` takes {times:.2f} times `none`{printed}; {'; '.join(parts)}"


def costs_reading(costs: Sequence[Cost]) -> Reading:
    """What the numbers say, by attack, about the paper's statements on compute time, the stages and memory."""
    told = by_attack(costs)
    lines: list[str] = []
    for name, of in told.items():
        lines += [f"Under `{name}`:", ""] if len(told) > 1 else []
        lines += [*(f"- {line}" for line in _lines(by_defense(of))), ""]
    return Reading("\n".join([*lines, f"*{RULE}*"]))


def _lines(groups: dict[str, list[Cost]]) -> list[str]:
    ratios = {label: faster(group, groups["none"], total_seconds)[0] for label, group in groups.items()}
    order = ", ".join(f"`{label}` {ratios[label]:.2f}" for label in sorted(ratios, key=lambda n: ratios[n]))
    lines = [f"From the quickest to the slowest, in seconds of `none`: {order}."]
    claims: list[tuple[str, Sequence[Sequence[str]], Number]] = [
        (
            "Appendix A.2: noise is quickest, then SPARSE-STANDARD, then SPARSE-GUARD and Gong et al. All stages",
            (("noise",), ("sparse_standard",), ("sparse_guard", *GONG)),
            total_seconds,
        ),
        (
            "Section 3: sparse coding trains slightly faster than defenses with a GAN. Training the target",
            (("sparse",), ("fakes",)),
            seconds_of("target"),
        ),
    ]
    lines += [f"{text}: {found}." for text, tiers, number in claims if (found := _claim(groups, tiers, number))]
    own = [label for label, group in groups.items() if group[0].experiment.defense == "sparse_guard"]
    rivals = [n for n, g in groups.items() if g[0].experiment.family not in ("control", "sparse")]
    if own and rivals:
        lines.append('Table 16: SPARSE-GUARD takes "comparable or less compute time", at worst "slightly" more:')
        printed = {n: printed_ratio(groups[n][0].experiment) for n in own}
        lines += [f"{_against(n, groups, rivals, printed[n])}." for n in own]
    if "none_conv" in groups:
        sparse = {n: g for n, g in groups.items() if g[0].experiment.family == "sparse"}
        shares = [f"`{n}` {faster(g, groups['none_conv'], seconds_of('target'))[0]:.1f}" for n, g in sparse.items()]
        if shares:
            lines.append("Training the target, in seconds of `none_conv`, which has convolutions in the sparse layers' "
                         f"place: {', '.join(shares)}.")  # fmt: skip
    return [*lines, *_stages(groups)]


def _stages(groups: dict[str, list[Cost]]) -> list[str]:
    """Which stage takes most of the time, and which row most of the memory."""
    total = sum(c.seconds for group in groups.values() for c in group)
    shares = {
        stage: sum(c.seconds_by_stage[name] for group in groups.values() for c in group) / total
        for stage, name in STAGE_NAMES.items()
    }
    top = max(shares, key=lambda stage: shares[stage])
    text = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
    heavy = [n for n, g in groups.items() if mean(c.seconds_by_stage["target"] / c.seconds for c in g) > 0.5]
    named = f"in {', '.join(f'`{n}`' for n in heavy)}" if heavy else "in no row"
    lines = [f"Of all seconds: {text}. Most is {top}; training the target takes more than half {named}."]
    every = {n: [largest_peak(c) for c in g] for n, g in groups.items()}
    peaks = {n: mean(p for p in v if p is not None) for n, v in every.items() if None not in v}
    if len(peaks) < len(groups):
        return [*lines, "Memory was not measured in every row: the system does not tell it."]
    most, least = max(peaks, key=lambda n: peaks[n]), min(peaks, key=lambda n: peaks[n])
    return [
        *lines,
        f"Memory: the largest peak above what was held is {peaks[most]:.0f} MiB (`{most}`), the smallest "
        f"{peaks[least]:.0f} MiB (`{least}`); `none` needs {peaks['none']:.0f} MiB.",
    ]
