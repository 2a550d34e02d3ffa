"""Does a sparse layer lose the image, or is only the way back to it hard?

    python benchmarks/codes.py                                        # after each layer of the front, one sparse layer
    python benchmarks/codes.py --target none_conv --seed 1
    python benchmarks/codes.py --back                                 # the way back to the code, seven minutes

What would an attacker rebuild if a layer inside the network leaked, rather than the first dense one? The attack's own
family of decoders learns from what leaves each layer of the front, under the rule of the attack.

``--back`` goes there from the leak: it descends through the known network from a decoder's image, with gradients that
pass silent neurons as well (straight through, as Athalye, Carlini and Wagner, ICML 2018, do with gradients that a
defense hides), and decodes the code of the image that it ends with. Printed: PSNR in dB and SSIM over private images.
MNIST, scale ``quick``.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from sparseguard import BlackBox, Experiment, load_data
from sparseguard.access import Leaky
from sparseguard.attacks import Fitted, Inversion
from sparseguard.deployed import train_target
from sparseguard.metrics import psnr, ssim
from sparseguard.scales import check_scale
from sparseguard.sparse import SparseCoding2d, operators

SHOWN = 256
"""Private images that the numbers are means over."""
STEPS, RATE, SOFT = 240, 0.01, 0.05
"""Of the descent: steps of Adam, its first rate, and how far from its threshold a neuron passes gradients."""


class Until(Leaky):
    """Leaks what leaves the first layers of a target."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def leak(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def passing(layer: SparseCoding2d, image: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """The code of images, whose gradient passes silent neurons near their threshold; and the same without one."""
    with torch.no_grad():
        code = layer(image, start=start)
    left = layer.canvas(image) - layer.reconstruct(code)
    drive = code + operators.analysis(left, layer.dictionary, layer.stride) - layer.lam
    soft = SOFT * F.softplus(drive / SOFT)
    return code + (soft - soft.detach()), code


def descend(layer: SparseCoding2d, rest: nn.Module, leak: Tensor, begin: Tensor) -> tuple[Tensor, Tensor]:
    """The image that is found, and its code."""
    image, code, scale = begin.clone().requires_grad_(), None, float(leak.var())
    adam = torch.optim.Adam([image], lr=RATE)
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = RATE * max(0.05, 1 - step / STEPS)
        passed, code = passing(layer, image, code)
        distance = (rest(passed) - leak).square().flatten(1).mean(1).sum() / scale
        (image.grad,) = torch.autograd.grad(distance, [image])
        adam.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    with torch.no_grad():
        return image.detach(), layer(image)


def main(
    target: Annotated[str, typer.Option(help="the defense")] = "sparse_standard",
    lam: Annotated[float, typer.Option(help="sparsity of a sparse defense")] = 0.5,
    seed: Annotated[int, typer.Option(help="of the split, the target and the attack")] = 0,
    back: Annotated[bool, typer.Option(help="go back from the leak to the code of the first layer")] = False,
) -> None:
    torch.set_num_threads(1)
    experiment = Experiment("mnist", "split", target, lam, scale="quick", seed=seed)
    split, scale = load_data("mnist", "quick", seed), check_scale("quick")
    front, rest = train_target(experiment, split, "cpu").eval().stages()
    layers, victims = [*front, *rest], split.train_images[:SHOWN]
    sparse = layers[0] if isinstance(layers[0], SparseCoding2d) else None
    if back and sparse is None:
        raise typer.BadParameter(f"back is for a target that begins with a sparse layer, not for {target}.")
    found: dict[int, Fitted] = {}
    for depth in [1, len(layers)] if back else [*range(1, len(front) + 1), len(layers)]:
        box = BlackBox(Until(layers[:depth]))
        torch.manual_seed(seed)
        found[depth] = Inversion().fit(box, experiment.holdout_images(split), scale)
        leak = box.query(victims)
        name = f"after {type(layers[depth - 1]).__name__}" if depth < len(layers) else "the leak"
        told(name, victims, found[depth].reconstruct(leak), f", {float((leak != 0).float().mean()):.1%} not zero")
    if back and sparse is not None:
        onward = nn.Sequential(*layers[1:]).requires_grad_(False)
        image, code = descend(sparse, onward, leak, found[len(layers)].reconstruct(leak))
        told("the image found", victims, image)
        told("its code, decoded", victims, found[1].reconstruct(code))


def told(name: str, victims: Tensor, rebuilt: Tensor, more: str = "") -> None:
    rebuilt = rebuilt.clamp(0, 1)
    quality = f"{float(psnr(victims, rebuilt).mean()):.1f} dB, SSIM {float(ssim(victims, rebuilt).mean()):.3f}"
    print(f"{name:24}{quality}{more}", flush=True)


if __name__ == "__main__":
    typer.run(main)
