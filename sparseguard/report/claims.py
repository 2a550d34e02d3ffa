"""The paper's claims against what the store holds: comparisons, verdicts, a table, a picture. Computes nothing else."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from textwrap import shorten
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..data import dataset_title
from ..paper import Claim, Contrast
from .about import grouped
from .evidence import Evidence, Rows
from .figures import finished
from .reading import Reading
from .rule import MARGINS, MOST, RULE, VERDICTS, Paired, decide, verdict
from .summary import Markup
from .table import DASH, Table

RATIOS = ("seconds", "seconds_target", "parameters", "frechet")
"""Metrics whose rows are compared as logarithms, and shown as ratios."""
MARKS = dict(zip(VERDICTS, ("✓", "◐", "○", "✗", "·"), strict=True))
GUARD, PLACEBO = "sparse_guard", "none_conv"
# how a metric is written: name, digits, unit
WRITTEN = {
    "psnr": ("PSNR", 1, " dB"), "ssim": ("SSIM", 3, ""), "frechet": ("times as far (Fréchet)", 2, ""),
    "accuracy": ("accuracy", 3, ""), "silhouette": ("silhouette in feature space", 3, ""),
    "silhouette_plane": ("silhouette in the plane", 3, ""), "seconds": ("times as long", 2, ""),
    "seconds_target": ("training times as long", 2, ""), "parameters": ("parameters, times as many", 1, ""),
    "excess": ("energy left", 4, ""), "explained": ("variance explained", 2, ""),
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One pair of rows (or a row and a fixed number) in one metric.

    ``shown`` is what the table says of it: the mean of the claim's row minus the mean of the other, or their ratio, or
    the row's mean alone; ``half`` is half of its 95 % interval, of differences alone; ``outcome`` is 1 as claimed, -1
    the other way, 0 undecided.
    """

    dataset: str
    setting: str
    metric: str
    shown: float
    outcome: int
    half: float | None = None


@dataclass(frozen=True)
class Judged:
    """A claim with its comparisons; ``missing`` counts those whose numbers the store does not have.

    ``placebo`` is the verdict where convolutions stand in sparse-guard's place; ``None`` where that says nothing.
    """

    claim: Claim
    comparisons: list[Comparison]
    missing: int
    placebo: str | None = None

    @property
    def votes(self) -> dict[tuple[str, str], list[int]]:
        """Outcomes by data set and setting."""
        found = grouped(self.comparisons, lambda c: (c.dataset, c.setting))
        return {place: [c.outcome for c in of] for place, of in found.items()}

    @property
    def verdict(self) -> str:
        """As :func:`sparseguard.report.rule.verdict`."""
        return verdict(list(self.votes.values()), self.claim.every)


def with_placebo(claim: Claim) -> Claim | None:
    """The claim with ordinary convolutions where it says sparse-guard; ``None`` where nothing is left to compare."""

    def guard(entry: Any) -> bool:
        return (entry.get("defense") if isinstance(entry, Mapping) else entry) == GUARD

    def swapped(entries: list[Any]) -> list[Any]:
        others = [entry for entry in entries if not guard(entry)]
        return others if len(others) == len(entries) else [PLACEBO, *(e for e in others if e != PLACEBO)]

    tests = []
    for test in claim.compare:
        of, than = swapped(test.of), swapped(test.than)
        if not (test.than_setting or test.than_metric):
            than = [entry for entry in than if entry not in of]  # nothing is compared with itself
        if (of, than) != (test.of, test.than) and (than or test.than_value is not None):
            tests.append(replace(test, of=of, than=than))
    return replace(claim, compare=tests) if tests else None


def _paired(rows: Rows, test: Contrast) -> Paired | None:
    """What is tested; ``None`` where the store lacks numbers, or has one seed."""
    of, than = rows.of, rows.than
    if of is None or than is None or min(len(of), len(than)) < 2:
        return None
    certain = rows.metric in Evidence.CERTAIN or test.than_value is not None
    if rows.metric in RATIOS and not certain:
        of, than = list(map(math.log, of)), list(map(math.log, than))
    return Paired(of, than, test.relation, MARGINS.get(rows.metric, 0.0), certain)


