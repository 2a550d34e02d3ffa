"""The released procedure, the paper's text and an attacker, side by side; and one step at a time from the first on.

An attack changes one thing after the other: :data:`STEPS`. Numbers of the released procedure are told by the released
definitions of the metrics, which the printed ones follow, those of an attack by the true ones, and where the two meet
by both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import pandas as pd

from ..experiment import Experiment
from ..grid import cells
from ..result import Result
from .about import by_attack, by_defense, caption, grouped, in_short, leak_of, over_seeds
from .compare import average, printed_row
from .looks import base_name
from .reading import Reading
from .summary import Summary, span
from .table import DASH, Table
from .tables import spread, warnings_about

RELEASED = "as_released"
NEAR = 0.1
"""Share of a printed number by which another may differ and still reproduce it."""


@dataclass(frozen=True)
class Step:
    """One thing that is changed on the way from the released procedure to an attack, and all that was before it.

    ``metric`` is the ending of the metrics' names that the step is told by.
    """

    name: str
    options: Mapping[str, Any]
    metric: str = "_released"

    @property
    def attack(self) -> dict[str, Any]:
        """As :func:`sparseguard.grid.cells` takes it."""
        return {"attack": RELEASED, **self.options}


_CHANGES = (
    Step("as released", {}), Step("the attacker learns", {"train_attacker": True}),
    Step("the target stays", {"change_target": False}), Step("its noise is on", {"noise": True}),
    Step("true metrics", {}, ""), Step("equal batches", {"batch": 1}, ""),
    Step("32 bits, no decay", {"half": False, "decay": 0.0}, ""),
)  # fmt: skip
STEPS = tuple(accumulate(_CHANGES, lambda before, one: replace(one, options={**before.options, **one.options})))
WRITTEN = STEPS[-1]
"""What the paper's text says: a network that learns, and a deployed target that stays as it is."""
UNTRAINED = Step("nothing is trained", {"change_target": False})
"""A random network before a target that stays as it is: the number that any leak of this shape and kind has."""
WAYS = {"untrained": UNTRAINED, "as released": STEPS[0], "as written": WRITTEN}
PRINTED = {"psnr": ("PSNR", 2), "ssim": ("SSIM", 3), "fid": ("Fréchet (10³)", 1)}
MEASURED = {"psnr": "psnr", "ssim": "ssim", "fid": "row_frechet"}
"""Printed column: what it is called here."""
CHANGES = (
    "As released: a random network decodes, and the target's leaking layers are trained until it does. This is no "
    "attack: nobody who only sees a leak can do it, and the accuracy stands before and after it. Metrics are the "
    "released ones (standardised images, nothing clipped; the peak is the reconstruction's range)."
)
NOTHING = (
    "Untrained: a random network decodes, and nothing is trained; by the released metrics. This is what the released "
    "files of DP-SGD do, so it stands there as released, too."
)
TEXT = (
    "As written: the same network learns, by the same rule and as many updates, and the deployed target stays as it "
    "is, its noise on; first by the released metrics, then (true) by PSNR and SSIM in [0, 1]."
)


def audited(
    dataset: str, settings: Sequence[str], defenses: Sequence[Any], scale: str, seeds: Sequence[int]
) -> list[Experiment]:
    """Cells of the two ends of :data:`STEPS` and of :data:`UNTRAINED`; each defense as its own released files have it.

    Args:
        dataset, settings, defenses, scale, seeds: as :func:`sparseguard.grid.cells` takes them, at λ = 0.5.
    """
    attacks = [step.attack for step in (STEPS[0], WRITTEN, UNTRAINED)]
    every = [e for s in settings for e in cells(dataset, s, defenses, [0.5], scale, seeds, attacks)]
    return [e for e in every if any(_is(e, step) for step in (STEPS[0], WRITTEN, UNTRAINED))]


def waterfall_attacks() -> list[dict[str, Any]]:
    """The attacks behind :data:`STEPS`, each once."""
    found = [step.attack for step in STEPS]
    return [attack for place, attack in enumerate(found) if attack not in found[:place]]


def under(results: Sequence[Result], step: Step) -> dict[str, list[Result]]:
    """Results of one step by defense."""
    return by_defense([r for r in results if _is(r.experiment, step)])


def _is(e: Experiment, step: Step) -> bool:
    options = dict(step.options) or dict(e.make_defense().released_attack)
    return e.attack == RELEASED and {k: v for k, v in e.attack_options.items() if k != "updates"} == options


