"""Features by class: the projections, the numbers beside them, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data import dataset_title
from ..studies.clusters import NEIGHBOURS, PIXELS, Features
from .about import grouped, over_seeds, seeds_of
from .compare import gap_of
from .figures import COLOURS, finished
from .reading import Reading
from .rule import ALONE, CALLED, LOOSE, MARGINS, sentence, verdict
from .table import Table
from .tables import spread

RULE = (
    f"Rule: two layers differ {CALLED} for a number and the means lie more than {MARGINS['silhouette']} apart; {ALONE} "
    "A layer is more clustered than another, in the UMAP plane or in feature space, if its silhouette there is higher "
    "in this sense. "
    f"Below a silhouette of {LOOSE} no layer is called tightly clustered. The claim holds where sparse layers are less "
    "clustered than all others but the pixels, in the plane and in feature space; it is contradicted where more of "
    "that is the other way than not."
)
PLACES = {"silhouette_plane": "in the plane", "silhouette": "in feature space"}
MARKERS = "osDvX^P*<>"
NAMES = {PIXELS: "raw pixels", "none": "two linear layers", "none_conv": "two convolutions"}


def layer_name(features: Features) -> str:
    """What the layer is, in words: the defense's name where it is not one of the paper's three."""
    if features.layer in NAMES:
        return NAMES[features.layer]
    lam = features.experiment.lam
    return features.layer if lam is None else f"two sparse layers, λ = {lam}"


def groups_of(found: Sequence[Features]) -> dict[str, dict[str, list[Features]]]:
    """By data set and layer, in their order; each group holds the seeds."""
    sets = grouped(found, lambda one: dataset_title(one.experiment.dataset))
    return {title: grouped(of, lambda one: one.layer) for title, of in sets.items()}


def features_figure(found: Sequence[Features]) -> Figure:
    """UMAP of all private images (paper, Fig. 4): rows are data sets, columns layers; the first seed.

    Each class has a colour and a shape of its own. Titles give the silhouette in the plane and in feature space, and
    the accuracy of the nearest neighbours in feature space, of the seed that is shown.
    """
    groups = groups_of(found)
    columns = max(len(layers) for layers in groups.values())
    figure, axes = plt.subplots(
        len(groups), columns, figsize=(3.3 * columns + 1.4, 3.5 * len(groups) + 0.3), squeeze=False
    )
    for row, (dataset, layers) in zip(axes, groups.items()):
        for axis, seeds in zip(row, layers.values()):
            one = min(seeds, key=lambda f: f.experiment.seed)
            x, labels = one.embedding.numpy(), one.labels.numpy()
            size = float(np.clip(14_000 / len(x), 1.0, 14.0))
            for k, name in enumerate(one.classes):
                points, mark = x[labels == k], MARKERS[k % len(MARKERS)]
                axis.scatter(
                    *points.T,
                    s=size,
                    color=COLOURS[k % 10],
                    marker=mark,
                    lw=0.2,
                    edgecolors="white",
                    label=name,
                    alpha=0.9,
                )
            numbers = f"silhouette {one.silhouette_plane:.3f} here, {one.silhouette:.3f} in feature space"
            title = f"{layer_name(one)}\n{numbers}\nk-NN {one.knn:.2f}"
            axis.set_title(title, fontsize=8)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(dataset, fontsize=10)
        shown = len(layers)
        row[shown - 1].legend(
            loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, markerscale=float(5 / np.sqrt(size)),
            frameon=False,
        )  # fmt: skip
        for axis in row[shown:]:
            axis.set_axis_off()
    first = found[0].experiment
    seed = min(f.experiment.seed for f in found)
    title = f"UMAP of private images' features by class: scale {first.scale}, seed {seed}"
    return finished(figure, title)


def features_table(found: Sequence[Features]) -> Table:
    """One row a data set and layer: silhouettes, nearest neighbours and the target's own accuracy, over seeds."""
    rows = [
        {
            "data set": dataset,
            "features after": layer_name(seeds[0]),
            "target": seeds[0].layer,
            "dimensions": str(seeds[0].dimensions),
            "silhouette in the plane": spread([f.silhouette_plane for f in seeds], 3),
            "silhouette in feature space": spread([f.silhouette for f in seeds], 3),
            f"{NEIGHBOURS}-NN accuracy": spread([f.knn for f in seeds], 3),
            "accuracy of the target": spread([f.accuracy for f in seeds], 3),
        }
        for dataset, layers in groups_of(found).items()
        for seeds in layers.values()
    ]
    first = found[0].experiment
    seeds = seeds_of(found)
    counts = ", ".join(str(count) for count in sorted({len(f.labels) for f in found}))
    caption = (
        f"Features of trained targets (end to end), scale {first.scale} ({counts} private images), {over_seeds(seeds)}."
    )
    notes = [
        "Silhouette: of private images by class, in the UMAP plane, of which the paper's statement is, and in feature "
        "space, over all dimensions; UMAP pulls neighbours together, so the plane's is another quantity. "
        f"{NEIGHBOURS}-NN: in feature space, fitted on private features, scored on hold-out features of the same "
        "layer. All distances are Euclidean.",
        "Raw pixels are the control: they have been through no network, so a layer that scores as they do has neither "
        "gathered the classes nor scattered them.",
        "Projections have umap-learn's default parameters (15 neighbours, minimal distance 0.1). The paper states "
        "none, and no λ for this figure; the released script for it has λ 0.4 and 2 neighbours, and projects features "
        "of networks that it has not trained, after one linear layer instead of two.",
    ]
    return Table(pd.DataFrame(rows), caption, notes)


