"""Tables: printed numbers beside measured ones, with what has to be said about both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from statistics import mean, stdev
from typing import Any

import pandas as pd

from ..attacks import ATTACKS
from ..attacks.race import PAYS
from ..experiment import Experiment
from ..result import Result
from ..shipping import COMPARED, MANY, Recomputed
from .about import by_cell, caption, provenance, seeds_of
from .compare import printed_row
from .table import DASH, Table

STILL_GAINING = (
    "The attack of this row was still gaining when its updates ended, in some seed: a longer one may rebuild more."
)
LAST_DOUBLING = (
    f"Last doubling: what it gained in validation error to double the updates of the decoder that won, once more. "
    f"Decoders train until that is less than {PAYS} dB, or the scale's most updates are reached, which marks the row; "
    "one solved in closed form has no updates."
)
# column of the table: (metric measured, digits, column printed by the paper)
COLUMNS: dict[str, tuple[str, int, str | None]] = {
    "PSNR ↓": ("psnr", 2, "psnr"),
    "SSIM ↓": ("ssim", 3, "ssim"),
    "row-Fréchet (10³) ↑": ("row_frechet", 1, "fid"),
    "FID ↑": ("fid", 1, None),
    "FD judge ↑": ("fd_judge", 1, None),
    "judge accuracy ↓": ("judge_accuracy", 3, None),
    "accuracy ↑": ("accuracy", 3, "accuracy"),
}


FEW_ROWS = 14
"""Rows of a table that are all shown."""
KEY = (
    "defense", "PSNR ↓ printed", "PSNR ↓ measured", "SSIM ↓ printed", "SSIM ↓ measured", "judge accuracy ↓",
    "accuracy ↑ printed", "accuracy ↑ measured", "best attacker",
)  # fmt: skip
"""Columns of the headline."""


def spread(values: Sequence[float | None], digits: int) -> str:
    """Mean and sample standard deviation over seeds; an em dash where a value was not measured.

    >>> spread([1.0, 2.0, 3.0], 1), spread([1.0], 1), spread([1.0, None], 1)
    ('2.0 ± 1.0', '1.0', '—')
    """
    measured = [value for value in values if value is not None]
    if not measured or len(measured) < len(values):
        return DASH
    for endless, sign in ((math.inf, "∞"), (-math.inf, "−∞")):
        if endless in measured:
            return sign
    middle = f"{mean(measured):.{digits}f}"
    return f"{middle} ± {stdev(measured):.{digits}f}" if len(measured) > 1 else middle


def results_table(results: Sequence[Result], planned: Sequence[Experiment] = ()) -> Table:
    """The paper's table with our numbers beside it: one row a defense, strength and attack.

    Arrows point to the better defense. ``—``: not printed, or not measured (a footnote says why).

    Args:
        results: of one table.
        planned: its cells in their order, if some may be missing: their rows are blank, and a row of fewer seeds than
            the others says so.
    """
    notes: list[str] = []

    def mark(texts: Sequence[str]) -> str:
        for text in texts:
            if text not in notes:
                notes.append(text)
        numbers = sorted(notes.index(text) + 1 for text in texts)
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""

    facts = sorted({name for r in results for name in r.details["facts"]})
    groups, seeds = by_cell(results), {r.experiment.seed for r in results}
    rows = []
    for label, cell in {e.label: e for e in planned or [r.experiment for r in results]}.items():
        group, paper = groups.get(label, []), printed_row(cell)
        own = mark(warnings_about(group, seeds) + changed(group) + (paper.remarks.get("defense", []) if paper else []))
        row = {"defense": label + own}
        for column, (metric, digits, printed_column) in COLUMNS.items():
            if printed_column:
                remarks = paper.remarks.get(printed_column, []) if paper else []
                row[f"{column} printed"] = (
                    _as_printed(printed_column, paper.numbers[printed_column]) + mark(remarks) if paper else DASH
                )
            measured = spread([r.metrics[metric] for r in group], digits)
            reasons = sorted({r.details["notes"][metric] for r in group if metric in r.details["notes"]})
            row[f"{column} measured" if printed_column else column] = measured + mark(reasons)
        row |= {fact: spread([r.details["facts"].get(fact) for r in group], 2) for fact in facts}
        row |= {"best attacker": attackers(group), "last doubling (dB)": last_gain(group)}
        rows.append(row)
    notes.append(LAST_DOUBLING)
    of_seeds = list({r.experiment.seed: r for r in results}.values())
    floor = spread([r.metrics["psnr_mean_image"] for r in of_seeds], 2)
    seen = spread([r.metrics["judge_accuracy_originals"] for r in of_seeds], 3)
    notes.append(
        f"Guessing the mean hold-out image for every victim, without any leak, scores {floor} dB. The judge recognises "
        f"{seen} of the originals."
    )
    notes.append(
        "none_standardized standardises each image, as a sparse layer does first, and nothing else: that by itself "
        "hides brightness and contrast. none_conv and none_frozen_conv have also the batch norm of the sparse "
        "defenses, and convolutions in place of their sparse layers. none has nothing of it, so the difference of a "
        "sparse row from none is not sparsity's alone."
    )
    cells = list({e.label: e for e in planned or [r.experiment for r in results]}.values())
    return Table(pd.DataFrame(rows), caption(results), notes, headline_rows(cells), KEY)


def headline_rows(cells: Sequence[Experiment]) -> list[int]:
    """Places of the rows that stand for their defense: the last strength without further options, else the first.

    Under the first attack alone; none, which means all, where there are few rows.
    """
    if len(cells) <= FEW_ROWS:
        return []
    places: dict[str, int] = {}
    for i, e in enumerate(cells):
        if e.attack_label == cells[0].attack_label and (e.defense not in places or not _further(e)):
            places[e.defense] = i
    return list(places.values())


def _further(e: Experiment) -> bool:
    """Whether a row has options beside its strength."""
    return bool(set(e.options) - {e.make_defense().strength})


def _as_printed(column: str, number: float) -> str:
    """With the digits of the paper."""
    digits = {"psnr": 2, "fid": 2 if number < 100 else 1}.get(column, 3)
    return f"{number:.{digits}f}"


def attackers(group: Sequence[Result]) -> str:
    """Who rebuilt the images, over seeds."""
    return ", ".join(sorted({str(r.details["attack"].get("attacker", DASH)) for r in group})) or DASH


def gained(told: Mapping[str, Any]) -> float | None:
    """dB that the last doubling of the winner's updates gained; ``None`` for one that is solved in closed form."""
    gain: float | None = told.get("gains", {}).get(told.get("attacker"))
    return gain


