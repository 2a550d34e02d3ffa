"""Large data: what dictionaries and codes are and cost as images grow, and what a network with them gives away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data import dataset_title
from ..defenses.sparse import SparseDefense
from ..experiment import Experiment
from ..result import Result
from ..studies.growth import FRESH, Grown
from .about import grouped, leak_of, over_seeds
from .compare import differ
from .figures import curve, finished
from .layer_figures import SOLVERS
from .reading import Reading
from .rule import ALONE, CALLED, MARGINS
from .summary import span
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
        for (dictionary, solver), seeds in grouped(planned, row_of).items():
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
        head = f"{what}, λ = {e.lam}; {over_seeds([e.seed for e in planned])}; {devices}."
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
        for (dictionary, solver), seeds in grouped((e for e in planned if e.scale == scale), row_of).items():
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
        head = f"{leak_of(e)}, {e.defense} at λ = {e.lam}, attack {e.attack_label}; "
        head += f"{over_seeds([e.seed for e in planned])}."
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
        ("energy (1: the zero code; above it not shown)", lambda one: one.energy),
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
    return finished(
        figure,
        f"Large data: {dataset_title(e.dataset)}, first sparse layer at scale {e.scale}, λ = {e.lam:g}, networks at "
        f"{', '.join(dict.fromkeys(r.experiment.scale for r in results)) or 'no scale'}",
    )  # fmt: skip


def _lines(axis: Axes, title: str, numbers: Sequence[tuple[Row, int, float]]) -> None:
    """One line a row through its means."""
    for (dictionary, solver), of in grouped(numbers, lambda one: one[0]).items():
        colour, marker, _ = SOLVERS[solver]
        line, fill = LINES[dictionary]
        points = sorted((images, [v for _, _, v in at]) for images, at in grouped(of, lambda one: one[1]).items())
        curve(axis, *zip(*points), label=f"{WORDS[dictionary]}, {solver}", color=colour, marker=marker, ls=line,
              fillstyle=fill, ms=6, lw=1.3)  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlabel("images")
    axis.set_title(title, fontsize=10)


RULE = (
    "Rule: an energy is lower where it is in every seed; rows of networks differ "
    f"{CALLED} and their means lie more than {MARGINS['psnr']} dB of PSNR or {MARGINS['accuracy']} of accuracy apart; "
    f"{ALONE}"
)


def growth_reading(found: Sequence[Grown], results: Sequence[Result]) -> Reading:
    """What these numbers say, by :data:`RULE`."""
    lines = [*_of_layers(found), *_of_networks(results)]
    return Reading("\n".join([*(f"- {line}" for line in lines or [NOT_MEASURED]), "", f"*{RULE}*"]))


def _of_layers(found: Sequence[Grown]) -> list[str]:
    if not found:
        return []
    sizes = sorted({one.images for one in found})
    at = {(row_of(one.experiment), one.images, one.experiment.seed): one for one in found}
    rows = list(dict.fromkeys(row for row, _, _ in at))

    def of(row: Row, size: int) -> list[Grown]:
        return [one for (r, s, _), one in sorted(at.items()) if (r, s) == (row, size)]

    last, told = sizes[-1], []
    for solver in dict.fromkeys(solver for _, solver in rows):
        every = {one.experiment.seed for one in of(("submodular", solver), last)}
        seeds = sorted(every & {one.experiment.seed for one in of(("learned", solver), last)})
        chosen, learned = (
            [at[(name, solver), last, seed].energy for seed in seeds] for name in ("submodular", "learned")
        )
        if seeds:
            gaps = [a - b for a, b in zip(chosen, learned)]
            how = "lower" if max(gaps) < 0 else "higher" if min(gaps) > 0 else "neither way in every seed"
            told.append(f"{mean(chosen):,.2f} and {mean(learned):,.2f} by `{solver}` ({how})")
    lines = []
    if told:
        lines.append(f"Of {last:,} images, chosen and learned dictionaries leave this much of the zero code's energy: "
                     f"{', '.join(told)}.")  # fmt: skip
    for dictionary, word in WORDS.items():
        own = [row for row in rows if row[0] == dictionary and of(row, sizes[0]) and of(row, last)]
        if own:
            making = [mean(one.seconds_dictionary for one in of(row, last)) for row in own]
            small, large = (
                {row: mean(one.energy for one in of(row, size)) for row in own} for size in (sizes[0], last)
            )
            best = min(own, key=lambda row: large[row])
            change = large[best] / small[best] - 1
            lines.append(
                f"A dictionary is {word} of {last:,} images in {span(making, 0)} s; the energy that it leaves by "
                f"`{best[1]}` changes by {round(100 * change)} % from that of one of {sizes[0]:,}."
            )
    worse = dict.fromkeys(row_of(one.experiment)[1] for one in found if one.energy > 1)
    if worse:
        named = " and ".join(f"`{solver}`" for solver in worse)
        lines.append(f"Codes by {named} can have more energy than none at all: they do not minimise eq. 1.")
    speeds = {
        solver: mean(1e3 * one.seconds_code for one in found if row_of(one.experiment)[1] == solver)
        for solver in dict.fromkeys(solver for _, solver in rows)
    }
    lines.append(f"A code takes {', '.join(f'{ms:.3f} ms by `{solver}`' for solver, ms in speeds.items())}.")
    return lines


def _of_networks(results: Sequence[Result]) -> list[str]:
    lines = []
    for scale in dict.fromkeys(r.experiment.scale for r in results):
        own = sorted((r for r in results if r.experiment.scale == scale), key=lambda r: r.experiment.seed)
        rows = grouped(own, lambda r: row_of(r.experiment))
        usual = rows.pop(("learned", "fista"), [])
        told = []
        for (dictionary, solver), group in rows.items():
            gaps = []
            for metric, unit in (("psnr", " dB"), ("accuracy", " of accuracy")):
                if usual:
                    gap, differs = differ(group, usual, metric)
                    gaps.append(f"{gap:+.{1 if metric == 'psnr' else 2}f}{unit}{'' if differs else ' (no difference)'}")
            told += [f"{WORDS[dictionary]}, `{solver}`: {', '.join(gaps)}"] if gaps else []
        if told:
            images = usual[0].details["train_images"]
            lines.append(f"Networks of {images:,} private images (scale `{scale}`), beside learned dictionaries and "
                         f"settled codes: {'; '.join(told)}.")  # fmt: skip
    return lines
