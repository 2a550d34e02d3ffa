"""Rows beside others: differences to convolutions with their intervals, and printed numbers beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..result import Result
from .about import about, by_defense, seeds_named, seeds_of
from .compare import average, number_of, printed_number, shared
from .figures import finished
from .looks import base_name, ink, look, name
from .rule import Paired
from .utility import apart

CONTROL = "none_conv"


def forest_plot(by_setting: Mapping[str, Sequence[Result]]) -> Figure | None:
    """PSNR of each row minus that of :data:`CONTROL` with the 95 % interval of the difference within seeds, by setting.

    Rows are ordered by the first setting's differences. ``None`` where no setting has the control.

    Args:
        by_setting: results of one attack each; settings without the control, or without results, are left out.
    """
    panels = {s: by_defense(of) for s, of in by_setting.items()}
    panels = {setting: groups for setting, groups in panels.items() if CONTROL in groups and len(groups) > 1}
    if not panels:
        return None
    gaps = {
        setting: {
            label: Paired(*both, "same") for label, group in groups.items()
            if label != CONTROL and (both := shared(group, groups[CONTROL], number_of("psnr")))[0]
        }
        for setting, groups in panels.items()
    }  # fmt: skip
    experiments = {label: group[0].experiment for groups in panels.values() for label, group in groups.items()}
    pairs = {label: pair for of in reversed(gaps.values()) for label, pair in of.items()}  # the first's, if it has one
    labels = sorted(pairs, key=lambda label: mean(pairs[label].gaps))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.2 * len(panels) + 2.6, 0.29 * len(labels) + 1.5), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axis, (setting, of) in zip(axes[0], gaps.items()):
        axis.axvline(0, color="black", lw=1)
        for y, label in enumerate(labels):
            if label in of:
                colour, marker = look(experiments[label].defense)
                half = of[label].half if len(of[label].of) > 1 else 0.0
                axis.errorbar(mean(of[label].gaps), y, xerr=half, color=colour, marker=marker, ms=7, capsize=3, lw=1.4)
        axis.set_title(setting.replace("_", "-"), fontsize=10)
        axis.grid(axis="y", visible=False)
    axes[0][0].set_yticks(range(len(labels)), [name(experiments[label]) for label in labels], fontsize=9)
    axes[0][0].invert_yaxis()
    figure.supxlabel(f"PSNR minus that of {base_name(CONTROL)}, in dB (left: hides more)", fontsize=10)
    every = [r for of in by_setting.values() for r in of]
    told = f"{about(every, leak=False)}, {seeds_named(seeds_of(every))}"
    bars = "bars: 95 % interval" if len(seeds_of(every)) > 1 else "one seed, no interval"
    return finished(figure, f"Beside ordinary convolutions: {told}; {bars}")


def slope_chart(results: Sequence[Result]) -> Figure | None:
    """PSNR and accuracy as the paper prints them, and as measured: a line a row; ``None`` where nothing is printed.

    A printed row that several regimes of a sparse code can mean is joined to the first of them.
    """
    found = by_defense(results)
    rows: dict[tuple[str, float | None], list[Result]] = {}
    for group in found.values():
        if printed_number(group, "psnr") is not None:
            rows.setdefault((group[0].experiment.defense, group[0].experiment.strength), group)
    if not rows:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.6))
    for axis, (metric, text) in zip(axes, (("psnr", "PSNR (dB), lower: more private"), ("accuracy", "accuracy"))):
        ends = [(float(printed_number(g, metric) or 0), average(g, metric)) for g in rows.values()]
        for group, pair in zip(rows.values(), ends):
            colour, marker = look(group[0].experiment.defense)
            axis.plot([0, 1], pair, color=colour, marker=marker, ms=6, lw=1.4, clip_on=False)
        _name_ends(axis, list(rows.values()), [b for _, b in ends], 2 if metric == "accuracy" else 1)
        axis.set(xlim=(-0.12, 1.0), xticks=[0, 1], xticklabels=["printed", "measured"])
        axis.set_title(text, fontsize=10)
        axis.grid(axis="x", visible=False)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return finished(figure, f"As printed and as measured: {about(results)}")


def _name_ends(axis: Axes, rows: Sequence[Sequence[Result]], places: Sequence[float], digits: int) -> None:
    """Each row's name at the right, moved apart from its neighbours."""
    low, high = axis.get_ylim()
    lines = apart(places, (high - low) / 21)
    axis.set_ylim(min(low, *lines), max(high, *lines))
    for group, place, line in zip(rows, places, lines):
        e = group[0].experiment
        axis.annotate(
            f"{name(e)} {place:.{digits}f}", (1, place), (1.06, line), textcoords="data", fontsize=8, va="center",
            color=ink(e.defense), annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": look(e.defense)[0], "lw": 0.6},
        )  # fmt: skip
