"""Control: no defense, with each image standardised as in front of a sparse layer, and nothing else.

What it leaks less than ``none`` is the share of standardisation, which hides brightness and contrast; what
``none_conv`` and the sparse defenses leak less than this control is the share of their layers.
"""

from dataclasses import dataclass

from .base import Defense, Front


@dataclass(frozen=True)
class NoDefenseStandardized(Defense):
    """Standardise, then the dense layers."""

    front: Front = "standardized"
