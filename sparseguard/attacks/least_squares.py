"""Least squares in closed form or by conjugate gradients, for maps ``(N, F, H, W)`` whose layers act along rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]
FLOOR = 1e-9
"""Ridge of a system of equations, over the mean of its diagonal: exact to float32 where there is a solution."""
STEPS = 20
"""Of conjugate gradients."""


def rows(x: Tensor) -> Tensor:
    """Each channel's rows, as examples: ``(N, F, H, W) -> (F, N * H, W)``, in double precision."""
    return x.transpose(0, 1).flatten(1, 2).double()


def maps(examples: Tensor, like: Tensor) -> Tensor:
    """Inverse of :func:`rows` for a batch ``like (N, F, H, any)``.

    >>> x = torch.rand(4, 3, 2, 5)
    >>> torch.equal(maps(rows(x), x), x)
    True
    """
    found: Tensor = examples.unflatten(1, (len(like), like.shape[2])).transpose(0, 1).to(like)
    return found


def solved(gram: Tensor, right: Tensor) -> Tensor:
    """``(gram + ridge)^-1 right``, channel by channel: ``(F, n, n), (F, n, m) -> (F, n, m)``."""
    ridge = FLOOR * gram.diagonal(dim1=1, dim2=2).mean(1) + 1e-12
    found: Tensor = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(gram.shape[1]).to(gram), right)
    return found


def covariance(examples: Tensor) -> Tensor:
    """``(F, n, W) -> (F, W, W)``."""
    centred = examples - examples.mean(1, keepdim=True)
    return centred.mT @ centred / examples.shape[1]


def regression(after: Tensor, before: Tensor, features: Map = rows) -> Map:
    """From features ``(F, N * H, any)`` of what came out to the rows of what entered, linear, channel by channel."""
    x, y = features(after), rows(before)
    middle, offset = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    weight = solved((x - middle).mT @ (x - middle), (x - middle).mT @ (y - offset))
    return lambda out: maps((features(out) - middle) @ weight + offset, out)


def conjugate_gradients(operator: Map, right: Tensor) -> Tensor:
    """``operator^-1 right``, image by image, for a symmetric positive operator on ``(N, C, H, W)``."""

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum((1, 2, 3), keepdim=True)

    found, rest, step, size = torch.zeros_like(right), right, right, dot(right, right)
    for _ in range(STEPS):
        image = operator(step)
        length = size / dot(step, image).clamp_min(1e-30)
        found, rest = found + length * step, rest - length * image
        last, size = size, dot(rest, rest)
        step = rest + size / last.clamp_min(1e-30) * step
    return found
