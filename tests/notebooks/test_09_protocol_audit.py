"""Notebook 09, executed with smoke parameters."""

from pathlib import Path

import nbformat
import pandas as pd

from tests.notebooks.test_notebooks import executed

GIVEN = (
    "{settings: [split], defenses: [none, {defense: sparse_standard, lam: 0.25, tau: 1000.0}], stepped: [none], "
    "seeds: [0], scale: smoke}"
)


def test_three_procedures_stand_side_by_side(tmp_path: Path) -> None:
    figures, _, out = executed("09_protocol_audit", GIVEN, tmp_path)
    name = "09_protocol_audit_mnist_smoke"
    rows = pd.read_csv(figures / f"{name}_split.csv").set_index("defense")
    rows.index = rows.index.str.replace(r" \[.*\]", "", regex=True)  # what the rows are warned about
    assert list(rows.index) == ["none", "sparse_standard lam=0.25 tau=1000"]
    assert list(rows["PSNR printed"]) == [31.21, 18.71]
    assert all(float(number) == float(number) for number in rows["PSNR untrained"])
    assert float(rows["SSIM untrained"]["none"]) < 0.1  # a random network that nobody trains
    assert rows["PSNR true"]["none"] > 11  # a network that learns sees more than one that does not
    assert set(rows["PSNR attacked"]) == {"—"}  # no other notebook has run here
    steps = pd.read_csv(figures / f"{name}_split_steps.csv")
    assert len(steps) == 7
    floor = pd.read_csv(figures / f"{name}_floor.csv").set_index("in every reconstruction's place")
    assert abs(float(floor["PSNR, released"]["unit noise"]) - 15.5) < 0.5
    assert {path.suffix for path in figures.iterdir()} == {".png", ".csv", ".md"}
    text = str(nbformat.read(out, 4).cells[-2].outputs[0].data["text/markdown"])
    assert "The released procedure comes within 10% of" in text
