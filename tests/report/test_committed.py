import base64
import io
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from sparseguard.report import committed
from sparseguard.report.figures import with_a_palette


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook that has taken the outputs of a run; the run had a cell more, as papermill injects one."""
    book = new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("a = 1"), new_code_cell("a")])
    nbformat.write(book, tmp_path / "n.ipynb")
    for count, cell in zip((3, 4), book.cells[1:]):
        cell.execution_count = count
    book.cells[2].outputs = [new_output("execute_result", {"text/plain": "1"}, execution_count=4)]
    book.cells.insert(2, new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}, execution_count=2))
    nbformat.write(book, tmp_path / "executed.ipynb")
    committed.adopt(tmp_path / "executed.ipynb", tmp_path / "n.ipynb", 12.4)
    return tmp_path / "n.ipynb"


def test_a_notebook_takes_the_outputs_of_its_run_and_no_cell(notebook: Path) -> None:
    book = nbformat.read(notebook, 4)
    nbformat.validate(book)
    assert [cell.source for cell in book.cells] == ["# T", "a = 1", "a"]
    assert book.cells[2].outputs[0].data == {"text/plain": "1"}
    assert [book.cells[2].execution_count, book.cells[2].outputs[0].execution_count] == [2, 2]
    assert book.metadata.sparseguard.seconds == 12
    assert committed.complaint(notebook) is None


def edit_text(book: NotebookNode) -> None:
    book.cells[0].source = "# U"


def edit_code(book: NotebookNode) -> None:
    book.cells[1].source = "a = 3"


def lose_a_run(book: NotebookNode) -> None:
    book.cells[1].execution_count = None


def fail(book: NotebookNode) -> None:
    book.cells[2].outputs = [new_output("error", ename="E", evalue="", traceback=[])]


def grow(book: NotebookNode) -> None:
    book.cells[2].outputs = [new_output("stream", text="x" * committed.LARGEST)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_text, "was edited after its outputs were made"),
        (edit_code, "was edited after its outputs were made"),
        (lose_a_run, "did not run in order"),
        (fail, "ended with an error"),
        (grow, "at most 1000000 are allowed"),
    ],
)
def test_what_does_not_belong_together_is_named(
    change: Callable[[NotebookNode], None], message: str, notebook: Path
) -> None:
    book = nbformat.read(notebook, 4)
    change(book)
    nbformat.write(book, notebook)
    assert message in (committed.complaint(notebook) or "")


def test_outputs_of_another_notebook_are_refused(notebook: Path) -> None:
    book = nbformat.read(notebook, 4)
    edit_code(book)
    nbformat.write(book, notebook)
    before = notebook.read_bytes()
    with pytest.raises(ValueError, match="was not made from"):
        committed.adopt(notebook.with_name("executed.ipynb"), notebook, 1.0)
    assert notebook.read_bytes() == before


def test_pictures_get_smaller_grey_stays_as_it_is_and_colours_nearly(tmp_path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(6, 3))
    axes[0].imshow(np.random.default_rng(0).random((28, 28)), cmap="gray")
    axes[1].bar(range(3), range(1, 4), color=["C0", "C1", "C2"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    text = base64.b64encode(buffer.getvalue()).decode()
    small = with_a_palette(text)
    assert len(small) < 0.6 * len(text)
    book = new_notebook(cells=[new_code_cell("a")])
    nbformat.write(book, tmp_path / "n.ipynb")
    book.cells[0].outputs = [new_output("display_data", {"image/png": text})]
    nbformat.write(book, tmp_path / "executed.ipynb")
    committed.adopt(tmp_path / "executed.ipynb", tmp_path / "n.ipynb", 1.0)
    assert nbformat.read(tmp_path / "n.ipynb", 4).cells[0].outputs[0].data["image/png"].strip() == small
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int) for png in (text, small)
    )
    grey = (before == before[..., :1]).all(-1)
    assert grey.mean() > 0.5
    assert np.abs(after - before)[grey].max() <= 8
    assert np.abs(after - before).mean() < 0.5
