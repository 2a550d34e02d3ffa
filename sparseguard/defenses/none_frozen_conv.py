"""Control: no defense, with random frozen convolutions wherever sparse-guard has a sparse layer."""

from dataclasses import dataclass
from typing import ClassVar

from .base import Defense, Family, Front


@dataclass(frozen=True)
class NoDefenseFrozenConv(Defense):
    """As ``none_conv``, but the filters are random, of unit norm, and never trained."""

    family: ClassVar[Family] = "control"

    front: Front = "frozen_conv"
