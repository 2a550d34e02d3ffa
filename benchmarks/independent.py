"""Do decoders of another design, trained ten times as long, rebuild more than the attack does?

    python benchmarks/independent.py                                  # three targets, both designs
    python benchmarks/independent.py --target dp_sgd --design attention --holdout 450

Nothing here is the attack's: a dilated residual network and an attention over the leak's rows, trained by AdamW on a
schedule that ends (Loshchilov & Hutter, 2019; Smith, 2018), on the same hold-out images and on copies that torchvision
bends, the moment of the lowest validation error kept. Printed: PSNR over all private images (dB) of each, beside the
stored cell's, MNIST, scale ``quick``, one seed.
"""

from __future__ import annotations

import copy
import time
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from torchvision.transforms import v2

from sparseguard import BlackBox, Experiment, load_data
from sparseguard.deployed import train_target
from sparseguard.metrics import psnr

BATCH, RATE, CHECKS = 16, 2e-3, 20


class Block(nn.Module):
    """Two dilated convolutions around which the input goes."""

    def __init__(self, wide: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(wide), nn.GELU(),
            nn.Conv2d(wide, wide, 3, padding=1), nn.BatchNorm2d(wide),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.gelu(x + self.body(x))
        return out


def residual(leak: tuple[int, ...], image: tuple[int, ...], wide: int = 16) -> nn.Module:
    """``(N, F, rows, W') -> (N, C, rows, W)``: columns first, then dilated residual blocks at full size."""
    return nn.Sequential(
        nn.Linear(leak[2], 128), nn.GELU(), nn.Linear(128, image[2]), nn.Conv2d(leak[0], wide, 3, padding=1),
        *(Block(wide, dilation) for dilation in (1, 2, 4)), nn.Conv2d(wide, image[0], 3, padding=1),
    )  # fmt: skip


class Attention(nn.Module):
    """Each row of the leak is a token; what a row was is told from all of them."""

    def __init__(self, leak: tuple[int, ...], image: tuple[int, ...], wide: int = 96) -> None:
        super().__init__()
        self.image = image
        self.enter = nn.Linear(leak[0] * leak[2], wide)
        self.place = nn.Parameter(torch.randn(leak[1], wide) / 50)
        layer = nn.TransformerEncoderLayer(wide, 4, 2 * wide, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.leave = nn.Sequential(nn.Linear(2 * wide, 256), nn.GELU(), nn.Linear(256, image[0] * image[2]))

    def forward(self, leak: Tensor) -> Tensor:
        tokens = self.enter(leak.transpose(1, 2).flatten(2))
        seen = torch.cat([self.body(tokens + self.place), tokens], 2)
        image: Tensor = self.leave(seen).unflatten(2, (self.image[0], self.image[2])).transpose(1, 2)
        return image


class Standard(nn.Module):
    """Takes the mean of these leaks away, and divides by their deviation."""

    def __init__(self, leaks: Tensor) -> None:
        super().__init__()
        self.mean, self.std = float(leaks.mean()), float(leaks.std())

    def forward(self, leak: Tensor) -> Tensor:
        return (leak - self.mean) / self.std


DESIGNS = {"residual": residual, "attention": Attention}


def decode(box: BlackBox, design: str, images: Tensor, validation: Tensor, updates: int) -> nn.Module:
    """The trained network, at the moment of its lowest validation error."""
    torch.manual_seed(1)
    bend = v2.RandomAffine(12, translate=(0.08, 0.08), scale=(0.85, 1.15), shear=10)
    copies = min(15, max(3600 // len(images) - 1, 0))
    asked = torch.cat([images, *(torch.stack([bend(i) for i in images]) for _ in range(copies))])
    steady = torch.equal(box.query(images[:2]), box.query(images[:2]))
    leaks, checked = box.query(asked), box.query(validation)
    network = nn.Sequential(Standard(leaks), DESIGNS[design](tuple(leaks.shape[1:]), tuple(images.shape[1:])))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, updates, pct_start=0.1)
    best = float("inf"), copy.deepcopy(network)
    for update in range(1, updates + 1):
        own = torch.randint(len(images), (BATCH // 2,))
        index = torch.cat([own, torch.randint(len(asked), (BATCH - len(own),))])
        seen = leaks[index] if steady else box.query(asked[index])
        loss = F.mse_loss(network(seen), asked[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if update % max(updates // CHECKS, 1) == 0:
            network.eval()
            with torch.no_grad():
                error = float(F.mse_loss(network(checked).clamp(0, 1), validation))
            network.train()
            if error < best[0]:
                best = error, copy.deepcopy(network)
    return best[1].eval()


def main(
    target: Annotated[list[str] | None, typer.Option(help="defenses; repeat for several")] = None,
    design: Annotated[list[str] | None, typer.Option(help="residual, attention; repeat for several")] = None,
    updates: int = 10240,
    setting: str = "split",
    scale: str = "quick",
    holdout: Annotated[int | None, typer.Option(help="images that the attacker learns from")] = None,
    seed: int = 0,
) -> None:
    """Print each beside the stored cell."""
    torch.set_num_threads(1)
    split = load_data("mnist", scale, seed)
    for name in target or ["none", "none_conv", "sparse_guard"]:
        cell = Experiment("mnist", setting, name, scale=scale, seed=seed, holdout=holdout, fid=False)
        box = BlackBox(train_target(cell, split, "cpu"))
        known = cell.holdout_images(split)
        stored = cell.stored()
        usual = "not computed" if stored is None else f"{stored.metrics['psnr']:.2f} dB"
        print(f"{cell.label}, {len(known.images)} images: the attack's cell {usual}", flush=True)
        for kind in design or list(DESIGNS):
            start = time.process_time()
            network = decode(box, kind, known.images, known.validation, updates)
            with torch.no_grad():
                rebuilt = torch.cat([network(box.query(part)) for part in split.train_images.split(250)]).clamp(0, 1)
            found = float(psnr(split.train_images, rebuilt).mean())
            took = time.process_time() - start
            print(f"    {kind}, {updates} updates: {found:.2f} dB ({took:.0f} s)", flush=True)


if __name__ == "__main__":
    typer.run(main)
