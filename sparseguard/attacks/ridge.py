"""Ridge regression from a leak to the image, in closed form: the floor that every other attacker has to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .decoders import Shape, as_rows, rows_of
from .queries import Queries

REACH = (1, 7)
"""Rows of the leak that explain a row of the image, where it has the image's rows; the better is taken."""
EXAMPLES = 8192
"""Rows that are learned from at most."""
MOST = 4096
"""Columns of the largest system that is solved: with more elements than that, so many examples are used."""
LARGEST = 2**28
"""Elements of the largest map that is fitted: images of hundreds of pixels a side take gigabytes."""
PENALTIES = tuple(10.0**k for k in range(-8, 1))
"""Over the mean variance of the elements; the best by validation is taken."""


class Linear(nn.Module):
    """An affine map of each row's neighbourhood: ``(N, ...)`` leaks to images, not clipped."""

    weight: Tensor
    before: Tensor
    after: Tensor

    def __init__(self, leak: Shape, image: Shape, reach: int) -> None:
        super().__init__()
        self.image, self.rows, self.reach = image, rows_of(leak, image), reach
        for name in ("weight", "before", "after"):
            self.register_buffer(name, torch.zeros(()))

    def elements(self, leak: Tensor) -> Tensor:
        """What explains each row: ``(N * rows, elements)``."""
        padded = F.pad(as_rows(leak, self.rows), (0, 0, self.reach // 2, self.reach // 2))
        return torch.cat([padded[:, i : i + self.rows] for i in range(self.reach)], 2).flatten(0, 1)

    def targets(self, images: Tensor) -> Tensor:
        """What is explained: ``(N * rows, pixels of a row)``."""
        rows = images.transpose(1, 2) if self.rows > 1 else images.unsqueeze(1)
        return rows.flatten(2).flatten(0, 1)

    def forward(self, leak: Tensor) -> Tensor:
        rows = (self.elements(leak) - self.before) @ self.weight + self.after
        if self.rows == 1:
            return rows.reshape(-1, *self.image)
        return rows.reshape(-1, self.rows, self.image[0], self.image[2]).transpose(1, 2)


def solutions(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """``(x'x + penalty I)^-1 x'y`` for each penalty, by whichever of both systems is smaller."""
    primal = x.shape[1] <= x.shape[0]
    gram = x.T @ x if primal else x @ x.T
    scale = float(gram.diagonal().mean())
    for penalty in PENALTIES:
        shifted = gram.double()
        shifted.diagonal().add_(max(penalty * scale, 1e-30))
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if not failed:
            solved = torch.cholesky_solve((x.T @ y if primal else y).double(), factor).to(x)
            yield solved if primal else x.T @ solved


def ridge(
    queries: Queries, leak: Shape, image: Shape, score: Callable[[nn.Module], float], device: str
) -> tuple[float, nn.Module]:
    """The best ridge regression by its validation error, and that error; infinite where no map is small enough.

    Learns from the attacker's own images first, then from copies, up to :data:`EXAMPLES`.
    """
    best: tuple[float, nn.Module] = float("inf"), nn.Identity()
    pairs = [(a.to(device), b.to(device)) for a, b in queries.in_order(EXAMPLES // rows_of(leak, image))]
    for reach in REACH if rows_of(leak, image) > 1 else (1,):
        trial = Linear(leak, image, reach)
        if reach * torch.Size(leak).numel() * torch.Size(image).numel() > LARGEST * trial.rows**2:
            continue
        x = torch.cat([trial.elements(a) for a, _ in pairs])
        y = torch.cat([trial.targets(b) for _, b in pairs])
        if x.shape[1] > MOST and len(x) > MOST:
            x, y = x[:MOST], y[:MOST]
        trial.before, trial.after = x.mean(0), y.mean(0)
        for weight in solutions(x - trial.before, y - trial.after):
            trial.weight = weight
            error = score(trial)
            if error < best[0]:
                kept = Linear(leak, image, reach)
                kept.weight, kept.before, kept.after = trial.weight, trial.before, trial.after
                best = error, kept
    return best
