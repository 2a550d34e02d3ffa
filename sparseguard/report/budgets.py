"""What an attack's means buy: curves against images and updates, the ladder of attacks, and what order survives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, pairwise
from statistics import mean
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiment import USUAL_ATTACK
from ..result import Result
from ..scales import check_scale
from . import looks
from .about import about, by_attack, by_cell, by_defense, caption, over_seeds, seeds_of
from .compare import Number, along, average, by_strength, values
from .figures import curve, finished
from .reading import Reading
from .rule import MARGINS
from .table import DASH, Table
from .tables import attackers, gained, last_gain, spread

MARGIN = MARGINS["psnr"]
MEAN_IMAGE = "the mean image"


def images_of(r: Result, options: Mapping[str, Any] = MappingProxyType({})) -> float | None:
    """Hold-out images of a cell that differs from the usual one in their number and these options; else ``None``."""
    e = r.experiment
    alone = e.attack == USUAL_ATTACK and dict(e.attack_options) == dict(options) and e.holdout_from is None
    return float(r.details["attack_images"]) if alone else None


own_images_of = partial(images_of, options={"bent": False})
"""The same for an attacker that asks about its own images alone, without bent copies."""


def updates_of(r: Result) -> float | None:
    """Most updates of a cell that differs from the usual one in those alone; else ``None``."""
    e = r.experiment
    if e.attack != USUAL_ATTACK or set(e.attack_options) - {"updates"} or e.holdout is not None or e.holdout_from:
        return None
    return float(e.attack_options.get("updates", check_scale(e.scale).attack_updates))


def _draw(axis: Axes, curves: dict[str, dict[float, list[Result]]], metric: str, style: str, named: bool) -> None:
    for of in curves.values():
        e = next(iter(of.values()))[0].experiment
        colour, marker = looks.look(e.defense)
        curve(axis, of, [values(group, metric) for group in of.values()], color=colour, ls=style, marker=marker, ms=5,
              label=looks.name(e) if named else None, mfc=None if named else "white")  # fmt: skip


def budget_curves(results: Sequence[Result]) -> Figure:
    """PSNR and SSIM against hold-out images and against updates, a line a defense; hollow marks: no bent copies.

    Bars are one standard deviation over seeds.
    """
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7), sharey="row")
    columns = (("hold-out images", images_of), ("most updates of the U-Net", updates_of))
    for row, (metric, title) in zip(axes, (("psnr", "PSNR (dB)"), ("ssim", "SSIM"))):
        for axis, (name, budget) in zip(row, columns):
            _draw(axis, along(results, budget), metric, "-", named=True)
            if budget is images_of:
                _draw(axis, along(results, own_images_of), metric, "--", named=False)
            axis.set(xscale="log", xlabel=name)
            sizes = list(at_each(results, budget))
            axis.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axis.minorticks_off()
        row[0].set_ylabel(title)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncols=4, fontsize=8)
    told = f"{about(results, attack=False)}, {over_seeds(seeds_of(results))}"
    return finished(figure, f"What images and updates buy: {told}", (0, 0.1, 1, 1))


def at_each(results: Sequence[Result], budget: Number) -> dict[float, dict[str, list[Result]]]:
    """Seeds by budget, from small to large, and defense; cells without such a budget are left out."""
    sizes = sorted({size for r in results if (size := budget(r)) is not None})
    return {size: by_defense([r for r in results if budget(r) == size]) for size in sizes}


def order_of(group: dict[str, list[Result]]) -> list[str]:
    """Defenses from the one that hides most."""
    return sorted(group, key=lambda name: average(group[name]))


def turned(before: dict[str, list[Result]], after: dict[str, list[Result]]) -> list[tuple[str, str]]:
    """Pairs of defenses whose first hides more by :data:`MARGIN` under ``before``, and less by that under ``after``."""
    shared = [name for name in before if name in after]
    gaps = {
        (a, b): (average(before[b]) - average(before[a]), average(after[b]) - average(after[a]))
        for pair in combinations(shared, 2) for a, b in (pair, pair[::-1])
    }  # fmt: skip
    return [pair for pair, (then, now) in gaps.items() if then > MARGIN and now < -MARGIN]


def ladder_table(results: Sequence[Result]) -> Table:
    """One row a rung: the mean image, then every attack, weakest first; what each defense gives up under it.

    A rung's strength is the mean PSNR over the defenses that all rungs share.
    """
    rungs = {name: by_defense(of) for name, of in by_attack(results).items()}
    defenses = list(dict.fromkeys(name for of in rungs.values() for name in of))
    shared = [name for name in defenses if all(name in of for of in rungs.values())] or defenses
    ordered = sorted(rungs, key=lambda n: mean(average(rungs[n][d]) for d in shared if d in rungs[n]))
    floor = by_defense(next(iter(by_attack(results).values())))
    first = {"attack": MEAN_IMAGE} | {
        name: spread([r.metrics["psnr_mean_image"] for r in floor[name]], 1) if name in floor else DASH
        for name in defenses
    }
    rows = [first | {"order": DASH, "turned round": DASH}]
    previous: dict[str, list[Result]] = {}
    for name in ordered:
        of = rungs[name]
        cells = {
            d: f"{spread([r.metrics['psnr'] for r in of[d]], 1)} ({spread([r.metrics['ssim'] for r in of[d]], 2)})"
            if d in of else DASH for d in defenses
        }  # fmt: skip
        both = [d for d in of if d in previous]
        pairs = f"{len(turned(previous, of))} of {math.comb(len(both), 2)} pairs" if previous else DASH
        rows.append({"attack": name} | cells | {"order": ", ".join(order_of(of)), "turned round": pairs})
        previous = of
    notes = [
        "PSNR in dB (SSIM), means over private images and seeds. Rungs by their mean over the defenses that all have.",
        "Order: from the defense that hides most. Turned round: pairs of which one hid more than the other by over "
        f"{MARGIN} dB on the rung above, and hides less by as much on this one.",
    ]
    return Table(pd.DataFrame(rows), caption(results), notes, columns=["attack", *defenses, "turned round"])


def attackers_table(results: Sequence[Result]) -> Table:
    """One row a cell: every decoder's validation PSNR and updates, who won, and what the last doubling gained."""
    names = list(dict.fromkeys(name for r in results for name in r.details["attack"].get("errors", {})))
    rows = []
    for label, group in by_cell(results).items():
        told = [r.details["attack"] for r in group]
        row = {"cell": label}
        for name in names:
            errors = [of.get("errors", {}).get(name) for of in told]
            row[name] = spread([None if e is None else -10 * float(np.log10(e)) for e in errors], 1)
            taken = [of["updates"][name] for of in told if name in of.get("updates", {})]
            row[name] += f" ({min(taken)} to {max(taken)})" if taken and min(taken) < max(taken) else ""
            row[name] += f" ({taken[0]})" if taken and min(taken) == max(taken) else ""
        still = any(of.get("capped") for of in told)
        rows.append(row | {"best": attackers(group), "last doubling (dB)": last_gain(group) + " †" * still})
    notes = [
        "Validation error as dB, mean ± standard deviation over seeds, and the updates taken: a decoder ends when a "
        "doubling gains less than 0.1 dB, when it cannot win any more, or at the scale's most updates.",
        "†: still gaining then, in some seed.",
    ]
    usual = [i for i, row in enumerate(rows) if " under " not in row["cell"]]
    return Table(pd.DataFrame(rows), caption(results), notes, usual if len(usual) < len(rows) else [])


