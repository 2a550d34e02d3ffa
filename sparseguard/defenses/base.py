"""What every defense is: a few strengths, a way to build the target and a way to train it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import one_of, positive
from ..data import Split
from ..normalisation import Normalize, Standardize
from ..resuming import rounds
from ..scales import Scale
from ..targets import Target

Front = Literal["linear", "standardized", "conv", "frozen_conv"]
Family = Literal["control", "noise", "fakes", "training", "sparse", "other"]
KERNEL = 5
"""Kernel size of sparse and convolutional layers (Table 5)."""


def features_of(scale: Scale, layers: int) -> list[int]:
    """Feature counts of a stack: the scale's, the last one repeated."""
    return [scale.features[min(i, len(scale.features) - 1)] for i in range(layers)]


def conv_pair(channels: int, features: int, frozen: bool = False) -> list[nn.Module]:
    """Standardise, 5x5 convolution, ReLU, batch norm: what stands in for a sparse layer and its dense layer.

    Frozen filters are random with unit norm, as the features of a fresh dictionary are.
    """
    conv = nn.Conv2d(channels, features, KERNEL, padding=KERNEL // 2, bias=False)
    if frozen:
        with torch.no_grad():
            nn.init.trunc_normal_(conv.weight, std=1.0, a=-2.0, b=2.0)
            conv.weight.div_(conv.weight.flatten(1).norm(dim=1)[:, None, None, None])
        conv.weight.requires_grad_(False)
    return [Standardize(), conv, nn.ReLU(), nn.BatchNorm2d(features)]


@dataclass(frozen=True)
class Defense:
    """Base of all defenses: no defense. The fields of a subclass are its options.

    Args:
        front: what stands before the dense layers where no sparse layer does: ``"linear"`` (nothing but the fixed
            normalisation of the training set), ``"standardized"`` (each image standardised instead, as in front of a
            sparse layer), ``"conv"`` (that, and two learned convolutions with the standardisation and batch norm of
            sparse-guard) or ``"frozen_conv"`` (the same, random and never trained).
    """

    family: ClassVar[Family] = "other"
    """What reports put together: controls, noise on the leak, generated images, other training, sparse codes."""
    strength: ClassVar[str | None] = None
    """Name of the option that says how strong the defense is, if it has one: what a curve of several cells sweeps."""
    revision: ClassVar[int] = 0
    """Raised whenever this defense's cells would give another result; those of others are still read."""
    released_attack: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Options of the attack ``as_released`` by which this defense's released files differ from the others."""
    sizes: ClassVar[tuple[str, ...]] = ()
    """Sizes of a :class:`~sparseguard.scales.Scale` that this defense reads, beside those that all do."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Options that name a data set, on whose content the result depends."""

    front: Front = "linear"

    def __post_init__(self) -> None:
        one_of("front", self.front, get_args(Front))

    @property
    def time(self) -> float:
        """Time constants for which sparse codes follow eq. 2; 0 without a sparse layer."""
        return 0.0

    def layers(self, split: Split, scale: Scale) -> list[nn.Module]:
        """The modules before the first dense layer."""
        if self.front == "linear":
            return [Normalize.of(split.train_images)]
        if self.front == "standardized":
            return [Standardize()]
        counts = [split.image_shape[0], *features_of(scale, 2)]
        pairs = [conv_pair(a, b, frozen=self.front == "frozen_conv") for a, b in pairwise(counts)]
        return [module for pair in pairs for module in pair]

    def build(self, split: Split, setting: str, scale: Scale) -> Target:
        """An untrained target."""
        return Target(self.layers(split, scale), setting, split.image_shape, len(split.classes), scale.width)

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        """Train the target in place on the private images; it is on its device already.

        What training established goes into ``target.facts``, what it made for the report into ``target.exhibits``.
        """
        fit(target, split.train_images, split.train_labels, scale)

    def deploy(self, target: Target) -> None:
        """Put in place, in an untrained target, what training puts there beside weights: noise on the leak, say.

        A trained target is put together from that and its weights for further attacks; one that does not come out the
        same is trained again.
        """


def nonnegative(name: str, value: float) -> float:
    """``value`` as a float, or a ``ValueError`` that says that it must be finite and not below 0."""
    try:
        return positive(name, value) if value != 0 or isinstance(value, bool) else 0.0
    except ValueError:
        raise ValueError(f"{name} must be a finite number from 0 on, not {value!r}.") from None


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def fit(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    scale: Scale,
    *,
    after_step: Callable[[], None] = lambda: None,
    penalty: Callable[[int], Tensor | float] = lambda epoch: 0.0,
    longest_gradient: float = math.inf,
    epochs: int | None = None,
    chance: Sequence[torch.Generator] = (),
) -> None:
    """Cross-entropy and SGD with momentum 0.9, for the scale's epochs; draws its batches from torch's global generator.

    Where the scale says so, the learning rate rises and falls: that reaches in four epochs what a constant one reaches
    in ten.

    Args:
        model: ``(B, ...)`` inputs to ``(B, classes)`` logits, on its device.
        inputs: ``(N, ...)``: images, or precomputed codes.
        labels: ``(N,)`` int64.
        after_step: called after each update.
        penalty: added to the loss of each batch; called with the epoch, from 0 on, after the model saw the batch.
        longest_gradient: longer ones (L2 norm over all parameters) are shortened to it.
        epochs: other than the scale's.
        chance: generators that ``after_step`` and ``penalty`` draw from; a training that was interrupted goes on with
            them. What else they remember they must be able to make anew at the beginning of an epoch.

    Raises:
        ArithmeticError: the loss is not finite.
    """
    device = next(model.parameters()).device
    inputs, labels = inputs.to(device), labels.to(device)
    learning = trained(model)
    optimizer = torch.optim.SGD(learning, lr=scale.learning_rate, momentum=0.9)
    epochs = scale.epochs if epochs is None else epochs
    steps = epochs * math.ceil(len(inputs) / scale.batch_size)
    course = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(triangle, steps) if scale.decay else lambda step: 1.0)
    model.train()
    for epoch in rounds(epochs, "training", model, optimizer, course, *chance):
        for index in batches(len(inputs), scale.batch_size):
            loss = F.cross_entropy(model(inputs[index.to(device)]), labels[index.to(device)]) + penalty(epoch)
            if not torch.isfinite(loss):
                raise ArithmeticError(f"training diverged: the loss is {loss.item()} at learning rate "
                                      f"{scale.learning_rate}.")  # fmt: skip
            optimizer.zero_grad()
            loss.backward()
            if math.isfinite(longest_gradient):
                nn.utils.clip_grad_norm_(learning, longest_gradient)
            optimizer.step()
            course.step()
            after_step()
    optimizer.zero_grad()  # no gradient of private images stays with the target
    model.eval()


def triangle(steps: int, step: int) -> float:
    """Learning rate of a step over the highest: up over the first twentieth of the steps, then down to 0.

    >>> [round(triangle(100, step), 2) for step in (0, 2, 5, 52, 99)]
    [0.2, 0.58, 0.94, 0.47, 0.0]
    """
    return min(1.0, (step + 1) / (0.05 * steps)) * (1 - (step + 1) / steps)


def batches(count: int, size: int) -> Iterable[Tensor]:
    """Indices of one shuffled epoch; a last batch of one image is dropped, for batch norm's sake."""
    return [part for part in torch.randperm(count).split(size) if len(part) > 1 or count == 1]
