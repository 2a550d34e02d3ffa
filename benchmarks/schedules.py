"""What the constants of sparseguard/sparse/schedules.py rest on: steps and errors with each at other values.

    python benchmarks/schedules.py
    python benchmarks/schedules.py --constant growth --constant margin --images 8

First come the stability limits of paths, found on a scalar equation, and how far the trajectory that errors are
measured against lies from Euler steps in the limit of short ones, on the middle of an image. Then one constant at a
time takes other values, at a tolerance of 1e-3, over MNIST and Fashion-MNIST, random and learned dictionaries, 1 to 16
and 16 to 28 features, several lambdas and times: steps an image, mean and most; milliseconds an image; relative errors
of codes, the largest of a batch, the largest of an image, and in how many batches it is above the tolerance. The value
in use is in bold; ``cheapest`` is the one with the fewest steps (for ``often``, ``rounds`` and ``crowd``: the least
time) of those that have fewest batches above the tolerance. Last, the steps that are stable for the dictionary's
eigenvalue, beside those that images take by themselves.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import product
from statistics import mean
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from sparseguard import SparseCoding2d
from sparseguard.data import load_images
from sparseguard.sparse import compiled_trajectory, solvers
from sparseguard.sparse.compiled import CompiledBank
from sparseguard.sparse.compiled_trajectory import Course
from sparseguard.sparse.schedules import RULES, Rules, lca_schedule, points
from sparseguard.sparse.steps import KEPT

TOL = 1e-3
LEARNED = 320
"""Images that dictionaries learn from, eight at a time."""
LAMS, TIMES = (0.05, 0.5, 1.0), (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
FACTORS = (0.5, 0.71, 1.0, 1.41, 2.0)
VALUES: dict[str, tuple[float, ...]] = {
    "margin": (1.0, 1.1, 1.2, 1.3, 1.5), "often": (1, 2, 4, 8), "rounds": (1, 3, 6, 12), "crowd": (1.1, 1.25, 1.5, 2.0),
}  # fmt: skip
"""Instead of the factors."""


@dataclass(frozen=True)
class Problem:
    """Images with a dictionary, to one time: ``fine`` are their codes there."""

    layer: str
    bank: CompiledBank
    canvas: Tensor
    course: Course
    fine: Tensor


@dataclass(frozen=True)
class Outcome:
    """Steps of each image, milliseconds an image, largest errors of batches and of images, batches too far off."""

    steps: list[int]
    milliseconds: float
    batch: float
    image: float
    above: int


def stability(product: float, eigenvalue: float) -> float:
    """``step * eigenvalue`` up to which equal steps of a path for ``product`` are stable: ``P' = -eigenvalue * P``."""
    low, high = 0.0, 4.0
    for _ in range(50):
        middle = (low + high) / 2
        size = middle / eigenvalue
        weights = np.mean(points(KEPT, tuple(-size * back for back in range(KEPT)), size, product, RULES), axis=0)
        rows = np.eye(len(weights), k=-1)
        rows[0] = -math.expm1(-size) * (1 - eigenvalue) * weights
        rows[0, 0] += math.exp(-size)
        stable = np.abs(np.linalg.eigvals(rows)).max() <= 1 + 1e-12
        low, high = (middle, high) if stable else (low, middle)
    return low


def layers(dataset: str, learned: bool, images: int) -> list[tuple[SparseCoding2d, Tensor]]:
    """Layers of 1 to 16 and of 16 to 28 features, and what they code: images, and the first layer's codes."""
    torch.manual_seed(0)
    x = load_images(dataset, bundled=True).images[:LEARNED].float() / 255
    found = []
    for channels, features in ((1, 16), (16, 28)):
        layer = SparseCoding2d(channels, features, solver="fista", tol=1e-2, eta=0.1)
        for batch in x.split(8) if learned else ():
            layer.learn(batch, layer(batch))
        found.append((layer, x[:images]))
        x = layer(x)
    return found


def problems(images: int) -> list[Problem]:
    """All of them."""
    found = []
    for dataset, learned in product(("mnist", "fashion_mnist"), (False, True)):
        for layer, x in layers(dataset, learned, images):
            canvas, dictionary = layer.canvas(x), layer.dictionary.detach()
            bank = CompiledBank(dictionary, (1, 1), (canvas.shape[2], canvas.shape[3]))
            name = f"{dataset}, {'learned' if learned else 'random'}, {layer.in_channels} to {layer.features}"
            for lam, at in product(LAMS, TIMES):
                fine = trajectory(canvas, dictionary, lam, at)
                course = compiled_trajectory.course(canvas, dictionary, lam, at, TOL)
                found.append(Problem(name, bank, canvas, course, fine))
    return found


