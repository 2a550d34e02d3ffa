"""How much noise hides as much as sparsity: curves and a reading for the noise defenses (paper, App. B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..result import Result
from . import looks
from .about import about, by_attack
from .compare import average, by_strength, differ, number_of, printed_curves, shared, values
from .figures import curve, finished
from .reading import Reading
from .rule import ALONE, CALLED, MARGINS, RATE, Paired
from .tables import spread

METRICS = {"psnr": "PSNR (dB), lower: more private", "accuracy": "accuracy on the hold-out"}
RULE = (
    f"Rule: accuracies of two rows differ {CALLED} and the means lie more than {MARGINS['accuracy']} apart; {ALONE} A "
    f"noise hides as much as a sparse row if a one-sided paired t-test (p < {RATE}) says that its PSNR exceeds the "
    f"row's by no more than {MARGINS['psnr']} dB; with one seed, if it is lower."
)


def noise_curves(by_setting: Mapping[str, Sequence[Result]]) -> Figure:
    """PSNR and accuracy against the strength of each defense, a row of panels a setting.

    Marks are means over seeds with one standard deviation; hollow marks are the paper's; the dotted line is no defense.
    Noise scales (sigma, b) and lambda share the axis only to be seen at once: they are different quantities.
    """
    figure, axes = plt.subplots(len(by_setting), 2, figsize=(10, 3.2 * len(by_setting)), squeeze=False, sharey="col")
    every = [r for results in by_setting.values() for r in results]
    strengths = sorted({value for of in by_strength(every).values() for value in of})
    for row, (setting, results) in zip(axes, by_setting.items()):
        for axis, (metric, label) in zip(row, METRICS.items()):
            _curves(axis, results, metric)
            axis.set(xscale="log", xlabel="σ, b or λ", ylabel=label, title=setting.replace("_", "-"))
            axis.set_xticks(strengths, [f"{value:g}" for value in strengths])
            axis.minorticks_off()
    meant = [Line2D([], [], color="0.4", marker="o", mfc="none", ls="none", label="hollow: printed")]
    meant += [Line2D([], [], color="0.4", ls=":", label="dotted: no defense")]
    shown = axes[0][0].get_legend_handles_labels()[0]
    axes[0][0].legend(handles=[*shown, *meant], fontsize=8)
    told = about(next(iter(by_setting.values())), leak=False, attack=False)
    return finished(figure, f"Strength of noise and of sparsity: {told}")


def _curves(axis: Axes, results: Sequence[Result], metric: str) -> None:
    curves = by_strength(results)
    printed = printed_curves(curves, metric)
    names = looks.row_names([r.experiment for r in results], strength=False)
    for of in curves.values():
        e = next(iter(of.values()))[0].experiment
        colour, marker = looks.look(e.defense)
        numbers = [values(group, metric) for group in of.values()]
        curve(axis, of, numbers, color=colour, marker=marker, label=names[e.label], lw=None)
        known = printed.pop(e.defense, {})  # beside the first regime alone
        if known:
            axis.plot(*zip(*known.items()), color=colour, marker=marker, mfc="none", ls="none")
    plain = [r for r in results if r.experiment.defense_label == "none"]
    if plain:
        axis.axhline(average(plain, metric), color="black", ls=":", lw=1)


def hides_as_much(noise: Sequence[Result], own: Sequence[Result]) -> bool:
    ours, theirs = shared(noise, own, number_of("psnr"))
    if len(ours) < 2:
        return average(noise) <= average(own)
    return Paired(ours, theirs, "not_higher", MARGINS["psnr"]).tests()[0] < RATE


def noise_reading(by_setting: Mapping[str, Sequence[Result]]) -> Reading:
    """What the numbers say: which noise hides as much as each sparse row, and what noise costs in accuracy."""
    first, lines = [], []
    for setting, attack, results in [
        (s, a, of) for s, every in by_setting.items() for a, of in by_attack(every).items()
    ]:
        where = setting.replace("_", "-") + (f", {attack}" if len(by_attack(by_setting[setting])) > 1 else "")
        defenses = {name: list(of.values()) for name, of in by_strength(results).items()}
        sparse = {g[0].experiment.label: g for groups in defenses.values() for g in groups if g[0].experiment.lam}
        noises = {name: groups for name, groups in defenses.items() if groups[0][0].experiment.lam is None}
        if sparse and noises:
            hidden = {
                label: [g for of in noises.values() if (g := weakest_that_hides(of, own))]
                for label, own in sparse.items()
            }
            free = [label for label, of in hidden.items() if any(not costs_accuracy(g, sparse[label]) for g in of)]
            first.append(
                f"{where}: of {len(sparse)} sparse rows, noise hides as much as {sum(map(bool, hidden.values()))}, "
                f"in {len(free)} of these cases at an accuracy that cannot be told to be less."
            )
        for name, groups in noises.items():
            weak, strong = groups[0], groups[-1]
            verdict = "differ" if differ(weak, strong, "accuracy")[1] else "cannot be told apart"
            lines.append(
                f"{where}: `{name}` from {weak[0].experiment.strength} to {strong[0].experiment.strength}: accuracy "
                f"{spread(values(weak, 'accuracy'), 2)} and {spread(values(strong, 'accuracy'), 2)} ({verdict}), "
                f"PSNR {spread(values(weak, 'psnr'), 1)} and {spread(values(strong, 'psnr'), 1)} dB."
            )
        for label, own in sparse.items():
            psnr = average(own)
            parts = [_match(name, groups, own) for name, groups in noises.items()]
            if parts:
                lines.append(f"{where}: `{label}` ({psnr:.1f} dB, accuracy {spread(values(own, 'accuracy'), 2)}): "
                             + "; ".join(parts) + ".")  # fmt: skip
    return Reading("\n".join([*(f"- {line}" for line in [*first, *lines]), "", f"*{RULE}*"]))


def weakest_that_hides(groups: Sequence[list[Result]], own: Sequence[Result]) -> list[Result] | None:
    """The weakest strength that hides no less than a sparse row."""
    return next((g for g in groups if hides_as_much(g, own)), None)


def costs_accuracy(noise: Sequence[Result], own: Sequence[Result]) -> bool:
    """Whether noise is less accurate than a sparse row."""
    gap, differs = differ(noise, own, "accuracy")
    return differs and gap < 0


def _match(name: str, groups: Sequence[list[Result]], own: Sequence[Result]) -> str:
    """The weakest strength that hides no less than a sparse row, and what it costs."""
    enough = weakest_that_hides(groups, own)
    if enough is None:
        return f"no `{name}` here hides as much"
    accuracy = spread(values(enough, "accuracy"), 2)
    verdict = "differs" if differ(enough, own, "accuracy")[1] else "cannot be told apart"
    return f"`{enough[0].experiment.label}` hides as much or more at accuracy {accuracy} ({verdict})"
