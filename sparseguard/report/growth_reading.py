"""What growing data say of dictionaries, codes and the networks that have them, by a fixed rule."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from ..result import Result
from ..studies.growth import Grown
from .growth import NOT_MEASURED, WORDS, Row, row_of
from .reading import Reading
from .rule import ALONE, CALLED, MARGINS, difference
from .summary import span

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
        rows: dict[Row, list[Result]] = {}
        for r in sorted((r for r in results if r.experiment.scale == scale), key=lambda r: r.experiment.seed):
            rows.setdefault(row_of(r.experiment), []).append(r)
        usual = rows.pop(("learned", "fista"), [])
        told = []
        for (dictionary, solver), group in rows.items():
            gaps = []
            for metric, unit in (("psnr", " dB"), ("accuracy", " of accuracy")):
                a, b = ([float(r.metrics[metric] or 0.0) for r in of] for of in (group, usual))
                if a and b:
                    gap, differs = difference(a, b, MARGINS[metric])
                    gaps.append(f"{gap:+.{1 if metric == 'psnr' else 2}f}{unit}{'' if differs else ' (no difference)'}")
            told += [f"{WORDS[dictionary]}, `{solver}`: {', '.join(gaps)}"] if gaps else []
        if told:
            images = usual[0].details["train_images"]
            lines.append(f"Networks of {images:,} private images (scale `{scale}`), beside learned dictionaries and "
                         f"settled codes: {'; '.join(told)}.")  # fmt: skip
    return lines
