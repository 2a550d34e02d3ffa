"""Peak memory of a cell on a data set that is larger than memory should hold.

    python benchmarks/memory.py                                               # 200,000 images of 64 x 64 x 3
    python benchmarks/memory.py --images 20000 --defense sparse_standard      # codes of a fixed first layer on disk

Writes synthetic images as a user would have them, JPEG files in class folders, and runs one cell on all of them in
a process of its own: reading, training, attack and evaluation, each as short as it can be. Printed is that process's
peak of resident memory, as the system counts it, and what lies on disk. The split setting, width 8, one epoch.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

CLASSES = 4


def written(folder: Path, count: int, size: int) -> None:
    """So many images of colours that run into each other, one folder a class."""
    chance = np.random.default_rng(0)
    for number in tqdm(range(count), "writing", mininterval=10):
        place = folder / f"class-{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = chance.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BILINEAR).save(place / f"{number:07}.jpg")


def cell(folder: Path, defense: str) -> None:
    """Run it here, at a scale of all images whose trainings are short."""
    import torch

    from sparseguard import Experiment
    from sparseguard.scales import SCALES

    torch.set_num_threads(1)
    short = {"images": None, "epochs": 1, "batch_size": 64, "width": 8, "attack_updates": 64, "judge_epochs": 1}
    SCALES["smoke"] = replace(SCALES["smoke"], **short)  # type: ignore[arg-type]
    options = {"train_first": False} if defense.startswith("sparse") else {}
    result = Experiment(str(folder), "split", defense, scale="smoke", options=options).run(None, print)
    print(f"{result.details['train_images']} private images, PSNR {result.metrics['psnr']:.1f} dB")


def main(
    images: int = 200_000,
    size: int = 64,
    defense: str = "none",
    inside: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Write the images, run the cell, print the peak."""
    if inside:
        return cell(Path(inside), defense)
    with tempfile.TemporaryDirectory() as folder:
        pictures, home = Path(folder) / "pictures", Path(folder) / "home"
        written(pictures, images, size)
        start = time.perf_counter()
        command = [sys.executable, __file__, "--inside", str(pictures), "--defense", defense]
        subprocess.run(command, check=True, env=os.environ | {"SPARSEGUARD_HOME": str(home)})
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        disk = sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) / 2**30
        print(
            f"{images} images of {size} x {size} x 3, {defense}: peak {peak:.2f} GiB resident, {disk:.1f} GiB on disk, "
            f"{time.perf_counter() - start:.0f} s"
        )
    return None


if __name__ == "__main__":
    typer.run(main)
