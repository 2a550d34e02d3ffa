"""Control: no defense, with a learned convolution wherever sparse-guard has a sparse layer.

What it leaks less than ``none`` is the share of the convolutional front end, of per-image standardisation and of batch
norm; what sparse-guard leaks less than this control is the share of sparsity.
"""

from dataclasses import dataclass
from typing import ClassVar

from .base import Defense, Family, Front


@dataclass(frozen=True)
class NoDefenseConv(Defense):
    """Standardise, 5x5 convolution, ReLU, batch norm, twice, then the dense layers."""

    family: ClassVar[Family] = "control"

    front: Front = "conv"
