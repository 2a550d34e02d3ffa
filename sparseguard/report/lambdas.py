"""Sparsity swept: the λ curves, small multiples beside the explorer, and what the numbers say about λ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..result import Result
from . import looks
from .about import about, by_attack, by_defense, grouped, over_seeds, seeds_named, seeds_of
from .compare import differ, printed_curves, values
from .explorer import Explorer, View, sweeps
from .figures import COLOURS, MARKERS, VARIANTS, curve, finished, show, spread_of
from .panels import VIRIDIS
from .reading import Reading
from .rule import ALONE, CALLED, MARGINS
from .tables import spread

SWEPT = {"psnr": ("PSNR", 1), "ssim": ("SSIM", 2), "accuracy": ("accuracy", 2)}
"""Name and digits of each metric."""
UNITS = {"psnr": " (dB)"}
RULE = (
    f"Rule: two cells differ {CALLED} and their means lie more than {MARGINS['psnr']} dB (PSNR) or {MARGINS['ssim']} "
    f"(SSIM, accuracy) apart; {ALONE}"
)


FILLED = [(fill, line) for fill, line in VARIANTS if fill != "none"]  # hollow marks are the paper's


def lambda_curves(results: Sequence[Result]) -> Figure:
    """PSNR, SSIM and accuracy against λ, bars one standard deviation over seeds; hollow marks are the paper's."""
    figure, axes = plt.subplots(1, len(SWEPT), figsize=(11, 3.7))
    curves, names = sweeps(results), looks.row_names([r.experiment for r in results], strength=False)
    for axis, (metric, (name, _)) in zip(axes, SWEPT.items()):
        printed, regimes = printed_curves(curves, metric), Counter[str]()
        for i, swept in enumerate(curves.values()):
            defense = next(iter(swept.values()))[0].experiment.defense
            colour, marker = looks.look(defense)
            fill, line = FILLED[regimes[defense] % len(FILLED)]
            regimes[defense] += 1
            style = {"color": colour, "marker": marker, "ms": 6}
            shift = 1.02**i  # bars at the same λ do not cover each other
            label, x = names[next(iter(swept.values()))[0].experiment.label], [lam * shift for lam in swept]
            numbers = [values(group, metric) for group in swept.values()]
            curve(axis, x, numbers, label=label, fillstyle=fill, ls=line, **style)
            known = [(lam * shift, v) for lam, v in printed.pop(defense, {}).items()]  # beside the first regime alone
            if known:
                axis.plot(*zip(*known), ls=":", lw=1, mfc="none", label=f"{looks.base_name(defense)}, printed", **style)
        axis.set_xscale("log")
        every = sorted({lam for of in curves.values() for lam in of})
        axis.set_xticks(every, [f"{lam:g}" for lam in every])
        axis.minorticks_off()
        axis.set_xlabel("λ")
        axis.set_title(name + UNITS.get(metric, ""), fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=4, fontsize=8)
    return finished(figure, f"Against λ: {about(results)}, {seeds_named(seeds_of(results))}", (0, 0.08, 1, 1))