def at_accuracy(of: dict[float, list[Result]], accuracy: float) -> float | None:
    """PSNR of a defense at an accuracy, straight between its strengths; ``None`` beyond them."""
    points = sorted((average(group, "accuracy"), average(group)) for group in of.values())
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= accuracy <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (accuracy - x0) / (x1 - x0)
    return None


def equal_accuracy_table(results: Sequence[Result]) -> Table:
    """Each sparse row of the usual attack, and what its rivals would give up at the same accuracy."""
    usual = [r for r in results if r.experiment.attack_label == USUAL_ATTACK]
    curves = by_strength([r for r in usual if r.experiment.family != "sparse"])
    rivals = {name: of for name, of in curves.items() if len(of) > 1}
    rows = []
    for label, group in by_defense([r for r in usual if r.experiment.family == "sparse"]).items():
        accuracy = average(group, "accuracy")
        found = {name: at_accuracy(of, accuracy) for name, of in rivals.items()}
        rows.append(
            {
                "defense": label,
                "accuracy": f"{accuracy:.3f}",
                "PSNR (dB)": spread([r.metrics["psnr"] for r in group], 1),
            }
            | {f"{name} there": DASH if psnr is None else f"{psnr:.1f}" for name, psnr in found.items()}
        )
    notes = [
        "A rival's PSNR at the accuracy of the row: straight between the two strengths whose mean accuracies enclose "
        "it; an em dash where no two do. Higher than the row's: the row hides more at equal accuracy."
    ]
    return Table(pd.DataFrame(rows), caption(usual), notes)


