"""No defense: the paper's baseline target, dense layers along the image's width (section 4)."""

from dataclasses import dataclass

from .base import Defense


@dataclass(frozen=True)
class NoDefense(Defense):
    """The plain target, trained as every other."""
