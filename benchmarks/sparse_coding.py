"""How fast and how exact the sparse coding solvers are, side by side in one run.

    python benchmarks/sparse_coding.py                       # random and trained dictionaries; what was asked of them
    python benchmarks/sparse_coding.py --layer 3-16-32 --layer 1-64-28 --batch 256 --dictionaries 1
    python benchmarks/sparse_coding.py --growth              # only how cost grows with features, image size and batch
    python benchmarks/sparse_coding.py --picture figures     # gap against time

The textbook is the recurrence of the paper's Fig. 1: the similarity kernel between all features, 500 Euler steps, the
input's drive computed once, with conv2d or conv3d, whichever is faster; one row gives it channels-last memory. Its work
does not depend on the dictionary: it is timed once a layer, on 5 and on 30 steps, as short runs are disturbed less.

``fista (energy)`` stops at the gap at which the batch's energy is no worse than the textbook's, found before the clock
starts; ``fista (gap 1e-2)`` at that gap in every image; ``lca`` is as the layer calls it. Solvers and dictionaries
alternate, and the fastest run of each counts. Speeds are over the textbook's: median, worst and best over dictionaries;
evaluations (of both operators) are mean and most over images. What a solver reaches is the worst over dictionaries:
energy over the textbook's, less 1; the largest gap of an image, as far as it is proven; and how far codes lie from the
trajectory, in a batch and in an image. The trajectory is ``lca``'s in double precision at a tolerance of 1e-7, which
``benchmarks/schedules.py`` compares with Euler steps.

Trained dictionaries are those of ``sparse_guard`` at scale ``quick``, two seeds each of settled codes and of tau 1000;
the second layer codes what the first and its batch norm make of the images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from sparseguard import Experiment, SparseCoding2d, load_data
from sparseguard.data import load_images
from sparseguard.deployed import train_target
from sparseguard.device import default_device
from sparseguard.sparse import compiled_trajectory, solvers
from sparseguard.sparse.compiled import CompiledBank
from sparseguard.sparse.minimum import Solution
from sparseguard.sparse.operators import largest_eigenvalue
from sparseguard.sparse.schedules import lca_schedule

DEVICE = default_device()
LAYERS = ("1-16-28", "16-28-28")
ENERGY, GAP, LCA = "fista (energy)", "fista (gap 1e-2)", "lca"
ASKED = {GAP: 80.0, LCA: 60.0}
CPUINFO = Path("/proc/cpuinfo")
MODERN = CPUINFO.exists() and "avx512_bf16" in CPUINFO.read_text()
ASKED_ENERGY = {"1-16-28": 150.0, "16-28-28": 200.0} if MODERN else dict.fromkeys(LAYERS, 100.0)
"""Median speeds over the textbook's that are wanted; no dictionary may fall below half of them."""
Case = tuple[SparseCoding2d, Tensor]
"""A layer and what it codes."""


def conv3d(code: Tensor, kernel: Tensor, padding: tuple[int, int]) -> Tensor:
    """conv2d as published sparse coding code calls it: with a time axis of length one."""
    return F.conv3d(code[:, :, None], kernel[:, :, None], padding=(0, *padding))[:, :, 0]


def textbook(
    canvas: Tensor, dictionary: Tensor, lam: float, tau: float, iterations: int, kind: str = "conv2d"
) -> Tensor:
    """Equation 2 with an explicit similarity kernel and Euler steps, stride 1."""
    kh, kw = dictionary.shape[-2:]
    layout = torch.channels_last if kind == "channels_last" else torch.contiguous_format
    conv = conv3d if kind == "conv3d" else F.conv2d
    drive = F.conv2d(canvas, dictionary).contiguous(memory_format=layout)
    similarity = F.conv2d(F.pad(dictionary, (kw - 1, kw - 1, kh - 1, kh - 1)), dictionary)
    similarity[torch.arange(len(dictionary)), torch.arange(len(dictionary)), kh - 1, kw - 1] -= 1.0
    kernel = similarity.transpose(0, 1).flip(2, 3).contiguous(memory_format=layout)
    p = torch.zeros_like(drive)
    for _ in range(iterations):
        competition = conv((p - lam).relu_(), kernel, padding=(kh - 1, kw - 1))
        p.add_((drive - p).sub_(competition), alpha=1 / tau)
    return (p - lam).relu()


