"""How much noise hides as much as sparsity: curves and a reading for the noise defenses (paper, App. B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import ttest_ind

from ..experiment import Result
from ..paper import printed
from .figures import COLOURS, MARKERS
from .reading import Reading
from .tables import by_cell, spread

METRICS = {"psnr": "PSNR (dB), lower: more private", "accuracy": "accuracy on the hold-out"}
RULE = (
    "Rule: accuracies, or PSNRs, of two rows differ if Welch's t-test over seeds gives p < 0.05; with one seed nothing "
    "is called a difference. A noise matches a sparse row if their PSNRs do not differ."
)


def _by_defense(results: Sequence[Result]) -> dict[str, list[list[Result]]]:
    """Seeds of each strength of each defense, from weak to strong."""
    found: dict[str, list[list[Result]]] = {}
    for group in by_cell(results).values():
        if isinstance(group[0].experiment.strength, float):
            found.setdefault(group[0].experiment.defense, []).append(group)
    return {name: sorted(groups, key=lambda g: float(g[0].experiment.strength)) for name, groups in found.items()}


def _values(group: Sequence[Result], metric: str) -> list[float]:
    return [float(r.metrics[metric] or 0.0) for r in group]


def _differ(a: Sequence[Result], b: Sequence[Result], metric: str) -> bool:
    x, y = _values(a, metric), _values(b, metric)
    return min(len(x), len(y)) > 1 and bool(ttest_ind(x, y, equal_var=False).pvalue < 0.05)


def noise_curves(by_setting: Mapping[str, Sequence[Result]]) -> Figure:
    """PSNR and accuracy against the strength of each defense, a row of panels a setting.

    Marks are means over seeds with one standard deviation; hollow marks are the paper's; the dotted line is no defense.
    Noise scales (sigma, b) and lambda share the axis only to be seen at once: they are different quantities.
    """
    figure, axes = plt.subplots(len(by_setting), 2, figsize=(10, 3.2 * len(by_setting)), squeeze=False)
    for row, (setting, results) in zip(axes, by_setting.items()):
        for axis, (metric, label) in zip(row, METRICS.items()):
            _curves(axis, results, metric)
            axis.set(xscale="log", xlabel="σ, b or λ", ylabel=label, title=setting.replace("_", "-"))
    axes[0][0].legend(fontsize=8)
    e = next(iter(by_setting.values()))[0].experiment
    figure.suptitle(f"Strength of noise and of sparsity: {e.dataset_name}, scale {e.scale}", fontsize=10)
    figure.tight_layout()
    plt.close(figure)
    return figure


def _curves(axis: Axes, results: Sequence[Result], metric: str) -> None:
    for i, (name, groups) in enumerate(_by_defense(results).items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        x = [float(g[0].experiment.strength) for g in groups]
        y = [_values(g, metric) for g in groups]
        bars = [stdev(v) if len(v) > 1 else 0.0 for v in y]
        axis.errorbar(x, [mean(v) for v in y], yerr=bars, color=colour, marker=marker, capsize=2, label=name)
        cells = [g[0].experiment for g in groups]
        rows = [printed(e.setting, e.dataset, e.defense, e.lam, dict(e.options)) for e in cells]
        there = [(value, row.numbers[metric]) for value, row in zip(x, rows) if row is not None]
        axis.plot(*zip(*there), color=colour, marker=marker, mfc="none", ls="none") if there else None
    plain = [r for r in results if r.experiment.defense == "none"]
    if plain:
        axis.axhline(mean(_values(plain, metric)), color="black", ls=":", lw=1)


def noise_reading(by_setting: Mapping[str, Sequence[Result]]) -> Reading:
    """What the numbers say: what noise costs in accuracy, and which noise hides as much as each sparse row."""
    lines = []
    for setting, results in by_setting.items():
        where = setting.replace("_", "-")
        defenses = _by_defense(results)
        sparse = {g[0].experiment.label: g for groups in defenses.values() for g in groups if g[0].experiment.lam}
        noises = {name: groups for name, groups in defenses.items() if groups[0][0].experiment.lam is None}
        for name, groups in noises.items():
            weak, strong = groups[0], groups[-1]
            verdict = "differ" if _differ(weak, strong, "accuracy") else "cannot be told apart"
            lines.append(
                f"{where}: `{name}` from {weak[0].experiment.strength} to {strong[0].experiment.strength}: accuracy "
                f"{spread(_values(weak, 'accuracy'), 2)} and {spread(_values(strong, 'accuracy'), 2)} ({verdict}), "
                f"PSNR {spread(_values(weak, 'psnr'), 1)} and {spread(_values(strong, 'psnr'), 1)} dB."
            )
        for label, own in sparse.items():
            hidden = mean(_values(own, "psnr"))
            parts = [_match(name, groups, own, hidden) for name, groups in noises.items()]
            if parts:
                lines.append(f"{where}: `{label}` ({hidden:.1f} dB, accuracy {spread(_values(own, 'accuracy'), 2)}): "
                             + "; ".join(parts) + ".")  # fmt: skip
    return Reading("\n".join([*(f"- {line}" for line in lines), "", f"*{RULE}*"]))


def _match(name: str, groups: Sequence[list[Result]], own: Sequence[Result], hidden: float) -> str:
    """The weakest strength that hides no less than a sparse row, and what it costs."""
    enough = [g for g in groups if mean(_values(g, "psnr")) <= hidden or not _differ(g, own, "psnr")]
    if not enough:
        return f"no `{name}` here hides as much"
    cell, accuracy = enough[0][0].experiment, spread(_values(enough[0], "accuracy"), 2)
    verdict = "differs" if _differ(enough[0], own, "accuracy") else "cannot be told apart"
    return f"`{cell.label}` hides as much or more at accuracy {accuracy} ({verdict})"
