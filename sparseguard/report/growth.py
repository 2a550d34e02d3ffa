"""Large data: what dictionaries and codes are and cost as images grow, and what a network with them gives away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean, stdev

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data import dataset_title
from ..defenses.sparse import SparseDefense
from ..experiment import Experiment
from ..result import Result
from ..studies.growth import FRESH, Grown
from .about import leak_of, over_seeds
from .layer_figures import SOLVERS
from .table import DASH, Table
from .tables import spread

Row = tuple[str, str]
"""How the dictionary is made, and the solver."""
WORDS = {"learned": "learned", "submodular": "chosen"}
LINES = {"learned": ("-", "full"), "submodular": ("--", "none")}
"""Of a dictionary: line, and fill of the marks; colour and mark are the solver's."""
OF_NETWORKS = {
    "PSNR ↓": ("psnr", 2), "SSIM ↓": ("ssim", 3), "accuracy ↑": ("accuracy", 3), "training (s)": ("seconds_target", 0),
}  # fmt: skip
"""Metric and digits of each column."""
NOT_MEASURED = "Of this part the store has nothing; `measure = True` computes it."


def row_of(e: Experiment) -> Row:
    """Of a cell of a sparse defense.

    >>> row_of(Experiment(defense="sparse_guard", options={"tau": 100.0, "dictionary": "submodular"}))
    ('submodular', 'lca')
    """
    defense = e.make_defense()
    assert isinstance(defense, SparseDefense)
    return defense.dictionary, defense.codes_by


def _by_row(experiments: Iterable[Experiment]) -> dict[Row, list[Experiment]]:
    """Seeds of each row, in their order."""
    rows: dict[Row, list[Experiment]] = {}
    for e in experiments:
        rows.setdefault(row_of(e), []).append(e)
    return rows


def _seeds(experiments: Iterable[Experiment]) -> str:
    return over_seeds({e.seed for e in experiments})


def growth_table(planned: Sequence[Experiment], sizes: Sequence[int], found: Sequence[Grown]) -> Table:
    """One row a number of images, dictionary and solver; em dashes where not every seed was measured.

    Args:
        planned: experiments that :func:`sparseguard.studies.growth.grown` was asked for.
        sizes: numbers of images.
        found: what it has of them.
    """
    known = {(one.images, one.experiment): one for one in found}
    rows = []
    for size in sizes:
        for (dictionary, solver), seeds in _by_row(planned).items():
            of = [known.get((size, e)) for e in seeds]

            def told(number: Callable[[Grown], float], digits: int, of: Sequence[Grown | None] = of) -> str:
                return spread([None if one is None else number(one) for one in of], digits)

            rows.append({
                "images": f"{size:,}",
                "dictionary": WORDS[dictionary],
                "solver": solver,
                "energy": told(lambda one: one.energy, 3),
                "neurons active": told(lambda one: one.active, 3),
                "dictionary (s)": told(lambda one: one.seconds_dictionary, 2),
                "a code (ms)": told(lambda one: 1e3 * one.seconds_code, 3),
                "all codes (s)": told(lambda one: one.images * one.seconds_code, 2),
            })  # fmt: skip
    head = "Nothing was asked for." if not planned or not sizes else NOT_MEASURED
    if found:
        e, devices = found[0].experiment, ", ".join(sorted({one.device for one in found}))
        what = f"{dataset_title(e.dataset)}, images and sizes of scale {e.scale}"
        head = f"{what}, λ = {e.lam}; {_seeds(planned)}; {devices}."
    copied = {one.images: one.copies for one in found if one.copies}
    bent = [f"{copies:,} of the {images:,} images" for images, copies in sorted(copied.items())]
    return Table(pd.DataFrame(rows), head, [
        f"Of the first sparse layer: energy of eq. 1 of up to {FRESH:,} fresh images, over that of their zero codes. "
        "All codes: the time of a code of these, times the images. Seconds are the processor's.",
        "Learned: one update a batch, each image once, with the row's solver (in a target the first dictionary is "
        "trained by backpropagation instead, for several epochs). Chosen: among one patch an image, for the energy "
        "that a feature saves alone; exactly up to 20,000 images, by stochastic greedy beyond.",
        *([f"Bent copies of others are {', '.join(bent)}: the data set has no more."] if bent else []),
    ])  # fmt: skip


