"""The report as a site: execute notebooks with papermill, one process each, and render them with nbconvert."""

from __future__ import annotations

import html
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode
from papermill import inspect_notebook

from ..grid import PROGRESS
from ..plans import lacking, of_notebook
from ..store import STILL, Store
from ..workers import JOBS, cores
from . import committed

TURNS = {"07_compute_time": 1, "00_overview": 2}
"""Who waits: one measures time and wants the machine for itself, the other reads what all have stored."""
LOOK, QUIET = 0.2, 5.0
"""Seconds between two looks at what a notebook computes, and between two lines about it."""


def build(
    notebooks: Path,
    out: Path,
    parameters: dict[str, Any],
    jobs: int = 0,
    figures: Path | None = None,
    measure: bool = False,
    from_store: bool = False,
) -> Path:
    """Execute every notebook of a folder and write ``out/index.html``.

    Notebooks run side by side, one a core, because the small networks of the quick scale use one core better than two;
    those of :data:`TURNS` wait for the others.

    Args:
        notebooks: folder of ``*.ipynb``.
        out: gets ``NAME.ipynb`` and ``NAME.html`` for each, their figures and tables in ``figures/``, and the index.
        parameters: given to every notebook, besides ``out``.
        jobs: how many at a time; 0: one a core.
        figures: a reference run: figures and tables go there, and the notebooks themselves take the outputs.
        measure: compute what is neither shipped nor stored; given to the notebooks that have such a parameter.
        from_store: train nothing at all, and say which cells are missing; a notebook that lacks what it is about is
            left out, and the index says so. The small measurements of the layer that are never kept are still taken.

    Returns:
        The index.

    Raises:
        ValueError: there is no notebook.
        OSError: a notebook failed; the message holds the end of its output.
    """
    sources = sorted(notebooks.glob("*.ipynb"))
    if not sources:
        raise ValueError(f"there is no notebook in {notebooks.resolve()}.")
    out.mkdir(parents=True, exist_ok=True)
    turns = [[s for s in sources if TURNS.get(s.stem, 0) == turn] for turn in range(max(TURNS.values()) + 1)]
    usual = parameters | {"out": str((figures or out / "figures").resolve())}

    missing: dict[Path, str] = {}
    if from_store:
        measure = False
        for source in sources:
            planned = of_notebook(source, usual)
            absent = lacking(planned, Store())
            if absent:
                named = "; ".join(f"{e.dataset_name}, {e.setting}: {e.label}, seed {e.seed}" for e in absent)
                missing[source] = f"{len(absent)} of {len(planned)} cells are missing: {named}"
                print(f"{source.name}: {missing[source]}", flush=True)

    def execute(source: Path, threads: int) -> float:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            JOBS: str(threads),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        } | ({STILL: "1"} if from_store else {})  # fmt: skip
        start = time.perf_counter()
        target = out / source.name
        given = yaml.safe_dump(usual | ({"measure": measure} if "measure" in inspect_notebook(str(source)) else {}))
        print(f"running {source.name} …", flush=True)
        for command in (
            [sys.executable, "-m", "papermill", str(source), str(target), "-y", given, "--no-progress-bar"],
            [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR", str(target)],
        ):
            failed = _watched(command, environment, source.name)
            lacks = re.search(r"^\w+: (.* (?:has not|has) been measured[;,].*)$", failed or "", re.M)
            if from_store and lacks:
                missing[source] = missing.get(source, lacks[1])
                print(f"{source.name} is left out: {lacks[1]}", flush=True)
                return math.nan
            if failed is not None:
                raise OSError(f"{source.name} failed:\n{failed}")
        seconds = time.perf_counter() - start
        if figures is not None:
            committed.adopt(target, source, seconds)
        print(f"{source.name} done after {seconds:.0f} s", flush=True)
        return seconds

    seconds: dict[Path, float] = {}
    for group in filter(None, turns):
        side_by_side = min(jobs or cores(), len(group))
        with ThreadPoolExecutor(side_by_side) as pool:  # each thread only waits for its process
            threads = max(cores() // side_by_side, 1)
            seconds |= zip(group, pool.map(partial(execute, threads=threads), group))
    shown = [source for source in sources if not math.isnan(seconds[source])]
    for source in shown:
        _link_pages(out / f"{source.stem}.html", shown)
    index = out / "index.html"
    text = _index([out / s.name for s in shown], [seconds[s] for s in shown], {s.stem: m for s, m in missing.items()})
    index.write_text(text, encoding="utf-8")
    return index


def _watched(command: list[str], environment: dict[str, str], name: str) -> str | None:
    """Run a command and print what it computes as it goes; the end of its output if it failed, else ``None``."""
    with tempfile.TemporaryDirectory() as folder:
        told, said, shown = Path(folder) / "told", Path(folder) / "said", 0.0
        with said.open("wb") as output:
            running = subprocess.Popen(
                command, env=environment | {PROGRESS: str(told)}, stdout=output, stderr=subprocess.STDOUT
            )
            latest = ""
            while running.poll() is None:
                time.sleep(LOOK)
                line = told.read_text(encoding="utf-8") if told.exists() else ""
                if line != latest and time.monotonic() - shown > QUIET:
                    print(f"{name}: {line}", flush=True)
                    latest, shown = line, time.monotonic()
        if not running.returncode:
            return None
        return "\n".join(said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:])


def _link_pages(page: Path, sources: list[Path]) -> None:
    """Links to notebooks become links to their pages."""
    text = page.read_text(encoding="utf-8")
    for source in sources:
        text = text.replace(f'href="{source.name}"', f'href="{source.stem}.html"')
    page.write_text(text, encoding="utf-8")


def _index(executed: list[Path], seconds: list[float], missing: dict[str, str]) -> str:
    rows = "".join(f"<li>{html.escape(f'{name}: {what}')}</li>" for name, what in missing.items())
    for path, duration in zip(executed, seconds):
        book = nbformat.read(path, as_version=4)
        rows += (
            f'<li><a href="{path.stem}.html">{html.escape(_title(book, path.stem))}</a> '
            f'({duration:.0f} s; <a href="{path.name}">notebook</a>){_first_picture(book, path.stem)}</li>'
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>sparseguard report</title>'
        '<body style="font-family: sans-serif; max-width: 46em; margin: 2em auto">'
        "<h1>Does sparse coding protect images against model inversion?</h1>"
        "<p>A reproduction of <em>Sparse-Guard</em>. Each page states its data set, scale, seeds and spread.</p>"
        f'<ul>{rows}</ul><p>Figures and tables as files: <a href="figures/">figures/</a>.</p></body></html>\n'
    )


def _first_picture(book: NotebookNode, name: str) -> str:
    """The first picture of an executed notebook, inside the page."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                png = committed.with_a_palette(output.data["image/png"])
                style = "display: block; max-width: 100%; max-height: 24em; margin: 0.7em 0 1.4em"
                return f'<br><img alt="{name}" style="{style}" src="data:image/png;base64,{png}">'
    return ""


def _title(book: NotebookNode, name: str) -> str:
    for cell in book.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.splitlines()[0].removeprefix("# "))
    return name
