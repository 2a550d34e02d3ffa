"""What an attack on classes found, beside its control: the same choice without the search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import mean

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..data import dataset_title
from ..result import Result
from ..studies.priors import Drawn
from . import looks
from .about import about, by_attack, by_cell, by_defense, caption, grouped, over_seeds
from .compare import average, values
from .figures import VARIANTS, finished, image_row, titled
from .reading import Reading
from .rule import ALONE, CALLED, MARGINS, difference
from .table import DASH, Table
from .tables import spread

LIFTS: dict[str, tuple[str, int]] = {
    "judge accuracy": ("judge_accuracy", 3),
    "judge's five best": ("judge_top5", 3),
    "PSNR to the nearest": ("psnr", 2),
    "SSIM to it": ("ssim", 3),
    "distance to private images": ("distance_private", 1),
    "to hold-out images": ("distance_holdout", 1),
    "FD judge": ("fd_judge", 1),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "density": ("density", 2),
    "coverage": ("coverage", 3),
}
"""Columns: a metric of what the search found, and of the prior only."""
NOTES = (
    "Prior only → search: the same candidates, chosen by the target's confidence in the same way, before and after "
    "their latents are searched. What changes is what the target gave away.",
    "PSNR and SSIM are to the nearest private image of the class: this attack has no pairs of original and "
    "reconstruction, and the paper's numbers compare a sample of a prior with an image of its label.",
    "Distances are squared ones in the judge's features to the nearest image of the class, of equally many private and "
    "hold-out images: what is as near to the one as to the other shows the class, and no training image.",
)
MOST_NAMED = 6
"""Rows that a sentence names."""


def classes_table(results: Sequence[Result]) -> Table:
    """One row a defense and attack: every metric of the prior only, and of what the search found."""
    rows = []
    for label, group in _rows(results).items():
        row = {"defense": label, "prior": ", ".join(sorted({str(r.details["attack"]["attacker"]) for r in group}))}
        for column, (metric, digits) in LIFTS.items():
            before, after = (spread([r.metrics[m] for r in group], digits) for m in (f"{metric}_prior_only", metric))
            row[column] = DASH if after == DASH else f"{before} → {after}"
        sure = [r.details["attack"]["confidence"] for r in group]
        before, after = (spread([of[name] for of in sure], 3) for name in ("prior only", "search"))
        row["target's confidence"] = f"{before} → {after}"
        rows.append(row)
    return Table(pd.DataFrame(rows), caption(results), list(NOTES))


def priors_table(found: Sequence[Drawn], dataset: str, scale: str) -> Table:
    """One row a prior: what it draws by itself, with nothing searched."""
    rows = []
    for name, group in grouped(found, lambda one: one.prior).items():
        accuracy = [one.accuracy for one in group]
        rows.append({
            "prior": name,
            "judge's confidence": spread([one.confidence for one in group], 3),
            "judge sees the label": spread(accuracy, 3),
            "FD judge": spread([one.fd_judge for one in group], 1),
            "coverage": spread([one.coverage for one in group], 3),
            "classes": spread([one.classes for one in group], 2),
        })  # fmt: skip
    held = spread([one.confidence_held for one in found], 3)
    devices = ", ".join(sorted({one.device for one in found}))
    seeds = over_seeds([one.seed for one in found])
    head = f"{dataset_title(dataset)}, what priors draw, scale {scale}, {seeds}; {devices}."
    return Table(pd.DataFrame(rows), head, [
        f"Against hold-out images that no prior learned from, of which the judge is sure by {held}. A label is asked "
        "of a labelled prior alone. Classes: the share that the judge sees in at least one drawn image of a hundred.",
    ])  # fmt: skip


def priors_grid(found: Sequence[Drawn]) -> Figure:
    """What each prior draws, a row each; first seed."""
    first = {one.prior: one for one in sorted(found, key=lambda one: -one.seed)}
    shown = [first[name] for name in dict.fromkeys(one.prior for one in found)]
    columns = min(len(one.images) for one in shown)
    size = (0.6 * columns + 1.6, 0.62 * len(shown) + 0.5)
    figure, axes = plt.subplots(len(shown), columns, figsize=size, squeeze=False)
    for row, one in zip(axes, shown):
        image_row(row, one.prior, one.images, 8)
    return titled(figure, f"What each prior draws by itself, seed {shown[0].seed}")


def classes_grid(results: Sequence[Result], columns: int = 10) -> Figure:
    """The surest image of each class, a row a defense, and below it the private images of the class nearest to it."""
    shown = _first(results)
    columns = min(columns, *(len(r.originals) for r in shown.values()))
    height = 2 * len(shown)
    figure, axes = plt.subplots(height, columns, figsize=(0.6 * columns + 2.6, 0.62 * height + 0.5), squeeze=False)
    names = looks.row_names([r.experiment for r in results])
    for place, r in enumerate(shown.values()):
        label = f"{names[r.experiment.label]}\njudge {spread([r.metrics['judge_accuracy']], 2)}"
        image_row(axes[2 * place], label, r.reconstructions, 8)
        image_row(axes[2 * place + 1], "nearest private", r.originals, 8)
    first = next(iter(shown.values())).experiment.seed
    return titled(figure, f"The surest image of each class: {about(results)}, seed {first}")


def search_curves(results: Sequence[Result]) -> Figure:
    """Mean loss of the search against its steps, or generations; first seed. Rows of one defense differ in the line."""
    figure, axis = plt.subplots(figsize=(9.5, 4.2))
    names = looks.row_names([r.experiment for r in results])
    for defense, of in grouped(_first(results).values(), lambda r: r.experiment.defense).items():
        colour, marker = looks.look(defense)
        for (fill, line), r in zip(cycle(VARIANTS), of):
            losses = r.details["attack"]["losses"]
            axis.plot(range(len(losses)), losses, color=colour, marker=marker, fillstyle=fill, ls=line, markersize=5,
                      label=names[r.experiment.label], markevery=max(len(losses) // 6, 1))  # fmt: skip
    axis.set_xlabel("steps of the search")
    axis.set_ylabel("mean loss (Poincaré distance)")
    axis.set_title(f"How the search goes: {about(results)}", fontsize=10)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.tight_layout()
    plt.close(figure)
    return figure


def ssim_histogram(results: Sequence[Result]) -> Figure:
    """SSIM of each found image to the nearest private one of its class, all seeds, beside the prior only (Fig. 7)."""
    groups, names = _rows(results), looks.row_names([r.experiment for r in results])
    wide = min(4, len(groups))
    tall = math.ceil(len(groups) / wide)
    size = (2.6 * wide, 2.0 * tall + 0.4)
    figure, axes = plt.subplots(tall, wide, figsize=size, squeeze=False, sharex=True, sharey=True)
    edges = [k / 20 for k in range(-4, 21)]
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, group in zip(axes.flat, groups.values()):
        for name, style in (
            ("ssim_prior_only", {"color": "0.75", "histtype": "stepfilled", "label": "prior only"}),
            ("ssim", {"color": looks.look(group[0].experiment.defense)[0], "histtype": "step", "label": "search"}),
        ):
            found = [value for r in group for value in r.per_image[name].tolist()]
            axis.hist(found, edges, linewidth=1.6, **style)
        axis.set_title(names[group[0].experiment.label], fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=7)
    return finished(figure, f"SSIM to the nearest private image: {about(results)}")


def classes_reading(results: Sequence[Result]) -> Reading:
    """Whether the target or the prior did it, and which defense changes that."""
    lines: list[str] = []
    for attack, of in by_attack(results).items():
        groups = _rows(of)
        after = {label: average(group, "judge_accuracy") for label, group in groups.items()}
        before = [average(group, "judge_accuracy_prior_only") for group in groups.values()]
        lifts = {label: judged_lift(group) for label, group in groups.items()}
        low, top = min(after, key=lambda n: after[n]), max(after, key=lambda n: after[n])
        lines.append(
            f"Under `{attack}` the judge sees the class in {min(before):.0%} to {max(before):.0%} of what the prior "
            f"alone offers, and after the search in {after[low]:.0%} (`{low}`) to {after[top]:.0%} (`{top}`): more in "
            f"{_told(lifts, 1)}, less in {_told(lifts, -1)} of {len(groups)} rows."
        )
        closer = {label: nearer(group) for label, group in groups.items()}
        ratio = [mean(private_ratio(group)) for group in groups.values()]
        lines.append(
            f"What it found is {min(ratio):.2f} to {max(ratio):.2f} times as far from the nearest of as many hold-out "
            "images as from the nearest private one; against the prior alone the search moves that towards the private "
            f"images in {_told(closer, 1)} of {len(groups)} rows: only there training images are given away, and not "
            "their class alone."
        )
    lines.append(
        f"Rule: the search changes something {CALLED}, and for the judge's accuracy by more than "
        f"{MARGINS['accuracy']}; {ALONE}"
    )
    return Reading("\n".join(f"- {line}" for line in lines))


def _rows(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by row; rows of one attack alone do without its name."""
    return by_defense(results) if len(by_attack(results)) == 1 else by_cell(results)