def compare_layers(a: Sequence[Features], b: Sequence[Features], metric: str) -> tuple[float, bool]:
    """``a`` minus ``b`` in the mean, and whether the rule calls it a difference."""
    return gap_of(a, b, attrgetter(metric), MARGINS["silhouette"])


def features_reading(found: Sequence[Features]) -> Reading:
    """Whether sparse-coded features are less clustered by class than the others, as section 5 of the paper says."""
    claim = (
        "The paper's claim (section 5): features after two linear or two convolutional layers are highly clustered by "
        'class; sparse coding layers tend to "uncluster" them.'
    )
    sentences = []
    for dataset, layers in groups_of(found).items():
        sparse = [label for label, seeds in layers.items() if seeds[0].experiment.family == "sparse"]
        for label in sparse:
            parts, less = [], []
            for other in (name for name in layers if name not in sparse):
                near, near_differs = compare_layers(layers[label], layers[other], "knn")
                found_in = []
                for metric, place in PLACES.items():
                    gap, differs = compare_layers(layers[label], layers[other], metric)
                    word = ("more clustered" if gap > 0 else "less clustered") if differs else "not to be told apart"
                    found_in.append(f"{word} {place} ({gap:+.3f})")
                    if other != PIXELS:
                        less.append((1 if gap < 0 else -1) if differs else 0)
                knn = f"k-NN {near:+.2f}" + ("" if near_differs else ", within chance")
                parts.append(f"against {layer_name(layers[other][0])} {', '.join(found_in)}, {knn}")
            if parts:
                says = f"; {sentence(verdict([less], every=True))}" if less else ""
                sentences.append(f"{dataset}, {layer_name(layers[label][0])}: {'; '.join(parts)}{says}.")
        for metric, place in PLACES.items():
            means = {name: mean(getattr(f, metric) for f in seeds) for name, seeds in layers.items()}
            top = max(means, key=lambda name: means[name])
            says = "no layer gathers the classes tightly" if means[top] < LOOSE else "its classes stand apart"
            sentences.append(
                f"{dataset}: the highest silhouette {place} is {means[top]:.3f} ({layer_name(layers[top][0])}), "
                f"of 1 at most: {says}."
            )
    sentences.append(
        "Little clustering is not privacy: it says how features lie to each other, not whether each gives its image "
        "away. Raw pixels are little clustered too, and they are the image. What leaks is measured in `01_end_to_end` "
        "and `02_split`."
    )
    return Reading("\n".join([claim, "", *(f"- {sentence}" for sentence in sentences), "", f"*{RULE}*"]))
