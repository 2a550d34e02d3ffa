"""The notebooks, executed with smoke parameters as a user would, and their numbers."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml

from sparseguard.report import committed, pages
from sparseguard.store import Store

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@dataclass(frozen=True)
class Run:
    """What a notebook is given here, and what it has to leave behind."""

    given: str
    """Parameters, as YAML."""
    pictures: tuple[str, ...]
    """Endings of its figures' names."""
    cells: int
    """Finished cells in the store."""
    reading: str
    """A phrase of its reading."""
    printed: tuple[str, ...]
    """Printed PSNR of each row of its table."""
    measured: tuple[float, ...]
    """Measured PSNR of each row, within 1.2 dB."""
    fixed: tuple[tuple[str, Any], ...] = ()
    """Arguments of ``cells`` that are not among its parameters."""


GRID = (
    "{defenses: [none, none_standardized, {defense: laplace, b: 1.0}, {defense: laplace, front: conv}, sparse_guard, "
    "{defense: sparse_guard, tau: 100}], lams: [0.5], seeds: %s, scale: smoke}"
)
SWEEP = (
    "{defenses: [sparse_standard, sparse_guard], lams: [0.1, 0.75], seeds: [0], scale: smoke, explore: [%s], "
    "settle: [0.5], settle_lam: 0.75}"
)
# no defense here makes images, and there are no convolutions to compare with
SHOWN = ("headline", "utility", "slope", "extremes", "grid", "images")
# 300 images, a few steps of training: the attacker gets two to five dB beyond the mean image (11.7 dB) where no noise
# hides it. A new notebook is one entry here, or a file beside this one.
RUNS = {
    "01_end_to_end": Run(
        GRID % [0], SHOWN, 6, "What standardising each image does alone",
        ("40.87", "—", "24.89", "—", "17.85", "17.85"), (13.6, 13.4, 11.7, 11.7, 14.5, 14.9),
        (("setting", "end_to_end"),),
    ),
    "02_split": Run(
        GRID % [0, 1], SHOWN, 12, "What standardising each image does alone",
        ("31.21", "—", "22.63", "—", "14.98", "14.98"), (18.5, 17.9, 11.7, 13.9, 16.2, 16.5), (("setting", "split"),),
    ),
    "03_lambda": Run(
        SWEEP % "fashion_mnist", ("curves", "settling", "multiples"), 11, "by time constants",
        ("23.45", "22.39", "19.54", "14.65", "—", "—", "14.65"), (15.1, 15.4, 14.3, 14.3, 15.7, 16.2, 13.5),
    ),
}  # fmt: skip
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)


def parameters(notebook: Path) -> dict[str, object]:
    """Names and values of the parameters cell."""
    cells = [c for c in nbformat.read(notebook, 4).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1
    values: dict[str, object] = {}
    exec(cells[0].source, values)
    return {name: value for name, value in values.items() if not name.startswith("__")}


def papermill(notebook: Path, out: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "papermill", str(notebook), str(out), *arguments, "--no-progress-bar"]
    environment = os.environ | {"SPARSEGUARD_HOME": str(home)}
    return subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True, check=False)