def last_gain(group: Sequence[Result]) -> str:
    """The same over seeds."""
    return spread([gained(r.details["attack"]) for r in group], 2)


def changed(group: Sequence[Result]) -> list[str]:
    """What a row has to say whose procedure changed its target."""
    if not group or ATTACKS.check(group[0].experiment.attack).access != "victim":
        return []
    after = spread([r.metrics["accuracy_after"] for r in group], 3)
    return [f"No attack: it may change the network that leaks, whose accuracy is {after} afterwards."]


def warnings_about(group: Sequence[Result], seeds: Set[int]) -> list[str]:
    """What a row has to say of itself: seeds that it lacks, a target that did not learn, an attack that did not end,
    one of classes."""
    if not group:
        return ["Not measured."]
    found, own = [], seeds_of(group)
    if set(own) < seeds:
        found.append(f"Measured with seed{'s' if len(own) > 1 else ''} {', '.join(map(str, own))} alone.")
    known = [accuracy for r in group if (accuracy := r.metrics["accuracy"]) is not None]
    if not all(accuracy >= 0.3 for accuracy in known):
        found.append(
            "The target of this row did not learn in every seed (accuracy below 0.3): its leak proves nothing."
        )
    if any(r.details["attack"].get("capped") for r in group):
        found.append(STILL_GAINING)
    if not ATTACKS.check(group[0].experiment.attack).pairs:
        found.append("This attack answers with an image that stands for the one behind a leak; it rebuilds none.")
    return found


DIGITS = {"psnr": 2}


def recomputed_table(found: Sequence[Recomputed]) -> Table:
    """One row a cell: each metric as shipped and as it came out here, and whether machines are that far apart."""
    rows = []
    for one in found:
        e = one.here.experiment
        row = {"cell": f"{e.dataset_name}, {e.setting}, {e.label}, seed {e.seed}"}
        for metric in COMPARED:
            both = [r.metrics[metric] for r in (one.shipped, one.here)]
            told = [DASH if value is None else f"{value:.{DIGITS.get(metric, 3)}f}" for value in both]
            row[f"{metric}, shipped"], row[f"{metric}, here"] = told
        rows.append(row | {"within": "no" if one.complaint else "yes"})
    here = [one.here for one in found]
    devices, seeds = ", ".join(sorted({r.device for r in here})), [r.experiment.seed for r in here]
    what = f"{len(found)} shipped cells computed anew"
    seconds = sum(r.seconds for r in here)
    caption = provenance(what, here[0].experiment.scale, seeds, devices, seconds, "of computing")
    shipped = ", ".join(sorted({f"{one.shipped.device} ({one.shipped.shipped})" for one in found}))
    most = ", ".join(f"{metric} {limit:g}" for metric, limit in COMPARED.items())
    notes = [
        f"Shipped: computed on {shipped}. On the same machine, with the same versions, a cell comes out the same.",
        f"Within: no metric is further off than runs with other instruction sets of one processor are: {most}; of "
        f"fewer than {MANY} images, so much more as their mean is less sure.",
    ]
    return Table(pd.DataFrame(rows), caption, notes)
