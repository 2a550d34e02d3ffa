"""How defenses look: told apart in normal vision and in three dichromacies, and readable on white."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from sparseguard import Experiment, list_defenses
from sparseguard.report.looks import LOOKS, ink, look, name

# Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB
SIMULATED = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
LEAST, LEAST_OF_THE_HEADLINE = 12.5, 24.0
"""CIEDE2000: 1 can just be seen side by side, 10 at a glance."""


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> np.ndarray:
    """CIELAB of a colour as it is seen."""
    light = np.clip(np.array(SIMULATED[vision]) @ linear(np.array(to_rgb(colour))), 0, 1)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(rgb[None, None])[0, 0])


def least(defenses: list[str], vision: str) -> float:
    colours = [seen(look(d)[0], vision) for d in defenses]
    return min(float(deltaE_ciede2000(a, b)) for a, b in combinations(colours, 2))


@pytest.mark.parametrize("vision", SIMULATED)
def test_colours_are_told_apart(vision: str) -> None:
    distance, headline = (
        least(list_defenses(), vision),
        least(["none", "none_conv", "gaussian", "sparse_guard"], vision),
    )
    print(f"\n{vision}: least distance {distance:.1f}, of the headline's {headline:.1f} (CIEDE2000)")
    assert distance >= LEAST
    assert headline >= LEAST_OF_THE_HEADLINE


def test_the_simulation_keeps_grey_and_makes_red_and_green_alike() -> None:
    for vision in SIMULATED:
        assert np.abs(seen("#808080", vision) - seen("#808080", "normal")).max() < 1
    red, green = (seen(colour, "deuteranopia") for colour in ("#d00000", "#6a6a00"))
    far = deltaE_ciede2000(seen("#d00000", "normal"), seen("#6a6a00", "normal"))
    assert deltaE_ciede2000(red, green) < far / 3


def test_each_defense_has_a_mark_and_a_name_of_its_own_and_contrast_to_white() -> None:
    assert list(LOOKS) == list_defenses()
    assert len({of.marker for of in LOOKS.values()}) == len({of.name for of in LOOKS.values()}) == len(LOOKS)
    for defense, of in LOOKS.items():
        for colour, least_contrast in ((of.colour, 3), (ink(defense), 4.5)):  # WCAG 2.1, graphics and text
            luminance = float(linear(np.array(to_rgb(colour))) @ [0.2126, 0.7152, 0.0722])
            assert 1.05 / (luminance + 0.05) >= least_contrast - 0.02, (defense, colour)


def test_names_say_what_differs() -> None:
    rows = [
        Experiment(defense="gaussian"), Experiment(defense="gaussian", options={"relative": True}),
        Experiment(defense="gaussian", options={"front": "conv", "sigma": 1.0}), Experiment(defense="mi_reg"),
        Experiment(defense="sparse_guard", lam=0.25, options={"tau": 100.0}), Experiment(defense="dp_sgd"),
        Experiment(defense="gan", options={"weight": 2.0}),
    ]  # fmt: skip
    assert [name(e) for e in rows] == [
        "Gaussian noise σ=0.5", "Gaussian noise σ=0.5 relative", "Gaussian noise σ=1 behind convolutions",
        "MI-REG β=0.001", "sparse-guard λ=0.25 τ=100", "DP-SGD", "GAN weight=2",
    ]  # fmt: skip
    assert name(rows[2], strength=False) == "Gaussian noise behind convolutions"
