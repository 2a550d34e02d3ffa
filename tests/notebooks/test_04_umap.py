from pathlib import Path

import nbformat
import pandas as pd
import pytest

from sparseguard.store import Store
from tests.notebooks.test_notebooks import ROOT, papermill

NOTEBOOK = ROOT / "notebooks" / "04_umap.ipynb"


def test_papermill_runs_it_and_the_numbers_are_right(tmp_path: Path) -> None:
    out, figures, home = tmp_path / "out.ipynb", tmp_path / "figures", tmp_path / "home"
    given = "{scale: smoke, seeds: [0, 1], datasets: [mnist]}"
    done = papermill(NOTEBOOK, out, "-y", given, "-p", "out", str(figures), home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = [o for c in nbformat.read(out, 4).cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 1
    assert not [o for o in outputs if o.get("name") == "stderr" and "Warning" in o.text]
    reading = next(o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {}))
    assert "MNIST, two sparse layers, λ = 0.5: " in reading
    assert {path.name for path in figures.iterdir()} == {f"04_umap_mnist_smoke.{s}" for s in ("png", "csv", "md")}
    table = pd.read_csv(figures / "04_umap_mnist_smoke.csv")
    assert table["target"].tolist() == ["pixels", "none", "none_conv", "sparse_guard lam=0.5"]
    silhouette, knn = (table[c].str.split(" ").str[0].astype(float).tolist()
                       for c in ("silhouette in feature space", "5-NN accuracy"))  # fmt: skip
    assert silhouette == pytest.approx([0.04, -0.02, 0.03, 0.03], abs=0.05)
    assert knn == pytest.approx([0.7, 0.5, 0.7, 0.7], abs=0.2)
    assert len(Store(home).names()) == 8


def test_a_wrong_parameter_ends_the_run_with_what_is_allowed(tmp_path: Path) -> None:
    done = papermill(NOTEBOOK, tmp_path / "out.ipynb", "-p", "layers", "blur", home=tmp_path / "home")
    assert done.returncode != 0
    assert "defense must be one of none, none_standardized" in done.stderr
    assert not (tmp_path / "home").exists()
