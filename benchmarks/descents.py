"""Which choices of ``code_descent`` matter, one changed at a time.

    python benchmarks/descents.py                                     # through one sparse layer
    python benchmarks/descents.py --target sparse_guard --seed 1      # through two

Hold-out images are rebuilt with the constants that the attack has, then with one of them changed: how far from its
threshold a neuron passes gradients, how exactly the linear systems of a gradient are solved, the step size, the weight
of the total variation, the steps after which the step size falls. Printed: PSNR in dB of the image that the descent
found and of what is decoded of it, after a quarter of the steps and after all, and seconds. MNIST, first dense layer,
one thread.
"""

from __future__ import annotations

import math
import time
from typing import Annotated, Any

import torch
import typer

import sparseguard.attacks.code_descent as module
from sparseguard import BlackBox, Experiment, load_data
from sparseguard.access import WhiteBox
from sparseguard.attacks import Inversion
from sparseguard.attacks.code_descent import CodeDescent
from sparseguard.attacks.race import decibels
from sparseguard.attacks.refinement import CHOOSING, Likelihood, mean_square
from sparseguard.deployed import train_target
from sparseguard.scales import check_scale

USUAL = {
    "softness": CodeDescent.softness, "accuracy": module.ACCURACY, "systems": module.STEPS,
    "rate": CodeDescent.rates[1], "weight": CodeDescent.weights[0], "steady": CodeDescent.steady,
}  # fmt: skip
CHANGES: list[dict[str, Any]] = [
    {}, *({"softness": s} for s in (0.01, 0.2, 1.0)), {"systems": 1}, {"systems": 3}, {"accuracy": 0.01, "systems": 40},
    *({"rate": r} for r in (0.01, 0.05)), {"weight": 0.02}, {"steady": math.inf},
]  # fmt: skip


def main(
    target: Annotated[str, typer.Option(help="a sparse defense")] = "sparse_standard",
    lam: Annotated[float, typer.Option(help="its sparsity")] = 0.5,
    seed: Annotated[int, typer.Option(help="of the split, the target and the attack")] = 0,
    images: Annotated[int, typer.Option(help="hold-out images that are rebuilt")] = CHOOSING,
    scale_name: Annotated[str, typer.Option("--scale")] = "quick",
) -> None:
    torch.set_num_threads(1)
    experiment = Experiment("mnist", "split", target, lam, scale=scale_name, seed=seed)
    split, scale = load_data("mnist", scale_name, seed), check_scale(scale_name)
    network = train_target(experiment, split, "cpu").eval()
    box, holdout = WhiteBox(network), experiment.holdout_images(split)
    torch.manual_seed(seed)
    start = Inversion().fit(BlackBox(network), holdout, scale)
    finish = CodeDescent().finishing(box.model, holdout, scale, "cpu")
    truth = holdout.validation[:images]
    leak = box.query(truth)
    begin, variance = start.reconstruct(leak), float(box.query(holdout.validation).var())
    print(f"the decoder's image: {decibels(mean_square(begin, truth)):.1f} dB", flush=True)
    for change in CHANGES:
        own = USUAL | change
        module.ACCURACY, module.STEPS = own["accuracy"], own["systems"]
        likelihood = Likelihood(CodeDescent(softness=own["softness"]).passable(box.model), variance, draws=1)
        begun, told = time.perf_counter(), []
        steps = likelihood.descend(begin, leak, own["rate"], own["weight"], scale.descent, own["steady"])
        for step, image in enumerate(steps, start=1):
            if step in (scale.descent // 4, scale.descent):
                errors = [mean_square(made, truth) for made in (image, finish.reconstruct(image))]
                told.append(f"{decibels(errors[0]):.1f}, decoded {decibels(errors[1]):.1f} dB after {step}")
        name = ", ".join(f"{key} {value:g}" for key, value in change.items()) or "as it is"
        print(f"{name:28}{'; '.join(told)} ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    typer.run(main)
