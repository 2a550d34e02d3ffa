"""The front page: the verdict in three sentences, and the paper's claims in groups, each with its quote."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..data import dataset_title
from ..defenses import DEFENSES, list_defenses
from ..experiment import USUAL_ATTACK, Experiment
from ..grid import Entry, cells
from ..paper import Claim
from ..result import Result
from ..targets import SETTINGS
from .about import by_cell, grouped, leak_of, seeds_told
from .answers import better_defense
from .claims import MARKS, Judged, measured_text
from .compare import printed_row
from .evidence import LAMS, Evidence, Rows
from .protocol import RELEASED, STEPS, UNTRAINED, WRITTEN
from .rule import MARGINS, VERDICTS
from .summary import Markup, Summary
from .table import DASH, Table

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
    """What the store has, in all seeds, of every defense at its usual strength, and of sparse ones at :data:`LAMS`.

    Noise stands behind convolutions, too: a rival whose front is like that of the sparse rows.
    """
    behind = [{"defense": n, "front": "conv"} for n in list_defenses() if DEFENSES.members[n].family == "noise"]
    rows = cells(dataset, setting, [*list_defenses(), *behind], LAMS, scale, seeds)
    found = by_cell([r for e in rows if (r := e.stored()) is not None])
    return [r for of in found.values() if len(of) == len(set(seeds)) for r in of]


def group_of(one: Judged) -> str:
    """Which of :data:`GROUPS` a claim belongs to: one that convolutions pass as well does not speak for sparsity."""
    if one.verdict == HOLDS:
        return "also" if one.placebo == HOLDS else "holds"
    return {PART: "part", CONTRADICTED: "contradicted"}.get(one.verdict, "open")


def in_groups(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Claims by group, in the order of :data:`GROUPS`; empty groups are left out."""
    found = grouped(judged, group_of)
    return {key: found[key] for key in GROUPS if key in found}


def _told(one: Judged) -> str:
    of = Counter(c.outcome for c in one.comparisons)
    return f"{of[1]} of {len(one.comparisons)} comparisons as claimed, {of[-1]} the other way, {of[0]} undecided"