def real_images(count: int, size: int) -> Tensor:
    """Bundled Fashion-MNIST images, ``(count, 1, size, size)``: as they are, padded, or enlarged."""
    images = load_images("fashion_mnist", bundled=True).images[:count].float().to(DEVICE) / 255
    if size > 40:
        return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    border = (size - 28) // 2
    return F.pad(images, (border, border, border, border))


def random_case(name: str, batch: int, lam: float, tau: float, seed: int = 0) -> Case:
    """A random dictionary, and real images or the code that a first layer makes of them."""
    channels, features, size = (int(part) for part in name.split("-"))
    torch.manual_seed(seed)
    if channels > 3:
        first = SparseCoding2d(1, channels, lam=lam, tau=tau).to(DEVICE)
        with torch.no_grad():
            x = first(real_images(batch, size))
    else:
        x = real_images(channels * batch, size).view(batch, channels, size, size)
    return SparseCoding2d(channels, features, lam=lam, tau=tau).to(DEVICE), x


def trained_cases(batch: int, lam: float) -> dict[str, list[Case]]:
    """Both layers of targets that were trained as in the report, by name."""
    cases: dict[str, list[Case]] = {}
    for options in ({}, {"tau": 1000.0}):
        for seed in (0, 1):
            cell = Experiment("fashion_mnist", "split", "sparse_guard", lam, scale="quick", seed=seed, options=options)
            front = train_target(cell, load_data(cell.dataset, cell.scale, seed), DEVICE).front
            x = real_images(batch, 28)
            for at in (0, 2):
                layer = front[at]
                assert isinstance(layer, SparseCoding2d)
                with torch.no_grad():
                    case = layer, front[:at](x)
                cases.setdefault(f"{layer.in_channels}-{layer.features}-28 trained", []).append(case)
    return cases


def seconds(call: Callable[[], Tensor], repeats: int) -> float:
    """The fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        call()
        wait()
        best = min(best, time.perf_counter() - start)
    return best


def wait() -> None:
    """A GPU works in the background."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


@dataclass
class Trial:
    """One solver on one dictionary: what it reaches (see above), and the fastest of its runs."""

    solver: str
    call: Callable[[], Tensor]
    evaluations: list[int]
    reached: tuple[float, float, float, float] = (math.nan,) * 4
    seconds: float = math.inf

    def judge(self, case: Case, energy: float, fine: Tensor, gap: Tensor | None = None) -> None:
        """Run once; ``energy`` is the textbook's, ``fine`` the trajectory's code, ``gap`` what a solver proved."""
        (layer, x), code = case, self.call()
        above = float(layer.energy(x, code).sum()) / energy - 1
        off, norm = (z.flatten(1).norm(dim=1) for z in (code - fine, fine))
        largest = float((layer.gap(x, code) if gap is None else gap).max())
        self.reached = above, largest, float(off.norm() / norm.norm()), float((off / norm).max())


def lca_steps(canvas: Tensor, dictionary: Tensor, lam: float, time: float) -> list[int]:
    """Steps that ``lca`` takes for each image."""
    size = (canvas.shape[2], canvas.shape[3])
    if DEVICE != "cpu":
        return [len(lca_schedule(time, largest_eigenvalue(dictionary, size), 1e-3))] * len(canvas)
    course = compiled_trajectory.course(canvas, dictionary, lam, time, 1e-3)
    return compiled_trajectory.follow(CompiledBank(dictionary, (1, 1), size), canvas, course)[1]


