"""What the register tiles of sparseguard/sparse/compiled.py rest on: GFLOP/s of its operators, one core.

    python benchmarks/tiles.py

Each row has one of the constants at another value, the first row none. Analysis is of a whole image; synthesis adds the
features of a code of which a tenth is active. Products with zeros that fill vectors up do not count. Every value is the
fastest of several runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from numba import njit

from sparseguard import SparseCoding2d
from sparseguard.sparse import compiled
from sparseguard.sparse.compiled import CompiledBank

VALUES: dict[str, tuple[Any, ...]] = {
    "TILES": ((14, 7, 1), (4, 1), (7, 1), (8, 1)), "WIDE": (1, 2), "PATCH": (0, 28), "PART": (1, 5, 10),
}  # fmt: skip
SIZE = 28


def timed(call: Callable[..., None], *arguments: Any, repeats: int) -> float:
    """Seconds of the fastest run."""
    best = float("inf")
    call(*arguments)  # compiles
    for _ in range(repeats):
        start = time.perf_counter()
        call(*arguments)
        best = min(best, time.perf_counter() - start)
    return best


def speeds(channels: int, features: int, repeats: int, rounds: int = 20) -> tuple[float, float]:
    """GFLOP/s of analysis and synthesis with the constants as they are now."""
    torch.manual_seed(0)
    layer, x = SparseCoding2d(channels, features), torch.randn(1, channels, SIZE, SIZE)
    canvas = layer.canvas(x)
    bank = CompiledBank(layer.dictionary, (1, 1), (canvas.shape[2], canvas.shape[3]))
    f, image = bank.filters, bank.images(canvas)[0]
    code = bank.codes((torch.rand(1, features, SIZE, SIZE) < 0.1).float())[0]
    active = compiled.no_active(code, f)
    count = compiled.list_active(code, active, f)

    @njit
    def analyses(image, drive, f):  # type: ignore[no-untyped-def]
        for _ in range(rounds):
            for y in range(f.rows):
                compiled.analyse_row(image, y, drive, f)

    @njit
    def syntheses(image, active, f):  # type: ignore[no-untyped-def]
        for _ in range(rounds):
            compiled.synthesise(active, active.values, image, f)

    work = 2e-9 * rounds * layer.dictionary[0].numel()
    drive = np.empty(f.columns * f.features, image.dtype)
    analysis = work * features * SIZE * SIZE / timed(analyses, image, drive, f, repeats=repeats)
    return analysis, work * count / timed(syntheses, image, active, f, repeats=repeats)


def main(
    layer: Annotated[list[str] | None, typer.Option(help="channels-features; repeat for several")] = None,
    repeats: int = 10,
) -> None:
    """Print the table."""
    layers = [tuple(int(part) for part in name.split("-")) for name in layer or ("1-8", "1-16", "8-16", "16-28")]
    names = [f"{a} to {b}" for a, b in layers]
    print("| constant | " + " | ".join(f"analysis, {name}" for name in names), end=" | ")
    print(" | ".join(f"synthesis, {name}" for name in names) + " |\n" + "|---" * (1 + 2 * len(layers)) + "|")
    now = [(name, getattr(compiled, name)) for name in VALUES]
    others = [(name, value) for name, values in VALUES.items() for value in values if (name, value) not in now]
    for name, value in (now[0], *others):
        with patch.object(compiled, name, value):
            analysis, synthesis = zip(*[speeds(a, b, repeats) for a, b in layers])
        title = "as they are" if (name, value) in now else f"{name} = {value}"
        print(f"| {title} | " + " | ".join(f"{speed:.1f}" for speed in analysis + synthesis) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