def _attacked(results: Sequence[Result]) -> dict[str, list[Result]]:
    """By defense, the seeds of the attack whose mean PSNR is highest."""
    found: dict[str, list[Result]] = {}
    for label, group in by_defense([r for r in results if r.experiment.attack != RELEASED]).items():
        found[label] = max(by_attack(group).values(), key=average)
    return found


def _spread(group: Sequence[Result], metric: str, digits: int) -> str:
    return spread([r.metrics[metric] for r in group], digits) if group else DASH


def protocol_table(results: Sequence[Result]) -> Table:
    """One row a defense: printed, untrained, as released, as written, attacked; and the accuracy before and after.

    Args:
        results: of one data set and setting, of the released procedure, of :data:`WRITTEN` and of attacks.
    """
    released, written, attacked = under(results, STEPS[0]), under(results, WRITTEN), _attacked(results)
    untrained = under(results, UNTRAINED)
    seeds = {r.experiment.seed for r in results}
    names = sorted({group[0].experiment.attack_label for group in attacked.values()})
    notes = [NOTHING, CHANGES, TEXT, f"Attacked: the strongest of {', '.join(names) or DASH}, true metrics."]
    rows = []
    for label, group in released.items():
        known = printed_row(group[0].experiment.unattacked())
        row = {"defense": label}
        for column, (name, digits) in PRINTED.items():
            metric = MEASURED[column]
            row[f"{name} printed"] = DASH if known is None else f"{known.numbers[column]:.{digits}f}"
            row[f"{name} untrained"] = _spread(untrained.get(label, []), f"{metric}_released", digits)
            row[f"{name} as released"] = _spread(group, f"{metric}_released", digits)
            row[f"{name} as written"] = _spread(written.get(label, []), f"{metric}_released", digits)
            if column != "fid":
                row[f"{name} true"] = _spread(written.get(label, []), metric, digits)
                row[f"{name} attacked"] = _spread(attacked.get(label, []), metric, digits)
        before, after = (_spread(group, name, 3) for name in ("accuracy", "accuracy_after"))
        row["accuracy, before → after"] = f"{before} → {after}"
        own = warnings_about(group, seeds)
        notes += [text for text in own if text not in notes]
        row["defense"] += f" [{', '.join(str(notes.index(text) + 1) for text in own)}]" if own else ""
        rows.append(row)
    return Table(pd.DataFrame(rows), caption([r for group in released.values() for r in group]), notes)


Hits = tuple[int, int]
"""Printed numbers that come out again within a tenth, and of how many."""


def near(results: Sequence[Result]) -> dict[tuple[int, str], list[Hits]]:
    """By table and column, how many printed numbers each of :data:`WAYS` comes near to, means over seeds."""
    found: dict[tuple[int, str], list[Hits]] = {}
    for here in places(results):
        for k, step in enumerate(WAYS.values()):
            for group in under(here, step).values():
                row = printed_row(group[0].experiment.unattacked())
                if row is None:
                    continue
                for column, metric in MEASURED.items():
                    hits = found.setdefault((row.table, column), [(0, 0)] * len(WAYS))
                    hit = _comes_near(average(group, f"{metric}_released"), row.numbers[column])
                    hits[k] = hits[k][0] + hit, hits[k][1] + 1
    return dict(sorted(found.items()))


def _total(hits: Iterable[Sequence[Hits]]) -> list[str]:
    """Of each of :data:`WAYS`, over several columns."""
    each = list(hits)
    sums = [[sum(of[k][i] for of in each) for i in (0, 1)] for k in range(len(WAYS))]
    return [f"{hit} of {of}" if of else DASH for hit, of in sums]


def _comes_near(number: float, known: float) -> bool:
    return abs(number - known) <= NEAR * abs(known)


def places(results: Sequence[Result]) -> list[list[Result]]:
    """Results by data set and setting."""
    return list(grouped(results, lambda r: (r.experiment.dataset, r.experiment.setting)).values())


