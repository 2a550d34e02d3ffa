"""The paper's claims against what the store holds: comparisons, verdicts, a table, a picture. Computes nothing else."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from textwrap import shorten

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..paper import Claim
from .compare import APART, FEW, MOST, VERDICTS, as_claimed, told_apart, verdict
from .evidence import Evidence
from .reading import Reading
from .tables import DASH, Table

SECONDS = ("seconds", "seconds_target")
RATIOS = (*SECONDS, "parameters")
LEAST = {"psnr": 0.5, "ssim": 0.02, "accuracy": 0.02, "silhouette": 0.02, "silhouette_plane": 0.02} | dict.fromkeys(
    SECONDS, math.log(APART)
)
"""Differences of means that are too small to count, whatever the p-value; of seconds, those of logarithms."""
MARKS = dict(zip(VERDICTS, ("✓", "◐", "✗", "·")))
# how a metric is written: name, digits, unit
WRITTEN = {
    "psnr": ("PSNR", 1, " dB"), "ssim": ("SSIM", 3, ""), "frechet": ("Fréchet distance", 1, ""),
    "accuracy": ("accuracy", 3, ""), "silhouette": ("silhouette in feature space", 3, ""),
    "silhouette_plane": ("silhouette in the plane", 3, ""), "seconds": ("times as long", 2, ""),
    "seconds_target": ("training times as long", 2, ""), "parameters": ("parameters, times as many", 1, ""),
    "excess": ("energy left", 4, ""), "explained": ("variance explained", 2, ""),
}  # fmt: skip
RULE = Reading(
    "A claim is taken to mean the comparisons that stand beside it in words, each for every data set and setting that"
    " it speaks of. A comparison comes out *as claimed*, *the other way*, or *neither*. Two rows differ if Welch's "
    f"t-test over seeds gives p < 0.05 and the means differ by more than {LEAST['psnr']} dB of PSNR, {LEAST['ssim']} "
    f"of SSIM, accuracy or silhouette, {100 * (APART - 1):.0f} % of seconds "
    "(compared as logarithms), or anything in the Fréchet distance; a comparison of *less*"
    " or *more* needs such a difference, one of *comparable*, *no less* or *no more* needs that there is none against "
    "it: a tie, two rows that cannot be told apart, is as claimed there. Where a claim is held against a fixed number, "
    "or is about numbers of parameters, every seed must agree. **Holds**: as claimed in at least nine of ten "
    "comparisons. **Does not hold**: in at most one of ten. **Holds in part**: in between. **Not tested**: the store "
    "has nothing for it, or only one seed. Chance: where nothing differs, *less* or *more* comes out as claimed in "
    "about one comparison of forty at most (against a fixed number that is the truth, in one of eight with three "
    "seeds), but *comparable*, *no less* or *no more* in nearly all. There a lack of data counts for the claim, so the "
    "table says how many of those as claimed are ties."
)


@dataclass(frozen=True)
class Comparison:
    """One pair of rows (or a row and a fixed number) in one metric.

    ``shown`` is what the table says of it: the mean of the claim's row minus the mean of the other, or their ratio, or
    the row's mean alone; ``outcome`` is 1 as claimed, -1 the other way, 0 neither.
    """

    dataset: str
    metric: str
    shown: float
    outcome: int
    gap: bool = True
    """``shown`` is a difference."""
    tie: bool = False
    """As claimed only because the rows could not be told apart."""


@dataclass(frozen=True)
class Judged:
    """A claim with its comparisons; ``missing`` counts those whose numbers the store does not have."""

    claim: Claim
    comparisons: list[Comparison]
    missing: int

    @property
    def verdict(self) -> str:
        """As :func:`sparseguard.report.compare.verdict`."""
        return verdict(sum(c.outcome == 1 for c in self.comparisons), len(self.comparisons))


def outcome_in_every_seed(of: Sequence[float], than: Sequence[float], relation: str) -> int:
    """The same for numbers without chance, seed by seed: neither where the seeds do not agree.

    >>> outcome_in_every_seed([1, 2], [3, 3], "lower"), outcome_in_every_seed([1, 4], [3, 3], "lower")
    (1, 0)
    >>> outcome_in_every_seed([3, 2], [3, 3], "not_higher"), outcome_in_every_seed([3, 2], [3, 3], "lower")
    (1, 0)
    """
    outcomes = {as_claimed((a > b) - (a < b), relation) for a, b in zip(of, than, strict=True)}
    return outcomes.pop() if len(outcomes) == 1 else 0


def judge_claim(claim: Claim, evidence: Evidence) -> Judged:
    """Make all comparisons of a claim for which the store has the numbers."""
    found, missing = [], 0
    for test in claim.compare:
        for dataset, metric, of, than in evidence.pairs(test):
            if of is None or than is None or min(len(of), len(than)) < 2:
                missing += 1
                continue
            if test.than_value is not None:
                shown, gap = mean(of), False
            elif metric in RATIOS:
                shown, gap = test.times * mean(of) / mean(than), False
            else:
                shown, gap = mean(of) - mean(than), True
            if metric in evidence.CERTAIN or test.than_value is not None:
                result, tie = outcome_in_every_seed(of, than, test.relation), False
            else:
                if metric in SECONDS:
                    of, than = list(map(math.log, of)), list(map(math.log, than))
                sign = told_apart(of, than, LEAST.get(metric, 0.0))
                result = as_claimed(sign, test.relation)
                tie = sign == 0 and result == 1
            found.append(Comparison(dataset, metric, shown, result, gap, tie))
    return Judged(claim, found, missing)


def _measured(one: Judged) -> str:
    """Between what the shown numbers lie, and how many comparisons came out as claimed, by data set and metric."""
    if one.claim.untested:
        return one.claim.untested
    if not one.comparisons:
        return f"nothing in the store: run {', '.join(one.claim.notebooks)}"
    parts = []
    for dataset in dict.fromkeys(c.dataset for c in one.comparisons):
        texts = []
        for metric in dict.fromkeys(c.metric for c in one.comparisons):
            of = [c for c in one.comparisons if (c.dataset, c.metric) == (dataset, metric)]
            if of:
                name, digits, unit = WRITTEN[metric]
                sign = "+" if of[0].gap else ""
                ends = sorted({f"{end(c.shown for c in of):{sign}.{digits}f}" for end in (min, max)}, key=float)
                yes, other = (sum(c.outcome == sign for c in of) for sign in (1, -1))
                ties = sum(c.tie for c in of)
                rest = (f", {ties} of them ties" if ties else "") + (f", {other} the other way" if other else "")
                texts.append(f"{name} {' to '.join(ends)}{unit}, {yes} of {len(of)} as claimed{rest}")
        parts.append(f"{dataset}: {'; '.join(texts)}")
    return ". ".join(parts) + "."


def claims_rule() -> Reading:
    """The rule that turns numbers into verdicts."""
    return RULE


def claims_table(judged: Sequence[Judged], evidence: Evidence) -> Table:
    """One row a claim: quoted by section, what it is taken to mean, what was measured, the verdict, the notebooks."""
    notes = [
        "Measured: between what the differences lie (the claim's row minus the other, means over seeds), and how many "
        "comparisons came out as claimed. Seconds and numbers of parameters are given as ratios; where a claim is held "
        "against a fixed number, the numbers themselves are given. A tie: the two rows could not be told apart, which "
        "is as claimed where the claim says comparable, no less or no more."
    ]
    rows = []
    for one in judged:
        remark = ""
        if one.claim.remark:
            notes.append(one.claim.remark)
            remark = f" [{len(notes)}]"
        on = ", ".join(dict.fromkeys(c.dataset for c in one.comparisons))
        rows.append(
            {
                "section": one.claim.section,
                "the paper": f"“{one.claim.quote}”{remark}",
                "taken to mean": one.claim.means or DASH,
                "measured [1]": _measured(one),
                "on": f"{on}, {evidence.scale}" if on else DASH,
                "verdict": f"{MARKS[one.verdict]} {one.verdict}",
                "shown in": ", ".join(one.claim.notebooks) or DASH,
            }
        )
    return Table(pd.DataFrame(rows), evidence.provenance(), notes)


def linked(table: Table) -> Reading:
    """The table as Markdown, with the names of notebooks as links to them."""
    return Reading(re.sub(r"\b(0\d_[a-z_]+)\b", r"[\1](\1.ipynb)", table.to_markdown()))


def claims_figure(judged: Sequence[Judged], evidence: Evidence) -> Figure:
    """One bar a claim that was tested: the shares of its comparisons as claimed (ties apart), neither, other way."""
    tested = [one for one in judged if one.comparisons]
    figure, axis = plt.subplots(figsize=(9.5, 0.36 * max(len(tested), 1) + 1.2))
    styles = (
        (1, False, "as claimed", "C0", ""),
        (1, True, "as claimed: a tie", "C0", "..."),
        (0, False, "neither", "0.85", ""),
        (-1, False, "the other way", "C1", "///"),
    )
    names = [f"{one.claim.section}: {shorten(one.claim.quote, 62, placeholder=' …')}" for one in tested]
    left = [0.0] * len(tested)
    for value, tie, label, colour, hatch in styles:
        kind = (value, tie)
        share = [sum((c.outcome, c.tie) == kind for c in one.comparisons) / len(one.comparisons) for one in tested]
        axis.barh(range(len(tested)), share, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
        left = [a + b for a, b in zip(left, share)]
    for y, one in enumerate(tested):
        axis.text(1.01, y, f"{len(one.comparisons)}  {one.verdict}", va="center", fontsize=8)
    axis.set_yticks(range(len(tested)), names, fontsize=8)
    axis.set(xlim=(0, 1))
    axis.set_xlabel("share of comparisons; their number and the verdict on the right", fontsize=9)
    axis.margins(y=0.01)
    axis.invert_yaxis()
    for limit in (FEW, MOST):
        axis.axvline(limit, color="black", ls=":", lw=1)
    axis.legend(ncols=len(styles), fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    where = ", ".join(dict.fromkeys(c.dataset for one in tested for c in one.comparisons)) or "nothing stored"
    figure.suptitle(f"The paper's claims: {where}, scale {evidence.scale}", fontsize=10)
    figure.tight_layout()
    plt.close(figure)
    return figure


def claims_reading(judged: Sequence[Judged], evidence: Evidence) -> Reading:
    """How many claims hold, and which."""
    counts = Counter(one.verdict for one in judged)
    lines = [f"Of {len(judged)} claims: " + ", ".join(f"{name} {counts[name]}" for name in VERDICTS) + "."]
    for name in VERDICTS[:3]:
        which = [f"{one.claim.means} ({one.claim.section})" for one in judged if one.verdict == name]
        if which:
            lines.append(f"**{name.capitalize()}**: " + "; ".join(which) + ".")
    every = [c for one in judged for c in one.comparisons]
    lines.append(
        f"{sum(c.outcome == 1 for c in every)} of {len(every)} comparisons came out as claimed; "
        f"{sum(c.tie for c in every)} of those are ties, which say that nothing was found, not that nothing is there."
    )
    absent = sorted({n for one in judged if one.missing for n in one.claim.notebooks})
    if absent:
        count = sum(one.missing for one in judged)
        lines.append(
            f"{count} comparisons could not be made: their numbers are not in the store. Notebooks {', '.join(absent)} "
            f"compute them, given {', '.join(evidence.datasets)} and scale `{evidence.scale}`."
        )
    lines.append(
        f"All of this is scale `{evidence.scale}`"
        + ("." if evidence.scale == "paper" else ", not the paper's: a claim that fails here may hold there, and the "
           "other way round.")
    )  # fmt: skip
    return Reading("\n".join(f"- {line}" for line in lines))