def lambda_multiples(results: Sequence[Result], images: Sequence[int] = (0, 1)) -> Figure:
    """What the explorer shows, at each computed λ: each layer's code, what it gives back, and the attacker's image.

    Args:
        results: cells of one data set; the last sparse defense among them is shown, its first seed.
        images: which of the images that a result keeps.
    """
    explorer = Explorer(_all(list(sweeps(results).values())[-1]))
    paths = [explorer.path(explorer.lams, layer) for layer in explorer.layers]
    first = paths[0][0].coder
    shown = [i for i in images if i < len(first.images)]
    block, columns = 2 * len(paths) + 1, len(paths[0]) + 1
    size = (1.15 * columns + 1.2, 1.12 * block * len(shown) + 0.5)
    figure, axes = plt.subplots(block * len(shown), columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
    for k, i in enumerate(shown):
        rows = axes[block * k : block * (k + 1)]
        _show(rows[0, 0], first.images[i], "input")
        for layer, path in enumerate(paths, start=1):
            code, decoded = rows[2 * layer - 2], rows[2 * layer - 1]
            for axis, view in zip(code[1:], path):
                _show(axis, _winner(view, i), f"{float(view.active[i]):.1%} active")
            for axis, view in zip(decoded[1:], path):
                _show(axis, view.decoded[i], _quality(view.psnr[i], view.ssim[i]))
            _beside(code[-1], f"code of layer {layer}")
            _beside(decoded[-1], f"from the code\nof layer {layer}")
        for axis, view in zip(rows[-1, 1:], paths[0]):
            attacked = view.coder.attacked
            _show(axis, view.coder.result.reconstructions[i], _quality(attacked[0][i], attacked[1][i]))
        _beside(rows[-1, -1], "attacker")
    for axis, view in zip(axes[0, 1:], paths[0]):
        axis.annotate(f"λ = {view.lam:g}", (0.5, 1.25), xycoords="axes fraction", ha="center", fontsize=9)
    e = first.result.experiment
    text = f"{about([first.result])}, {looks.name(e, strength=False)}, seed {e.seed}"
    figure.suptitle(f"The code and the attacker: {text}", fontsize=10, y=0.93)
    plt.close(figure)
    return figure


def _all(of: dict[float, list[Result]]) -> list[Result]:
    return [r for group in of.values() for r in group]


def _show(axis: Axes, image: Tensor | np.ndarray, title: str) -> None:
    show(axis, image, vmin=0, vmax=1)
    axis.set_title(title, fontsize=7, pad=2)


def _beside(axis: Axes, text: str) -> None:
    axis.yaxis.set_label_position("right")
    axis.set_ylabel(text, rotation=0, ha="left", va="center", fontsize=8)


def _quality(psnr: Tensor, ssim: Tensor) -> str:
    return f"{float(psnr):.1f} dB, {float(ssim):.2f}"


def _winner(view: View, index: int) -> np.ndarray:
    """The strongest feature at each position in the explorer's colours, uint8 ``(h, w, 3)``."""
    strongest = (view.code[index].amax(0) / view.coder.strongest[index]).clamp(0, 1).sqrt()
    return np.asarray(VIRIDIS[(strongest * 255).byte().numpy()])


def course(metric: str, of: Mapping[str, Sequence[Result]]) -> str:
    """What a metric does along a few steps, in their order, each with its seeds."""
    name, digits = SWEPT[metric]
    listed = ", ".join(f"{spread(values(group, metric), digits)} at {step}" for step, group in of.items())
    text = f"{name} is {listed}"
    if len(of) < 2:
        return text
    first, *_, last = of
    steps = [(a, b, *differ(of[b], of[a], metric)) for a, b in pairwise(of)]
    gap, differs = differ(of[last], of[first], metric)
    real = [(f"{'rises' if step > 0 else 'falls'} from {a} to {b}", step) for a, b, step, seen in steps if seen]
    verb = "differs" if differs else "cannot be told apart"
    end = f"{last} {verb} from {first} ({gap:+.{digits}f})"
    if not real:
        return f"{text}; {end}, and no two neighbours differ"
    order = "in one direction only" if len({step > 0 for _, step in real}) == 1 else "not monotone"
    return f"{text}; {end}; it {' and '.join(what for what, _ in real)}, {order}"


def lambda_reading(results: Sequence[Result]) -> Reading:
    """What λ does, by a fixed rule: each metric along λ, one defense against another at equal λ, the printed course."""
    swept = sweeps(results)
    named = {defense: {f"{lam:g}": group for lam, group in of.items()} for defense, of in swept.items()}
    lines = [f"`{defense}`: {course(metric, of)}." for metric in SWEPT for defense, of in named.items()]
    backwards: dict[str, list[str]] = {}
    for metric in ("psnr", "ssim"):
        for defense, known in printed_curves(swept, metric).items():
            if any(b > a for a, b in pairwise(known.values())):
                listed = ", ".join(f"{v:g} at {lam:g}" for lam, v in known.items())
                backwards.setdefault(defense, []).append(f"{SWEPT[metric][0]} ({listed})")
    for defense, told in backwards.items():
        lines.append(f"`{defense}`: as printed, more sparsity does not always hide more: {'; '.join(told)}.")
    for a, b in pairwise(swept):
        shared = [lam for lam in swept[a] if lam in swept[b]]
        told = []
        for lam in shared:
            gap, differs = differ(swept[b][lam], swept[a][lam])
            told.append(f"{lam:g} ({gap:+.1f} dB{'' if differs else ', no difference'})")
        if told:
            lines.append(f"`{b}` against `{a}`, PSNR at equal λ: {', '.join(told)}.")
    for defense, of in swept.items():
        for layer in Explorer(_all(of)).layers:
            lines.append(_codes(defense, of, layer))
    return Reading("\n".join([*(f"- {line}" for line in lines), "", f"*{RULE}*"]))


def _codes(defense: str, of: dict[float, list[Result]], layer: int) -> str:
    """How much the code itself gives back: without an attacker, from the trained dictionaries."""
    views = Explorer(_all(of)).path(list(of), layer)
    count, seed = len(views[0].decoded), views[0].coder.result.experiment.seed
    told = ", ".join(
        f"{float(v.psnr.mean()):.1f} dB at {v.lam:g} ({float(v.active.mean()):.1%} active; the attacker "
        f"{float(v.coder.attacked[0].mean()):.1f} dB)"
        for v in views
    )
    return (
        f"`{defense}`: decoded with its dictionaries, without an attack, the code of layer {layer} gives back {told} "
        f"({count} images, seed {seed}, brightness and contrast given)."
    )


MINIMUM = "the minimum"
# fact of the target: (its name, digits)
FACTS = {
    "active {} (%)": ("active neurons (%)", 1),
    "cosine {}": ("cosine with the minimiser", 2),
}


def stages_of(results: Sequence[Result]) -> tuple[dict[str, list[Result]], dict[str, list[Result]]]:
    """Seeds of each sparse cell, from the least settled to the minimum, by time constants; of each control, by name."""
    if len(by_attack(results)) > 1:
        raise ValueError(f"settling is shown for one attack at a time, not {', '.join(by_attack(results))}.")
    stages = grouped(results, lambda r: r.experiment.make_defense().time)
    controls = by_defense(stages.pop(0.0, []))
    return {MINIMUM if math.isinf(time) else f"{time:g}": stages[time] for time in sorted(stages)}, controls


def _facts(group: Sequence[Result], fact: str) -> list[list[float]]:
    """One list a sparse layer, one number a seed in it."""
    facts = [r.details["facts"] for r in group]
    layers = sum(name.startswith("cosine ") for name in facts[0])
    return [[float(of[fact.format(i)]) for of in facts] for i in range(1, layers + 1)]


def settling_curves(results: Sequence[Result]) -> Figure:
    """PSNR, SSIM, accuracy, active neurons and cosine with the minimiser, from the least settled code to the minimum.

    Bars, and the bands around the controls, are one standard deviation over seeds. The stages stand at equal steps: the
    minimum has no place on an axis of time.

    Args:
        results: cells of one sparse defense at one λ under one attack that differ in ``tau``, and controls, as
            :func:`sparseguard.grid.settling_cells` makes them.

    Raises:
        ValueError: results of several attacks.
    """
    stages, controls = stages_of(results)
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6))
    e = next(iter(stages.values()))[0].experiment
    for axis, (metric, (title, _)) in zip(axes.flat, SWEPT.items()):
        (colour, marker), numbers = looks.look(e.defense), [values(group, metric) for group in stages.values()]
        label = f"{looks.base_name(e.defense)}, λ = {e.lam}"
        curve(axis, range(len(numbers)), numbers, label=label, color=colour, marker=marker, ms=6)
        for i, group in enumerate(controls.values(), start=1):
            own = group[0].experiment
            colour, _ = looks.look(own.defense)
            middle, deviation = spread_of(values(group, metric))
            axis.axhline(middle, color=colour, ls=("--", ":")[i % 2], lw=1.5, label=looks.name(own))
            axis.axhspan(middle - deviation, middle + deviation, color=colour, alpha=0.15, lw=0)
        axis.set_title(title + UNITS.get(metric, ""), fontsize=10)
    for axis, (fact, (title, _)) in zip(axes.flat[len(SWEPT) :], FACTS.items()):
        for i, shares in enumerate(zip(*(_facts(group, fact) for group in stages.values())), start=1):
            style = {"color": COLOURS[i + 1], "marker": MARKERS[i + 1], "ms": 6}
            curve(axis, range(len(shares)), shares, label=f"layer {i}", **style)
        axis.set_title(title, fontsize=10)
    for axis in axes.flat[len(SWEPT) : -1]:
        axis.set_ylim(bottom=0)
    for axis in axes.flat[:-1]:
        axis.margins(x=0.15)
        axis.set_xticks(range(len(stages)), [stage.removeprefix("the ") for stage in stages])
        axis.set_xlabel("time constants")
    (of, names), (layers, numbers) = (axis.get_legend_handles_labels() for axis in (axes.flat[0], axes.flat[-2]))
    axes.flat[-1].axis("off")
    axes.flat[-1].legend([of[-1], *of[:-1], *layers], [names[-1], *names[:-1], *numbers], loc="center", fontsize=9)
    return finished(figure, f"How far the code settles: {about(results)}, {over_seeds(seeds_of(results))}")


