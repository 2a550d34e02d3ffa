"""Inverses of single layers, in closed form: what entered, from what is known of what came out.

Each inverse is fitted on hold-out images: on what was got back of a layer's outputs so far, errors included, and on the
inputs that it truly had. Every one is a linear map or nearly, and exact where the layer has an inverse.
"""

from __future__ import annotations

from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from ..normalisation import Normalize, Standardize
from ..sparse import SparseCoding2d
from .least_squares import Map, conjugate_gradients, covariance, maps, regression, rows, solved

SPREAD = 1e-3
"""Variance, over the mean one, that an input of a dense layer is believed to have even where it never varied."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge of a convolution's inverse, over the filters' mean square norm; the best is taken."""


@singledispatch
def inverse(layer: nn.Module, after: Tensor, before: Tensor) -> Map:
    """What takes outputs of a layer back to its inputs.

    A layer that is not in the table, noise above all, is undone by linear regression along the last axis.

    Args:
        layer: in inference mode.
        after: outputs for hold-out images, as they were got back: ``(N, F, H, W)``.
        before: inputs for the same images, as they truly are: ``(N, F', H', W')``.

    Example:
        >>> x = torch.rand(4, 1, 2, 3)
        >>> torch.equal(inverse(nn.Identity(), x, x)(x), x)
        True
    """
    if after.shape[:3] != before.shape[:3]:
        raise ValueError(f"there is no way back through a {type(layer).__name__}: it changes channels or rows.")
    return regression(after, before)


@inverse.register
def _(layer: nn.Identity, after: Tensor, before: Tensor) -> Map:
    return lambda out: out


@inverse.register
def _(layer: nn.ReLU, after: Tensor, before: Tensor) -> Map:
    """Keep what passed; guess what was cut off from what passed and from where something did."""
    guess = regression(after, before, lambda out: torch.cat([rows(out), rows(out > 0)], 2))

    def kept(out: Tensor) -> Tensor:
        return torch.where(out > 0, out, guess(out).clamp_max(0))

    # outputs that were got back with large errors do not say any more what was cut off
    return kept if F.mse_loss(kept(after), before) <= F.mse_loss(guess(after), before) else guess


@inverse.register
def _(layer: nn.Linear, after: Tensor, before: Tensor) -> Map:
    """The best linear estimate for inputs of this mean and covariance, and outputs with errors of that covariance."""
    x, weight = rows(before), layer.weight.double()
    bias = torch.zeros(()).to(weight) if layer.bias is None else layer.bias.double()
    wrong = rows(after) - (x @ weight.T + bias)
    middle, shift = x.mean(1, keepdim=True), bias + wrong.mean(1, keepdim=True)
    spread, noise = covariance(x), covariance(wrong)
    spread.diagonal(dim1=1, dim2=2).add_(SPREAD * spread.diagonal(dim1=1, dim2=2).mean(1, keepdim=True) + 1e-12)
    gain = solved(weight @ spread @ weight.T + noise, weight @ spread)  # (F, outputs, inputs)
    return lambda out: maps((rows(out) - middle @ weight.T - shift) @ gain + middle, out)


@inverse.register
def _(layer: nn.BatchNorm2d, after: Tensor, before: Tensor) -> Map:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, scale = layer.running_mean[:, None, None], (layer.running_var + layer.eps).sqrt()[:, None, None]
    if not layer.affine:
        return lambda out: out * scale + mean
    weight, bias = layer.weight[:, None, None], layer.bias[:, None, None]
    return lambda out: torch.where(weight == 0, 0, (out - bias) / weight) * scale + mean


@inverse.register
def _(layer: Normalize, after: Tensor, before: Tensor) -> Map:
    return lambda out: out * layer.std + layer.mean


@inverse.register
def _(layer: Standardize, after: Tensor, before: Tensor) -> Map:
    return lit(lambda out: out, after, before)


@inverse.register
def _(layer: SparseCoding2d, after: Tensor, before: Tensor) -> Map:
    """The layer's own reconstruction, without the canvas's border."""
    height, width = before.shape[2:]
    top, left = layer.kernel_size[0] // 2, layer.kernel_size[1] // 2

    def decoded(code: Tensor) -> Tensor:
        code = code.clamp_min(0) if layer.nonneg else code
        return layer.reconstruct(code, (height, width))[:, :, top : top + height, left : left + width]

    return lit(decoded, after, before)


@inverse.register
def _(layer: nn.Conv2d, after: Tensor, before: Tensor) -> Map:
    """Least squares with a ridge towards the mean input, by conjugate gradients."""
    middle, norm = before.mean(0, keepdim=True), float(layer.weight.square().flatten(1).sum(1).mean())
    silence = layer(torch.zeros_like(middle))
    geometry = layer.stride, layer.padding, layer.dilation, layer.groups

    def solve(out: Tensor, penalty: float) -> Tensor:
        shape = (len(out), *middle.shape[1:])

        def adjoint(y: Tensor) -> Tensor:
            found: Tensor = conv2d_input(shape, layer.weight, y, *geometry)
            return found

        def normal(x: Tensor) -> Tensor:
            return adjoint(layer(x) - silence) + penalty * norm * x

        return middle + conjugate_gradients(normal, adjoint(out - layer(middle)))

    best = min(PENALTIES, key=lambda penalty: float(F.mse_loss(solve(after, penalty), before)))
    return lambda out: solve(out, best)


def lit(decoded: Map, after: Tensor, before: Tensor) -> Map:
    """The same, with the contrast and brightness that fit hold-out images best: standardising took them away."""
    x = decoded(after)
    centred = x - x.mean()
    contrast = float((centred * before).sum() / centred.square().sum().clamp_min(1e-30))
    brightness = float(before.mean() - contrast * x.mean())
    return lambda out: contrast * decoded(out) + brightness