def survives(results: Sequence[Result]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs whose first hides more by :data:`MARGIN`: those that stay so, and those that do not, if the first gained
    its last doubling once more and the second nothing."""
    groups = by_defense(results)
    safe: list[tuple[str, str]] = []
    open_: list[tuple[str, str]] = []
    for a, b in combinations(order_of(groups), 2):
        gap = average(groups[b]) - average(groups[a])
        if gap > MARGIN:
            gains = [max(gain, 0.0) for r in groups[a] if (gain := gained(r.details["attack"])) is not None]
            more = mean(gains) if gains else 0.0
            (safe if gap - more > 0 else open_).append((a, b))
    return safe, open_


def budgets_reading(results: Sequence[Result]) -> Reading:
    """Which order of the defenses survives: with most images, from rung to rung, and the last doubling."""
    ends, lines = at_each(results, images_of), []
    least, most = min(ends, default=0.0), max(ends, default=0.0)
    if ends:
        order = ", ".join(f"`{n}` {spread(values(ends[most][n], 'psnr'), 1)} dB" for n in order_of(ends[most]))
        lines.append(f"With {most:.0f} hold-out images, from the defense that hides most: {order}.")
        safe, open_ = survives([r for of in ends[most].values() for r in of])
        count = len(safe) + len(open_)
        lines.append(
            f"{len(safe)} of the {count} pairs that lie more than {MARGIN} dB apart there stay in order if the one "
            "that hides more gives up what the attack's last doubling gained once again"
            + (f"; not {', '.join(f'`{a}` / `{b}`' for a, b in open_)}." if open_ else ".")
        )
    rungs = {name: by_defense(of) for name, of in by_attack(results).items()}
    strongest = {
        d: max((name for name in rungs if d in rungs[name]), key=lambda name: average(rungs[name][d]))
        for d in dict.fromkeys(d for of in rungs.values() for d in of)
    }
    told = ", ".join(f"`{d}` {average(rungs[n][d]):.1f} dB (`{n}`)" for d, n in strongest.items())
    lines.append(f"The strongest attack on each defense, of all that were tried: {told}.")
    if least < most:
        gains = {n: average(ends[most][n]) - average(ends[least][n]) for n in ends[most] if n in ends[least]}
        told = ", ".join(f"`{n}` {gains[n]:+.1f}" for n in sorted(gains, key=lambda n: -gains[n]))
        lines.append(f"From {least:.0f} to {most:.0f} images the attacker gains, in dB: {told}.")
        pairs = turned(ends[least], ends[most])
        lines.append(
            f"That turns round: {', '.join(f'`{a}` / `{b}`' for a, b in pairs)}." if pairs
            else f"No pair that lies more than {MARGIN} dB apart at both ends is turned round by it."
        )  # fmt: skip
    for (a, before), (b, after) in pairwise(at_each(results, updates_of).items()):
        pairs = turned(before, after)
        told = ", ".join(f"`{x}` / `{y}`" for x, y in pairs) or "no pair"
        lines.append(f"From {a:.0f} to {b:.0f} updates turned round: {told}.")
    lines.append(f"{about(results)}; {over_seeds(seeds_of(results))}.")
    return Reading("\n".join(f"- {line}" for line in lines))