def executed(stem: str, given: str, folder: Path) -> tuple[Path, Path, Path]:
    """A notebook that ran to its end in a folder: its figures, its store, and itself."""
    figures, home, out = folder / "figures", folder / "home", folder / "out.ipynb"
    done = papermill(ROOT / "notebooks" / f"{stem}.ipynb", out, "-p", "out", str(figures), "-y", given, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return figures, home, out


def test_every_notebook_is_tested_here_or_in_a_file_of_its_own() -> None:
    own = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_[01]*.py")}
    assert [path.stem for path in NOTEBOOKS] == sorted(RUNS | dict.fromkeys(own))


@each_notebook
def test_notebooks_are_thin_and_have_the_skeleton(notebook: Path) -> None:
    book = nbformat.read(notebook, 4)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    text = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    positions = [
        text.index(part)
        for part in ("**Question.**", "## Parameters", "## Run", "## Answer", "## Table", "## Pictures", "## Reading")
    ]
    assert book.cells[0].source.split("\n\n", 1)[1].startswith("**Question.**")
    assert positions == sorted(positions)
    for cell in book.cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            statements = re.sub(r"\([^()]*\)", "()", cell.source)  # an import list is one line
            assert len(statements.splitlines()) <= 10, cell.source


@each_notebook
def test_its_outputs_belong_to_its_sources_and_say_where_they_come_from(notebook: Path) -> None:
    assert committed.complaint(notebook) is None
    book = nbformat.read(notebook, 4)
    printed = "".join(o.get("text", "") for c in book.cells if c.cell_type == "code" for o in c.outputs)
    assert re.search(r": scale \w+; seeds? \d+(, \d+)*; .+; \d+ s (when|in)", printed)
    assert not re.search(r"/(home|root|tmp|work)/", printed)
    name = f"{notebook.stem}_*"
    assert {path.suffix for path in (ROOT / "figures").glob(name)} == {".png", ".csv", ".md"}


@each_notebook
def test_it_answers_in_a_box_of_five_sentences_and_three_numbers_before_anything_else_is_shown(notebook: Path) -> None:
    first = next(part for part in pages.sections(nbformat.read(notebook, 4)) if part.heading == pages.ANSWER)
    shown = [o.data["text/html"] for c in first.cells for o in c.get("outputs", []) if "text/html" in o.get("data", {})]
    assert pages.SUMMARY in shown[0]
    assert 1 <= shown[0].count("font-size:1.7em") <= 3
    assert len(re.findall(r"<p[^>]*><strong>.+?</strong>", shown[0])) == 1


@pytest.mark.parametrize("name", RUNS)
def test_papermill_runs_it_and_the_numbers_are_right(name: str, tmp_path: Path) -> None:
    run, notebook = RUNS[name], ROOT / "notebooks" / f"{name}.ipynb"
    out, home = tmp_path / "out.ipynb", tmp_path / "home"
    figures = ("-p", "out", str(tmp_path / "figures"))
    done = papermill(notebook, out, "-p", "dataset", "mnist", *figures, "-y", run.given, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    book = nbformat.read(out, 4)
    outputs = [o for c in book.cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == len(run.pictures)
    html = next(o.data["text/html"] for o in outputs if "<table" in o.get("data", {}).get("text/html", ""))
    assert any(pages.SUMMARY in o.get("data", {}).get("text/html", "") for o in outputs)
    assert "scale smoke" in html
    assert any(run.reading in o.get("data", {}).get("text/markdown", "") for o in outputs)
    assert not any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in outputs)

    name = f"{name}_mnist_smoke"
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    pictures = {f"{name}_{kind}.png" for kind in run.pictures}
    assert files == pictures | {f"{name}.csv", f"{name}.md"}
    table = pd.read_csv(tmp_path / "figures" / f"{name}.csv")
    assert tuple(table["PSNR ↓ printed"].str.split(" ").str[0]) == run.printed
    measured = table["PSNR ↓ measured"].astype(str).str.extract(r"^([\d.]+)(?: ± ([\d.]+))?$").astype(float)
    assert measured[0].tolist() == pytest.approx(run.measured, abs=1.2)
    assert (measured[1] < 1.5).all() or ("seeds: [0]" in run.given and measured[1].isna().all())
    assert len(Store(home).names()) == run.cells


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("dataset", "imagenet"), "dataset must be one of mnist, fashion_mnist"),
        (("scale", "huge"), "scale must be one of smoke, quick, medium, paper, not 'huge'"),
        (("defenses", "blur"), "defense must be one of none, none_standardized"),
        (("lams", "0"), "lam must be a finite number greater than 0, not 0"),
        (("datset", "mnist"), "this notebook has no parameter 'datset'; its parameters are dataset, defenses"),
    ],
)
def test_a_wrong_parameter_ends_the_run_with_what_is_allowed(
    wrong: tuple[str, str], message: str, tmp_path: Path
) -> None:
    done = papermill(NOTEBOOKS[1], tmp_path / "out.ipynb", "-p", *wrong, home=tmp_path / "home")
    assert done.returncode != 0
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("ValueError: ")
    assert message in last
    assert "checks.py" not in done.stderr, "the package's own frames are hidden"
    assert not (tmp_path / "home").exists()


