"""Control: no defense, with each image standardised as in front of a sparse layer, and nothing else.

What it leaks less than ``none`` is the share of standardisation, which hides brightness and contrast; what
``none_conv`` and the sparse defenses leak less than this control is the share of their layers.
"""

from dataclasses import dataclass
from typing import ClassVar

from .base import Defense, Family, Front


@dataclass(frozen=True)
class NoDefenseStandardized(Defense):
    """Standardise, then the dense layers."""

    family: ClassVar[Family] = "control"

    front: Front = "standardized"
