"""The notebooks, executed with smoke parameters as a user would, and their numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["01_end_to_end.ipynb", "02_split.ipynb"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_thin_and_have_the_skeleton(notebook: Path) -> None:
    book = nbformat.read(notebook, 4)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    text = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    positions = [
        text.index(part)
        for part in ("**Question.**", "## Parameters", "## Run", "## Table", "## Pictures", "## Reading")
    ]
    assert positions == sorted(positions)
    for cell in book.cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            statements = re.sub(r"\([^()]*\)", "()", cell.source)  # an import list is one line
            assert len(statements.splitlines()) <= 10, cell.source


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_papermill_runs_it_and_the_numbers_are_right(notebook: Path, tmp_path: Path) -> None:
    given = "{defenses: [none, {defense: laplace, b: 1.0}, sparse_guard], lams: [0.5], seeds: [0, 1], scale: smoke}"
    out, home = tmp_path / "out.ipynb", tmp_path / "home"
    done = papermill(
        notebook, out, "-p", "dataset", "mnist", "-p", "out", str(tmp_path / "figures"), "-y", given, home=home
    )
    assert done.returncode == 0, done.stdout + done.stderr
    book = nbformat.read(out, 4)
    outputs = [o for c in book.cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 4
    html = next(o.data["text/html"] for o in outputs if "<table" in o.get("data", {}).get("text/html", ""))
    assert "scale smoke" in html
    reading = next(o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {}))
    assert "From the hardest to the easiest" in reading

    name = f"{notebook.stem}_mnist_smoke"
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    pictures = {
        f"{name}_{kind}.{suffix}" for kind in ("grid", "made", "images", "utility") for suffix in ("png", "svg")
    }
    assert files == pictures | {f"{name}.csv", f"{name}.md"}
    table = pd.read_csv(tmp_path / "figures" / f"{name}.csv")
    printed = table["PSNR ↓ printed"].str.split(" ").str[0].tolist()
    assert printed == (["40.87", "24.89", "17.85"] if "01" in name else ["31.21", "22.63", "14.98"])
    measured = table["PSNR ↓ measured"].str.extract(r"^([\d.]+) ± ([\d.]+)$").astype(float)
    # 300 images, a few steps of training: the attacker gets a little beyond the mean image (11.7 dB)
    expected = [11.6, 10.9, 11.6] if "01" in name else [13.2, 11.3, 12.5]
    assert measured[0].tolist() == pytest.approx(expected, abs=1.2)
    assert (measured[1] < 1.5).all()
    cells = [path for path in home.iterdir() if path.is_dir()]
    assert len(cells) == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("dataset", "imagenet"), "dataset must be one of mnist, fashion_mnist"),
        (("scale", "huge"), "scale must be one of smoke, quick, paper, not 'huge'"),
        (("defenses", "blur"), "defense must be one of none, none_conv"),
        (("lams", "0"), "lam must be a finite number greater than 0, not 0"),
        (("datset", "mnist"), "this notebook has no parameter 'datset'; its parameters are dataset, defenses"),
    ],
)
def test_a_wrong_parameter_ends_the_run_with_what_is_allowed(
    wrong: tuple[str, str], message: str, tmp_path: Path
) -> None:
    done = papermill(NOTEBOOKS[1], tmp_path / "out.ipynb", "-p", *wrong, home=tmp_path / "home")
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "home").exists()


def test_every_parameter_file_fits_its_notebook() -> None:
    from sparseguard.grid import cells

    folders = {path.name for path in (ROOT / "params").iterdir()}
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
            assert cells(setting="split", **merged)


def test_the_papers_runs_cover_every_row_of_its_tables() -> None:
    from sparseguard.grid import cells
    from sparseguard.paper import printed, printed_tables

    table = printed_tables()
    for folder, setting, tables in (("01_end_to_end", "end_to_end", (1, 6, 10)), ("02_split", "split", (2, 7, 11))):
        for dataset, name in (("mnist", "MNIST"), ("fashion_mnist", "Fashion MNIST")):
            given = yaml.safe_load((ROOT / "params" / folder / f"{dataset}.yaml").read_text())
            rows = cells(setting=setting, **given)
            numbers = {
                tuple(p.numbers.values())
                for e in rows
                if (p := printed(setting, dataset, e.defense, e.lam, dict(e.options)))
            }
            wanted = table[table.table.isin(tables) & (table.dataset == name)]
            assert len(wanted) >= 10
            assert {tuple(r) for r in wanted[["psnr", "ssim", "fid", "accuracy"]].to_numpy().tolist()} <= numbers
