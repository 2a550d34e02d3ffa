"""Each claim in the printed numbers, in those of the released procedure, and in sound ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..defenses import list_defenses
from ..experiment import USUAL_ATTACK, Experiment
from ..grid import Entry, cells
from ..paper import Claim
from ..result import Result
from ..targets import SETTINGS
from .claims import MARKS, Judged
from .compare import printed_row
from .evidence import LAMS, Evidence, Rows
from .protocol import RELEASED, STEPS, UNTRAINED, WRITTEN
from .rule import MARGINS
from .table import DASH, Table

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
