"""Does a sparse layer lose the image, or is only the way back to it hard?

    python benchmarks/codes.py                                        # after each layer of the front, one sparse layer
    python benchmarks/codes.py --target none_conv --seed 1

What would an attacker rebuild if a layer inside the network leaked, rather than the first dense one? The attack's own
family of decoders learns from what leaves each layer of the front, under the rule of the attack. How near to that one
comes from the leak itself, knowing the network, is what the attack ``code_descent`` shows. Printed: PSNR in dB and SSIM
over private images, and how much of what leaks is not zero. MNIST, scale ``quick``.
"""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from sparseguard import BlackBox, Experiment, load_data
from sparseguard.attacks import Inversion
from sparseguard.attacks.code_descent import Until
from sparseguard.deployed import train_target
from sparseguard.metrics import psnr, ssim
from sparseguard.scales import check_scale

SHOWN = 256
"""Private images that the numbers are means over."""


def main(
    target: Annotated[str, typer.Option(help="the defense")] = "sparse_standard",
    lam: Annotated[float, typer.Option(help="sparsity of a sparse defense")] = 0.5,
    seed: Annotated[int, typer.Option(help="of the split, the target and the attack")] = 0,
) -> None:
    torch.set_num_threads(1)
    experiment = Experiment("mnist", "split", target, lam, scale="quick", seed=seed)
    split, scale = load_data("mnist", "quick", seed), check_scale("quick")
    front, rest = train_target(experiment, split, "cpu").eval().stages()
    layers, victims = [*front, *rest], split.train_images[:SHOWN]
    for depth in [*range(1, len(front) + 1), len(layers)]:
        box = BlackBox(Until(layers[:depth]))
        torch.manual_seed(seed)
        fitted = Inversion().fit(box, experiment.holdout_images(split), scale)
        leak = box.query(victims)
        rebuilt = fitted.reconstruct(leak).clamp(0, 1)
        name = f"after {type(layers[depth - 1]).__name__}" if depth < len(layers) else "the leak"
        quality = f"{float(psnr(victims, rebuilt).mean()):.1f} dB, SSIM {float(ssim(victims, rebuilt).mean()):.3f}"
        print(f"{name:24}{quality}, {float((leak != 0).float().mean()):.1%} not zero", flush=True)


if __name__ == "__main__":
    typer.run(main)
