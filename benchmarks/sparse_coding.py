"""How fast and how exact the sparse coding solvers are, side by side in one run.

    python benchmarks/sparse_coding.py                      # every layer, batch 32
    python benchmarks/sparse_coding.py --batch 1 --layer 1-16-28

Each row is one solver on one layer: images a second, that speed relative to the textbook's in the same run, how far the
energy of eq. 1 lies above the minimum, and how far the code lies from the fine trajectory (8 times the Euler steps).
The textbook is the recurrence of the paper's Fig. 1: the similarity kernel between all features, 500 Euler steps, the
input's drive computed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from sparseguard import SparseCoding2d
from sparseguard.data import load_images
from sparseguard.sparse import solvers

LAYERS = ["1-16-28", "16-28-28", "3-16-32", "16-32-32", "1-16-64"]


def textbook(canvas: Tensor, dictionary: Tensor, lam: float, tau: float, iterations: int) -> Tensor:
    """Equation 2 with an explicit similarity kernel and Euler steps, stride 1."""
    kh, kw = dictionary.shape[-2:]
    drive = F.conv2d(canvas, dictionary)
    similarity = F.conv2d(F.pad(dictionary, (kw - 1, kw - 1, kh - 1, kh - 1)), dictionary)
    similarity[torch.arange(len(dictionary)), torch.arange(len(dictionary)), kh - 1, kw - 1] -= 1.0
    kernel = similarity.transpose(0, 1).flip(2, 3).contiguous()
    p = torch.zeros_like(drive)
    for _ in range(iterations):
        p = p + (drive - p - F.conv2d((p - lam).relu(), kernel, padding=(kh - 1, kw - 1))) / tau
    return (p - lam).relu()


def real_images(count: int, size: int) -> Tensor:
    """Bundled Fashion-MNIST images, ``(count, 1, size, size)``: as they are, padded, or enlarged."""
    images = load_images("fashion_mnist", bundled=True).images[:count].float() / 255
    if size > 40:
        return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    border = (size - 28) // 2
    return F.pad(images, (border, border, border, border))


def layer_and_input(name: str, batch: int, lam: float, tau: float) -> tuple[SparseCoding2d, Tensor]:
    """A layer with a random dictionary, and real images or the code that a first layer makes of them."""
    channels, features, size = (int(part) for part in name.split("-"))
    torch.manual_seed(0)
    if channels > 3:
        first = SparseCoding2d(1, channels, lam=lam, tau=tau)
        x = first(real_images(batch, size))
    else:
        x = real_images(channels * batch, size).view(batch, channels, size, size)
    return SparseCoding2d(channels, features, lam=lam, tau=tau), x


def seconds(call: Callable[[], Tensor], repeats: int) -> float:
    """The fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


@torch.no_grad()
def measure(name: str, batch: int, lam: float, tau: float, repeats: int) -> list[list[str]]:
    """Rows of the table for one layer."""
    layer, x = layer_and_input(name, batch, lam, tau)
    canvas, dictionary = layer.canvas(x), layer.dictionary.detach()
    euler_like = {"stride": (1, 1), "tau": tau, "iterations": 500}
    calls: dict[str, Callable[[], Tensor]] = {
        "textbook": lambda: textbook(canvas, dictionary, lam, tau, 500),
        "euler": lambda: solvers.euler(canvas, dictionary, lam, **euler_like),  # type: ignore[arg-type]
        "lca": lambda: solvers.lca(canvas, dictionary, lam, **euler_like),  # type: ignore[arg-type]
        "fista": lambda: solvers.fista(canvas, dictionary, lam, stride=(1, 1), iterations=500, tol=5e-3),
    }
    minimum = layer.energy(x, solvers.fista(canvas, dictionary, lam, stride=(1, 1), iterations=3000, tol=1e-6)).sum()
    fine = solvers.euler(canvas, dictionary, lam, stride=(1, 1), tau=8 * tau, iterations=4000)
    rows = []
    slowest = None
    for solver, call in calls.items():
        code = call()  # also the warm-up
        taken = seconds(call, 1 if solver in ("textbook", "euler") else repeats)
        slowest = slowest or taken
        excess = float(layer.energy(x, code).sum() / minimum) - 1
        distance = float((code - fine).norm() / fine.norm())
        rows.append(
            [name, solver, f"{batch / taken:.0f}", f"{slowest / taken:.1f}", f"{excess:.1e}", f"{distance:.1e}"]
        )
    return rows


def main(
    layer: Annotated[list[str] | None, typer.Option(help="channels-features-size; repeat for several")] = None,
    batch: int = 32,
    lam: float = 0.5,
    tau: float = 100.0,
    repeats: int = 5,
) -> None:
    """Print the table."""
    print(f"batch {batch}, lambda {lam}, tau {tau}, 500 iterations, {torch.get_num_threads()} threads\n")
    head = ["layer", "solver", "images/s", "times textbook", "energy above minimum", "code off the trajectory"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for name in layer or LAYERS:
        for row in measure(name, batch, lam, tau, repeats):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
