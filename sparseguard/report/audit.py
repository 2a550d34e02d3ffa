"""An audit as a table, a picture, and a few sentences."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from ..attacks.race import PAYS
from ..auditing import ATTACK, CLASS_MEAN, MEAN, NEAREST, RANDOM, Audit
from .figures import image_row
from .reading import Reading
from .rule import FEW, MARGINS, READABLE
from .table import DASH, Table
from .tables import gained, spread

EXACT = 100.0
"""dB that an exact copy counts as in differences."""
RULE = (
    f"Rule: more than a control is a mean difference over the victims of more than {MARGINS['psnr']} dB and of two "
    f"standard errors; an image is readable at an SSIM of {READABLE} or more; the best control is the one of "
    "highest mean PSNR among those that only point at hold-out images."
)
WHAT = {
    ATTACK: "the attack, on the trained module",
    RANDOM: "the attack, on random weights",
    NEAREST: "hold-out image of nearest leak",
    CLASS_MEAN: "mean hold-out image of the class",
    MEAN: "mean hold-out image",
}


def _difference(audit: Audit, other: str) -> tuple[float, int]:
    """Mean PSNR of the attack minus that of another over the victims; 1, -1 or 0: more, less, neither."""
    gaps = (audit.psnr[ATTACK].clamp(max=EXACT) - audit.psnr[other].clamp(max=EXACT)).double()
    mean, error = float(gaps.mean()), float(gaps.std()) / math.sqrt(len(gaps))
    return mean, (mean > 0) - (mean < 0) if abs(mean) > max(MARGINS["psnr"], 2 * error) else 0


def _readable(values: Tensor) -> float:
    return float((values >= READABLE).double().mean())


def _capped(audit: Audit) -> bool:
    return bool(audit.details[ATTACK].get("capped"))


def _ending(audit: Audit) -> str:
    """What the last doubling gained, and whether the cap ended the attack."""
    told, gain = audit.details[ATTACK], gained(audit.details[ATTACK])
    attacker = told.get("attacker", "unnamed")
    if gain is None:
        return f"the best decoder ({attacker}) has no doublings"
    taken = told.get("updates", {}).get(attacker)
    end = f"and it was still gaining when its {taken} updates ended" if _capped(audit) else "no cap ended it"
    return f"the last doubling of the best decoder ({attacker}) gained {gain:.2f} dB, {end}"


def _where(audit: Audit) -> str:
    return f"{audit.leak or 'output'} ({' × '.join(map(str, audit.leak_shape))})"


def audit_table(audit: Audit) -> Table:
    """One row for the attack and each control: PSNR and SSIM over the victims, and the share that can be read."""
    rows = []
    for name in (n for n in WHAT if n in audit.psnr):
        gain, sign = _difference(audit, name)
        doubling = gained(audit.details.get(name, {}))
        rows.append(
            {
                "images are": WHAT[name],
                "PSNR (dB)": spread(audit.psnr[name].tolist(), 2),
                "SSIM": spread(audit.ssim[name].tolist(), 3),
                f"SSIM ≥ {READABLE}": f"{_readable(audit.ssim[name]):.0%}",
                "attack minus this (dB)": DASH if name == ATTACK else f"{gain:+.2f}" + ("" if sign else " (a tie)"),
                "decoder": str(audit.details.get(name, {}).get("attacker", DASH)),
                "last doubling (dB)": DASH if doubling is None else f"{doubling:.2f}",
            }
        )
    accuracy = "" if audit.accuracy is None else f"; accuracy on the victims {audit.accuracy:.3f}"
    caption = (
        f"Leak {_where(audit)}, {audit.access.replace('_', ' ')}, attack {audit.attack}, scale {audit.scale}, seed "
        f"{audit.seed}: {len(audit.psnr[ATTACK])} images rebuilt, {audit.attack_images} learned from, "
        f"{audit.validation_images} chosen by; {_ending(audit)}{accuracy}; mean ± standard deviation over images; "
        f"{audit.device}, {audit.seconds:.0f} s."
    )
    notes = [
        f"Last doubling: dB of validation error that it gained to double the best decoder's updates once more; below "
        f"{PAYS} dB training ends.",
        "Random weights: the same module with its weights drawn anew, attacked in the same way. What leaks from it, "
        "the architecture gives away."
        if RANDOM in audit.psnr
        else "There are no random weights to compare with: the module has no parameters.",
        RULE,
    ]
    return Table(pd.DataFrame(rows), caption, notes)


def audit_figure(audit: Audit) -> Figure:
    """The first victims, what the attack made of each, and each control below; numbers are means over all victims."""
    rows = [("original", audit.originals)]
    for name in (n for n in WHAT if n in audit.rebuilt):
        numbers = f"{float(audit.psnr[name].mean()):.1f} dB, SSIM {float(audit.ssim[name].mean()):.2f}"
        rows.append((f"{WHAT[name]}\n{numbers}", audit.rebuilt[name]))
    columns = len(audit.originals)
    size = (0.6 * columns + 2.6, 0.62 * len(rows) + 0.5)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for axis_row, (label, images) in zip(axes, rows):
        image_row(axis_row, label, images)
    how = f"attack {audit.attack}, scale {audit.scale}, seed {audit.seed}"
    figure.suptitle(f"What {_where(audit)} gives away: {how}", fontsize=10, y=0.95)
    plt.close(figure)
    return figure


def audit_reading(audit: Audit) -> Reading:
    """What the numbers say, the answer first."""
    best = max((n for n in audit.psnr if n not in (ATTACK, RANDOM)), key=lambda n: float(audit.psnr[n].mean()))
    gap, sign = _difference(audit, best)
    share, other = _readable(audit.ssim[ATTACK]), _readable(audit.ssim[best])
    more = f"{gap:.1f} dB more than" if sign > 0 else f"no more ({gap:+.1f} dB) than"
    read = "most images" if share > 0.5 else "some images" if share >= FEW else "hardly any image" if share else "none"
    read += " can be read"
    if sign <= 0:  # whatever their SSIM, the leak did not show them
        read = "so none is read from it"
    answer = (
        f"**{_where(audit)} gives away {more} the best control, the {WHAT[best]}, and {read}** ({share:.0%} reach an "
        f"SSIM of {READABLE}, {other:.0%} of the control's)"
    )
    if RANDOM in audit.psnr:
        gap, sign = _difference(audit, RANDOM)
        told = ("as much", f"{abs(gap):.1f} dB less", f"{abs(gap):.1f} dB more")[sign]
        answer += f"; the same module with random weights leaks {told}"
    lines = [
        f"{answer}.",
        f"Of the attack, {_ending(audit)}" + (": a longer one may rebuild more." if _capped(audit) else "."),
    ]
    if audit.accuracy is not None:
        lines.append(f"The module classifies {audit.accuracy:.0%} of the victims correctly.")
    lines.append(
        f"This is scale `{audit.scale}`, seed {audit.seed}: {len(audit.psnr[ATTACK])} private images, attackers "
        f"trained on {audit.attack_images} others. Whoever has more images or another decoder can only do better, so "
        "this is a lower bound on what leaks, not a guarantee."
    )
    return Reading("\n".join([*(f"- {line}" for line in lines), "", f"*{RULE}*"]))
