"""How fast and how exact the sparse coding solvers are, side by side in one run.

    python benchmarks/sparse_coding.py                       # every layer and batch size; how cost grows (20 minutes)
    python benchmarks/sparse_coding.py --batch 32 --tau 1000 --layer 1-16-28
    python benchmarks/sparse_coding.py --growth              # only how cost grows with features, image size and batch
    python benchmarks/sparse_coding.py --picture figures     # gap against time

Each row is one solver on one layer: images a second, that speed relative to the textbook's in the same run, how far the
energy of eq. 1 lies above the minimum, and how far the code lies from the fine trajectory (8 times the Euler steps).
The textbook is the recurrence of the paper's Fig. 1: the similarity kernel between all features, 500 Euler steps, the
input's drive computed once, with conv2d or conv3d, whichever is faster; a second row gives it channels-last memory,
which makes it two to four times as fast. The textbook and ``euler`` do the same in every step, and are timed on 50.
Energies and codes are judged on up to eight images of the batch.
``fista`` stops at the gap at which its energy is no worse than the textbook's, found before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from sparseguard import SparseCoding2d
from sparseguard.data import load_images
from sparseguard.device import default_device
from sparseguard.sparse import solvers

DEVICE = default_device()
LAYERS = ["1-16-28", "16-28-28", "3-16-32", "16-32-32", "1-16-64"]
BATCHES = [32, 1, 256]


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


def layer_and_input(name: str, batch: int, lam: float, tau: float) -> tuple[SparseCoding2d, Tensor]:
    """A layer with a random dictionary, and real images or the code that a first layer makes of them."""
    channels, features, size = (int(part) for part in name.split("-"))
    torch.manual_seed(0)
    if channels > 3:
        first = SparseCoding2d(1, channels, lam=lam, tau=tau).to(DEVICE)
        with torch.no_grad():
            x = first(real_images(batch, size))
    else:
        x = real_images(channels * batch, size).view(batch, channels, size, size)
    return SparseCoding2d(channels, features, lam=lam, tau=tau).to(DEVICE), x


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
class Row:
    """One solver on one layer."""

    layer: str
    batch: int
    solver: str
    images_per_second: float
    times_textbook: float
    excess_energy: float
    off_trajectory: float


@torch.no_grad()
def measure(name: str, batch: int, lam: float, tau: float, repeats: int) -> list[Row]:
    """Rows of the table for one layer."""
    layer, x = layer_and_input(name, batch, lam, tau)
    canvas, dictionary, x = layer.canvas(x), layer.dictionary.detach(), x[:8]
    few = canvas[: len(x)]
    size: dict[str, Any] = {"stride": (1, 1)}

    def fista(canvas: Tensor, tol: float) -> Tensor:
        return solvers.fista(canvas, dictionary, lam, tol=tol, iterations=500, **size).code

    def lca(canvas: Tensor, tol: float = 1e-3) -> Tensor:
        return solvers.lca(canvas, dictionary, lam, tau=tau, tol=tol, iterations=500, **size)

    def euler(canvas: Tensor, iterations: int = 500) -> Tensor:
        return solvers.euler(canvas, dictionary, lam, tau=tau, iterations=iterations, **size)

    def book(canvas: Tensor, iterations: int = 500, kind: str = "channels_last") -> Tensor:
        return textbook(canvas, dictionary, lam, tau, iterations, kind)

    def excess(code: Tensor) -> float:
        return float(layer.energy(x, code).sum() / minimum) - 1

    def all_steps(call: Callable[..., Tensor]) -> float:
        few_steps = seconds(lambda: call(canvas, 5), 2)
        return few_steps + (500 - 5) / (55 - 5) * (seconds(lambda: call(canvas, 55), 2) - few_steps)

    kind = min(("conv2d", "conv3d"), key=lambda k: seconds(lambda: book(canvas, 5, k), 2))
    minimum = layer.energy(x, solvers.fista(few, dictionary, lam, iterations=3000, tol=1e-6, **size).code).sum()
    fine = solvers.euler(few, dictionary, lam, tau=8 * tau, iterations=4000, **size)
    goal = excess(lca(few, 1e-4))
    tol = next(t for t in (10 ** (-k / 8) for k in range(4, 41)) if excess(fista(few, t)) <= goal)
    stepwise: dict[str, Callable[..., Tensor]] = {
        f"textbook ({kind})": partial(book, kind=kind), "textbook (channels_last)": book, "euler": euler,
    }  # fmt: skip
    whole: dict[str, Callable[..., Tensor]] = {"lca": lca, f"fista (gap {tol:.0e})": partial(fista, tol=tol)}
    timed = {solver: (all_steps(call), call(few)) for solver, call in stepwise.items()}
    for solver, call in whole.items():
        code = call(canvas)[: len(x)]  # also the warm-up
        timed[solver] = seconds(partial(call, canvas), repeats), code
    slowest = next(iter(timed.values()))[0]
    return [
        Row(
            name, batch, solver, batch / taken, slowest / taken, excess(code), float((code - fine).norm() / fine.norm())
        )
        for solver, (taken, code) in timed.items()
    ]


@torch.no_grad()
def growth(lam: float, tau: float, repeats: int) -> None:
    """Milliseconds an image of ``lca`` and ``fista``, one size varied at a time."""
    print("\n| varied | layer | batch | lca, ms an image | fista (gap 1e-2), ms an image |\n|---|---|---|---|---|")
    cases = [("features", f"1-{f}-28", 32) for f in (8, 16, 32, 64)]
    cases += [("image size", f"1-16-{size}", 32) for size in (28, 32, 64)]
    cases += [("batch", "1-16-28", batch) for batch in (1, 8, 32, 256)]
    for varied, name, batch in cases:
        layer, x = layer_and_input(name, batch, lam, tau)
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
        layer, x = layer_and_input(name, 32, lam, tau)
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


def main(
    layer: Annotated[list[str] | None, typer.Option(help="channels-features-size; repeat for several")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="images at a time; repeat for several")] = None,
    lam: float = 0.5,
    tau: float = 100.0,
    repeats: int = 5,
    growth_table: Annotated[bool, typer.Option("--growth", help="only how cost grows")] = False,
    picture_folder: Annotated[Path | None, typer.Option("--picture", help="draw gap against time there")] = None,
) -> None:
    """Print the table."""
    if picture_folder is not None:
        picture(picture_folder, lam, tau)
        return
    print(f"lambda {lam}, tau {tau}, 500 iterations, {DEVICE}, {torch.get_num_threads()} threads\n")
    if not growth_table:
        table(layer or LAYERS, batch or BATCHES, lam, tau, repeats)
    if growth_table or not (layer or batch):
        growth(lam, tau, repeats)


def table(layers: list[str], batches: list[int], lam: float, tau: float, repeats: int) -> None:
    """Every solver on every layer with every batch size."""
    head = ["layer", "batch", "solver", "images/s", "times textbook", "energy above minimum", "code off the trajectory"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for size in batches:
        for name in layers:
            for r in measure(name, size, lam, tau, repeats):
                cells = [r.layer, r.batch, r.solver, f"{r.images_per_second:.0f}", f"{r.times_textbook:.1f}",
                         f"{r.excess_energy:.1e}", f"{r.off_trajectory:.1e}"]  # fmt: skip
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