def _told(rows: Rows, test: Contrast, pair: Paired, outcome: int) -> Comparison:
    assert rows.of is not None
    assert rows.than is not None
    shown, half = mean(rows.of) - mean(rows.than), pair.half
    if test.than_value is not None or rows.metric in RATIOS:
        shown = mean(rows.of) / (1 if test.than_value is not None else mean(rows.than) / test.times)
        return Comparison(rows.dataset, rows.setting, rows.metric, shown, outcome)
    return Comparison(rows.dataset, rows.setting, rows.metric, shown, outcome, half)


def judge_claims(made: Sequence[Claim], evidence: Evidence) -> list[Judged]:
    """Make all comparisons of some claims for which the store has the numbers, and judge them together."""

    def judged(of: Sequence[Claim]) -> list[Judged]:
        asked = [[(rows, test) for test in claim.compare for rows in evidence.pairs(test)] for claim in of]
        tested = [[(rows, test, _paired(rows, test)) for rows, test in each] for each in asked]
        outcomes = iter(decide([pair for each in tested for _, _, pair in each if pair is not None]))
        found = []
        for claim, each in zip(of, tested, strict=True):
            told = [_told(rows, test, pair, next(outcomes)) for rows, test, pair in each if pair is not None]
            found.append(Judged(claim, told, len(each) - len(told)))
        return found

    changed = [with_placebo(claim) for claim in made]
    beside = iter(judged([claim for claim in changed if claim is not None]))
    placebo = [None if claim is None else next(beside).verdict for claim in changed]
    return [replace(one, placebo=other) for one, other in zip(judged(made), placebo, strict=True)]


def _number(c: Comparison, digits: int) -> str:
    """``+1.2 (±0.3)``: a difference with half of its interval; other numbers alone."""
    return f"{c.shown:.{digits}f}" if c.half is None else f"{c.shown:+.{digits}f} (±{c.half:.{digits}f})"


def measured_text(one: Judged) -> str:
    """Between what the shown numbers lie, and how many comparisons came out as claimed, by data set and metric."""
    if one.claim.untested:
        return one.claim.untested
    if not one.comparisons:
        return f"not in the store in two seeds or more: run {', '.join(one.claim.notebooks)}"
    parts = []
    for dataset in dict.fromkeys(c.dataset for c in one.comparisons):
        texts = []
        for metric in dict.fromkeys(c.metric for c in one.comparisons):
            of = [c for c in one.comparisons if (c.dataset, c.metric) == (dataset, metric)]
            if of:
                name, digits, unit = WRITTEN[metric]
                ends = [_number(end(of, key=lambda c: c.shown), digits) for end in (min, max)]
                yes, other = (sum(c.outcome == sign for c in of) for sign in (1, -1))
                rest = f", {other} the other way" if other else ""
                texts.append(f"{name} {' to '.join(dict.fromkeys(ends))}{unit}, {yes} of {len(of)} as claimed{rest}")
        parts.append(f"{dataset_title(dataset)}: {'; '.join(texts)}")
    return ". ".join(parts) + "."


def claims_rule() -> Reading:
    """The rule that turns numbers into verdicts."""
    return Reading(RULE)


def claims_table(judged: Sequence[Judged], evidence: Evidence) -> Table:
    """One row a claim: quoted by section, what it is taken to mean, what was measured, the verdict, the notebooks."""
    notes = [
        "Measured: between what the differences lie (the claim's row minus the other, means over seeds; in brackets "
        "half of the 95 % interval of differences within seeds), and how many comparisons came out as claimed. "
        "Seconds, numbers of parameters and Fréchet distances are given as ratios; where a claim is held against a "
        "fixed number, the numbers themselves are given.",
        "Placebo: the verdict where convolutions stand in sparse-guard's place; a dash where the claim is not about "
        "sparse-guard and others, or nothing is stored.",
    ]
    rows = []
    for one in judged:
        remark = ""
        if one.claim.remark:
            notes.append(one.claim.remark)
            remark = f" [{len(notes)}]"
        on = ", ".join(dict.fromkeys(dataset_title(c.dataset) for c in one.comparisons))
        rows.append(
            {
                "section": one.claim.section,
                "the paper": f"“{one.claim.quote}”{remark}",
                "taken to mean": one.claim.means or DASH,
                "measured [1]": measured_text(one),
                "on": f"{on}, {evidence.scale}" if on else DASH,
                "verdict": f"{MARKS[one.verdict]} {one.verdict}",
                "placebo [2]": DASH if one.placebo in (None, VERDICTS[-1]) else one.placebo,
                "shown in": ", ".join(one.claim.notebooks) or DASH,
            }
        )
    key = ["section", "taken to mean", "verdict", "placebo [2]", "shown in"]
    return Table(pd.DataFrame(rows), evidence.provenance(), notes, columns=key)


