"""Cells computed anew beside those that travel with the package."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..shipping import COMPARED, MANY, Recomputed
from .provenance import provenance
from .table import DASH, Table

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