def near_table(results: Sequence[Result]) -> Table:
    """One row a printed table: of each column, the share of numbers that come out again within a tenth."""
    rows: dict[int, dict[str, str]] = {}
    for (table, column), of in near(results).items():
        row = rows.setdefault(table, {"printed in": f"Table {table}"})
        row |= {f"{PRINTED[column][0]}, {way}": told for way, told in zip(WAYS, _total([of]))}
    cells = [r.experiment for r in results if _is(r.experiment, STEPS[0])]
    where = dict.fromkeys(map(leak_of, cells))
    told = f"{'; '.join(where)}; scale {results[0].experiment.scale}, {over_seeds({e.seed for e in cells})}."
    return Table(pd.DataFrame(rows.values()), told, [
        f"Numbers that lie within {NEAR:.0%} of the printed one, by the released metrics, means over seeds.",
        NOTHING, CHANGES,
    ])  # fmt: skip


def waterfall(results: Sequence[Result], metric: str = "psnr") -> dict[str, list[float]]:
    """By defense, the metric after each of :data:`STEPS`, means over seeds; of defenses that have all of them."""
    steps = [under(results, step) for step in STEPS]
    return {
        label: [average(of[label], metric + step.metric) for of, step in zip(steps, STEPS, strict=True)]
        for label in steps[0] if all(label in of for of in steps)
    }  # fmt: skip


def _lost(released: Mapping[str, Sequence[Result]]) -> dict[str, float]:
    """Accuracy that the released procedure costs each target, means over seeds."""
    return {n: average(g, "accuracy") - average(g, "accuracy_after") for n, g in released.items()}


def protocol_summary(results: Sequence[Result]) -> Summary:
    """How many printed numbers come out again, what the procedure does to its targets, what the steps are worth."""
    everywhere, (untrained, released, written) = places(results), _total(near(results).values())
    lost = [value for of in everywhere for value in _lost(under(of, STEPS[0])).values()]
    sentences = [
        f"**The released procedure is no attack: it bends the target until a random network decodes it, and comes "
        f"within a tenth of {released} printed numbers; an attack as the text has it comes "
        f"within a tenth of {written}, a network that nobody trains of {untrained}.**",
        f"It costs its targets up to {max(lost, default=0.0):.2f} of accuracy, which the tables print from before it.",
    ]
    ends: dict[str, list[list[float]]] = {}
    for of in everywhere:
        for label, course in waterfall(of).items():
            ends.setdefault(label, []).append(course)
    told = [
        f"{base_name(label.split()[0])} {span([c[0] for c in courses])} → {span([c[-1] for c in courses])} dB"
        for label, courses in ends.items()
    ]
    if told:
        sentences.append(
            f"From the released procedure by its own metric to an attack by the true one: {'; '.join(told)}."
        )
    own = [r for r in results if r.experiment.attack == RELEASED]
    sentences.append(f"{in_short(own)}; a share of the released updates.")
    numbers = [
        (released, "printed numbers near the released procedure's"),
        (written, "near those of an attack as written"),
        (f"{max(lost, default=0.0):.2f}", "accuracy that the procedure takes from a target, at most"),
    ]
    return Summary(numbers, sentences)


def protocol_reading(results: Sequence[Result]) -> Reading:
    """What the released procedure reproduces, what it does to its target, and what each step is worth."""
    known = near(results)
    lines = []
    for k, name in enumerate(
        ("A network that nobody trains", "The released procedure", "An attack as the text has it")
    ):
        columns = {c: _total(hits for (_, of), hits in known.items() if of == c)[k] for c in PRINTED}
        parts = [f"{told} printed {PRINTED[column][0]}" for column, told in columns.items()]
        lines.append(f"{name} comes within {NEAR:.0%} of {', '.join(parts)} values, by the released metrics.")
    for here in places(results):
        where = leak_of(here[0].experiment)
        lost = _lost(under(here, STEPS[0]))
        if lost:
            worst = max(lost, key=lambda n: lost[n])
            lines.append(
                f"{where}: the procedure costs its targets {min(lost.values()):+.3f} to {max(lost.values()):+.3f} of "
                f"accuracy (most: `{worst}`), after the printed accuracy was measured."
            )
        for label, course in waterfall(here).items():
            gains = [after - before for before, after in pairwise(course)]
            largest = max(range(len(gains)), key=lambda k: abs(gains[k]))
            lines.append(
                f"{where}, `{label}`: {course[0]:.1f} dB as released, {course[-1]:.1f} dB as written; the largest "
                f"step is “{STEPS[largest + 1].name}” ({gains[largest]:+.1f} dB)."
            )
    return Reading("\n".join(f"- {line}" for line in lines))
