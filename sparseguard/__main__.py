"""Command line: ``python -m sparseguard run|grid|data|pack|export|import|verify|reproduce|report``."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .experiment import Experiment
    from .shipping import Recomputed
    from .store import Store
    from .submitting import Site

USUAL_ATTACK = "inversion"  # each command imports what it needs: help is asked for often, and needs nothing
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

EVERY = 5.0
"""Seconds between two lines about what a grid is at."""

Dataset = Annotated[
    str,
    typer.Option(
        help="a name of `data list`, or the path of a folder of class folders, a .zip of one, or an .npz file"
    ),
]
SettingName = Annotated[str, typer.Option(help="end_to_end or split")]
ScaleName = Annotated[str, typer.Option(help="smoke, quick, medium or paper")]
Options = Annotated[str, typer.Option(help='further options of the defense, as JSON: {"b": 1.0}')]
AttackOptions = Annotated[str, typer.Option(help='options of the attack, as JSON: {"views": 16}')]


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} must be a JSON object, not {text!r} ({error}).") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be a JSON object, not {text!r}.")
    return found


@app.command()
def run(
    dataset: Dataset = "mnist",
    setting: SettingName = "end_to_end",
    defense: str = "none",
    lam: Annotated[float | None, typer.Option(help="sparsity of a sparse defense")] = None,
    attack: str = USUAL_ATTACK,
    scale: ScaleName = "quick",
    seed: int = 0,
    options: Options = "{}",
    attack_options: AttackOptions = "{}",
    holdout: Annotated[int | None, typer.Option(help="hold-out images that the attacker learns from")] = None,
    fid: Annotated[bool, typer.Option(help="measure FID where Inception's weights can be had")] = False,
) -> None:
    """Run one cell, or read it from the store, and print its metrics as JSON."""
    from .defenses import DEFENSES
    from .experiment import Experiment

    taken = DEFENSES.options(defense)
    if lam is not None and "lam" not in taken:
        raise ValueError(f"--lam: {defense} has no λ; its options are {', '.join(taken) or 'none'}.")
    extra, of_attack = _object("--options", options), _object("--attack-options", attack_options)
    result = Experiment(dataset, setting, defense, lam, attack, scale, seed, extra, fid, of_attack, holdout).run()
    typer.echo(json.dumps({"cell": result.experiment.label, "metrics": result.metrics, **result.details}, indent=1))


@app.command()
def grid(
    file: Annotated[Path, typer.Argument(help="YAML with the entries of a notebook's parameters, of params/ say")],
    dry_run: Annotated[bool, typer.Option(help="say what would run; for Slurm, the script that sbatch takes")] = False,
    where: Annotated[str, typer.Option(help="local or slurm")] = "local",
    workers: Annotated[int, typer.Option(help="jobs at a time; 0: one a core, on a GPU one")] = 0,
    gpus_per_task: Annotated[int, typer.Option(help="of each job")] = 0,
    minutes: Annotated[int, typer.Option(help="after which a job is stopped and queued again; 0: none is")] = 0,
    slurm: Annotated[str, typer.Option(help='further options of Slurm, as JSON: {"partition": "gpu"}')] = "{}",
) -> None:
    """Run the cells that a file asks for and that the store has not, side by side, going on past failures.

    Several may run at once, on any machines that share the store: none computes what another one does.
    """
    from .grid import compute
    from .plans import lacking, notebook_of, planned
    from .store import Store
    from .submitting import FOLDER, Site
    from .workers import jobs

    site = Site(where, workers or jobs(), gpus_per_task, minutes or None, _object("--slurm", slurm))
    cells, store = planned(file), Store()
    notebook = notebook_of(file)
    if notebook is not None and not cells:
        _measured(notebook, file, site, store, dry_run)
        return
    missing = lacking(cells, store)
    typer.echo(f"{len(cells)} cells: {len(cells) - len(missing)} are there, {len(missing)} are missing.")
    if dry_run:
        for e in missing:
            typer.echo(f"{e.dataset_name}, {e.setting}, {e.scale}: {e.label}, seed {e.seed}")
        if where == "slurm":
            words = [sys.executable, "-m", "sparseguard", "grid", str(file.resolve()), "--workers", "1"]
            typer.echo(site.script(shlex.join(words), Path.cwd()))
        return
    failures = compute(missing, store, site, Lines())
    for e, error in failures.items():
        typer.echo(f"failed: {e.dataset_name}, {e.setting}: {e.label}, seed {e.seed}: {error}")
    typer.echo(f"{len(missing) - len(failures)} of them are there now, {len(failures)} failed.")
    if failures:
        typer.echo(f"What the jobs said lies in {store.folder / FOLDER}.")
        raise ArithmeticError(f"{len(failures)} of {len(cells)} cells are missing; the same command tries them again.")


def _measured(notebook: Path, file: Path, site: Site, store: Store, dry_run: bool) -> None:
    """A notebook that makes other measurements than cells makes them itself, in one job; the store keeps them."""
    from .submitting import FOLDER

    out = store.folder.absolute() / FOLDER / f"{notebook.stem}-{file.stem}.ipynb"
    words = [sys.executable, "-m", "papermill", str(notebook), str(out), "-f", str(file.resolve()), "--no-progress-bar"]
    typer.echo(f"{notebook.name} asks for no cells; it makes its measurements itself: {shlex.join(words)}")
    if dry_run:
        typer.echo(site.script(shlex.join(words), Path.cwd()) if site.where == "slurm" else "")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = site.run(words, store)
    if failed is not None:
        raise OSError(f"{notebook.name} failed; what it said lies in {failed}.")
    typer.echo(f"It is in {out}.")


class Lines:
    """What a grid is at, in a line every few seconds."""

    def __init__(self) -> None:
        self._shown = float("-inf")

    def __call__(self, experiment: Experiment, stage: str, line: str) -> None:
        from .workers import DONE, FAILED

        if stage in (DONE, FAILED):
            typer.echo(f"{stage}: {experiment.dataset_name}, {experiment.setting}: {experiment.label}, "
                       f"seed {experiment.seed}")  # fmt: skip
        if time.monotonic() - self._shown >= EVERY:
            typer.echo(line)
            self._shown = time.monotonic()


@app.command()
def data(
    action: Annotated[str, typer.Argument(help="list, get or check; a name alone is got")],
    name: Annotated[str, typer.Argument(help="a data set, a path, or fid for Inception's weights")] = "",
) -> None:
    """List the known data sets, put one where experiments find it, or say what a path holds."""
    from .data import load_images
    from .data.described import checked, described
    from .metrics.frechet import load_inception

    if action == "list":
        typer.echo("\n".join(described()))
    elif action == "check":
        typer.echo("\n".join(checked(name)))
    elif (name or action) == "fid":
        load_inception()
        typer.echo("pytorch-fid's Inception weights are in place.")
    else:
        images = load_images(name or action, bundled=False)
        typer.echo(f"{name or action}: {len(images.images)} images of {len(images.classes)} classes are in place.")


@app.command()
def pack(scale: ScaleName = "quick") -> None:
    """Put what the store has of a scale among what travels with the package; what is stale leaves it."""
    from . import shipping

    path, count = shipping.pack(scale)
    typer.echo(f"{count} cells and studies are in {path}, {path.stat().st_size / 2**20:.1f} MiB.")


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="is written; .safetensors")],
    scale: Annotated[str, typer.Option(help="of this scale alone")] = "",
) -> None:
    """Write the results of the store to one file, for another store, on another machine."""
    from . import shipping

    typer.echo(f"{shipping.exported(file, scale or None)} cells and studies are in {file}.")


@app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="that was exported")]) -> None:
    """Put the results of an exported file into the store, but for those that it has."""
    from . import shipping

    new, there = shipping.imported(file)
    typer.echo(f"{new} cells and studies were added, {there} were there.")


@app.command()
def verify(
    count: Annotated[int, typer.Option(help="cells, drawn at random")] = 3,
    scale: ScaleName = "quick",
    seed: Annotated[int | None, typer.Option(help="of the draw; another one each time without")] = None,
) -> None:
    """Compute some of the shipped cells anew, and print what came out beside what was shipped."""
    from . import shipping

    _told(shipping.recompute(count, scale, seed))


@app.command()
def reproduce(scale: ScaleName = "quick") -> None:
    """Compute all shipped cells of a scale anew into the store, and print what came out beside what was shipped.

    Says beforehand how long it will take, and which data sets cannot be had here; a run that was stopped goes on where
    it was.
    """
    from . import shipping
    from .store import Store

    known, without = shipping.obtainable(shipping.shipped(scale))
    if not known:
        raise OSError(" ".join(without))
    store = Store(shipped=False)
    for sentence in [*without, shipping.work(known, store)]:
        typer.echo(sentence)
    _told(shipping.anew(known, store))


def _told(found: list[Recomputed]) -> None:
    from .report import recomputed_table

    typer.echo(recomputed_table(found).to_markdown())
    complaints = [f"{r.here.experiment.label}: {r.complaint}" for r in found if r.complaint]
    if complaints:
        raise ArithmeticError("; ".join(complaints) + ".")


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="folder of the HTML site")] = Path("build/report"),
    notebooks: Annotated[Path, typer.Option(help="folder of the notebooks")] = Path("notebooks"),
    at_a_time: Annotated[int, typer.Option("--jobs", help="notebooks at a time; 0: one a core")] = 0,
    parameters: Annotated[str, typer.Option(help="JSON object of parameters for every notebook")] = "{}",
    measure: Annotated[bool, typer.Option(help="compute cells that are neither shipped nor stored")] = False,
    from_store: Annotated[bool, typer.Option(help="train nothing at all, and say which cells are missing")] = False,
    figures: Annotated[
        Path | None, typer.Option(help="a reference run: figures go there, outputs into the notebooks themselves")
    ] = None,
) -> None:
    """Execute the notebooks and leave each as .ipynb and HTML, with an index."""
    from .report import site

    values = _object("--parameters", parameters)
    typer.echo(f"The report is in {site.build(notebooks, out, values, at_a_time, figures, measure, from_store)}.")


def main() -> int:
    """Run the command line; a bad input or a missing file ends with one sentence and status 2."""
    try:
        app(standalone_mode=True)
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"sparseguard: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
