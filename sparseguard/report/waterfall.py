"""What each step from the released procedure to an attack is worth, where more updates would lead, and the floor."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..result import Result
from ..studies.floors import Floor
from .looks import look
from .protocol import STEPS, WRITTEN, under, waterfall
from .table import Table
from .tables import caption, over_seeds, spread


def waterfall_table(results: Sequence[Result]) -> Table:
    """One row a step: PSNR after it, and what it changed, of each defense."""
    found = waterfall(results)
    rows = []
    for place, step in enumerate(STEPS):
        row = {"step": step.name}
        for label, course in found.items():
            change = f" ({course[place] - course[place - 1]:+.1f})" if place else ""
            row[label] = f"{course[place]:.1f}{change}"
        rows.append(row)
    note = (
        "PSNR in dB after each step, which keeps all steps before it, and what it changed; by the released metric "
        "until the true one takes its place. In another order the steps would be worth other amounts."
    )
    shown = [r for label, group in under(results, STEPS[0]).items() if label in found for r in group]
    return Table(pd.DataFrame(rows), caption(shown), [note])


def floor_table(found: Sequence[Floor], dataset: str, scale: str) -> Table:
    """One row a picture that shows nothing: its numbers under both kinds of metric."""
    rows = []
    for name in dict.fromkeys(one.picture for one in found):
        group = [one for one in found if one.picture == name]
        rows.append({
            "in every reconstruction's place": name,
            "PSNR, true": spread([one.psnr for one in group], 2),
            "PSNR, released": spread([one.released["psnr_released"] for one in group], 2),
            "SSIM, true": spread([one.ssim for one in group], 3),
            "SSIM, released": spread([one.released["ssim_released"] for one in group], 3),
            "Fréchet (10³), released": spread([one.released["row_frechet_released"] for one in group], 1),
        })  # fmt: skip
    seeds = sorted({one.seed for one in found})
    return Table(pd.DataFrame(rows), f"{dataset}, pictures that show nothing, scale {scale}, {over_seeds(seeds)}.", [
        "Unit noise and zeros in standardised units, the mean image of the attacker's own images.",
    ])  # fmt: skip


def waterfall_figure(results: Sequence[Result]) -> Figure:
    """What each step is worth: a panel a defense, a bar from the PSNR before it to that after it."""
    found = waterfall(results)
    size = (3.3 * max(len(found), 1) + 1.2, 3.6)
    figure, axes = plt.subplots(1, max(len(found), 1), figsize=size, squeeze=False, sharex=True, sharey=True)
    names = [step.name for step in STEPS]
    for axis, (label, course) in zip(axes[0], found.items()):
        start = [0.0, *course[:-1]]
        for place, (low, high) in enumerate(zip(start, course)):
            colour = "0.6" if place in (0, len(course) - 1) else ("C2" if high >= low else "C3")
            bottom = 0.0 if place in (0, len(course) - 1) else low
            axis.barh(place, high - bottom, left=bottom, color=colour)
            axis.text(max(low, high) + 0.4, place, f"{high:.1f}", va="center", fontsize=7)
        axis.set_title(label, fontsize=9)
        axis.set_xlabel("PSNR (dB)", fontsize=8)
    axes[0, 0].set_xlim(right=1.15 * max((max(course) for course in found.values()), default=1.0))
    axes[0, 0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0, 0].invert_yaxis()
    figure.tight_layout()
    plt.close(figure)
    return figure


def updates_figure(results: Sequence[Result]) -> Figure:
    """PSNR on images that nobody learned from, against updates: as released, and as written; first seed."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for axis, step in zip(axes, (STEPS[0], WRITTEN)):
        for label, group in under(results, step).items():
            told = min(group, key=lambda r: r.experiment.seed).details["attack"]
            taken, errors = zip(*told["curve"])
            colour, mark = look(group[0].experiment.defense)
            axis.plot(
                taken,
                [-10 * log10(error) for error in errors],
                color=colour,
                marker=mark,
                markersize=4,
                lw=1,
                label=label,
            )
        axis.set_xscale("log", base=2)
        axis.set_xlabel("updates")
        axis.set_title(step.name if step is STEPS[0] else "as written", fontsize=10)
    axes[0].set_ylabel("PSNR (dB), true metric")
    axes[1].legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    plt.close(figure)
    return figure