@torch.no_grad()
def prepare(case: Case, lam: float, tau: float, kind: str) -> list[Trial]:
    """The textbook and every solver on one dictionary, judged; none is timed yet."""
    layer, x = case
    canvas, dictionary = layer.canvas(x), layer.dictionary.detach()
    common: dict[str, Any] = {"iterations": 500, "stride": (1, 1)}

    fine = solvers.lca(canvas.double(), dictionary.double(), lam, tau=tau, tol=1e-7, **common)
    code = textbook(canvas, dictionary, lam, tau, 500, kind)
    book = Trial(f"textbook ({kind})", lambda: code, [500] * len(x))
    lca = partial(solvers.lca, canvas, dictionary, lam, tau=tau, **common)
    trajectory = Trial(LCA, lca, lca_steps(canvas, dictionary, lam, 500 / tau))
    energy = float(layer.energy(x, code).sum())
    for trial in (book, trajectory):
        trial.judge(case, energy, fine)

    def fista(tol: float, images: Tensor = canvas) -> Solution:
        return solvers.fista(images, dictionary, lam, tol=tol, **common)

    def code_of(tol: float) -> Tensor:
        return fista(tol).code

    tols = (10 ** (-k / 8) for k in range(4, 49))
    goal = next(tol for tol in tols if float(layer.energy(x, fista(tol).code).sum()) <= energy)
    minima = []
    for name, tol in ((ENERGY, goal), (GAP, 1e-2)):
        taken = [fista(tol, image).iterations for image in canvas.split(1)]
        minima.append(Trial(name, partial(code_of, tol), taken))
        minima[-1].judge(case, energy, fine, fista(tol).gap)
    return [book, *minima, trajectory]


@torch.no_grad()
def compare(name: str, cases: list[Case], lam: float, tau: float, repeats: int) -> dict[str, list[float]]:
    """Print one layer's rows; speeds over the textbook's by solver."""
    layer, x = cases[0]
    book = partial(textbook, layer.canvas(x), layer.dictionary.detach(), lam, tau)
    kinds = ("conv2d", "conv3d", "channels_last")
    parts = [(steps, kind) for steps in (5, 30) for kind in kinds]
    taken = {part: seconds(partial(book, *part), 3) for part in parts}
    kind = min(kinds[:2], key=lambda kind: taken[30, kind])
    rows = list(zip(*[prepare(case, lam, tau, kind) for case in cases]))
    for _ in range(repeats):
        for part in [part for part in parts if part[1] in (kind, "channels_last")]:
            taken[part] = min(taken[part], seconds(partial(book, *part), 1))
        for trial in chain.from_iterable(zip(*rows[1:])):
            trial.seconds = min(trial.seconds, seconds(trial.call, 1))
    whole = {kind: taken[5, kind] + (500 - 5) / (30 - 5) * (taken[30, kind] - taken[5, kind]) for kind in kinds}
    for trial in rows[0]:
        trial.seconds = whole[kind]
    print(f"| {name} | textbook (channels_last) | {whole[kind] / whole['channels_last']:.1f} |")
    speeds = {}
    for row in rows:
        solver = row[0].solver
        speeds[solver] = [whole[kind] / trial.seconds for trial in row]
        work = list(chain.from_iterable(trial.evaluations for trial in row))
        cells = [f"{value:.1f}" for value in (*_spread(speeds[solver]), mean(work))] + [str(max(work))]
        reached = [max(values) for values in zip(*[trial.reached for trial in row])]
        cells += [f"{len(x) * median(speeds[solver]) / whole[kind]:.0f}", *(f"{value:.1e}" for value in reached)]
        print("| " + " | ".join([name, solver, *cells]) + " |", flush=True)
    return speeds


def _spread(speeds: list[float]) -> tuple[float, float, float]:
    return median(speeds), min(speeds), max(speeds)


@torch.no_grad()
def growth(lam: float, tau: float, repeats: int) -> None:
    """Milliseconds an image of ``lca`` and ``fista``, one size varied at a time."""
    print("\n| varied | layer | batch | lca, ms an image | fista (gap 1e-2), ms an image |\n|---|---|---|---|---|")
    cases = [("features", f"1-{f}-28", 32) for f in (8, 16, 32, 64)]
    cases += [("image size", f"1-16-{size}", 32) for size in (28, 32, 64)]
    cases += [("batch", "1-16-28", batch) for batch in (1, 8, 32, 256)]
    for varied, name, batch in cases:
        layer, x = random_case(name, batch, lam, tau)
        taken = []
        for layer.solver, layer.tol in (("lca", 1e-3), ("fista", 1e-2)):
            layer(x)
            taken.append(1e3 * seconds(partial(layer, x), repeats) / batch)
        print(f"| {varied} | {name} | {batch} | {taken[0]:.2f} | {taken[1]:.2f} |", flush=True)


