"""The front page: the verdict in three sentences, and the paper's claims in groups, each with its quote."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

from ..data import dataset_title
from ..defenses import DEFENSES, list_defenses
from ..grid import cells
from ..result import Result
from .about import leak_of, seeds_told
from .answers import better_defense
from .claims import MARKS, Judged, measured_text
from .evidence import LAMS, Evidence
from .rule import VERDICTS
from .summary import Markup, Summary

HOLDS, PART, UNSHOWN, CONTRADICTED, UNTESTED = VERDICTS
GROUPS = {
    "holds": "What holds",
    "also": "What holds, but as much for ordinary convolutions in the sparse layers' place",
    "part": "What holds in part",
    "contradicted": "What is contradicted",
    "open": "What cannot be told from these numbers",
}
FOR, AGAINST, NEITHER = "#0b5c8f", "#b3501e", "#9aa0a6"
_STEP, _HALF = 4, 9
_BARS = {1: (0, _HALF, FOR), 0: (_HALF - 1, 2, NEITHER), -1: (_HALF, _HALF, AGAINST)}


def stored_rows(dataset: str, setting: str, scale: str, seeds: Sequence[int]) -> list[Result]:
    """What the store has of every defense at its usual strength, and of sparse ones at :data:`LAMS`; nothing is run.

    Noise stands behind convolutions, too: a rival whose front is like that of the sparse rows.
    """
    behind = [{"defense": n, "front": "conv"} for n in list_defenses() if DEFENSES.members[n].family == "noise"]
    rows = cells(dataset, setting, [*list_defenses(), *behind], LAMS, scale, seeds)
    return [r for e in rows if (r := e.stored()) is not None]


def group_of(one: Judged) -> str:
    """Which of :data:`GROUPS` a claim belongs to: one that convolutions pass as well does not speak for sparsity."""
    if one.verdict == HOLDS:
        return "also" if one.placebo == HOLDS else "holds"
    return {PART: "part", CONTRADICTED: "contradicted"}.get(one.verdict, "open")


def grouped(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Claims by group, in the order of :data:`GROUPS`; empty groups are left out."""
    found = {key: [one for one in judged if group_of(one) == key] for key in GROUPS}
    return {key: of for key, of in found.items() if of}


def counts(one: Judged) -> dict[int, int]:
    """Comparisons as claimed (1), the other way (-1) and undecided (0)."""
    found = Counter(c.outcome for c in one.comparisons)
    return {sign: found[sign] for sign in (1, -1, 0)}


def _told(one: Judged) -> str:
    of = counts(one)
    return f"{of[1]} of {len(one.comparisons)} comparisons as claimed, {of[-1]} the other way, {of[0]} undecided"


def claims_summary(judged: Sequence[Judged], evidence: Evidence, rows: Sequence[Result] = ()) -> Summary:
    """The verdict: how many claims hold, what becomes of the first, the paper's own, and what to use instead.

    Args:
        judged, evidence: the claims, and whose numbers they were held against.
        rows: of one data set and leak, from which a better defense is named; may be empty.
    """
    found = Counter(one.verdict for one in judged)
    groups = grouped(judged)
    every = [c for one in judged for c in one.comparisons]
    first = judged[0]
    sentences = [
        f"**The paper's central claim, that {first.claim.means}, {_is(first.verdict)}** ({_told(first)}).",
        f"Of {len(judged)} claims {_hold(found[HOLDS])}, {_hold(found[PART])} in part, {found[CONTRADICTED]} "
        f"{'is' if found[CONTRADICTED] == 1 else 'are'} contradicted and "
        f"{found[UNSHOWN] + found[UNTESTED]} cannot be told; of those that hold, {_hold(len(groups.get('also', [])))} "
        "as well with ordinary convolutions in the sparse layers' place.",
        *(f"{leak_of(rows[0].experiment)}: {told[0].lower()}{told[1:]}" for told in better_defense(rows)),
        f"{', '.join(map(dataset_title, evidence.datasets))}, scale `{evidence.scale}`, {seeds_told(evidence.seeds)}"
        + ("." if evidence.scale == "paper" else ": not the paper's sizes, where a verdict may be another."),
    ]  # fmt: skip
    numbers = [
        (f"{found[HOLDS]} of {len(judged)}", "claims hold"),
        (f"{found[CONTRADICTED]} of {len(judged)}", "are contradicted"),
        (
            f"{sum(c.outcome == 1 for c in every)} of {len(every)}",
            f"comparisons came out as claimed, {sum(c.outcome == -1 for c in every)} the other way",
        ),
    ]
    return Summary(numbers, sentences)


def _hold(count: int) -> str:
    return f"{count or 'none'} hold{'s' if count < 2 else ''}"


def _is(verdict: str) -> str:
    return verdict if verdict in (HOLDS, PART) else f"is {verdict}"


def sparkline(one: Judged) -> str:
    """One bar a comparison: up as claimed, down the other way, a dot undecided; as SVG."""
    outcomes = sorted((c.outcome for c in one.comparisons), reverse=True)
    bars = ""
    for i, outcome in enumerate(outcomes):
        top, height, colour = _BARS[outcome]
        bars += f'<rect x="{_STEP * i}" y="{top}" width="{_STEP - 1}" height="{height}" fill="{colour}"/>'
    wide, tall = _STEP * len(outcomes), 2 * _HALF
    return (
        f'<svg role="img" aria-label="{_told(one)}" width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}" '
        f'style="max-width:100%;vertical-align:middle">{bars}</svg>'
    )


def claims_page(judged: Sequence[Judged]) -> Markup:
    """The claims in groups: quote, what it is taken to mean, its comparisons, and where they are shown."""
    parts = ["<p><small>One bar a comparison: up as claimed, down the other way, a dot undecided.</small></p>"]
    for key, of in grouped(judged).items():
        parts.append(f"<h3>{GROUPS[key]} ({len(of)})</h3>")
        parts += map(_claim, of)
    return Markup("".join(parts))


def _claim(one: Judged) -> str:
    links = ", ".join(f'<a href="{name}.ipynb">{name}</a>' for name in one.claim.notebooks)
    means = f"Taken to mean: {html.escape(one.claim.means.rstrip('.'))}.<br>" if one.claim.means else ""
    told = f"{sparkline(one)} {_told(one)}" if one.comparisons else html.escape(measured_text(one).rstrip("."))
    return (
        '<div class="sparseguard-claim" style="margin:0 0 1.1em"><blockquote style="margin:.2em 0">'
        f"“{html.escape(one.claim.quote)}” <small>(section {html.escape(one.claim.section)})</small></blockquote>"
        f"{means}{told}: <strong>{MARKS[one.verdict]} {one.verdict}</strong>{'. ' + links if links else ''}</div>"
    )