def trajectory(canvas: Tensor, dictionary: Tensor, lam: float, at: float) -> Tensor:
    """The code at a time, in double precision with a tenth of the usual steps."""
    canvas, dictionary = canvas.double(), dictionary.double()
    return solvers.lca(canvas, dictionary, lam, stride=(1, 1), tau=100.0, iterations=round(100 * at), tol=1e-7)


def euler_limit(canvas: Tensor, dictionary: Tensor, lam: float, at: float) -> Tensor:
    """The same by Euler steps of 1/1000 and 1/2000, extrapolated to steps of no length."""
    canvas, dictionary = canvas.double(), dictionary.double()
    coarse, fine = (
        solvers.euler(canvas, dictionary, lam, stride=(1, 1), tau=tau, iterations=round(tau * at))
        for tau in (1000.0, 2000.0)
    )
    return 2 * fine - coarse


def solved(over: list[Problem], rules: Rules) -> Outcome:
    """All problems with these constants."""
    steps, batch, image, taken = [], [], [], 0.0
    for problem in over:
        start = time.perf_counter()
        code, count = compiled_trajectory.follow(problem.bank, problem.canvas, problem.course._replace(rules=rules))
        taken += time.perf_counter() - start
        off, norm = (z.flatten(1).norm(dim=1) for z in (code - problem.fine, problem.fine))
        steps += count
        batch.append(float(off.norm() / norm.norm().clamp_min(1e-9)))  # a zero code is no error
        image.append(float((off / norm.clamp_min(1e-9)).max()))
    return Outcome(steps, 1e3 * taken / len(steps), max(batch), max(image), sum(error > TOL for error in batch))


def sweep(over: list[Problem], names: list[str]) -> None:
    """One constant at a time."""
    head = ["constant", "value", "steps", "most", "ms", "largest error of a batch", "of an image", "above", ""]
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for name in names:
        now = getattr(RULES, name)
        values = VALUES.get(name, [factor * now for factor in FACTORS])
        outcomes = {value: solved(over, Rules(**(RULES._asdict() | {name: value}))) for value in values}
        fewest = min(outcome.above for outcome in outcomes.values())

        costs = {
            value: outcome.milliseconds if name in ("often", "rounds", "crowd") else mean(outcome.steps)
            for value, outcome in outcomes.items()
            if outcome.above == fewest
        }
        best = min(costs, key=costs.__getitem__)
        for value, o in outcomes.items():
            shown = f"**{value:.3g}**" if value == now else f"{value:.3g}"
            cells = [name, shown, f"{mean(o.steps):.1f}", str(max(o.steps)), f"{o.milliseconds:.2f}"]
            cells += [f"{o.batch:.1e}", f"{o.image:.1e}", str(o.above), "cheapest" if value == best else ""]
            print("| " + " | ".join(cells) + " |", flush=True)


def step_counts(over: list[Problem]) -> None:
    """The dictionary's steps against those of images, at tau 1000 and 100."""
    print("\n| layer | lambda | tau | eigenvalue | stable for it | an image's | most |\n" + "|---" * 7 + "|")
    for problem in over:
        _, lam, at, eigenvalue, *_ = problem.course
        if lam == 0.5 and at in (0.5, 5.0):
            steps = compiled_trajectory.follow(problem.bank, problem.canvas, problem.course)[1]
            stable = len(lca_schedule(at, eigenvalue, TOL))
            print(f"| {problem.layer} | {lam} | {500 / at:.0f} | {eigenvalue:.1f} | {stable} | ", end="")
            print(f"{mean(steps):.1f} | {max(steps)} |")


@torch.no_grad()
def main(
    constant: Annotated[
        list[str] | None, typer.Option(help=f"of {', '.join(Rules._fields)}; repeat for several")
    ] = None,
    images: Annotated[int, typer.Option(help="of each data set")] = 2,
) -> None:
    """Print the tables."""
    print("| path for | eigenvalue 10 | 100 | 1000 | 10000 |\n" + "|---" * 5 + "|")
    for asked in (0.5, 0.8, RULES.limit_3, 1.25, 1.5, RULES.limit_2):
        found = [f"{stability(asked, 10.0**power):.3f}" for power in range(1, 5)]
        print(f"| {asked:.3f} | {' | '.join(found)} |")
    print("\n| layer | the trajectory from Euler's limit, time 1, lambda 0.5 |\n|---|---|")
    for layer, x in layers("fashion_mnist", False, 1):
        case = layer.canvas(x[:, :, 8:20, 8:20]), layer.dictionary.detach(), 0.5, 1.0
        euler = euler_limit(*case)
        distance = float((trajectory(*case) - euler).norm() / euler.norm())
        print(f"| {layer.in_channels} to {layer.features} | {distance:.1e} |", flush=True)
    over = problems(images)
    print(f"\n{len(over)} batches of {images} images, {torch.get_num_threads()} threads")
    sweep(over, constant or list(Rules._fields))
    step_counts(over)


if __name__ == "__main__":
    typer.run(main)
