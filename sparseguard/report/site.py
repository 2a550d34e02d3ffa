"""The report as a site: execute notebooks with papermill, one process each, and make pages of them."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from papermill import inspect_notebook

from ..checks import one_of
from ..plans import lacking, of_notebook
from ..progress import PROGRESS
from ..store import STILL, Store
from ..workers import JOBS, cores
from . import committed
from .pages import write_site

FURTHER = Path("params") / "report.yaml"
"""Beside the notebooks' folder: by notebook, files of ``params/NOTEBOOK`` that are pages of their own."""
TURNS = {"07_compute_time": 1, "00_overview": 2}
"""Who waits: one measures time and wants the machine for itself, the other reads what all have stored."""
LOOK, QUIET = 0.2, 5.0
"""Seconds between two looks at what a notebook computes, and between two lines about it."""


@dataclass(frozen=True)
class Page:
    """A notebook, and the parameters that it is executed with.

    ``name``: of the page and of the executed notebook.
    """

    source: Path
    name: str
    given: dict[str, Any]

    @property
    def usual(self) -> bool:
        """With the notebook's own parameters."""
        return self.name == self.source.stem


def pages_of(notebooks: Path, parameters: dict[str, Any]) -> list[Page]:
    """Every notebook of a folder, and after each its further pages, unless parameters are given for all.

    Raises:
        ValueError: there is no notebook, or :data:`FURTHER` names one that there is not.
        OSError: it names a file that cannot be read.
    """
    sources = sorted(notebooks.glob("*.ipynb"))
    if not sources:
        raise ValueError(f"there is no notebook in {notebooks.resolve()}.")
    listed = notebooks.parent / FURTHER
    further: dict[str, list[str]] = yaml.safe_load(listed.read_text()) if listed.is_file() and not parameters else {}
    for stem in further:
        one_of(f"a notebook of {listed}", stem, [s.stem for s in sources])
    found = []
    for source in sources:
        found.append(Page(source, source.stem, parameters))
        for name in further.get(source.stem, []):
            given = yaml.safe_load((listed.parent / source.stem / f"{name}.yaml").read_text())
            found.append(Page(source, f"{source.stem}_{name}", given))
    return found


def build(
    notebooks: Path,
    out: Path,
    parameters: dict[str, Any],
    jobs: int = 0,
    figures: Path | None = None,
    measure: bool = False,
    from_store: bool = False,
) -> Path:
    """Execute every page of a folder (:func:`pages_of`) and write ``out/index.html``.

    Notebooks run side by side, one a core, because the small networks of the quick scale use one core better than two;
    those of :data:`TURNS` wait for the others.

    Args:
        notebooks: folder of ``*.ipynb``.
        out: gets ``NAME.ipynb`` and ``NAME.html`` of each page, figures and tables in ``figures/``, and the index.
        parameters: given to every notebook, besides ``out``.
        jobs: how many at a time; 0: one a core.
        figures: a reference run: figures and tables go there, and the notebooks themselves take the outputs of their
            own parameters.
        measure: compute what is neither shipped nor stored; given to the notebooks that have such a parameter.
        from_store: train nothing at all, and say which cells are missing; a notebook that lacks what it is about is
            left out, and the index says so. The small measurements of the layer that are never kept are still taken.

    Returns:
        The index.

    Raises:
        ValueError, OSError: see :func:`pages_of`; or a notebook failed: the message holds the end of its output.
    """
    pages = pages_of(notebooks, parameters)
    out.mkdir(parents=True, exist_ok=True)
    turns = [[p for p in pages if TURNS.get(p.source.stem, 0) == turn] for turn in range(max(TURNS.values()) + 1)]
    drawn, start = (out / "figures").resolve(), time.time()

    missing: dict[str, str] = {}
    if from_store:
        measure = False
        for page in pages:
            planned = of_notebook(page.source, page.given | {"out": str(drawn)})
            absent = lacking(planned, Store())
            if absent:
                named = "; ".join(f"{e.dataset_name}, {e.setting}: {e.label}, seed {e.seed}" for e in absent)
                missing[page.name] = f"{len(absent)} of {len(planned)} cells are missing: {named}"
                print(f"{page.name}: {missing[page.name]}", flush=True)

    def execute(page: Page, threads: int) -> float:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            JOBS: str(threads),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        } | ({STILL: "1"} if from_store else {})  # fmt: skip
        before = time.perf_counter()
        target, name = out / f"{page.name}.ipynb", page.name
        own = {"measure": measure} if "measure" in inspect_notebook(str(page.source)) else {}
        given = yaml.safe_dump(page.given | {"out": str(drawn)} | own)
        print(f"running {name} …", flush=True)
        command = [sys.executable, "-m", "papermill", str(page.source), str(target), "-y", given, "--no-progress-bar"]
        failed = _watched(command, environment, name)
        lacks = re.search(r"^\w+: (.* (?:has not|has) been measured[;,].*)$", failed or "", re.M)
        if from_store and lacks:
            missing[name] = missing.get(name, lacks[1])
            print(f"{name} is left out: {lacks[1]}", flush=True)
            return math.nan
        if failed is not None:
            raise OSError(f"{name} failed:\n{failed}")
        seconds = time.perf_counter() - before
        if figures is not None and page.usual:
            committed.adopt(target, page.source, seconds)
        print(f"{name} done after {seconds:.0f} s", flush=True)
        return seconds

    seconds: dict[str, float] = {}
    for group in filter(None, turns):
        side_by_side = min(jobs or cores(), len(group))
        with ThreadPoolExecutor(side_by_side) as pool:  # each thread only waits for its process
            threads = max(cores() // side_by_side, 1)
            seconds |= zip([page.name for page in group], pool.map(partial(execute, threads=threads), group))
    _exchange(drawn, figures, notebooks.parent / "figures", start)
    texts = sorted((notebooks / "pages").glob("*.md"))
    shown = {page.name: page for page in pages if not math.isnan(seconds[page.name])}
    executed = {out / f"{name}.ipynb": seconds[name] for name in shown}
    further = {name: page.source.stem for name, page in shown.items() if not page.usual}
    return write_site(executed, texts, out, missing, further)


def _exchange(drawn: Path, figures: Path | None, shipped: Path, start: float) -> None:
    """What was drawn since ``start`` goes to ``figures``; what the site lacks comes from those that are shipped."""
    drawn.mkdir(exist_ok=True)
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        for path in drawn.iterdir():
            if path.stat().st_mtime >= start:
                shutil.copy(path, figures / path.name)
    for path in shipped.iterdir() if shipped.is_dir() else []:
        if not (drawn / path.name).exists():
            shutil.copy(path, drawn / path.name)


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
