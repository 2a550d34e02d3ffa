"""Notebook 05, executed with smoke parameters, and its numbers."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest

from sparseguard.store import Store
from tests.notebooks.test_notebooks import ROOT, papermill


def test_noise_and_sparsity_side_by_side_in_both_settings(tmp_path: Path) -> None:
    given = "{sigmas: [0.5], scales_b: [0.5, 1.0], lams: [0.5], seeds: [0], scale: smoke}"
    figures, home = tmp_path / "figures", tmp_path / "home"
    notebook, out = ROOT / "notebooks" / "05_noise_scale.ipynb", tmp_path / "out.ipynb"
    done = papermill(notebook, out, "-p", "out", str(figures), "-y", given, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    name, settings = "05_noise_scale_mnist_smoke", ("end_to_end", "split")
    pictures = [f"{name}_curves", *(f"{name}_{setting}_grid" for setting in settings)]
    tables = [f"{name}_{setting}" for setting in settings]
    expected = {f"{p}.png" for p in pictures} | {f"{t}.{s}" for t in tables for s in ("csv", "md")}
    assert {path.name for path in figures.iterdir()} == expected
    found = {
        "end_to_end": (["40.87", "40.88", "31.18", "24.89"], [13.6, 11.7, 11.7, 11.7, 14.5]),
        "split": (["31.21", "31.07", "25.40", "22.63"], [18.5, 13.5, 12.8, 11.7, 16.2]),
    }
    for table, (printed, expected_psnr) in zip(tables, found.values()):
        frame = pd.read_csv(figures / f"{table}.csv")
        assert frame["PSNR ↓ printed"].str.split(" ").str[0].tolist()[:4] == printed
        measured = frame["PSNR ↓ measured"].astype(float).tolist()  # one seed has no spread
        assert measured == pytest.approx(expected_psnr, abs=1.2)
    reading = str(nbformat.read(out, 4).cells[-2].outputs[0].data["text/markdown"])
    assert "split: `laplace` from 0.5 to 1.0: accuracy" in reading
    assert "end-to-end: `sparse_guard lam=0.5`" in reading
    assert len(Store(home).names()) == 10