def test_every_parameter_file_fits_its_notebook() -> None:
    from sparseguard.grid import cells

    folders = {path.name for path in (ROOT / "params").iterdir() if path.is_dir()}
    assert folders == {path.stem for path in NOTEBOOKS}
    for notebook in NOTEBOOKS:
        allowed = parameters(notebook)
        files = sorted((ROOT / "params" / notebook.stem).glob("*.yaml"))
        assert files
        for file in files:
            given = yaml.safe_load(file.read_text())
            assert set(given) <= set(allowed), file
            merged = allowed | given
            assert merged.pop("out") == ""
            assert merged.pop("measure", True) is not ("sizes" in merged), "large data are measured when asked for"
            for name in ("explore", "settle", "settle_lam"):
                merged.pop(name, None)
            if notebook.stem in RUNS:
                assert cells(**merged, **dict(RUNS[notebook.stem].fixed))


@pytest.mark.parametrize(
    "file",
    ["", "mnist", "fashion_mnist", "cifar10", "medical_mnist", "fashion_mnist_quick", "medical_mnist_quick",
     "cifar10_quick", "mnist_medium", "fashion_mnist_medium"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["01_end_to_end", "02_split"])
def test_sparse_rows_stand_beside_each_regime_and_comparable_controls(name: str, file: str) -> None:
    from sparseguard.grid import cells

    given = parameters(ROOT / "notebooks" / f"{name}.ipynb")
    given |= yaml.safe_load((ROOT / "params" / name / f"{file}.yaml").read_text()) if file else {}
    del given["out"], given["measure"]
    labels = {e.label for e in cells(**given, **dict(RUNS[name].fixed))}  # type: ignore[arg-type]
    sparse = {f"{d} lam=0.5{tau}" for d in ("sparse_standard", "sparse_guard") for tau in ("", " tau=1000", " tau=100")}
    rivals = {"none", "none_standardized", "none_conv", "gaussian sigma=0.5 front=conv", "laplace b=0.5 front=conv"}
    assert sparse | rivals <= labels


def test_the_papers_runs_cover_every_row_of_its_tables() -> None:
    from sparseguard.grid import cells
    from sparseguard.paper import printed, printed_tables

    table = printed_tables()
    folders = (
        ("01_end_to_end", "end_to_end", (1, 6, 8, 10, 14)),
        ("02_split", "split", (2, 7, 9, 11)),
        ("03_lambda", "end_to_end", (3,)),
    )
    sets = {
        "mnist": "MNIST",
        "fashion_mnist": "Fashion MNIST",
        "cifar10": "CIFAR10",
        "medical_mnist": "Medical MNIST",
        "celeba": "CelebA",
    }
    assert set(sets.values()) == set(table.dataset)
    for folder, setting, tables in folders:
        for dataset, name in sets.items():
            if (table.table.isin(tables) & (table.dataset == name)).sum() == 0:
                continue
            given = yaml.safe_load((ROOT / "params" / folder / f"{dataset}.yaml").read_text())
            rows = cells(
                **{k: v for k, v in given.items() if k not in ("explore", "settle", "settle_lam")}
                | {"setting": setting}
            )
            numbers = {
                (p.numbers["psnr"], p.numbers["accuracy"])  # tables that repeat a row differ in the others' last digit
                for e in rows
                if (p := printed(setting, dataset, e.defense, e.lam, dict(e.options)))
            }
            wanted = table[table.table.isin(tables) & (table.dataset == name)]
            assert {tuple(r) for r in wanted[["psnr", "accuracy"]].to_numpy().tolist()} <= numbers
