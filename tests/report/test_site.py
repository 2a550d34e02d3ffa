"""The HTML site: order of execution, links, index, and a failing notebook."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sparseguard.grid import cells
from sparseguard.report import committed, site


def write(folder: Path, stem: str, text: str, code: str, parameters: str = "") -> None:
    tagged = new_code_cell(f'out = ""\nword = ""\n{parameters}', metadata={"tags": ["parameters"]})
    book = new_notebook(cells=[new_markdown_cell(text), tagged, new_code_cell(code)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, folder / f"{stem}.ipynb")


def test_pages_come_in_their_turn_link_to_each_other_and_show_their_figures(tmp_path: Path) -> None:
    log, notebooks, out = tmp_path / "log", tmp_path / "notebooks", tmp_path / "out"
    notebooks.mkdir()
    note = f"from pathlib import Path\nwith Path({str(log)!r}).open('a') as f: f.write('%s ' + word + '\\n')\n"
    picture = note % "07" + "import matplotlib.pyplot as plt\nplt.plot([0, 1]);"
    write(notebooks, "00_overview", "# Front page\n[seven](07_compute_time.ipynb)", note % "00")
    write(notebooks, "01_end_to_end", "# First", note % "01", "measure = True")
    write(notebooks, "07_compute_time", "# Time", picture)
    index = site.build(notebooks, out, {"word": "λ"}, figures=tmp_path / "figures")
    for path in notebooks.glob("*.ipynb"):
        told = nbformat.read(out / path.name, 4)
        injected = [c.source for c in told.cells if "injected-parameters" in c.metadata.get("tags", [])]
        assert ["measure = False" in source for source in injected] == [path.stem == "01_end_to_end"]
    assert log.read_text().splitlines() == ["01 λ", "07 λ", "00 λ"]
    pages = ["00_overview.html", "01_end_to_end.html", "07_compute_time.html"]
    text = index.read_text()
    assert [text.index(f'href="{page}"') for page in pages] == sorted(text.index(f'href="{page}"') for page in pages)
    assert "Front page" in text
    assert text.count("data:image/png;base64,") == 1  # the first picture of each page that has one
    assert 'href="07_compute_time.html"' in (out / pages[0]).read_text()
    assert "data:image/png;base64," in (out / pages[2]).read_text()
    assert all(committed.complaint(path) is None for path in notebooks.glob("*.ipynb"))


def test_no_notebooks_and_a_failing_one_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no notebook in"):
        site.build(tmp_path, tmp_path / "out", {})
    write(tmp_path, "01_end_to_end", "# First", "1 / 0")
    with pytest.raises(OSError, match=r"01_end_to_end.ipynb failed:[\s\S]*ZeroDivisionError"):
        site.build(tmp_path, tmp_path / "out", {})


def test_from_the_store_nothing_is_trained_and_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebooks, out = tmp_path / "notebooks", tmp_path / "out"
    notebooks.mkdir()
    plan = "from sparseguard.grid import cells, run_grid\nrows = cells('mnist', 'split', 'none', 1, 'smoke', [0, 1]"
    write(
        notebooks,
        "01_cells",
        "# Cells",
        f"{plan}, 'nearest')\nprint(len(run_grid(rows, measure=measure)))",
        "measure = True",
    )
    study = "from sparseguard.studies.layer import LayerStudy\nLayerStudy(scale='smoke', seeds=[0]).kept.measured()"
    write(notebooks, "02_study", "# Study", study)
    run = "from sparseguard import Experiment\nExperiment(scale='smoke', seed=5).run(None)"
    write(notebooks, "03_run", "# Run", run)
    (there, missing) = cells("mnist", "split", "none", 1, "smoke", [0, 1], "nearest")
    there.run(progress=False)
    text = site.build(notebooks, out, {}, measure=True, from_store=True).read_text()
    assert "01_cells: 1 of 2 cells are missing: mnist, split: none under nearest, seed 1" in text
    assert "02_study: kept has not been measured, and nothing is computed here." in text
    assert "03_run: none has not been measured" in text
    assert "01_cells.ipynb: 1 of 2 cells are missing" in capsys.readouterr().out
    assert [page.name for page in sorted(out.glob("*.html"))] == ["01_cells.html", "index.html"]
    assert missing.stored() is None
