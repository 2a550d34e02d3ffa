"""The HTML site: order of execution, links, index, and a failing notebook."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from sparseguard import reference
from sparseguard.grid import cells
from sparseguard.plans import of_notebook
from sparseguard.report import committed, pages, site
from sparseguard.report.summary import Summary

ROOT = Path(__file__).resolve().parents[2]


def shown(kind: str, data: str) -> nbformat.NotebookNode:
    cell: nbformat.NotebookNode = new_code_cell("hidden_call()", outputs=[new_output("display_data", {kind: data})])
    return cell


def site_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "png")
    return buffer.getvalue()


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
    assert text.count("data:image/png;base64,") == 1  # a small picture of each page that has one
    assert 'href="07_compute_time.html"' in (out / pages[0]).read_text()
    assert "data:image/png;base64," in (out / pages[2]).read_text()
    assert all(committed.complaint(path) is None for path in notebooks.glob("*.ipynb"))


def test_no_notebooks_and_a_failing_one_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no notebook in"):
        site.build(tmp_path, tmp_path / "out", {})
    write(tmp_path, "01_end_to_end", "# First", "1 / 0")
    with pytest.raises(OSError, match=r"01_end_to_end failed:[\s\S]*ZeroDivisionError"):
        site.build(tmp_path, tmp_path / "out", {})


TEX = r"""About $\lambda$ and `$HOME`:

$$\min_R \tfrac{1}{2}\lVert X - R \circledast \Omega \rVert_2^2$$
"""


def test_a_page_has_the_answer_first_no_code_its_formulas_and_a_text_for_each_picture(tmp_path: Path) -> None:
    png = base64.b64encode(site_picture()).decode()
    cells = [
        new_markdown_cell("# One\n\n**Question.** Why?\n\n" + TEX),
        new_markdown_cell("## Parameters\n\nOf the run."),
        new_code_cell("out = 'secret code'", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Run"),
        new_code_cell("run()", outputs=[new_output("stream", text="2 cells: scale smoke; seeds 0; cpu; 1 s.\n")]),
        new_markdown_cell("## Answer\n\nBy rule."),
        shown("text/html", Summary([], ["**No.**"])._repr_html_()),
        new_markdown_cell("## Pictures\n\nWhat *is* shown."),
        shown("image/png", png),
        new_markdown_cell("## Reading"),
        shown("text/markdown", "- a [b](../two.md#c) [d](no/where.py)"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "01_one.ipynb")
    (tmp_path / "two.md").write_text("# Two\n\n![alt](../../figures/x.png) [one](../01_one.ipynb)", encoding="utf-8")
    index = pages.write_site({tmp_path / "01_one.ipynb": 1.0}, [tmp_path / "two.md"], tmp_path)
    text = (tmp_path / "01_one.html").read_text(encoding="utf-8")
    order = ["<h1", "Why?", "No.", "scale smoke", "What <em>is</em> shown.", "Every comparison in words", "Of the run."]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "run()" not in text
    assert "hidden_call" not in text
    assert text.index("secret code") > text.index("<details class=run>")
    assert text.count("<math") == 2
    assert "<code>$HOME</code>" in text
    assert re.findall(r'<img[^>]*?alt="([^"]*)"', text.replace("\n", " ")) == ["What is shown."]
    assert '<a href="two.html#c">b</a>' in text
    assert "d</li>" in text.replace("</p>", ""), "a link to what the site does not have is plain text"
    assert 'src="figures/x.png"' in (tmp_path / "two.html").read_text(encoding="utf-8")
    assert '<a href="01_one.html">one</a>' in (tmp_path / "two.html").read_text(encoding="utf-8")
    assert "<p>No.</p>" in index.read_text(encoding="utf-8")


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
    assert "01_cells: 1 of 2 cells are missing" in capsys.readouterr().out
    assert [page.name for page in sorted(out.glob("*.html"))] == ["01_cells.html", "index.html"]
    assert missing.stored() is None


def test_a_further_page_is_its_notebook_with_other_parameters(tmp_path: Path) -> None:
    notebooks, out = tmp_path / "notebooks", tmp_path / "out"
    notebooks.mkdir()
    plot = "import io\nfrom PIL import Image\nfrom IPython.display import Image as Shown\nbuffer = io.BytesIO()\n"
    plot += "Image.new('L', (9 + len({0}), 9)).save(buffer, 'png')\ndisplay(Shown(buffer.getvalue()))"
    later = "import time\ntime.sleep(2 * (dataset != 'mnist'))\nprint(dataset)"  # so that its outputs would come last
    write(notebooks, "01_one", "# One: a question", f"{later}\n{plot.format('dataset')}", 'dataset = "mnist"')
    write(notebooks, "02_two", "# Two", f"{plot.format(repr('mnist'))}\n{plot.format(repr('another'))}")
    (tmp_path / "params" / "01_one").mkdir(parents=True)
    (tmp_path / "params" / "01_one" / "other.yaml").write_text("dataset: fashion_mnist")
    listed = tmp_path / "params" / "report.yaml"
    listed.write_text("01_one: [other]")
    index = site.build(notebooks, out, {}, figures=tmp_path / "figures").read_text()
    assert [page.stem for page in sorted(out.glob("*.html"))] == ["01_one", "01_one_other", "02_two", "index"]
    assert "<h1>One: Fashion-MNIST</h1>" in re.sub(r' id="[^"]*"', "", (out / "01_one_other.html").read_text())
    assert index.count("<article>") == 2
    assert 'Also: <a href="01_one_other.html">Fashion-MNIST</a>.' in index
    thumbnails = re.findall(r"data:image/png;base64,([^\"]*)", index)
    assert len(set(thumbnails)) == len(thumbnails) == 2, "no picture stands there twice"
    outputs = [o for c in nbformat.read(notebooks / "01_one.ipynb", 4).cells for o in c.get("outputs", [])]
    assert "mnist\n" in [o.get("text") for o in outputs], "the notebook keeps what its own parameters gave"
    assert [page.name for page in site.pages_of(notebooks, {"scale": "smoke"})] == ["01_one", "02_two"]
    listed.write_text("03_three: [other]")
    with pytest.raises(ValueError, match="03_three"):
        site.pages_of(notebooks, {})


def test_a_further_page_is_named_after_all_its_data_sets(tmp_path: Path) -> None:
    write(tmp_path, "01_one", "# One: a question", "1")
    book = nbformat.read(tmp_path / "01_one.ipynb", 4)
    book.metadata["papermill"] = {"parameters": {"datasets": ["medical_mnist", "cifar10"], "scale": "quick"}}
    nbformat.write(book, tmp_path / "01_one_more.ipynb")
    both = {tmp_path / f"{name}.ipynb": 1.0 for name in ("01_one", "01_one_more")}
    index = pages.write_site(both, [], tmp_path, further={"01_one_more": "01_one"}).read_text()
    assert 'Also: <a href="01_one_more.html">Medical MNIST, CIFAR-10, scale quick</a>.' in index


def test_the_report_names_files_of_params_whose_cells_ship() -> None:
    pages = [page for page in site.pages_of(ROOT / "notebooks", {}) if not page.usual]
    assert pages
    present = set(reference.records())
    for page in pages:
        planned = of_notebook(page.source, page.given)
        assert sum(e.key() in present for e in planned) >= len({e.label for e in planned}) / 2, page.name
