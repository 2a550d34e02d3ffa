"""How far the code settles: curves from half a time constant to the minimum of eq. 1, and what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiment import Experiment
from ..result import Result
from . import looks
from .about import about, by_attack, by_defense, over_seeds, seeds_of
from .compare import values
from .figures import COLOURS, MARKERS
from .lambdas import RULE, SWEPT, UNITS, course, differ
from .reading import Reading
from .tables import spread

MINIMUM = "the minimum"
# fact of the target: (its name, digits)
FACTS = {
    "active {} (%)": ("active neurons (%)", 1),
    "cosine {}": ("cosine with the minimiser", 2),
}


def _time(e: Experiment) -> float:
    """Time constants for which the code follows eq. 2; infinite at the minimum, 0 without a sparse layer."""
    return e.make_defense().time


def stages_of(results: Sequence[Result]) -> tuple[dict[str, list[Result]], dict[str, list[Result]]]:
    """Seeds of each sparse cell, from the least settled to the minimum, by time constants; of each control, by name."""
    if len(by_attack(results)) > 1:
        raise ValueError(f"settling is shown for one attack at a time, not {', '.join(by_attack(results))}.")
    stages: dict[float, list[Result]] = {}
    for r in results:
        stages.setdefault(_time(r.experiment), []).append(r)
    controls = by_defense(stages.pop(0.0, []))
    return {MINIMUM if math.isinf(time) else f"{time:g}": stages[time] for time in sorted(stages)}, controls


def _facts(group: Sequence[Result], fact: str) -> list[list[float]]:
    """One list a sparse layer, one number a seed in it."""
    facts = [r.details["facts"] for r in group]
    layers = sum(name.startswith("cosine ") for name in facts[0])
    return [[float(of[fact.format(i)]) for of in facts] for i in range(1, layers + 1)]


def _spread(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; 0 of one number, which has none."""
    return mean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0


def _curve(axis: Axes, numbers: Sequence[Sequence[float]], how: tuple[str, str], label: str) -> None:
    middles, bars = zip(*map(_spread, numbers))
    x = list(range(len(numbers)))
    axis.errorbar(x, middles, yerr=bars, label=label, color=how[0], marker=how[1], ms=6, capsize=2, lw=1.2)


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
        numbers = [values(group, metric) for group in stages.values()]
        _curve(axis, numbers, looks.look(e.defense), f"{looks.base_name(e.defense)}, λ = {e.lam}")
        for i, group in enumerate(controls.values(), start=1):
            own = group[0].experiment
            colour, _ = looks.look(own.defense)
            middle, deviation = _spread(values(group, metric))
            axis.axhline(middle, color=colour, ls=("--", ":")[i % 2], lw=1.5, label=looks.name(own))
            axis.axhspan(middle - deviation, middle + deviation, color=colour, alpha=0.15, lw=0)
        axis.set_title(title + UNITS.get(metric, ""), fontsize=10)
    for axis, (fact, (title, _)) in zip(axes.flat[len(SWEPT) :], FACTS.items()):
        for i, shares in enumerate(zip(*(_facts(group, fact) for group in stages.values())), start=1):
            _curve(axis, shares, (COLOURS[i + 1], MARKERS[i + 1]), f"layer {i}")
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
    figure.suptitle(f"How far the code settles: {about(results)}, {over_seeds(seeds_of(results))}", fontsize=10)
    figure.tight_layout()
    plt.close(figure)
    return figure


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
                gap, differs = differ(metric, group, stages[stage])
                gaps.append(f"{gap:+.{digits}f} at {stage}{'' if differs else ' (no difference)'}")
            told.append(f"{name} {' and '.join(gaps)}")
        lines.append(f"Against `{control}`: {'; '.join(told)}.")
    e = stages[first][0].experiment
    head = f"`{e.defense}` at λ = {e.lam}, by time constants:"
    return Reading("\n".join([head, "", *(f"- {line}" for line in lines), "", f"*{RULE}*"]))
