"""Notebook 00: reads what others stored, and its verdicts are those of the numbers."""

import html
from pathlib import Path
from statistics import mean

import nbformat
import pandas as pd
import pytest

from sparseguard.grid import cells, run_grid
from sparseguard.paper import claims
from sparseguard.store import Store
from tests.notebooks.test_notebooks import ROOT, papermill

NOTEBOOK = ROOT / "notebooks" / "00_overview.ipynb"


def test_it_judges_what_the_store_has_and_says_what_it_lacks(tmp_path: Path) -> None:
    home, figures, out = tmp_path / "home", tmp_path / "figures", tmp_path / "out.ipynb"
    split = run_grid(cells("mnist", "split", ["none", "laplace"], [0.5], "smoke", [0, 1]), Store(home), progress=False)
    run_grid(cells("mnist", "end_to_end", "none", [0.5], "smoke", [0, 1]), Store(home), progress=False)
    stored = sorted(path.name for path in home.iterdir())
    given = "{datasets: [mnist], scale: smoke, seeds: [0, 1]}"
    done = papermill(NOTEBOOK, out, "-p", "out", str(figures), "-y", given, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in home.iterdir()) == stored  # it computes nothing

    table = pd.read_csv(figures / "00_overview_smoke.csv").set_index("taken to mean")
    assert len(table) == len(claims())
    measured = table["measured [1]"].astype(str).to_dict()
    guess = measured["without a defense the attacker does better than guessing the mean image"]
    gaps = [float(r.metrics["psnr"] or 0) - float(r.metrics["psnr_mean_image"] or 0) for r in split[:2]]
    assert f"{mean(gaps):+.1f}" in guess
    noise = measured["each noise row is less accurate than no defense"]
    accuracy = [float(r.metrics["accuracy"] or 0) for r in split]
    assert float(noise.split("accuracy ")[1].split(" ")[0]) == pytest.approx(
        mean(accuracy[2:]) - mean(accuracy[:2]), abs=1e-3
    )
    unknown = "λ = 0.5 is harder to invert than λ = 0.1"
    assert table["verdict"].to_dict()[unknown] == "· not tested"
    assert "run 01_end_to_end, 03_lambda" in measured[unknown]

    outputs = [o for c in nbformat.read(out, 4).cells if c.cell_type == "code" for o in c.outputs]
    texts = [o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
    rule, reading = texts
    answer, groups, shown, three = [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    holding = table["verdict"].str.endswith(" holds").sum()
    assert f"Of {len(claims())} claims {holding} hold, " in answer
    assert all(html.escape(claim.quote) in groups for claim in claims())
    assert "**Holds**: every vote is for it." in rule
    assert '<a href="03_lambda.ipynb">03_lambda</a>' in shown
    assert "as released; the CSV file has them" in three, "nothing of the released procedure is stored"
    sources = pd.read_csv(figures / "00_overview_smoke_sources.csv").set_index("taken to mean")
    assert sources["printed"].iloc[0] == "90 of 90"  # three rows, five rivals, three metrics, two settings
    assert set(sources["as released"]) == {"—"}
    assert f"Of {len(claims())} claims" in reading
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2  # the headline, the claims; no convolutions
    assert {path.name for path in figures.glob("*.png")} == {"00_overview_smoke.png", "00_overview_smoke_headline.png"}
    assert any(
        "6 stored results of MNIST, attack inversion: scale smoke; seeds 0, 1" in o.get("text", "") for o in outputs
    )


def test_a_wrong_parameter_ends_the_run_with_what_is_allowed(tmp_path: Path) -> None:
    done = papermill(NOTEBOOK, tmp_path / "out.ipynb", "-p", "scale", "huge", home=tmp_path / "home")
    assert done.returncode != 0
    assert "scale must be one of smoke, quick, medium, paper, not 'huge'" in done.stderr
