"""Command line: ``python -m sparseguard run|grid|data|pack|verify|reproduce|report``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .shipping import Recomputed

USUAL_ATTACK = "inversion"  # each command imports what it needs: help is asked for often, and needs nothing
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

Dataset = Annotated[str, typer.Option(help="mnist, fashion_mnist, or the path of an .npz file")]
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
    dataset: Dataset = "mnist",
    setting: SettingName = "end_to_end",
    defense: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    lam: Annotated[list[float] | None, typer.Option(help="repeat for several")] = None,
    scale: ScaleName = "quick",
    seed: Annotated[list[int] | None, typer.Option(help="repeat for several")] = None,
    attack: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    fid: bool = False,
) -> None:
    """Run several cells and print their table."""
    from .grid import cells, run_grid
    from .report import results_table

    defenses, attacks = defense or ["none", "sparse_guard"], attack or [USUAL_ATTACK]
    rows = cells(dataset, setting, defenses, lam or [0.5], scale, seed or [0], attacks, fid)
    typer.echo(results_table(run_grid(rows)).to_markdown())


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

    Says beforehand how long it will take; a run that was stopped goes on where it was.
    """
    from . import shipping
    from .store import Store

    known, store = shipping.shipped(scale), Store(shipped=False)
    typer.echo(shipping.work(known, store))
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
    jobs: Annotated[int, typer.Option(help="notebooks at a time; 0: one a core")] = 0,
    parameters: Annotated[str, typer.Option(help="JSON object of parameters for every notebook")] = "{}",
    measure: Annotated[bool, typer.Option(help="compute cells that are neither shipped nor stored")] = False,
    figures: Annotated[
        Path | None, typer.Option(help="a reference run: figures go there, outputs into the notebooks themselves")
    ] = None,
) -> None:
    """Execute the notebooks and leave each as .ipynb and HTML, with an index."""
    from .report import site

    values = _object("--parameters", parameters)
    typer.echo(f"The report is in {site.build(notebooks, out, values, jobs, figures, measure)}.")


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