def stopped_early(canvas: Tensor, dictionary: Tensor, lam: float, tau: float) -> dict[str, Callable[[int], Tensor]]:
    """Solvers by name, each to be called with how far it may go."""
    size: dict[str, Any] = {"stride": (1, 1)}
    return {
        "textbook": lambda n: textbook(canvas, dictionary, lam, tau, 10 * n, "channels_last"),
        "lca": lambda n: solvers.lca(canvas, dictionary, lam, tau=tau, iterations=10 * n, **size),
        "fista": lambda n: solvers.fista(canvas, dictionary, lam, iterations=n, tol=1e-9, **size).code,
    }


@torch.no_grad()
def picture(folder: Path, lam: float, tau: float) -> None:
    """Gap against time: every solver stopped at several points."""
    names = ("1-16-28", "16-28-28")
    figure, axes = plt.subplots(1, len(names), figsize=(10, 4), sharey=True, layout="constrained")
    for axis, name in zip(axes, names):
        layer, x = random_case(name, 32, lam, tau)
        canvas, dictionary = layer.canvas(x), layer.dictionary.detach()
        points = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
        calls = stopped_early(canvas, dictionary, lam, tau)
        for solver, call in calls.items():
            call(1)
            gaps = [float(layer.gap(x, call(n)).mean()) for n in points]
            taken = [seconds(partial(call, n), 1) for n in points]
            axis.loglog(taken, gaps, marker="o", markersize=3, label=solver)
        channels, features, size = name.split("-")
        axis.set(title=f"{channels} to {features} features, {size} by {size}", xlabel="seconds for 32 images")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean relative duality gap")
    axes[0].legend()
    machine = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} CPU threads"
    figure.suptitle(f"Fashion-MNIST, random dictionary, lambda {lam}, tau {tau:.0f}, one run, {machine}", fontsize=10)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "sparse_coding_gap.png", dpi=150)


def asked(name: str, solver: str) -> float | None:
    """Median speed over the textbook's that is wanted."""
    return ASKED_ENERGY.get(name) if solver == ENERGY else ASKED.get(solver)


def table(layers: dict[str, list[Case]], lam: float, tau: float, repeats: int) -> None:
    """Every solver on every dictionary, and what was asked."""
    head = ["layer", "solver", "times textbook", "worst", "best", "evaluations", "most", "images/s"]
    head += ["energy over textbook's", "largest gap", "off the trajectory", "worst image"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    speeds = {name: compare(name, cases, lam, tau, repeats) for name, cases in layers.items()}
    print("\n| layer | solver | asked | median | asked of the worst | worst | met |\n" + "|---" * 7 + "|")
    for name, found in speeds.items():
        for solver, values in found.items():
            wanted = asked(name, solver)
            if wanted is not None:
                middle, worst, _ = _spread(values)
                met = "yes" if middle >= wanted and worst >= wanted / 2 else "no"
                print(f"| {name} | {solver} | {wanted:.0f} | {middle:.1f} | {wanted / 2:.0f} | {worst:.1f} | {met} |")


def main(
    layer: Annotated[list[str] | None, typer.Option(help="channels-features-size; repeat for several")] = None,
    batch: Annotated[int, typer.Option(help="images at a time")] = 32,
    dictionaries: Annotated[int, typer.Option(help="random ones a layer")] = 10,
    lam: float = 0.5,
    tau: float = 100.0,
    repeats: int = 10,
    growth_table: Annotated[bool, typer.Option("--growth", help="only how cost grows")] = False,
    picture_folder: Annotated[Path | None, typer.Option("--picture", help="draw gap against time there")] = None,
) -> None:
    """Print the tables; without ``--layer`` those of trained dictionaries, too."""
    if picture_folder is not None:
        picture(picture_folder, lam, tau)
        return
    print(f"lambda {lam}, tau {tau}, 500 iterations, {DEVICE}, {torch.get_num_threads()} threads, batch {batch}\n")
    if growth_table:
        growth(lam, tau, repeats)
        return
    layers = {
        name: [random_case(name, batch, lam, tau, seed) for seed in range(dictionaries)] for name in layer or LAYERS
    }
    table(layers if layer else layers | trained_cases(batch, lam), lam, tau, repeats)


if __name__ == "__main__":
    typer.run(main)