def settling_reading(results: Sequence[Result]) -> Reading:
    """What settling does, by a fixed rule: to each metric, to the code, and against the controls at both ends."""
    stages, controls = stages_of(results)
    if len(stages) < 2:
        return Reading("Fewer than two times were measured: what settling does cannot be told.")
    first, *_, last = stages
    lines = [f"{course(metric, stages)}." for metric in SWEPT]
    for fact, (name, digits) in FACTS.items():
        for i, numbers in enumerate(zip(*(_facts(group, fact) for group in stages.values())), start=1):
            listed = ", ".join(f"{spread(v, digits)} at {stage}" for stage, v in zip(stages, numbers))
            lines.append(f"Layer {i}, {name}: {listed}.")
    for control, group in controls.items():
        told = []
        for metric, (name, digits) in SWEPT.items():
            gaps = []
            for stage in (first, last):
                gap, differs = differ(stages[stage], group, metric)
                gaps.append(f"{gap:+.{digits}f} at {stage}{'' if differs else ' (no difference)'}")
            told.append(f"{name} {' and '.join(gaps)}")
        lines.append(f"Against `{control}`: {'; '.join(told)}.")
    e = stages[first][0].experiment
    head = f"`{e.defense}` at λ = {e.lam}, by time constants:"
    return Reading("\n".join([head, "", *(f"- {line}" for line in lines), "", f"*{RULE}*"]))
