"""What sparse layers cost in training: the time of one epoch, side by side in one run.

    python benchmarks/training.py
    python benchmarks/training.py --scale paper --images 256 --defense none_conv --defense "sparse_guard tau=1000"
    python benchmarks/training.py --agree                    # the accuracy that looser codes cost

Each row is one defense's target, of the sizes of a scale, on the private images of ``quick``: seconds an epoch, the
first row's being 1. The epochs of the rows alternate, and the fastest of each counts. With the first dictionary fixed,
its codes are computed once, here for a single epoch. ``--agree`` trains ``sparse_guard`` with the tolerance of its
scale, and with one so tight that codes are exact, over three seeds.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import mean, stdev
from typing import Annotated, Any

import torch
import typer

from sparseguard.data import Split, load_data
from sparseguard.defenses import make_defense
from sparseguard.device import default_device
from sparseguard.scales import Scale, check_scale
from sparseguard.targets import Target

ROWS: dict[str, dict[str, Any]] = {
    "none_conv": {},
    "sparse_standard": {},
    "sparse_guard": {},
    "sparse_guard tau=1000": {"tau": 1000.0},
    "sparse_guard tau=100": {"tau": 100.0},
    "sparse_guard train_first=False": {"train_first": False},
}
"""A defense and its options; without a tau codes are settled."""
EXACT = 1e-4


def trained(row: str, setting: str, split: Split, scale: Scale, seed: int = 0) -> tuple[Target, float]:
    """A target, and how many seconds its training took."""
    torch.manual_seed(seed)
    defense = make_defense(row.split()[0], **ROWS[row])
    target = defense.build(split, setting, scale).to(default_device())
    start = time.perf_counter()
    defense.train(target, split, scale)
    return target, time.perf_counter() - start


@torch.no_grad()
def accuracy(target: Target, split: Split) -> float:
    """Share of the hold-out that the target classifies rightly."""
    device = next(target.parameters()).device
    guesses = torch.cat([target(part.to(device)).argmax(1).cpu() for part in split.held_images.split(250)])
    return float((guesses == split.held_labels).float().mean())


def agree(rows: list[str], dataset: str, setting: str, scale: Scale) -> None:
    """Accuracy with the scale's tolerance and with a tight one."""
    print(f"| defense | tolerance {scale.tol} | tolerance {EXACT} | difference by seed |\n|---|---|---|---|")
    for row in rows:
        loose, tight = (
            [accuracy(trained(row, setting, split, replace(scale, tol=tol), seed)[0], split)
             for seed, split in enumerate(load_data(dataset, "quick", seed) for seed in range(3))]
            for tol in (scale.tol, EXACT)
        )  # fmt: skip
        cells = " | ".join(f"{mean(values):.3f} ± {stdev(values):.3f}" for values in (loose, tight))
        print(f"| {row} | {cells} | {', '.join(f'{a - b:+.3f}' for a, b in zip(loose, tight))} |", flush=True)


def main(
    defense: Annotated[list[str] | None, typer.Option(help="repeat for several; the first is the measure")] = None,
    dataset: str = "mnist",
    setting: str = "split",
    scale: str = "quick",
    images: Annotated[int | None, typer.Option(help="private images; all by default")] = None,
    threads: int = 1,
    repeats: int = 3,
    agreement: Annotated[bool, typer.Option("--agree", help="only accuracies with loose and with tight codes")] = False,
) -> None:
    """Print the table."""
    torch.set_num_threads(threads)
    sizes, split = check_scale(scale), load_data(dataset, "quick", 0)
    print(f"{dataset}, {setting}, {scale}, {len(split.train_images[:images])} images, {default_device()}, ", end="")
    print(f"{threads} threads\n")
    if agreement:
        agree(defense or [row for row in ROWS if row.startswith("sparse_guard")], dataset, setting, sizes)
        return
    few = replace(split, train_images=split.train_images[:images], train_labels=split.train_labels[:images])
    best: dict[str, float] = {}
    for _ in range(repeats):
        for row in defense or ROWS:
            _, taken = trained(row, setting, few, replace(sizes, epochs=1))
            best[row] = min(best.get(row, float("inf")), taken)
    print("| defense | seconds an epoch | times the first |\n|---|---|---|")
    first = next(iter(best.values()))
    for row, taken in best.items():
        print(f"| {row} | {taken:.2f} | {taken / first:.2f} |")


if __name__ == "__main__":
    typer.run(main)
