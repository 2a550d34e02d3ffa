"""Control: no defense, with random frozen convolutions wherever sparse-guard has a sparse layer."""

from dataclasses import dataclass

from .base import Defense, Front


@dataclass(frozen=True)
class NoDefenseFrozenConv(Defense):
    """As ``none_conv``, but the filters are random, of unit norm, and never trained."""

    front: Front = "frozen_conv"
