"""Notebook 10, executed with smoke parameters: gaps that an attacker who guesses the mean image would miss."""

from pathlib import Path

import nbformat
import pandas as pd

from sparseguard.store import Store
from tests.notebooks.test_notebooks import executed

GIVEN = (
    "{defenses: [none, laplace, sparse_guard], rivals: [{defense: laplace, strengths: [0.1, 2.0]}], lams: [0.5], "
    "holdouts: [400], updates: [32], rungs: [nearest, {attack: inversion, decoders: [ridge]}], "
    "noisy: [laplace], seeds: [0], scale: smoke}"
)


def test_the_ladder_goes_up_and_every_leak_is_found(tmp_path: Path) -> None:
    figures, home, out = executed("10_adaptive", GIVEN, tmp_path)
    name = "10_adaptive_mnist_smoke"
    pictures = {f"{name}_{kind}.png" for kind in ("curves", "grid")}
    tables = {f"{name}{kind}.{suffix}" for kind in ("", "_attackers", "_equal_accuracy") for suffix in ("csv", "md")}
    assert {path.name for path in figures.iterdir()} == pictures | tables

    ladder = pd.read_csv(figures / f"{name}.csv").set_index("attack")
    assert set(ladder.index) == {
        "the mean image", "nearest", "inversion", "inversion decoders=ridge", "inversion updates=32",
        "inversion views=16", "inversion holdout=400", "inversion holdout_from=fashion_mnist",
    }  # fmt: skip
    psnr = (
        ladder[["none", "laplace b=0.5", "sparse_guard lam=0.5"]]
        .replace("—", "nan")
        .map(lambda text: float(text.split(" ")[0]))
    )
    guess, usual, many = (psnr.loc[n] for n in ("the mean image", "inversion", "inversion holdout=400"))
    assert usual["laplace b=0.5"] > guess["laplace b=0.5"] + 0.5
    assert (usual > guess + 3.0).sum() == 2, "an attacker that guesses the mean image would do as well"
    assert usual["none"] > usual["laplace b=0.5"] + 2.0
    assert (many > usual - 0.3).all(), "more images are never worse"
    assert (usual > psnr.loc["inversion updates=32"] - 0.3).all()
    assert psnr.loc["inversion views=16", "laplace b=0.5"] > usual["laplace b=0.5"] + 1.0, "looks average noise away"
    assert (psnr.loc["nearest"] < usual).all()
    assert (usual >= psnr.loc["inversion decoders=ridge"] - 0.3).all(), "the family holds its floor"

    equal = pd.read_csv(figures / f"{name}_equal_accuracy.csv")
    assert equal["defense"].tolist() == ["sparse_guard lam=0.5"]
    text = str(nbformat.read(out, 4).cells[-2].outputs[0].data["text/markdown"])
    assert "With 400 hold-out images, from the defense that hides most:" in text
    assert len(Store(home).names()) == 3 * 6 + 1 + 2
