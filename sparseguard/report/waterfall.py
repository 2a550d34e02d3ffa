"""What each step from the released procedure to an attack is worth, where more updates would lead, and the floor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import log10

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..data import dataset_title
from ..result import Result
from ..studies.floors import Floor
from .about import about, caption, over_seeds, seeds_named, seeds_of
from .looks import look, name
from .protocol import STEPS, WRITTEN, under, waterfall
from .table import Table
from .tables import spread


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
    return Table(pd.DataFrame(rows), caption(_shown(results, found)), [note])


def _shown(results: Sequence[Result], found: Collection[str]) -> list[Result]:
    """The first step of the defenses that are shown."""
    return [r for label, group in under(results, STEPS[0]).items() if label in found for r in group]


def floor_table(found: Sequence[Floor], dataset: str, scale: str) -> Table:
    """One row a picture that shows nothing: its numbers under both kinds of metric."""
    rows = []
    for picture in dict.fromkeys(one.picture for one in found):
        group = [one for one in found if one.picture == picture]
        rows.append({
            "in every reconstruction's place": picture,
            "PSNR, true": spread([one.psnr for one in group], 2),
            "PSNR, released": spread([one.released["psnr_released"] for one in group], 2),
            "SSIM, true": spread([one.ssim for one in group], 3),
            "SSIM, released": spread([one.released["ssim_released"] for one in group], 3),
            "Fréchet (10³), released": spread([one.released["row_frechet_released"] for one in group], 1),
        })  # fmt: skip
    seeds = sorted({one.seed for one in found})
    head = f"{dataset_title(dataset)}, pictures that show nothing, scale {scale}, {over_seeds(seeds)}."
    return Table(pd.DataFrame(rows), head, [
        "Unit noise and zeros in standardised units, the mean image of the attacker's own images.",
    ])  # fmt: skip


def waterfall_figure(results: Sequence[Result]) -> Figure | None:
    """What each step is worth: a panel a defense, a bar from the PSNR before it to that after it.

    ``None`` where no defense has all steps.
    """
    found = waterfall(results)
    if not found:
        return None
    size = (3.3 * len(found) + 1.2, 3.9)
    figure, axes = plt.subplots(1, len(found), figsize=size, squeeze=False, sharex=True, sharey=True)
    names, shown = [step.name for step in STEPS], _shown(results, found)
    for axis, (label, course) in zip(axes[0], found.items()):
        start = [0.0, *course[:-1]]
        for place, (low, high) in enumerate(zip(start, course)):
            colour = "0.6" if place in (0, len(course) - 1) else ("C2" if high >= low else "C3")
            bottom = 0.0 if place in (0, len(course) - 1) else low
            axis.barh(place, high - bottom, left=bottom, color=colour)
            axis.text(max(low, high) + 0.4, place, f"{high:.1f}", va="center", fontsize=8)
        axis.set_title(name(next(r.experiment for r in shown if r.experiment.defense_label == label)), fontsize=9)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("PSNR (dB)", fontsize=8)
    axes[0, 0].set_xlim(right=1.15 * max(max(course) for course in found.values()))
    axes[0, 0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0, 0].invert_yaxis()
    told = f"{about(shown, attack=False)}, {seeds_named(seeds_of(shown))}"
    figure.suptitle(f"From the released procedure to an attack: {told}", fontsize=10)
    figure.tight_layout()
    plt.close(figure)
    return figure


def updates_figure(results: Sequence[Result]) -> Figure:
    """PSNR on images that nobody learned from, against updates: as released, and as written; first seed."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for axis, step in zip(axes, (STEPS[0], WRITTEN)):
        for group in under(results, step).values():
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
                label=name(group[0].experiment),
            )
        axis.set_xscale("log", base=2)
        axis.set_xlabel("updates")
        axis.set_title(step.name if step is STEPS[0] else "as written", fontsize=10)
    axes[0].set_ylabel("PSNR (dB), true metric")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.suptitle(f"Where more updates lead: {about(results, attack=False)}", fontsize=10)
    figure.tight_layout()
    plt.close(figure)
    return figure
