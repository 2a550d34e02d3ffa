"""What each step from the released procedure to an attack is worth, where more updates would lead, and the floor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import log10

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data import dataset_title
from ..result import Result
from ..studies.floors import Floor
from .about import about, caption, grouped, over_seeds, seeds_named, seeds_of
from .figures import finished
from .looks import look, name
from .protocol import STEPS, WRITTEN, places, under, waterfall
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
    return Table(pd.DataFrame(rows), caption(_shown(results, found) or results), [note])


def _shown(results: Sequence[Result], found: Collection[str]) -> list[Result]:
    """The first step of the defenses that are shown."""
    return [r for label, group in under(results, STEPS[0]).items() if label in found for r in group]


def floor_table(found: Sequence[Floor], dataset: str, scale: str) -> Table:
    """One row a picture that shows nothing: its numbers under both kinds of metric."""
    rows = []
    for picture, group in grouped(found, lambda one: one.picture).items():
        rows.append({
            "in every reconstruction's place": picture,
            "PSNR, true": spread([one.psnr for one in group], 2),
            "PSNR, released": spread([one.released["psnr_released"] for one in group], 2),
            "SSIM, true": spread([one.ssim for one in group], 3),
            "SSIM, released": spread([one.released["ssim_released"] for one in group], 3),
            "Fréchet (10³), released": spread([one.released["row_frechet_released"] for one in group], 1),
        })  # fmt: skip
    seeds = over_seeds([one.seed for one in found])
    head = f"{dataset_title(dataset)}, pictures that show nothing, scale {scale}, {seeds}."
    return Table(pd.DataFrame(rows), head, [
        "Unit noise and zeros in standardised units, the mean image of the attacker's own images.",
    ])  # fmt: skip


def waterfall_figure(results: Sequence[Result]) -> Figure | None:
    """What each step is worth: a row a data set and leak, a panel a defense, bars from the PSNR before to that after.

    ``None`` where no defense has all steps.
    """
    rows = [(of, found) for of in places(results) if (found := waterfall(of))]
    if not rows:
        return None
    wide, steps = max(len(found) for _, found in rows), [step.name for step in STEPS]
    size = (3.3 * wide + 1.2, 3.3 * len(rows) + 0.4)
    figure, axes = plt.subplots(len(rows), wide, figsize=size, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat:
        axis.grid(axis="y", visible=False)
    for row, (of, found) in zip(axes, rows):
        firsts = under(of, STEPS[0])
        for axis, (label, course) in zip(row, found.items()):
            _bars(axis, course)
            e = firsts[label][0].experiment
            axis.set_title(f"{name(e)}, {e.setting.replace('_', '-')}", fontsize=9)
        for axis in row[len(found) :]:
            axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("PSNR (dB)", fontsize=8)
    axes[0, 0].set_xlim(right=1.15 * max(max(course) for _, found in rows for course in found.values()))
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(steps)), steps, fontsize=8)
    axes[0, 0].invert_yaxis()
    shown = [r for of, found in rows for r in _shown(of, found)]
    told = f"{about(shown, leak=False, attack=False)}, {seeds_named(seeds_of(shown))}"
    return finished(figure, f"From the released procedure to an attack: {told}")


def _bars(axis: Axes, course: Sequence[float]) -> None:
    """The first and the last from zero, those between from the one before."""
    for row, (low, high) in enumerate(zip([0.0, *course[:-1]], course)):
        whole = row in (0, len(course) - 1)
        bottom = 0.0 if whole else low
        axis.barh(row, high - bottom, left=bottom, color="0.6" if whole else "C2" if high >= low else "C3")
        axis.text(max(low, high) + 0.4, row, f"{high:.1f}", va="center", fontsize=8)


def updates_figure(results: Sequence[Result]) -> Figure:
    """PSNR on images that nobody learned from, against updates: as released, and as written; first seed.

    A row a data set and leak.
    """
    rows = places(results)
    figure, axes = plt.subplots(len(rows), 2, figsize=(9.5, 3.5 * len(rows) + 0.3), squeeze=False, sharey=True)
    for row, of in zip(axes, rows):
        for axis, step in zip(row, (STEPS[0], WRITTEN)):
            for group in under(of, step).values():
                first = min(group, key=lambda r: r.experiment.seed)
                taken, errors = zip(*first.details["attack"]["curve"])
                colour, mark = look(first.experiment.defense)
                levels = [-10 * log10(error) for error in errors]
                axis.plot(taken, levels, color=colour, marker=mark, ms=4, lw=1, label=name(first.experiment))
            axis.set_xscale("log", base=2)
            way, leak = "as released" if step is STEPS[0] else "as written", of[0].experiment.setting
            axis.set_title(f"{way}, {leak.replace('_', '-')}", fontsize=10)
        row[0].set_ylabel("PSNR (dB), true metric")
        named = {label: line for axis in row for line, label in zip(*axis.get_legend_handles_labels())}
        row[1].legend(named.values(), named, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for axis in axes[-1]:
        axis.set_xlabel("updates")
    return finished(figure, f"Where more updates lead: {about(results, leak=False, attack=False)}")