def _first(results: Sequence[Result]) -> dict[str, Result]:
    """The row's result of the first seed."""
    return {label: min(group, key=lambda r: r.experiment.seed) for label, group in _rows(results).items()}


def judged_lift(group: Sequence[Result]) -> tuple[float, bool]:
    """Judge accuracy that the search adds, and whether that is called a difference."""
    after, before = values(group, "judge_accuracy"), values(group, "judge_accuracy_prior_only")
    return difference(after, before, MARGINS["accuracy"])


def private_ratio(group: Sequence[Result], of: str = "") -> list[float]:
    """Distance to hold-out images over that to private ones, one number a seed."""
    holdout, private = (values(group, f"distance_{name}{of}") for name in ("holdout", "private"))
    return [a / b for a, b in zip(holdout, private)]


def nearer(group: Sequence[Result]) -> tuple[float, bool]:
    """By how much the search raises :func:`private_ratio`, and whether that is called a difference."""
    return difference(private_ratio(group), private_ratio(group, "_prior_only"))


def _told(differences: Mapping[str, tuple[float, bool]], sign: int) -> str:
    """How many differences of a sign are called so, and which, where they are few."""
    found = [f"`{label}`" for label, (gap, called) in differences.items() if called and gap * sign > 0]
    return f"{len(found)} ({', '.join(found)})" if 0 < len(found) <= MOST_NAMED else str(len(found))
