"""Figures, in one style: colour-blind palette, labels in words, what was measured in the title."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..defenses import list_defenses
from ..result import Result
from .compare import measured, values
from .tables import by_attack, by_cell, spread

MARKERS = "oXsDPv^<>*hpd"
# seaborn's colour-blind palette without its palest colours; marks differ in shape as well
COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "black", "C9", "C7", "C8", "C6", "darkred", "navy")
HEADLINE = ("none", "none_conv", "gaussian", "sparse_guard", "sparse_guard tau=1000")
"""Rows that tell the story: no defense, convolutions and noise, the paper's defense and its regime of Table 5."""
VARIANTS = (("full", "-"), ("none", "--"), ("left", ":"), ("top", "-."))
"""Fill of the marks and style of the line of a defense's variants, whose colour and mark are its own."""
# what a notebook holds inline is coarser than the files, for the notebook's size
sns.set_theme(
    style="whitegrid",
    palette="colorblind",
    rc={"figure.dpi": 90, "savefig.dpi": 110, "savefig.bbox": "tight"},
)


def save(figure: Figure, folder: str | Path, name: str) -> None:
    """Write ``name.png``; an empty folder name saves nothing."""
    if not str(folder):
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / f"{name}.png")


def look(defense: str) -> tuple[str, str]:
    """Colour and mark of a defense, the same in every figure.

    >>> look("none"), look("none") == look("gaussian")
    (('C0', 'o'), False)
    """
    place = list_defenses().index(defense)
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def title(results: Sequence[Result]) -> str:
    """What was measured, for a figure."""
    e = results[0].experiment
    return f"{e.dataset}, {e.setting.replace('_', '-')}, attack {', '.join(by_attack(results))}, scale {e.scale}"


def _one_seed(results: Sequence[Result]) -> dict[str, Result]:
    """Results of the first seed by row."""
    first = min(r.experiment.seed for r in results)
    return {label: next(r for r in group if r.experiment.seed == first) for label, group in by_cell(results).items()}


def show(axis: Axes, values: np.ndarray | Tensor, **options: Any) -> None:
    """A picture without ticks or grid: grey values ``(h, w)``, colours ``(h, w, 3)``, or an image ``(C, H, W)``."""
    pixels = values.permute(1, 2, 0).squeeze(-1).numpy() if isinstance(values, Tensor) else values
    axis.imshow(pixels, **({"cmap": "gray"} | options))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)


def image_row(axes: Sequence[Axes], label: str, images: Tensor, size: float = 7) -> None:
    """Images ``(K, C, H, W)`` in [0, 1] side by side, with what they are on the left."""
    for axis, image in zip(axes, images):
        show(axis, image, vmin=0, vmax=1, interpolation="nearest")
    axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=size)


def reconstruction_grid(results: Sequence[Result]) -> Figure:
    """Originals in the first row, then what the attack rebuilt from each defense (paper, Figs. 3 and 6); first seed.

    Shows every image that a result keeps.
    """
    shown = _one_seed(results)
    columns = min(len(r.originals) for r in shown.values())
    height = len(shown) + 1
    figure, axes = plt.subplots(height, columns, figsize=(0.45 * columns + 2.4, 0.47 * height + 0.5), squeeze=False)
    first = next(iter(shown.values()))
    labels = ["original", *(f"{n}\n{spread([r.metrics['psnr']], 1)} dB, SSIM {spread([r.metrics['ssim']], 2)}"
                            for n, r in shown.items())]  # fmt: skip
    for axis_row, label, images in zip(axes, labels, [first.originals, *(r.reconstructions for r in shown.values())]):
        image_row(axis_row, label, images)
    what = f"Originals and reconstructions: {title(results)}, seed {first.experiment.seed}"
    figure.suptitle(what, fontsize=10, y=0.92)
    plt.close(figure)
    return figure


def headline(results: Sequence[Result], columns: int = 10) -> Figure:
    """The rows of :data:`HEADLINE`, large, each at its last strength; first seed, the first images."""
    rows = {r.experiment.variant: r for r in _one_seed(results).values()}
    shown = [rows[name] for name in HEADLINE if name in rows] or list(rows.values())[: len(HEADLINE)]
    columns = min(columns, *(len(r.originals) for r in shown))
    size = (0.95 * columns + 3.2, 0.97 * (len(shown) + 1) + 0.5)
    figure, axes = plt.subplots(len(shown) + 1, columns, figsize=size, squeeze=False)
    image_row(axes[0], "private image", shown[0].originals, 11)
    for axis_row, r in zip(axes[1:], shown):
        label = f"{r.experiment.label}\n{spread([r.metrics['psnr']], 1)} dB"
        image_row(axis_row, label, r.reconstructions, 11)
    figure.suptitle(f"What the attacker rebuilds: {title(shown)}, seed {shown[0].experiment.seed}", y=0.94)
    plt.close(figure)
    return figure


