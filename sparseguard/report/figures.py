"""Figures, in one style: what was measured in the title, labels in words, images as they are."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..result import Result
from .about import about, by_cell
from .looks import ink, look, name, row_names
from .tables import spread

MARKERS = "oXsDPv^<>*hpd"
COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "black", "C9", "C7", "C8", "C6", "darkred", "navy")
"""Of what is no defense: features, layers, stages, classes. Defenses look as :mod:`sparseguard.report.looks` says."""
HEADLINE = ("none", "none_conv", "gaussian", "sparse_guard")
"""Rows that tell the story: no defense, convolutions, noise, the paper's defense."""
VARIANTS: tuple[tuple[Literal["full", "none", "left", "top"], str], ...] = (
    ("full", "-"), ("none", "--"), ("left", ":"), ("top", "-."),
)  # fmt: skip
"""Fill of the marks and style of the line of a defense's variants, whose colour and mark are its own."""
LARGE = 6
"""Images of the headline."""
# what a notebook holds inline is coarser than the files, for the notebook's size
sns.set_theme(
    style="whitegrid",
    palette="colorblind",
    rc={"figure.dpi": 90, "savefig.dpi": 110, "savefig.bbox": "tight"},
)


def few_colours(png: bytes, colours: int = 256, side: int | None = None) -> bytes:
    """A picture with so few colours: of 256, less than half the bytes, and grey values stay as they are."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if side is not None:
        picture.thumbnail((side, side))
    picture.quantize(colours, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def with_a_palette(png: str, colours: int = 256, side: int | None = None) -> str:
    """The same of a picture in base64."""
    return base64.b64encode(few_colours(base64.b64decode(png), colours, side)).decode()


def save(figure: Figure | None, folder: str | Path, name: str) -> None:
    """Write ``name.png``; an empty folder name saves nothing, and what there is no figure of has no file."""
    if not str(folder) or figure is None:
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / f"{name}.png").write_bytes(few_colours(buffer.getvalue()))


def titled(figure: Figure, text: str, heads: float = 0.0, **options: Any) -> Figure:
    """A figure of images, of any height, whose title stands right above it; ``heads``: inches for titles of columns."""
    tall = figure.get_size_inches()[1]
    figure.subplots_adjust(top=1 - (0.4 + heads) / tall, bottom=0.05 / tall)
    figure.suptitle(text, **({"fontsize": 10} | options), y=1 - 0.1 / tall)
    plt.close(figure)
    return figure


def spread_of(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; 0 of one number, which has none."""
    return mean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0


def curve(axis: Axes, x: Iterable[float], numbers: Iterable[Sequence[float]], **style: Any) -> None:
    """Means over seeds with bars of one standard deviation."""
    spreads = [spread_of(one) for one in numbers]
    middles, bars = ([one[i] for one in spreads] for i in (0, 1))
    axis.errorbar(list(x), middles, yerr=bars, **({"capsize": 2, "lw": 1.2} | style))


def finished(figure: Figure, text: str, rect: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Figure:
    """A figure of axes with its title, laid out inside ``rect``; it is shown where it is returned, and nowhere else."""
    figure.suptitle(text, fontsize=10)
    figure.tight_layout(rect=rect)
    plt.close(figure)
    return figure


def _one_seed(results: Sequence[Result]) -> dict[str, Result]:
    """Results of each row's first seed."""
    return {label: min(group, key=lambda r: r.experiment.seed) for label, group in by_cell(results).items()}


def show(axis: Axes, values: np.ndarray | Tensor, **options: Any) -> None:
    """A picture without ticks or grid: grey values ``(h, w)``, colours ``(h, w, 3)``, or an image ``(C, H, W)``."""
    pixels = values.permute(1, 2, 0).squeeze(-1).numpy() if isinstance(values, Tensor) else values
    axis.imshow(pixels, **({"cmap": "gray"} | options))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)