def claims_summary(judged: Sequence[Judged], evidence: Evidence, rows: Sequence[Result] = ()) -> Summary:
    """The verdict: how many claims hold, what becomes of the first, the paper's own, and what to use instead.

    Args:
        judged, evidence: the claims, and whose numbers they were held against.
        rows: of one data set and leak, from which a better defense is named; may be empty.
    """
    found = Counter(one.verdict for one in judged)
    groups = in_groups(judged)
    every = [c for one in judged for c in one.comparisons]
    first = judged[0]
    placebo = [one for one in judged if one.verdict == HOLDS and one.placebo is not None]
    where = f", where {_hold(len(groups.get('also', [])))}" if placebo else ""
    beside = (
        f"; of those that hold, {len(placebo) or 'none'} can be asked of ordinary convolutions in the sparse layers' "
        f"place{where}" if found[HOLDS] else ""
    )  # fmt: skip
    sentences = [
        f"**The paper's central claim, that {first.claim.means}, {_is(first.verdict)}** ({_told(first)}).",
        f"Of {len(judged)} claims {_hold(found[HOLDS])}, {_hold(found[PART])} in part, {found[CONTRADICTED]} "
        f"{'is' if found[CONTRADICTED] == 1 else 'are'} contradicted and "
        f"{found[UNSHOWN] + found[UNTESTED]} cannot be told{beside}.",
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
    for key, of in in_groups(judged).items():
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


RELEASED_TAU = 100.0
"""Time constant of the released sparse layers."""


class _Means(Evidence):
    """Point values from another source than a trained attacker's cells; what that lacks is not compared."""

    def _layer(self, dataset: str, _: str, entries: Sequence[Entry], metric: str) -> list[list[float] | None]:
        return []


class AsPrinted(_Means):
    """The paper's numbers; its "FID" stands for the Fréchet distance."""

    def _number(self, e: Experiment, metric: str) -> float | None:
        row = printed_row(e)
        return None if row is None else row.numbers.get({"frechet": "fid"}.get(metric, metric))


class AsReleased(_Means):
    """The released procedure's, by the released metrics; its sparse codes stop where the released ones do."""

    def _number(self, e: Experiment, metric: str) -> float | None:
        if e.attack_label != USUAL_ATTACK:
            return None
        found = _released(e).stored(self.store)
        name = {"frechet": "row_frechet"}.get(metric, metric)
        return None if found is None else found.metrics.get("accuracy" if metric == "accuracy" else f"{name}_released")

    def _numbers(self, experiments: Sequence[Experiment], metric: str) -> list[float] | None:
        known = [value for e in experiments if (value := self._number(e, metric)) is not None]
        return known or None


def as_claimed(claim: Claim, source: Evidence) -> tuple[int, int]:
    """How many comparisons of a claim come out as claimed in the means of a source, and how many it has."""
    found = [
        _holds(rows, test.relation)
        for test in claim.compare for rows in source.pairs(test) if rows.of is not None and rows.than is not None
    ]  # fmt: skip
    return sum(found), len(found)


def _holds(rows: Rows, relation: str) -> bool:
    assert rows.of is not None
    assert rows.than is not None
    gap, margin = mean(rows.of) - mean(rows.than), MARGINS.get(rows.metric, 0.0)
    return {
        "lower": gap < 0, "higher": gap > 0, "not_lower": gap >= -margin, "not_higher": gap <= margin,
        "same": abs(gap) <= margin,
    }[relation]  # fmt: skip


def sources_table(judged: Sequence[Judged], evidence: Evidence) -> Table:
    """One row a claim: its comparisons as claimed in the printed numbers, as released, and attacked soundly."""
    given: dict[str, Any] = {"datasets": evidence.datasets, "scale": evidence.scale, "store": evidence.store}
    printed, released = AsPrinted(**given, seeds=[0]), AsReleased(**given, seeds=evidence.seeds)
    rows = []
    for one in judged:
        sound = sum(c.outcome == 1 for c in one.comparisons)
        rows.append({
            "section": one.claim.section,
            "taken to mean": one.claim.means or f"“{one.claim.quote}”",
            "printed": _share(*as_claimed(one.claim, printed)),
            "as released": _share(*as_claimed(one.claim, released)),
            "sound": _share(sound, len(one.comparisons)),
            "verdict": f"{MARKS[one.verdict]} {one.verdict}",
        })  # fmt: skip
    return Table(pd.DataFrame(rows), evidence.provenance(), [
        "Comparisons that come out as claimed, of those that could be made. Printed and as released: by the means "
        "alone, comparable and no worse within the rule's margins; sound: by the rule, which asks for more.",
        "As released: the procedure of the released code (notebook 09), by its metrics, of the seeds that were "
        "computed; sparse rows at its time constant, 100. It is no attack.",
    ])  # fmt: skip


def released_rows(evidence: Evidence) -> list[Result]:
    """What the store has of the released procedure, of its last step and untrained, for the paper's rows."""
    found = []
    for dataset in evidence.datasets:
        for setting in SETTINGS:
            for e in cells(dataset, setting, list_defenses(), LAMS, evidence.scale, evidence.seeds):
                ways = dict.fromkeys(_released(e, step.options) for step in (STEPS[0], WRITTEN, UNTRAINED))
                stored = [cell.stored(evidence.store) for cell in ways]
                found += [result for result in stored if result is not None]
    return found


def _released(e: Experiment, changed: Mapping[str, Any] = MappingProxyType({})) -> Experiment:
    """The cell of the released procedure that belongs to a row, some of its switches turned."""
    options = dict(e.options) | ({"tau": RELEASED_TAU} if e.family == "sparse" else {})
    switches = dict(changed) or dict(e.make_defense().released_attack)
    return replace(e, attack=RELEASED, attack_options=switches, options=options)


def _share(count: int, of: int) -> str:
    return f"{count} of {of}" if of else DASH