def networks_table(planned: Sequence[Experiment], results: Sequence[Result]) -> Table:
    """Networks with these dictionaries and codes: one row a scale, dictionary and solver; em dashes as above."""
    known = {r.experiment: r for r in results}
    rows = []
    for scale in dict.fromkeys(e.scale for e in planned):
        for (dictionary, solver), seeds in _by_row(e for e in planned if e.scale == scale).items():
            of = [known.get(e) for e in seeds]
            there = [r for r in of if r is not None]
            numbers = {
                name: spread([None if r is None else r.metrics[metric] for r in of], digits)
                for name, (metric, digits) in OF_NETWORKS.items()
            }
            images = f"{there[0].details['train_images']:,}" if there else DASH
            rows.append({"scale": scale, "private images": images, "seeds": ", ".join(str(e.seed) for e in seeds),
                         "dictionary": WORDS[dictionary], "solver": solver} | numbers)  # fmt: skip
    head = NOT_MEASURED if planned else "Nothing was asked for."
    if results:
        e = results[0].experiment
        head = f"{leak_of(e)}, {e.defense} at λ = {e.lam}, attack {e.attack_label}; {_seeds(planned)}."
    return Table(pd.DataFrame(rows), head, [
        "Every sparse layer has the row's dictionary and solver. Chosen dictionaries are pieces of the private images "
        "and are not trained; what the attack sees is a leak, not the weights, in which they stand.",
        "Training: with all its codes. Scales differ in more than the number of private images: see the protocol.",
    ])  # fmt: skip


def growth_figure(found: Sequence[Grown], results: Sequence[Result]) -> Figure | None:
    """Energy, active neurons and seconds, and of networks what an attacker gets and accuracy, by number of images.

    Means; bars are one standard deviation over seeds. ``None`` where nothing was measured.
    """
    if not found:
        return None
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2))
    panels: tuple[tuple[str, Callable[[Grown], float]], ...] = (
        ("energy (1, the zero code's, and more: not shown)", lambda one: one.energy),
        ("neurons active", lambda one: one.active),
        ("dictionary and all codes (s)", lambda one: one.seconds),
    )
    for axis, (title, number) in zip(axes[0], panels):
        _lines(axis, title, [(row_of(one.experiment), one.images, number(one)) for one in found])
    axes[0, 0].set_ylim(0, min(1.0, axes[0, 0].get_ylim()[1]))
    axes[0, 2].set_yscale("log")
    for axis, (title, metric) in zip(axes[1], (("PSNR (dB)", "psnr"), ("accuracy", "accuracy"))):
        numbers = [(row_of(r.experiment), r.details["train_images"], r.metrics[metric] or 0.0) for r in results]
        _lines(axis, f"network: {title}", numbers)
        axis.set_xlabel("private images")
        axis.set_xlim(axes[0, 0].get_xlim())
    axes[1, 2].axis("off")
    axes[1, 2].legend(*axes[0, 0].get_legend_handles_labels(), title="dictionary, solver", loc="center", fontsize=9)
    e = found[0].experiment
    figure.suptitle(
        f"Large data: {dataset_title(e.dataset)}, first sparse layer at scale {e.scale}, λ = {e.lam:g}, networks at "
        f"{', '.join(dict.fromkeys(r.experiment.scale for r in results)) or 'no scale'}", fontsize=10,
    )  # fmt: skip
    figure.tight_layout()
    plt.close(figure)
    return figure


def _lines(axis: Axes, title: str, numbers: Sequence[tuple[Row, int, float]]) -> None:
    """One line a row through its means."""
    rows: dict[Row, dict[int, list[float]]] = {}
    for row, images, number in numbers:
        rows.setdefault(row, {}).setdefault(images, []).append(number)
    for (dictionary, solver), of in rows.items():
        colour, marker, _ = SOLVERS[solver]
        line, fill = LINES[dictionary]
        points = sorted(of.items())
        axis.errorbar(
            [images for images, _ in points], [mean(v) for _, v in points],
            yerr=[stdev(v) if len(v) > 1 else 0.0 for _, v in points], label=f"{WORDS[dictionary]}, {solver}",
            color=colour, marker=marker, ls=line, fillstyle=fill, ms=6, lw=1.3, capsize=2,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlabel("images")
    axis.set_title(title, fontsize=10)