def tiled(images: Tensor) -> Tensor:
    """Rows of images ``(R, K, C, h, w)`` as one, ``(C, R (h + 2), K (w + 2))``, each in a light frame; quick to draw.

    >>> tiled(torch.zeros(2, 3, 1, 28, 28)).shape
    torch.Size([1, 60, 90])
    """
    framed = F.pad(images, (1, 1, 1, 1), value=0.85)
    return framed.permute(2, 0, 3, 1, 4).reshape(images.shape[2], -1, images.shape[1] * framed.shape[-1])


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
    first, names = next(iter(shown.values())), row_names([r.experiment for r in shown.values()])
    labels = ["original"] + [
        f"{names[r.experiment.label]}\n{_quality(r)}, SSIM {spread([r.metrics['ssim']], 2)}" for r in shown.values()
    ]
    sheet = tiled(torch.stack([of[:columns] for of in (first.originals, *(r.reconstructions for r in shown.values()))]))
    figure, axis = plt.subplots(figsize=(0.45 * columns + 2.4, 0.47 * len(labels) + 0.5))
    show(axis, sheet, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    high = sheet.shape[1] / len(labels)
    axis.set_yticks([high * (k + 0.5) for k in range(len(labels))], labels, fontsize=7, multialignment="right")
    axis.tick_params(length=0)
    axis.set_frame_on(False)
    return titled(figure, f"Originals and reconstructions: {about(results)}, seed {first.experiment.seed}")


def _quality(r: Result) -> str:
    return f"{spread([r.metrics['psnr']], 1)} dB"


def headline_rows(results: Sequence[Result]) -> list[Result]:
    """The rows of :data:`HEADLINE`, each at its last strength, or the first ones without them; first seed."""
    rows = {r.experiment.unattacked().variant: r for r in _one_seed(results).values()}
    return [rows[name] for name in HEADLINE if name in rows] or list(rows.values())[: len(HEADLINE)]


def headline(results: Sequence[Result], columns: int = LARGE) -> Figure:
    """A few images, large: the originals, and what the attacker made of them from :func:`headline_rows`."""
    shown = headline_rows(results)
    columns = min(columns, *(len(r.originals) for r in shown))
    size = (1.15 * columns + 2.3, 1.17 * (len(shown) + 1) + 0.5)
    figure, axes = plt.subplots(len(shown) + 1, columns, figsize=size, squeeze=False)
    image_row(axes[0], "private image", shown[0].originals, 12)
    for axis_row, r in zip(axes[1:], shown):
        image_row(axis_row, f"{name(r.experiment)}\n{_quality(r)}", r.reconstructions, 12)
        axis_row[0].yaxis.label.set_color(ink(r.experiment.defense))
    return titled(figure, f"What the attacker rebuilds: {about(shown)}, seed {shown[0].experiment.seed}", fontsize=12)


def best_and_worst(results: Sequence[Result], each: int = 3) -> Figure:
    """Of :func:`headline_rows`, the kept images that were rebuilt best and worst, originals above, PSNR below."""
    shown = headline_rows(results)
    each = min(each, *(len(r.originals) // 2 for r in shown))
    figure, axes = plt.subplots(
        2 * len(shown), 2 * each + 1, figsize=(1.9 * each + 3.2, 1.75 * len(shown) + 0.9), squeeze=False,
        gridspec_kw={"width_ratios": [1] * each + [0.25] + [1] * each, "hspace": 0.35},
    )  # fmt: skip
    for i, r in enumerate(shown):
        order = r.per_image["psnr"][: len(r.originals)].argsort(descending=True)
        for column, k in zip([*range(each), *range(each + 1, 2 * each + 1)], [*order[:each], *order[-each:]]):
            above, below = axes[2 * i, column], axes[2 * i + 1, column]
            show(above, r.originals[k], vmin=0, vmax=1)
            show(below, r.reconstructions[k], vmin=0, vmax=1)
            below.set_xlabel(f"{float(r.per_image['psnr'][k]):.1f} dB", fontsize=8, labelpad=2)
        for axis in axes[2 * i : 2 * i + 2, each]:
            axis.set_axis_off()
        axes[2 * i + 1, 0].set_ylabel(name(r.experiment), rotation=0, ha="right", va="bottom", fontsize=10)
    axes[0, each // 2].set_title("rebuilt best", fontsize=10)
    axes[0, each + 1 + each // 2].set_title("rebuilt worst", fontsize=10)
    of = f"of the {len(shown[0].originals)} images kept"
    return titled(figure, f"Best and worst {of}: {about(shown)}, seed {shown[0].experiment.seed}", heads=0.25)


def made_images(results: Sequence[Result]) -> Figure | None:
    """Images that the defenses made in training, generated or inverted, one row a kind; first seed.

    Defenses that share a generator share its row. ``None`` where no defense makes any.
    """
    made: dict[str, Tensor] = {}
    names = row_names([r.experiment for r in results])
    for result in _one_seed(results).values():
        for kind, images in sorted(result.exhibits.items()):  # a file keeps no order
            new = not any(images.shape == seen.shape and bool((images == seen).all()) for seen in made.values())
            if images.shape[1:] == result.originals.shape[1:] and new:
                made[f"{names[result.experiment.label]}\n{kind}"] = images
    if not made:
        return None
    columns = max(len(images) for images in made.values())
    figure, axes = plt.subplots(
        len(made), columns, figsize=(0.55 * columns + 2.8, 0.57 * len(made) + 0.5), squeeze=False
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis_row, (label, images) in zip(axes, made.items()):
        image_row(axis_row, label, images)
    seed = min(r.experiment.seed for r in results)
    return titled(figure, f"Images that defenses made in training: {about(results)}, seed {seed}")


def image_distributions(results: Sequence[Result]) -> Figure:
    """PSNR and SSIM of every private image, all seeds: densities, their quartiles in white, the median as a mark."""
    names = row_names([r.experiment for r in results])
    groups = {names[label]: group for label, group in by_cell(results).items()}
    frame = pd.DataFrame(
        [
            {"defense": label, "PSNR (dB)": psnr, "SSIM": ssim}
            for label, group in groups.items()
            for r in group
            for psnr, ssim in zip(r.per_image["psnr"].tolist(), r.per_image["ssim"].tolist())
        ]
    )
    colours = {label: sns.desaturate(look(group[0].experiment.defense)[0], 0.8) for label, group in groups.items()}
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.38 * len(groups) + 1.3), sharey=True)
    for axis, metric in zip(axes, ("PSNR (dB)", "SSIM")):
        sns.violinplot(
            frame, x=metric, y="defense", hue="defense", order=list(groups), hue_order=list(groups), palette=colours,
            cut=0, inner=None, legend=False, linewidth=0, ax=axis,
        )  # fmt: skip
        for place, label in enumerate(groups):
            low, middle, high = frame[frame["defense"] == label][metric].quantile([0.25, 0.5, 0.75])
            axis.plot([low, high], [place, place], color="white", lw=3, solid_capstyle="butt")
            axis.plot([middle], [place], "o", color="white", ms=5, mec="black", mew=0.8)
        axis.set_ylabel("")
    return finished(figure, f"How well single images were rebuilt: {about(results)} (left: better defense)")