def made_images(results: Sequence[Result]) -> Figure:
    """Images that the defenses made in training, generated or inverted, one row a kind; first seed.

    Defenses that share a generator share its row.
    """
    made: dict[str, Tensor] = {}
    for label, result in _one_seed(results).items():
        for kind, images in result.exhibits.items():
            new = not any(images.shape == seen.shape and bool((images == seen).all()) for seen in made.values())
            if images.shape[1:] == result.originals.shape[1:] and new:
                made[f"{label}\n{kind}"] = images
    columns = max((len(images) for images in made.values()), default=1)
    size = (0.55 * columns + 2.8, 0.57 * max(len(made), 1) + 0.5)
    figure, axes = plt.subplots(max(len(made), 1), columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis_row, (label, images) in zip(axes, made.items()):
        image_row(axis_row, label, images)
    what = "Images that defenses made in training" if made else "No defense here makes images"
    figure.suptitle(f"{what}: {title(results)}, seed {min(r.experiment.seed for r in results)}", fontsize=10, y=0.94)
    plt.close(figure)
    return figure


def image_distributions(results: Sequence[Result]) -> Figure:
    """PSNR and SSIM of every private image, all seeds: densities with their quartiles."""
    frame = pd.DataFrame(
        [
            {"defense": label, "PSNR (dB)": psnr, "SSIM": ssim}
            for label, group in by_cell(results).items()
            for r in group
            for psnr, ssim in zip(r.per_image["psnr"].tolist(), r.per_image["ssim"].tolist())
        ]
    )
    labels = list(by_cell(results))
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.38 * len(labels) + 1.3), sharey=True)
    for axis, metric in zip(axes, ("PSNR (dB)", "SSIM")):
        sns.violinplot(frame, x=metric, y="defense", order=labels, cut=0, inner="quart", color="C9", ax=axis)
        axis.set_ylabel("")
    figure.suptitle(f"How well single images were rebuilt: {title(results)} (left: better defense)", fontsize=10)
    figure.tight_layout()
    plt.close(figure)
    return figure


def privacy_utility(results: Sequence[Result]) -> Figure:
    """Accuracy against the attack's SSIM: one mark a defense and strength, bars one standard deviation over seeds.

    Strengths of one defense with the same further options are joined by a line, along which marks grow with the
    strength; the legend names them. Up and to the left is better. Cells that lack one of the two numbers are left out.
    """
    figure, axis = plt.subplots(figsize=(7.5, 4.8))
    curves: dict[str, dict[str, list[list[Result]]]] = {}
    for group in by_cell(measured(results, ("ssim", "accuracy"))[0]).values():
        e = group[0].experiment
        curves.setdefault(e.defense, {}).setdefault(e.variant, []).append(group)
    for defense, variants in curves.items():
        colour, marker = look(defense)
        for (fill, line), groups in zip(cycle(VARIANTS), variants.values()):
            groups.sort(key=lambda group: s if isinstance(s := group[0].experiment.strength, float) else 0.0)
            weakest = groups[0][0].experiment
            strengths = ", ".join(str(group[0].experiment.strength) for group in groups)
            name = weakest.label.replace(f"={weakest.strength}", f"={strengths}", 1)
            both = [np.array([values(group, "ssim"), values(group, "accuracy")]) for group in groups]
            axis.plot(*np.array([of.mean(1) for of in both]).T, color=colour, ls=line, lw=1)
            for of, size in zip(both, np.linspace(5, 10, len(both)) if len(both) > 1 else [7]):
                (x, y), (xerr, yerr) = of.mean(1), of.std(1, ddof=1) if of.shape[1] > 1 else (0, 0)
                axis.errorbar(
                    x, y, xerr=xerr, yerr=yerr, label=name, color=colour, marker=marker, fillstyle=fill,
                    ls="none", ms=size, capsize=2, lw=1,
                )  # fmt: skip
    axis.set_xlabel("SSIM of the attack's reconstructions (left: more private)")
    axis.set_ylabel("accuracy on the hold-out (up: more useful)")
    axis.set_title(f"Privacy and utility: {title(results)}", fontsize=10)
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1]))  # of a curve the mark of its greatest strength
    axis.legend(handles.values(), handles, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    plt.close(figure)
    return figure
