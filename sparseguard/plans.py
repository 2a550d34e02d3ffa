"""Which cells a file of parameters asks for.

A file in a folder that is named after a notebook, as those of ``params/`` are, asks for what that notebook would run
with it. Any other has the entries of a notebook's parameters: all data sets, settings, defenses, strengths, attacks and
seeds with each other.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import yaml

from . import grid
from .experiment import USUAL_ATTACK, Experiment
from .grid import cells
from .store import Store

ENTRIES = ("dataset", "datasets", "setting", "settings", "defenses", "lams", "scale", "seeds", "attack", "fid")
"""Entries of a file that belongs to no notebook."""
CALL = "run_grid("
"""What a notebook's cell calls when it knows what it wants."""


def planned(file: Path, notebooks: Path | None = None) -> list[Experiment]:
    """The cells that a file asks for, each once, checked; none, if its notebook makes other measurements.

    Args:
        file: YAML.
        notebooks: folder of the notebooks; ``None``: that beside the folder that holds the file's.

    Raises:
        ValueError: it is no YAML mapping, or has an entry or a value that is not allowed.
        OSError: it cannot be read.
    """
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise OSError(f"{file} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(given, dict):
        raise ValueError(f"{file} must hold entries, as dataset: mnist, not {given!r}.")
    notebook = notebook_of(file, notebooks)
    return list(dict.fromkeys(_of_entries(given) if notebook is None else of_notebook(notebook, given)))


def notebook_of(file: Path, notebooks: Path | None = None) -> Path | None:
    """The notebook that a file is of; ``None``: of none."""
    folder = file.resolve().parent
    notebook = (notebooks or folder.parent.parent / "notebooks") / f"{folder.name}.ipynb"
    return notebook if notebook.is_file() else None


def of_notebook(notebook: Path, given: dict[str, Any]) -> list[Experiment]:
    """The cells that a notebook would run with some parameters: what its :data:`CALL` is given; none, if it has none.

    Raises:
        ValueError: a parameter that it does not have, or that is not allowed.
    """
    book = nbformat.read(notebook, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    if not any(CALL in cell.source for cell in code):
        return []
    found: list[Experiment] = []
    names: dict[str, Any] = {"__name__": "__main__"}

    def instead(experiments: Sequence[Experiment], **_: Any) -> None:
        found.extend(experiments)
        raise StopIteration

    with patch.object(grid, "run_grid", instead), redirect_stdout(io.StringIO()), suppress(StopIteration):
        for cell in code:
            exec(compile(cell.source, str(notebook), "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= given
    return found


def _of_entries(given: dict[str, Any]) -> list[Experiment]:
    for entry in given:
        if entry not in ENTRIES:
            raise ValueError(f"a plan has no entry {entry!r}; its entries are {', '.join(ENTRIES)}.")
    for one, several in (("dataset", "datasets"), ("setting", "settings")):
        if one in given and several in given:
            raise ValueError(f"a plan has either {one} or {several}, not both.")

    def every(one: str, several: str, usual: str) -> list[Any]:
        value = given.get(one, given.get(several, usual))
        return value if isinstance(value, list) else [value]

    return [
        experiment
        for dataset, setting in product(
            every("dataset", "datasets", "mnist"), every("setting", "settings", "end_to_end")
        )
        for experiment in cells(
            dataset, setting, given.get("defenses", ["none", "sparse_guard"]), given.get("lams", [0.5]),
            given.get("scale", "quick"), given.get("seeds", [0]), given.get("attack", USUAL_ATTACK),
            given.get("fid", False),
        )
    ]  # fmt: skip


def lacking(experiments: Sequence[Experiment], store: Store) -> list[Experiment]:
    """Those that neither the store has nor what is shipped, by name alone: what is damaged is found when it is read.

    Those without the FID that was asked for, where that is to be had now, are lacking too.
    """
    there = store.present()

    def has(e: Experiment) -> bool:
        found = e.key() in there
        if found and e.fid:
            read = e.stored(store)
            return read is not None and not read.fid_can_be_had_now()
        return found

    return [e for e in experiments if not has(e)]
