"""The summary of the notebooks that study something else than leaks: classes (06), clusters (04), costs (07), the layer
(08)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from ..data import dataset_title
from ..result import Result
from ..studies.clusters import PIXELS, Features
from ..studies.competition import Duel, winner_takes_all
from ..studies.costs import STAGE_NAMES, Cost
from ..studies.layer import Kept, LayerStudy
from ..studies.trace import EnergyCurve
from .about import by_attack, by_defense, in_short, seeds_of, seeds_told
from .classes import judged_lift, nearer, private_ratio
from .clusters import compare_layers, groups_of, layer_name
from .compare import average
from .costs import largest_peak, seconds_of, total_seconds
from .costs_words import faster
from .looks import name
from .rule import LOOSE, sentence, verdict
from .summary import Summary, listed, percent, span


def classes_summary(results: Sequence[Result]) -> Summary:
    """Of notebook 06: whether the target gives its classes away, who keeps them, and whether training images are."""
    groups = by_defense(next(iter(by_attack(results).values())))
    after = {label: average(group, "judge_accuracy") for label, group in groups.items()}
    before = [average(group, "judge_accuracy_prior_only") for group in groups.values()]
    lifts = {label: judged_lift(group) for label, group in groups.items()}
    more = [label for label, (gap, sure) in lifts.items() if sure and gap > 0]
    sparse = [label for label, group in groups.items() if group[0].experiment.family == "sparse"]
    ratio = [mean(private_ratio(group)) for group in groups.values()]
    low = sorted(after, key=lambda n: after[n])[:3]
    found, given = f"in {len(more)} of {len(groups)} rows", [nearer(group) for group in groups.values()]
    away = sum(sure and gap > 0 for gap, sure in given)
    alone = len({r.experiment.seed for r in results}) == 1
    if alone:
        first = "Whether the search finds what the target knows of a class, one seed cannot tell"
    elif not more:
        first = f"In none of {len(groups)} rows does the search find more of a class than the prior offers"
    else:
        first = f"The search finds what the target knows of a class {found}, " + (
            "and sparse layers do not keep it from the attacker" if set(sparse) & set(more) else
            "but none behind sparse layers that can be told from the prior" if sparse else "whatever the defense"
        )  # fmt: skip
    sentences = [
        f"**{first}.**",
        f"An independent classifier sees the class in {percent(before)} of what the prior alone offers and in "
        f"{percent(list(after.values()))} of what the search ends with.",
    ]
    if sparse:
        told = percent([after[label] for label in sparse])
        rest = f", without a defense {percent([after['none']])}" if "none" in after else ""
        sentences.append(f"Behind sparse layers that is {told}{rest}; least behind "
                         f"{listed([name(groups[n][0].experiment) for n in low])}.")  # fmt: skip
    sentences += [
        f"What is found lies {span(ratio, 2)} times as far from hold-out images that nobody saw as from private ones: "
        + ("one seed cannot tell these apart." if alone else "it shows the class and no training image." if not away
           else f"in {away} of {len(groups)} rows the search moves towards the private ones."),
        f"{in_short(results)}; easy classes, whose looks are no secret.",
    ]  # fmt: skip
    numbers = [
        (percent(before), "class seen, prior alone"),
        (percent(list(after.values())), "class seen, after the search"),
        (span(ratio, 2), "distance to unseen images, in units of that to private ones"),
    ]
    return Summary(numbers, sentences)


def features_summary(found: Sequence[Features]) -> Summary:
    """Of notebook 04: whether sparse features are less clustered, how little any are, and what that is worth."""
    less: list[int] = []
    tops: list[float] = []
    sparse_values: list[float] = []
    others: list[float] = []
    for layers in groups_of(found).values():
        tops += [mean(f.silhouette for f in seeds) for seeds in layers.values()]
        for label, seeds in layers.items():
            if seeds[0].experiment.family != "sparse":
                others += [mean(f.silhouette for f in seeds)] if label != PIXELS else []
                continue
            sparse_values.append(mean(f.silhouette for f in seeds))
            for other in (n for n, of in layers.items() if n != PIXELS and of[0].experiment.family != "sparse"):
                for metric in ("silhouette_plane", "silhouette"):
                    gap, differs = compare_layers(seeds, layers[other], metric)
                    less.append((1 if gap < 0 else -1) if differs else 0)
    if not less:
        return Summary([], ["Nothing was measured beside sparse layers, so nothing can be compared."])
    yes = less.count(1)
    pixels = [mean(f.silhouette for f in of[PIXELS]) for of in groups_of(found).values() if PIXELS in of]
    raw = f" (raw pixels: {span(pixels, 2)})" if pixels else ""
    loose = (
        "none of these layers gathers its classes tightly" if max(tops) < LOOSE else "some layer's classes stand apart"
    )
    first = found[0].experiment
    names = listed(list(dict.fromkeys(layer_name(f) for f in found if f.experiment.family == "sparse")))
    sentences = [
        f"**Features of {names} are less clustered by class than those of other layers in {yes} of {len(less)} "
        f"comparisons: {sentence(verdict([less], every=True))} (taken alone; notebook 00 judges all together).**",
        f"In feature space their silhouette is {span(sparse_values, 2)}, that of the others {span(others, 2)}{raw}; 1 "
        f"is tight and apart, 0 mixed, so {loose}.",
        "Little clustering is not privacy: raw pixels are little clustered too, and they are the image.",
        f"{', '.join(groups_of(found))}, scale `{first.scale}`, {seeds_told([f.experiment.seed for f in found])}; what "
        "leaks is measured in notebooks 01 and 02.",
    ]
    numbers = [
        (f"{yes} of {len(less)}", "comparisons in which sparse features are less clustered"),
        (span(sparse_values, 2), "silhouette of sparse features"),
        (span(others, 2), "silhouette of linear layers and convolutions"),
    ]
    return Summary(numbers, sentences)


def costs_summary(costs: Sequence[Cost]) -> Summary:
    """Of notebook 07: what sparse coding costs beside none and beside convolutions, and which stage it costs."""
    groups = by_defense(next(iter(by_attack(costs).values())))
    sparse = {n: g for n, g in groups.items() if g[0].experiment.family == "sparse"}
    others = {n: g for n, g in groups.items() if g[0].experiment.family not in ("sparse", "control")}
    times = {n: faster(g, groups["none"], total_seconds)[0] for n, g in groups.items()}
    numbers, sentences = [], []
    if sparse:
        own = [times[n] for n in sparse]
        numbers.append((f"{span(own, 2)} ×", "time of a whole cell with sparse codes, beside no defense"))
        sentences.append(f"**A cell with sparse codes takes {span(own, 2)} times as long as one without a defense"
                         + (f", one of the other defenses {span([times[n] for n in others], 2)} times.**" if others
                            else ".**"))  # fmt: skip
        slower = [f for g in sparse.values() for o in others.values() if (f := faster(g, o, total_seconds))[1]]
        count = len(sparse) * len(others)
        pairs = f"{count} pairs of a sparse and another defense"
        sentences.append(
            "There is no other defense to compare with." if not others
            else f"Of {pairs}, {len(slower)} differ by more than chance." if len(seeds_of(costs)) > 1
            else f"Whether any of {pairs} differ by more than chance, one seed cannot tell."
        )  # fmt: skip
        if "none_conv" in groups:
            train = [faster(g, groups["none_conv"], seconds_of("target"))[0] for g in sparse.values()]
            numbers.append((f"{span(train)} ×", "training a sparse target, beside convolutions in its place"))
            sentences.append(f"The price is paid in training the target: {span(train)} times as long as with ordinary "
                             "convolutions in the sparse layers' place.")  # fmt: skip
    else:
        sentences.append("**No sparse defense was measured.**")
    total = sum(c.seconds for c in costs)
    share = {stage: sum(c.seconds_by_stage[key] for c in costs) / total for stage, key in STAGE_NAMES.items()}
    top = max(share, key=lambda stage: share[stage])
    peaks = [mean(of) for g in groups.values() if (of := [p for c in g if (p := largest_peak(c)) is not None])]
    memory = f"; the largest peak of memory above the start is {max(peaks):.0f} MiB" if peaks else ""
    numbers.append((percent([share[top]]), f"of all time goes into {top}"))
    sentences += [
        f"Most of a cell, {percent([share[top]])}, is {top}{memory}.",
        f"{in_short(costs)}; ratios belong to this machine and scale.",
    ]
    return Summary(numbers, sentences)


def layer_summary(
    study: LayerStudy,
    rows: Sequence[Kept],
    curves: Mapping[float, Sequence[Sequence[EnergyCurve]]],
    swept: Sequence[Duel],
) -> Summary:
    """Of notebook 08: what a code keeps of its image, whether the textbook settles, when a feature is silenced."""

    def at(regime: float | None) -> list[Kept]:
        return [row for row in rows if row.tau == regime]

    def told(regime: float | None) -> str:
        return "settled" if regime is None else f"at τ = {regime:g}"

    regimes = list(dict.fromkeys(row.tau for row in rows))
    kept = {regime: [mean(r.explained for r in at(regime) if r.lam == lam) for lam in study.lams] for regime in regimes}
    fullest = max(regimes, key=lambda regime: mean(kept[regime]))
    most = percent(kept[fullest])
    active = [mean(r.active for r in at(fullest) if r.lam == lam) for lam in study.lams]
    shows = "keeps most of its image" if min(kept[fullest]) > 0.5 else "may keep most of its image"
    sentences = [
        f"**A sparse code {shows}: {told(fullest)}, with {percent(active)} of the neurons active, it explains {most} "
        "of the variance.**",
        "That is what anybody who knows the dictionary rebuilds without training anything; "
        + (
            ", ".join(f"{told(regime)} it is {percent(kept[regime])}" for regime in regimes if regime != fullest)
            or "this is of all codes"
        )
        + f" (λ from {max(study.lams):g} to {min(study.lams):g}).",
    ]
    left = {tau: [float(group[0].excess[-1]) for group in seeds] for tau, seeds in curves.items()}
    numbers = [(most, f"of an image's variance explained by its code, {told(fullest)}")]
    if left:
        steps = "; ".join(f"{100 * mean(ends):.1f} % at τ = {tau:g}" for tau, ends in left.items())
        sentences.append(f"The textbook's {study.iterations} iterations do not reach the minimum of eq. 1: energy left "
                         f"above it, in units of the zero code's, {steps}.")  # fmt: skip
        worst = max(left, key=lambda tau: mean(left[tau]))
        numbers.append((f"{100 * mean(left[worst]):.0f} %", f"of the energy left by the textbook at τ = {worst:g}"))
    if swept:
        limit = winner_takes_all(swept[0].drives, swept[0].lam)
        sentences.append(f"Of two features that compete for one input, the weaker is silenced from a similarity of "
                         f"{limit:.2g} on.")  # fmt: skip
        numbers.append((f"{limit:.2g}", "similarity from which the weaker of two features is silent"))
    of = f"{dataset_title(study.dataset)}, scale `{study.scale}`, {seeds_told(study.seeds)}, random dictionary"
    sentences.append(f"{of}; in a network an attacker sees less than the code, see notebooks 01 and 02.")
    return Summary(numbers, sentences)
