"""How long the λ explorer takes from a value of its slider to the finished picture.

    python benchmarks/explorer.py
    python benchmarks/explorer.py --dataset fashion_mnist --features 16 --features 28

Untrained dictionaries of the given sizes code 16 images of ``quick``, as the explorer does: first the slider is
dragged step by step from the largest λ to the smallest and back, then it jumps between the two. A step is coding,
decoding, metrics, drawing and PNG; milliseconds of wall time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
import typer

from sparseguard import Experiment, Result, SparseCoding2d, load_data
from sparseguard.report.explorer import LAMS, Explorer, View
from sparseguard.report.panels import numbers, picture, png
from sparseguard.result import METRICS


def untrained(dataset: str, features: Sequence[int]) -> Explorer:
    """An explorer of cells at the paper's λ whose targets are as they were drawn."""
    torch.manual_seed(0)
    images = load_data(dataset, "quick", 0).train_images[:16]
    counts = [images.shape[1], *features]
    layers = [SparseCoding2d(a, b) for a, b in pairwise(counts)]
    exhibits = {f"dictionary {i}": layer.dictionary.detach() for i, layer in enumerate(layers, start=1)}
    cells = [Experiment(dataset, "end_to_end", "sparse_guard", lam) for lam in (0.1, 0.25, 0.5, 0.75)]
    return Explorer([Result(e, dict.fromkeys(METRICS), {}, images, images, {}, exhibits) for e in cells])


def drag(explorer: Explorer, layer: int, lams: Sequence[float]) -> tuple[list[float], list[float]]:
    """Milliseconds of each step, and the largest duality gap that it left."""
    taken, gaps = [], []
    view: View | None = explorer.view(lams[0], layer)
    for lam in lams:
        explorer.coder(lam, layer)  # made once, when the slider first comes near that λ
        start = time.perf_counter()
        view = explorer.view(lam, layer, view, quick=True)
        png(picture(view, 0))
        numbers(view, 0)
        taken.append(1000 * (time.perf_counter() - start))
        view.coder.pace(taken[-1])
        gaps.append(float(view.gap.max()))
    return taken, gaps


def main(
    dataset: str = "fashion_mnist",
    features: Annotated[list[int] | None, typer.Option(help="of the first and the second layer")] = None,
) -> None:
    """Print the table."""
    explorer = untrained(dataset, features or [8, 16])
    low, high = (math.log10(lam) for lam in LAMS)
    down = [10**x for x in np.arange(high, low, -0.02)]
    ways = {"dragged": down + down[::-1], "jumping": [down[0], down[-1]] * 10}
    print(f"{dataset}, 16 images, {features or [8, 16]} features, {torch.get_num_threads()} threads\n")
    print("| layer | slider | steps | median ms | 95 % ms | longest ms | median gap | largest gap |")
    print("|---|---|---|---|---|---|---|---|")
    for layer in explorer.layers:
        for way, lams in ways.items():
            taken, gaps = drag(explorer, layer, lams)
            times = " | ".join(f"{value:.0f}" for value in (*np.percentile(taken, [50, 95]), max(taken)))
            print(f"| {layer} | {way} | {len(lams)} | {times} | {np.median(gaps):.1%} | {max(gaps):.1%} |")


if __name__ == "__main__":
    typer.run(main)
