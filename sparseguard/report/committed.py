"""Notebooks that carry the outputs of a reference run, and the check that outputs and sources belong together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .figures import with_a_palette

LARGEST = 1_000_000
"""Bytes of a notebook with outputs: more is slow to open, and is not shown by hosting sites."""
_KEY = "sparseguard"


def digest(book: NotebookNode) -> str:
    """Hash of what a notebook says and does: kind and source of all cells."""
    cells = [[cell.cell_type, cell.source] for cell in book.cells]
    return hashlib.sha256(json.dumps(cells, ensure_ascii=False).encode()).hexdigest()[:20]


def adopt(executed: Path, source: Path, seconds: float) -> None:
    """Write the outputs of an executed copy of a notebook into the notebook itself, pictures with a palette.

    Raises:
        ValueError: the copy has other cells, or the result would be too large; nothing is written.
    """
    book, done = nbformat.read(source, 4), nbformat.read(executed, 4)
    ran = {cell.id: cell for cell in done.cells}
    count = 0
    for cell in book.cells:
        if cell.id not in ran or ran[cell.id].source != cell.source:
            raise ValueError(f"{executed} was not made from {source}: cell {cell.id} differs.")
        if cell.cell_type == "code":
            count += 1
            cell.outputs, cell.execution_count = ran[cell.id].outputs, count
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = count
                data = output.get("data", {})
                if "image/png" in data:
                    data["image/png"] = with_a_palette(data["image/png"])
    book.metadata[_KEY] = {"sources": digest(book), "seconds": round(seconds)}
    text = nbformat.writes(book) + "\n"
    if len(text.encode()) > LARGEST:
        raise ValueError(f"{source} with its outputs has {len(text.encode())} bytes; at most {LARGEST} are allowed.")
    source.write_text(text, encoding="utf-8")


def complaint(notebook: Path) -> str | None:
    """Why a notebook's outputs are not those of its sources, in one sentence; ``None`` if they are."""
    book = nbformat.read(notebook, 4)
    if notebook.stat().st_size > LARGEST:
        return f"{notebook.name} has {notebook.stat().st_size} bytes; at most {LARGEST} are allowed."
    if book.metadata.get(_KEY, {}).get("sources") != digest(book):
        return f"{notebook.name} was edited after its outputs were made: run `make reference`."
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        return f"{notebook.name}: its cells did not run in order."
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        return f"{notebook.name}: a cell ended with an error."
    return None
