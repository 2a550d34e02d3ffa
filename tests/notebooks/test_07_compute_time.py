"""Notebook 07, executed with smoke parameters, and its numbers."""

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from sparseguard.store import Store
from sparseguard.studies.costs import Peaks
from tests.notebooks.test_notebooks import ROOT, papermill


def test_seconds_and_memory_of_three_defenses(tmp_path: Path) -> None:
    given = "{defenses: [none, laplace, sparse_guard], lams: [0.5], seeds: [0, 1], scale: smoke}"
    figures, home, out = tmp_path / "figures", tmp_path / "home", tmp_path / "out.ipynb"
    notebook = ROOT / "notebooks" / "07_compute_time.ipynb"
    done = papermill(notebook, out, "-p", "out", str(figures), "-y", given, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    name = "07_compute_time_mnist_smoke"
    endings = (".csv", ".md", "_stages.png")
    assert {path.name for path in figures.iterdir()} == {name + ending for ending in endings}
    assert len(Store(home).names()) == 6

    frame = pd.read_csv(figures / f"{name}.csv", dtype=str)
    assert frame["seconds printed (Plug & Play)"].tolist() == ["10555.3", "14390.2", "17912.9"]
    assert frame["× none printed (Plug & Play)"].tolist() == ["1.00", "1.36", "1.70"]
    means = (
        frame.map(lambda cell: re.sub(r" ± .*", "", cell)).drop(columns="defense").apply(pd.to_numeric, errors="coerce")
    )
    assert means["× none measured"][0] == 1
    assert 0.2 < means["× none measured"][1] < 5  # noise costs next to nothing; loose, for busy machines
    assert means["training the target × none"][2] > 2  # some ten evaluations a batch, forward and back
    stages = ("training the target", "training the attackers", "measuring")
    parts = sum(means[f"{stage} (s)"] for stage in stages)
    assert parts.tolist() == pytest.approx(means["seconds measured"].tolist(), abs=0.02)
    assert means["seconds measured"].between(0.1, 60).all()
    peaks = means[[f"peak {stage} (MiB)" for stage in stages]]
    probe = Peaks("cpu")
    probe.start("is it possible here")
    assert peaks.isna().all(axis=None) if probe.held is None else peaks.stack().between(0, 400).all()

    reading = str(nbformat.read(out, 4).cells[-2].outputs[0].data["text/markdown"])
    assert "From the quickest to the slowest, in seconds of `none`" in reading
    assert "Appendix A.2: noise is quickest" in reading
    assert "`sparse_guard lam=0.5` takes" in reading
