"""What each defense costs in seconds and memory, relative to none: table and picture (paper, Table 16)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import mean, stdev

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..experiment import Experiment
from ..paper import printed_seconds
from ..studies.costs import STAGE_NAMES, Cost
from .about import about, by_cell, over_seeds, seeds_named, seeds_of
from .figures import COLOURS, finished
from .looks import row_names
from .table import DASH, Table
from .tables import spread

HATCHES = ("", "////", "....")
Number = Callable[[Cost], float | None]


def seconds_of(stage: str) -> Number:
    """Seconds of one stage."""
    return lambda cost: cost.seconds_by_stage[stage]


def peak_of(stage: str) -> Number:
    """MiB of one stage."""
    return lambda cost: cost.peaks_by_stage[stage]


def total_seconds(cost: Cost) -> float:
    """Of all stages."""
    return cost.seconds


def largest_peak(cost: Cost) -> float | None:
    """MiB of the stage that needs most; ``None`` where a stage was not measured."""
    peaks = [peak for peak in cost.peaks_by_stage.values() if peak is not None]
    return max(peaks) if len(peaks) == len(cost.peaks_by_stage) else None


def _pair(cost: Cost) -> tuple[int, str]:
    """What a cell shares with the ``none`` that it is compared with."""
    return cost.experiment.seed, cost.experiment.attack_label


def _times_none(costs: Sequence[Cost], number: Number) -> dict[str, list[float | None]]:
    """By row: each number over that of ``none``, same seed and attack, which must be there; ``None`` where one is 0."""
    base = {_pair(c): number(c) for c in costs if c.experiment.defense_label == "none"}

    def ratio(cost: Cost) -> float | None:
        own, of_none = number(cost), base[_pair(cost)]
        return own / of_none if own is not None and of_none else None

    return {label: [ratio(c) for c in group] for label, group in by_cell(costs).items()}


def _printed(e: Experiment) -> float | None:
    """Seconds of Table 16, which is about MNIST and, under this attack, end-to-end networks alone."""
    of_it = (e.dataset, e.setting) == ("mnist", "end_to_end")
    return printed_seconds(e.defense, e.lam, dict(e.options)) if of_it else None


def printed_ratio(e: Experiment) -> float | None:
    """Of Table 16, to its row without a defense; ``None`` where it has no such row."""
    own, of_none = _printed(e), printed_seconds("none")
    return own / of_none if own and of_none else None


def _text(values: Iterable[float | None]) -> str:
    """Seconds or MiB, over seeds, with two digits below 100 and none above."""
    numbers = list(values)
    return spread(numbers, 2 if all(v is None or v < 100 for v in numbers) else 0)


def costs_table(costs: Sequence[Cost]) -> Table:
    """One row a defense and strength: seconds printed and measured, in all and by stage, and peak memory by stage.

    ``× none``: the ratio to ``none`` of the same seed, then mean and standard deviation over seeds. ``—``: not printed,
    or not measured.
    """
    total, largest = _times_none(costs, total_seconds), _times_none(costs, largest_peak)
    by_stage = {stage: _times_none(costs, seconds_of(name)) for stage, name in STAGE_NAMES.items()}
    rows = []
    for label, group in by_cell(costs).items():
        e = group[0].experiment
        printed, ratio = _printed(e), printed_ratio(e)
        row = {
            "defense": label,
            "seconds printed (Plug & Play)": DASH if printed is None else f"{printed:.1f}",
            "× none printed (Plug & Play)": DASH if ratio is None else f"{ratio:.2f}",
            "seconds measured": _text(c.seconds for c in group),
            "× none measured": spread(total[label], 2),
        }
        for stage, name in STAGE_NAMES.items():
            row[f"{stage} (s)"] = _text(map(seconds_of(name), group))
            row[f"{stage} × none"] = spread(by_stage[stage][label], 2)
        for stage, name in STAGE_NAMES.items():
            row[f"peak {stage} (MiB)"] = _text(map(peak_of(name), group))
        rows.append(row | {"largest peak × none": spread(largest[label], 2)})
    key = ["defense", *(name for name in rows[0] if "× none" in name)]
    return Table(pd.DataFrame(rows), _caption(costs), _notes(costs), columns=key)


def _caption(costs: Sequence[Cost]) -> str:
    devices, threads, cores = (
        ", ".join(map(str, sorted({getattr(c, name) for c in costs}))) for name in ("device", "threads", "cores")
    )
    loads = [c.load for c in costs if c.load is not None]
    busy = f"load average at most {max(loads):.1f} on {cores} cores" if loads else f"load not known, {cores} cores"
    return f"{about(costs)}, {over_seeds(seeds_of(costs))}; {devices}, threads: {threads}, {busy}."


def _notes(costs: Sequence[Cost]) -> list[str]:
    held = [c.held for c in costs if c.held is not None]
    memory = (
        f"Peak memory: MiB above the {_text(held)} MiB that the process held before the first stage (libraries, data, "
        "the judge). On a GPU it is that of PyTorch's tensors, else the whole process's, as Linux counts it. What was "
        "freed before and not given back counts as held, so small peaks are lower bounds."
    )
    unknown = "Peak memory was not measured in every cell: the system does not let a process reset its high-water mark."
    return [
        "Printed: Table 16, MNIST under the Plug and Play attack at the paper's sizes, on a cluster with V100 GPUs. In "
        "the released code it is the wall clock of a whole script, which trains a GAN even without a defense. Ours is "
        "another attack on another machine: only ratios can be compared, and loosely.",
        "The paper prints no λ for SPARSE-STANDARD (compared with 0.25) and no b for Titcombe et al. (with 0.5, its "
        "only one in Table 1). Whether its codes settle (section 3) or stop (Table 5, released code) is open, so its "
        "seconds stand beside each.",
        "Each cell ran in a fresh process, one after the other, so each defense trains all that it needs, its GAN say, "
        "itself. In no stage: loading libraries and data, the split, and training the judge, which are the same for "
        "all. FID is not measured.",
        *([memory] if held else []),
        *([unknown] if len(held) < len(costs) else []),
        "The load average is that of the minute before a cell, so it counts the cell before it.",
        "At small scales the fixed costs of each update and call weigh more than arithmetic: ratios at another scale "
        "are others.",
    ]


def costs_figure(costs: Sequence[Cost]) -> Figure:
    """Seconds by stage, stacked, and beside them peak memory by stage; means over seeds.

    Bars at the end are one standard deviation of the total; hollow diamonds are the paper's ratio times the seconds
    that ``none`` took here.
    """
    groups = by_cell(costs)
    rows = np.arange(len(groups))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.42 * len(groups) + 1.9), sharey=True)
    start = np.zeros(len(groups))
    for i, (stage, name) in enumerate(STAGE_NAMES.items()):
        style = {"color": COLOURS[i], "hatch": HATCHES[i], "edgecolor": "white", "lw": 0.5, "label": stage}
        seconds = np.array([mean(c.seconds_by_stage[name] for c in group) for group in groups.values()])
        left.barh(rows, seconds, left=start, height=0.7, **style)
        start = start + seconds
        peaks = [[peak_of(name)(c) for c in group] for group in groups.values()]
        known = [math.nan if None in p else float(np.mean(np.array(p, dtype=float))) for p in peaks]
        right.barh(rows + 0.25 * (i - 1), known, height=0.25, **style)
    deviations = [stdev(c.seconds for c in group) if len(group) > 1 else 0.0 for group in groups.values()]
    left.errorbar(start, rows, xerr=deviations, ls="none", color="black", capsize=2, lw=1)
    unit = mean(c.seconds for c in costs if c.experiment.defense_label == "none")
    ratios = [(r * unit, row) for row, g in zip(rows, groups.values()) if (r := printed_ratio(g[0].experiment))]
    if ratios:
        left.plot(
            *zip(*ratios),
            ls="none",
            marker="D",
            mfc="white",
            mec="black",
            label="printed (Plug & Play) × none's seconds here",
        )
    if all(c.held is None for c in costs):
        right.text(0.5, 0.5, "not measured on this system", ha="center", va="center", transform=right.transAxes)
    left.set(xlabel="seconds", yticks=rows, yticklabels=list(row_names([c.experiment for c in costs]).values()))
    left.invert_yaxis()
    right.set(xlabel="peak memory above what was held (MiB)")
    left.grid(axis="y", visible=False)
    right.grid(axis="y", visible=False)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=8, frameon=False)
    where = f"{about(costs, attack=False)}, {seeds_named(seeds_of(costs))}"
    return finished(figure, f"Compute time and memory by stage: {where}", (0, 0.03, 1, 1))
