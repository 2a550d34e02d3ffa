"""How a defense looks wherever it is drawn or named: one colour, one mark, one name.

The colours were searched for by simulated annealing: the least distance between any two of them, in CIEDE2000, is as
large as could be had in normal vision and in simulated protanopia, deuteranopia and tritanopia (Machado et al. 2009) at
once, with a contrast to white that thin lines need. Thirteen of them cannot all be told by colour alone in a row of
small marks, so the marks differ as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.colors import to_hex, to_rgb

from ..defenses import DEFENSES
from ..experiment import Experiment


@dataclass(frozen=True)
class Look:
    """Name in words, colour, and mark of matplotlib's."""

    name: str
    colour: str
    marker: str


LOOKS = {
    "none": Look("no defense", "#000000", "o"),
    "none_standardized": Look("standardised", "#7f393e", "X"),
    "none_conv": Look("convolutions", "#274683", "s"),
    "none_frozen_conv": Look("frozen convolutions", "#2d7365", "D"),
    "gaussian": Look("Gaussian noise", "#10a0c2", "P"),
    "laplace": Look("Laplace noise", "#b08b26", "v"),
    "gan": Look("GAN", "#5a0000", "^"),
    "gong": Look("Gong et al.", "#c75293", "<"),
    "gong_cl": Look("Gong et al. CL", "#0167e8", ">"),
    "mi_reg": Look("MI-REG", "#382c39", "h"),
    "dp_sgd": Look("DP-SGD", "#6e7947", "p"),
    "sparse_standard": Look("sparse-standard", "#999379", "d"),
    "sparse_guard": Look("sparse-guard", "#9e1200", "*"),
}
OTHER = ("#5f5f5f", "8")
"""Colour and mark of a defense that is not among them."""
SYMBOLS = {"lam": "λ", "sigma": "σ", "b": "b", "beta": "β", "tau": "τ"}
FRONTS = {"conv": "behind convolutions", "frozen_conv": "behind frozen convolutions", "standardized": "standardised"}


def look(defense: str) -> tuple[str, str]:
    """Colour and mark of a defense, the same in every figure.

    >>> look("none"), look("one_of_your_own")
    (('#000000', 'o'), ('#5f5f5f', '8'))
    """
    known = LOOKS.get(defense)
    return (known.colour, known.marker) if known else OTHER


def ink(defense: str) -> str:
    """The defense's colour as dark as a text needs it on white (a contrast of 4.5, WCAG 2.1).

    >>> ink("none"), look("gaussian")[0], ink("gaussian")
    ('#000000', '#10a0c2', '#0d809b')
    """
    rgb = to_rgb(look(defense)[0])
    while contrast(rgb) < 4.5:
        rgb = (0.98 * rgb[0], 0.98 * rgb[1], 0.98 * rgb[2])
    return to_hex(rgb)


def contrast(rgb: tuple[float, float, float]) -> float:
    """Contrast of a colour, sRGB in [0, 1], to white, as WCAG 2.1 defines it.

    >>> round(contrast((0.0, 0.0, 0.0))), contrast((1.0, 1.0, 1.0))
    (21, 1.0)
    """
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 1.05 / (0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] + 0.05)


def base_name(defense: str) -> str:
    """Name of a defense, whatever its options.

    >>> base_name("none_conv"), base_name("one_of_your_own")
    ('convolutions', 'one of your own')
    """
    return LOOKS[defense].name if defense in LOOKS else defense.replace("_", " ")


def name(e: Experiment, strength: bool = True) -> str:
    """Name of a row in words: the defense, its strength where that has a symbol, its further options.

    >>> name(Experiment(defense="sparse_guard", lam=0.5, options={"tau": 1000.0}))
    'sparse-guard λ=0.5 τ=1000'
    >>> name(Experiment(defense="laplace", options={"front": "conv"}), strength=False)
    'Laplace noise behind convolutions'
    """
    option = DEFENSES.check(e.defense).strength
    parts = [base_name(e.defense)]
    if strength and option in SYMBOLS:
        value = e.strength
        parts.append(f"{SYMBOLS[option]}={f'{value:g}' if isinstance(value, float) else value}")
    for key, value in e.options.items():
        if key == "front":
            parts.append(FRONTS.get(value, f"behind {value}"))
        elif key == "relative":
            parts.append("relative")
        elif key != option or (strength and key not in SYMBOLS):
            parts.append(f"{SYMBOLS.get(key, key)}={f'{value:g}' if isinstance(value, float) else value}")
    return " ".join(parts)


def row_names(rows: Sequence[Experiment], strength: bool = True) -> dict[str, str]:
    """Names of rows by their labels: with the attack where they have several; a single one stands in the title.

    >>> rows = [Experiment(defense="none"), Experiment(defense="none", attack="nearest")]
    >>> row_names(rows)
    {'none': 'no defense', 'none under nearest': 'no defense under nearest'}
    >>> row_names(rows[1:])
    {'none under nearest': 'no defense'}
    """
    several = len({e.attack_label for e in rows}) > 1
    return {e.label: name(e, strength) + (e.label.removeprefix(e.defense_label) if several else "") for e in rows}
