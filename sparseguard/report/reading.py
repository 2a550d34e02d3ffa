"""A few sentences that say what a table's numbers say, by a rule that is printed with them."""

from __future__ import annotations

from collections.abc import Sequence

from ..attacks.race import PAYS
from ..result import Result
from .about import by_attack, by_defense
from .compare import average, differ
from .rule import ALONE, CALLED, MARGINS
from .tables import spread

RULE = f"Rule: two rows differ {CALLED} for their PSNR and the means lie more than {MARGINS['psnr']} dB apart; {ALONE}"


CONTROLS = {
    "none": "all that the sparse front end changes",
    "none_standardized": "what it changes beyond standardising each image",
    "none_conv": "sparsity's own share",
}
"""What the difference of a sparse row from each control is."""
SLACK = MARGINS["accuracy"]
"""Accuracy by which a rival may fall short and still count as equally useful."""


class Reading(str):
    """Markdown that a notebook renders, one sentence a bullet, the most important first."""

    def _repr_markdown_(self) -> str:
        return str(self)


def hide(rows: Sequence[str]) -> str:
    """The verb that so many rows take."""
    return "hides" if len(rows) == 1 else "hide"


def _compare(name: str, a: Sequence[Result], other: str, b: Sequence[Result]) -> str:
    gap, differs = differ(a, b)
    if not differs:
        return f"`{name}` and `{other}` cannot be told apart ({gap:+.1f} dB)"
    return f"`{name}` gives the attacker {abs(gap):.1f} dB {'more' if gap > 0 else 'less'} than `{other}`"


def _rivals(label: str, groups: dict[str, list[Result]], rivals: Sequence[str]) -> str:
    """Which rivals hide more than a row, and which hide less, of those that do not pay for it with accuracy."""
    accuracy = average(groups[label], "accuracy")
    useful = [name for name in rivals if average(groups[name], "accuracy") >= accuracy - SLACK]
    gaps = {name: differ(groups[name], groups[label]) for name in useful}
    parts = []
    for word, sign in (("more", -1), ("less", 1)):
        told = [f"`{name}` ({gap:+.1f} dB)" for name, (gap, differs) in gaps.items() if differs and gap * sign > 0]
        parts += [f"{', '.join(told)} {hide(told)} {word}"] if told else []
    return f"`{label}` (accuracy {accuracy:.2f}): " + (", ".join(parts) or "none can be told apart from it")


def _first(groups: dict[str, list[Result]], results: Sequence[Result]) -> list[str]:
    """What comes first: who hides most and least, what is sparsity's own, what no row hides.

    The sparse row is the one that hides most of those whose accuracy is within :data:`SLACK` of the best.
    """
    level = {label: average(group) for label, group in groups.items()}
    low, top = min(level, key=lambda n: level[n]), max(level, key=lambda n: level[n])
    sentences = [
        f"The attacker rebuilds private images best from `{top}` ({level[top]:.1f} dB) and worst from `{low}` "
        f"({level[low]:.1f} dB, accuracy {average(groups[low], 'accuracy'):.2f})."
    ]
    sparse = {n: average(g, "accuracy") for n, g in groups.items() if g[0].experiment.family == "sparse"}
    useful = [n for n, accuracy in sparse.items() if accuracy >= max(sparse.values()) - SLACK]
    variants = {group[0].experiment.unattacked().variant: n for n, group in reversed(groups.items())}
    beside = [variants[name] for name in (*CONTROLS, "gaussian") if name in variants]
    if useful and beside:
        best = min(useful, key=lambda n: level[n])
        gaps = {row: differ(groups[best], groups[row]) for row in beside}
        told = ", ".join(
            f"{gap:+.1f} dB{'' if sure else ' (not told apart)'} beside `{row}`" for row, (gap, sure) in gaps.items()
        )
        sentences.append(f"Of the sparse rows that classify best, `{best}` hides most: {told}.")
    floor = average(results, "psnr_mean_image")
    near = [f"`{n}`" for n in level if level[n] < floor + 1]
    hidden = (
        f"within 1 dB of that, and so nearly private, {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near
        else "no row comes within 1 dB of that, so every leak here gives images away"
    )  # fmt: skip
    return [*sentences, f"Guessing the mean image, without any leak, reaches {floor:.1f} dB; {hidden}."]


def reading(results: Sequence[Result]) -> Reading:
    """What the numbers say, by attack: each sparse row against the controls and the noise, the floor, the judge."""
    told = by_attack(results)
    lines: list[str] = []
    for name, of in told.items():
        lines += [f"Under `{name}`:", ""] if len(told) > 1 else []
        lines += [*(f"- {sentence}" for sentence in _sentences(of)), ""]
    return Reading("\n".join([*lines, f"*{RULE}*"]))


def _sentences(results: Sequence[Result]) -> list[str]:
    groups = by_defense(results)
    ordered = sorted(groups, key=lambda label: average(groups[label]))
    text = ", ".join(f"`{n}` {spread([r.metrics['psnr'] for r in groups[n]], 1)} dB" for n in ordered)
    sentences = [*_first(groups, results), f"From the hardest to the easiest to invert: {text}."]
    sparse = [label for label, group in groups.items() if group[0].experiment.family == "sparse"]
    if "none" in groups and "none_standardized" in groups:
        alone = _compare("none_standardized", groups["none_standardized"], "none", groups["none"])
        sentences.append(f"What standardising each image does alone: {alone}.")
    for control, share in CONTROLS.items():
        if control in groups and sparse:
            compared = "; ".join(_compare(label, groups[label], control, groups[control]) for label in sparse)
            sentences.append(f"Against `{control}` ({share}): {compared}.")
    rivals = [label for label, group in groups.items() if group[0].experiment.family not in ("sparse", "control")]
    if rivals and sparse:
        compared = "; ".join(_rivals(label, groups, rivals) for label in sparse)
        sentences.append(f"Against the other defenses whose accuracy is no more than {SLACK:.0%} lower: {compared}.")
    recognised = {n: average(group, "judge_accuracy") for n, group in groups.items()}
    top, low = max(recognised, key=lambda n: recognised[n]), min(recognised, key=lambda n: recognised[n])
    sentences.append(
        f"The judge recognises the class in {recognised[low]:.0%} (`{low}`) to {recognised[top]:.0%} (`{top}`) of "
        f"the reconstructions, and in {average(groups[top], 'judge_accuracy_originals'):.0%} of the originals."
    )
    open_ended = [name for name, group in groups.items() if any(r.details["attack"].get("capped") for r in group)]
    if open_ended:
        named = "every row" if len(open_ended) == len(groups) else ", ".join(f"`{n}`" for n in open_ended)
        sentences.append(
            f"The attack was still gaining when its updates ended in {named}: less is hidden there than it seems."
        )
    first = results[0]
    images = ", ".join(map(str, sorted({r.details["attack_images"] for r in results})))
    sentences.append(
        f"This is scale `{first.experiment.scale}`: {first.details['train_images']} private images, attackers trained "
        f"on {images} hold-out images until a doubling of their updates gained less than {PAYS} dB. Whoever has more "
        "images or another decoder can only do better, so each PSNR is a lower bound on what leaks, not a guarantee."
    )
    return sentences
