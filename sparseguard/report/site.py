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
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from papermill import inspect_notebook

from ..plans import lacking, of_notebook
from ..progress import PROGRESS
from ..store import STILL, Store
from ..workers import JOBS, cores
from . import committed
from .pages import write_site

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
    drawn, start = (out / "figures").resolve(), time.time()
    usual = parameters | {"out": str(drawn)}

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
        before = time.perf_counter()
        target = out / source.name
        given = yaml.safe_dump(usual | ({"measure": measure} if "measure" in inspect_notebook(str(source)) else {}))
        print(f"running {source.name} …", flush=True)
        command = [sys.executable, "-m", "papermill", str(source), str(target), "-y", given, "--no-progress-bar"]
        failed = _watched(command, environment, source.name)
        lacks = re.search(r"^\w+: (.* (?:has not|has) been measured[;,].*)$", failed or "", re.M)
        if from_store and lacks:
            missing[source] = missing.get(source, lacks[1])
            print(f"{source.name} is left out: {lacks[1]}", flush=True)
            return math.nan
        if failed is not None:
            raise OSError(f"{source.name} failed:\n{failed}")
        seconds = time.perf_counter() - before
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
    _exchange(drawn, figures, notebooks.parent / "figures", start)
    texts = sorted((notebooks / "pages").glob("*.md"))
    shown = [source for source in sources if not math.isnan(seconds[source])]
    lacking_cells = {source.stem: what for source, what in missing.items()}
    return write_site([out / s.name for s in shown], texts, [seconds[s] for s in shown], out, lacking_cells)


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
