"""What sparse layers cost in training: the time of one epoch, side by side in one run.

    python benchmarks/training.py
    python benchmarks/training.py --scale paper --defense none_conv --defense sparse_guard

Each row is one defense's target, of the sizes of a scale, on the private images of ``quick``: seconds an epoch, the
first defense's being 1. The epochs of the defenses alternate, and the fastest of each counts.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import torch
import typer

from sparseguard.data import load_data
from sparseguard.defenses import make_defense
from sparseguard.device import default_device
from sparseguard.scales import check_scale


def main(
    defense: Annotated[list[str] | None, typer.Option(help="repeat for several; the first is the measure")] = None,
    dataset: str = "mnist",
    setting: str = "split",
    scale: str = "quick",
    repeats: int = 3,
) -> None:
    """Print the table."""
    sizes = replace(check_scale(scale), epochs=1)
    split = load_data(dataset, "quick", 0)
    device = default_device()
    best: dict[str, float] = {}
    for _ in range(repeats):
        for name in defense or ["none_conv", "sparse_standard", "sparse_guard"]:
            torch.manual_seed(0)
            made = make_defense(name)
            target = made.build(split, setting, sizes).to(device)
            start = time.perf_counter()
            made.train(target, split, sizes)
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - start)
    count, threads = len(split.train_images), torch.get_num_threads()
    print(f"{dataset}, {setting}, {scale}, {count} images, {device}, {threads} threads\n")
    print("| defense | seconds an epoch | times the first |\n|---|---|---|")
    first = next(iter(best.values()))
    for name, taken in best.items():
        print(f"| {name} | {taken:.1f} | {taken / first:.2f} |")


if __name__ == "__main__":
    typer.run(main)
