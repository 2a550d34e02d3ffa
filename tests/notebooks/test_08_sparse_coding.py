from pathlib import Path

import nbformat
import pandas as pd
import pytest

from tests.notebooks.test_notebooks import ROOT, papermill

NOTEBOOK = ROOT / "notebooks" / "08_sparse_coding.ipynb"


def test_papermill_runs_it_and_the_numbers_are_right(tmp_path: Path) -> None:
    out, figures = tmp_path / "out.ipynb", tmp_path / "figures"
    given = (
        "{scale: smoke, seeds: [0, 1], lams: [0.1, 0.5], taus: [1000.0, 100.0, null], images: 8, features: 8, "
        "updates: 10, sizes: [40, 80], solvers: [single], large: smoke, measure: true}"
    )
    done = papermill(NOTEBOOK, out, "-y", given, "-p", "out", str(figures), home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = [o for c in nbformat.read(out, 4).cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 6
    *_, large, reading = [o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
    assert "silenced from 0.65 on of the similarities tried; the closed form says from 0.6 on" in reading

    assert "Of 80 images, chosen and learned dictionaries leave this much" in large
    assert "Networks of 210 private images" not in large  # beside learned dictionaries and settled codes: not asked for

    name = "08_sparse_coding_mnist_smoke"
    kinds = ("potentials", "competition", "energy", "dictionary", "pipeline", "growth")
    pictures = {f"{name}_{kind}.png" for kind in kinds}
    of_tables = ("", "_solvers", "_growth", "_networks")
    tables = {f"{name}{kind}.{suffix}" for kind in of_tables for suffix in ("csv", "md")}
    assert {path.name for path in figures.iterdir()} == pictures | tables

    kept = pd.read_csv(figures / f"{name}.csv")
    explained = kept["variance explained"].str.split(" ").str[0].astype(float).tolist()
    expected = [0.70, 0.33, 0.98, 0.80, 0.99, 0.82]  # lambda 0.1 and 0.5 at tau 1000, tau 100, and settled
    assert explained == pytest.approx(expected, abs=0.06)
    costs = pd.read_csv(figures / f"{name}_solvers.csv")
    reached = costs.iloc[:, 2].str.split(" ").str[0].astype(int).tolist()
    assert reached[0] > 490
    assert reached[3] > 490
    assert reached[1] < 30
    assert reached[4] < 100
    assert reached[2] < reached[5] < 40
    grown = pd.read_csv(figures / f"{name}_growth.csv")
    assert grown["dictionary"].tolist() == ["learned", "chosen"] * 2
    energy = grown["energy"].str.split(" ").str[0].astype(float)
    assert energy[3] > 1  # nothing competes, and similar features all have their say
    networks = pd.read_csv(figures / f"{name}_networks.csv")
    assert networks["private images"].tolist() == [210, 210]
    assert networks["PSNR ↓"].str.split(" ").str[0].astype(float).between(8, 40).all()


def test_a_wrong_parameter_ends_the_run_with_what_is_allowed(tmp_path: Path) -> None:
    done = papermill(NOTEBOOK, tmp_path / "out.ipynb", "-p", "lam", "0", home=tmp_path / "home")
    assert done.returncode != 0
    assert "lam must be a finite number greater than 0, not 0" in done.stderr
    assert not (tmp_path / "home").exists()
