"""Notebook 06, executed with smoke parameters: the search beside what the prior alone gives."""

from pathlib import Path

import nbformat
import pandas as pd

from sparseguard.store import Store
from tests.notebooks.test_notebooks import executed

GIVEN = (
    "{setting: split, defenses: [none, none_conv, {defense: laplace, b: 2.0}], lams: [0.5], probed: [none, none_conv], "
    "priors: [pca], seeds: [0, 1], scale: smoke}"
)


def test_the_search_is_measured_beside_the_prior_alone(tmp_path: Path) -> None:
    figures, home, out = executed("06_plug_and_play", GIVEN, tmp_path)
    name = "06_plug_and_play_mnist_smoke"
    pictures = {f"{name}_{kind}.png" for kind in ("grid", "search", "ssim", "matching", "priors")}
    tables = {
        f"{name}{kind}.{suffix}"
        for kind in ("", "_lift", "_probes", "_matching", "_priors")
        for suffix in ("csv", "md")
    }
    assert {path.name for path in figures.iterdir()} == pictures | tables

    printed = pd.read_csv(figures / f"{name}.csv")
    assert [text.split(" ")[0] for text in printed["PSNR ↓ printed"]] == ["—"] * 3  # printed for the other setting
    lift = pd.read_csv(figures / f"{name}_lift.csv").set_index("defense")
    assert list(lift.index) == ["none", "none_conv", "laplace b=2.0"]
    sure = lift["target's confidence"].str.extract(r"([\d.]+) ± [\d.]+ → ([\d.]+)").astype(float)
    assert (sure[1] >= sure[0]).all()  # networks of scale smoke have hardly learned their classes
    assert (sure[1] > sure[0]).any(), "a search that does nothing leaves the targets as sure as they were"
    drawn = pd.read_csv(figures / f"{name}_priors.csv")
    assert drawn["prior"].tolist() == ["hold_out", "pca"]
    matched = pd.read_csv(figures / f"{name}_matching.csv")
    psnr = matched["PSNR ↓ measured"].str.split(" ").str[0].astype(float)
    assert psnr[0] > 14.5, "an attacker that answers with the mean image gets 11.7 dB"
    text = str(nbformat.read(out, 4).cells[-2].outputs[0].data["text/markdown"])
    assert "of what the prior alone offers, and after the search in" in text
    assert len(Store(home).names()) == 2 * (3 + 2 * 2 + 2 + 2)