def linked(table: Table) -> Markup:
    """The table with the names of notebooks as links to them."""
    return Markup(re.sub(r"\b(\d\d_[a-z_]+)\b", r'<a href="\1.ipynb">\1</a>', table._repr_html_()))


def claims_figure(judged: Sequence[Judged], evidence: Evidence) -> Figure:
    """One bar a claim that was tested: the shares of its comparisons as claimed, undecided, the other way."""
    tested = [one for one in judged if one.comparisons]
    figure, axis = plt.subplots(figsize=(9.5, 0.36 * max(len(tested), 1) + 1.2))
    styles = ((1, "as claimed", "C0", ""), (0, "undecided", "0.85", ""), (-1, "the other way", "C1", "///"))
    names = [f"{one.claim.section}: {shorten(one.claim.quote, 62, placeholder=' …')}" for one in tested]
    left = [0.0] * len(tested)
    for value, label, colour, hatch in styles:
        share = [sum(c.outcome == value for c in one.comparisons) / len(one.comparisons) for one in tested]
        axis.barh(range(len(tested)), share, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
        left = [a + b for a, b in zip(left, share)]
    for y, one in enumerate(tested):
        axis.text(1.01, y, f"{len(one.comparisons)}  {one.verdict}", va="center", fontsize=8)
    axis.set_yticks(range(len(tested)), names, fontsize=8)
    axis.set(xlim=(0, 1))
    axis.set_xlabel("share of comparisons; their number and the verdict on the right", fontsize=9)
    axis.margins(y=0.01)
    axis.invert_yaxis()
    axis.axvline(MOST, color="black", ls=":", lw=1)
    axis.legend(ncols=len(styles), fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    where = (
        ", ".join(dict.fromkeys(dataset_title(c.dataset) for one in tested for c in one.comparisons))
        or "nothing stored"
    )
    return finished(figure, f"The paper's claims: {where}, scale {evidence.scale}")


def claims_reading(judged: Sequence[Judged], evidence: Evidence) -> Reading:
    """How many claims hold, and which."""
    counts = Counter(one.verdict for one in judged)
    lines = [f"Of {len(judged)} claims: " + ", ".join(f"{name} {counts[name]}" for name in VERDICTS) + "."]
    every = [c for one in judged for c in one.comparisons]
    lines.append(
        f"{sum(c.outcome == 1 for c in every)} of {len(every)} comparisons came out as claimed, "
        f"{sum(c.outcome == -1 for c in every)} the other way; the others are undecided."
    )
    passed = [one for one in judged if one.verdict == one.placebo == VERDICTS[0]]
    if passed:
        lines.append(
            "Ordinary convolutions pass these as well, so they do not speak for sparsity: "
            + "; ".join(f"{one.claim.means} ({one.claim.section})" for one in passed) + "."
        )  # fmt: skip
    for name in VERDICTS[:-1]:
        which = [f"{one.claim.means} ({one.claim.section})" for one in judged if one.verdict == name]
        if which:
            lines.append(f"**{name.capitalize()}**: " + "; ".join(which) + ".")
    absent = sorted({n for one in judged if one.missing for n in one.claim.notebooks})
    if absent:
        count = sum(one.missing for one in judged)
        lines.append(
            f"{count} comparisons could not be made: the store has not two seeds of their numbers. Notebooks "
            f"{', '.join(absent)} compute them, given {', '.join(evidence.datasets)} and scale `{evidence.scale}`."
        )
    lines.append(
        f"All of this is scale `{evidence.scale}`"
        + ("." if evidence.scale == "paper" else ", not the paper's: a claim that fails here may hold there, and the "
           "other way round.")
    )  # fmt: skip
    return Reading("\n".join(f"- {line}" for line in lines))
