"""The judge: a classifier that no defense and no attack ever sees, asked whether a reconstruction shows its class.

It learns from images of its own (:func:`sparseguard.data.judge_images`), so that it judges only what it never saw.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Images
from ..scales import Scale
from .frechet import frechet_distance

BATCH, RATE = 32, 5e-3
"""Of its training; the rate is the highest of the course."""
SEEN = 100
"""Images that it looks at together, once it is trained."""
SHIFT = 1
"""Pixels by which its training images are moved at most: it has few of them."""


class Judge(nn.Module):
    """A small convolutional classifier of images in [0, 1]; 64 penultimate features."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits


def train_judge(own: Images, scale: Scale, seed: int, device: str = "cpu") -> Judge:
    """Train a judge on the images that are its own."""
    with torch.random.fork_rng():
        torch.manual_seed(1_000_003 + seed)  # not the seed of the target: the judge is independent of it
        images, labels = own.images.to(device), own.labels.to(device)
        judge = Judge(images.shape[1], len(own.classes)).to(device)
        optimizer = torch.optim.Adam(judge.parameters())
        batches = scale.judge_epochs * math.ceil(len(images) / BATCH)
        course = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=batches)
        for _ in range(scale.judge_epochs):
            for index in torch.randperm(len(images)).split(BATCH):
                seen = moved(images[index.to(device)])
                optimizer.zero_grad()
                F.cross_entropy(judge(seen), labels[index.to(device)]).backward()
                optimizer.step()
                course.step()
    return judge.eval().requires_grad_(False)


def moved(images: Tensor) -> Tensor:
    """The images moved together by up to :data:`SHIFT` pixels, their edges drawn out: ``(N, C, H, W)``."""
    down, right = (int(torch.randint(2 * SHIFT + 1, ())) for _ in range(2))
    height, width = images.shape[2:]
    return F.pad(images, (SHIFT,) * 4, mode="replicate")[..., down : down + height, right : right + width]


@torch.no_grad()
def judge_features(judge: Judge, images: Tensor) -> Tensor:
    """Penultimate features ``(N, 64)``, on the images' device."""
    device = judge.classifier.weight.device
    return torch.cat([judge.features(part.to(device)).to(images.device) for part in images.split(SEEN)])


@torch.no_grad()
def judge_logits(judge: Judge, images: Tensor) -> Tensor:
    """What the judge sees: ``(N, classes)``, on the images' device."""
    logits: Tensor = judge.classifier(judge_features(judge, images).to(judge.classifier.weight.device))
    return logits.to(images.device)


def judge_accuracy(judge: Judge, images: Tensor, labels: Tensor, top: int = 1) -> float:
    """Share of images whose label is among the ``top`` that the judge finds likeliest."""
    likeliest = judge_logits(judge, images).topk(top, 1).indices.to(labels.device)
    return float((likeliest == labels[:, None]).any(1).float().mean())


def judge_confidence(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """Mean probability that the judge gives each image's label."""
    return float(judge_logits(judge, images).softmax(1).cpu().gather(1, labels.cpu()[:, None]).mean())


def fd_judge(judge: Judge, originals: Tensor, reconstructions: Tensor) -> float:
    """Frechet distance in the judge's features; comparable only between cells of one judge."""
    a, b = (judge_features(judge, images).double().cpu().numpy() for images in (originals, reconstructions))
    return frechet_distance(a, b)
