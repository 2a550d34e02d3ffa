"""Which step size a search in a prior's latents wants.

    python benchmarks/priors.py                                            # both GANs and PCA, the rates around today's
    python benchmarks/priors.py --prior hold_out --rate 0.01 --rate 0.05 --target none

Targets: ``none`` and ``none_conv``, MNIST, end to end, scale ``quick``, one seed. Printed for each prior and rate: what
the judge sees of what ``plug_and_play`` found and of the prior only (share of images), the distance to private images
over that of the prior only, and the PSNR that ``leak_matching`` reaches in the split setting (dB).
"""

from __future__ import annotations

from itertools import product
from typing import Annotated

import torch
import typer

from sparseguard import Experiment

PRIORS, RATES, TARGETS = ("hold_out", "labelled", "pca"), (0.01, 0.05, 0.2), ("none", "none_conv")


def main(
    prior: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    rate: Annotated[list[float] | None, typer.Option(help="step sizes; repeat for several")] = None,
    target: Annotated[list[str] | None, typer.Option(help="defenses; repeat for several")] = None,
    scale: str = "quick",
    seed: int = 0,
) -> None:
    """Print a line a prior, rate and target."""
    torch.set_num_threads(1)
    for name, size, defense in product(prior or PRIORS, rate or RATES, target or TARGETS):
        options = {"prior": name, "rate": size}
        classes, single = (
            Experiment(
                "mnist", setting, defense, scale=scale, seed=seed, attack=attack, attack_options=options
            ).run(store=None, progress=False).metrics
            for setting, attack in (("end_to_end", "plug_and_play"), ("split", "leak_matching"))
        )  # fmt: skip
        sees = f"{classes['judge_accuracy_prior_only']:.2f} -> {classes['judge_accuracy']:.2f}"
        nearer = (classes["distance_private"] or 0) / (classes["distance_private_prior_only"] or 1)
        print(
            f"{name}, rate {size:g}, {defense}: judge {sees}, distance x {nearer:.2f}, leak matching "
            f"{single['psnr']:.2f} dB",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
