"""No defense: the paper's baseline target, dense layers along the image's width (section 4)."""

from dataclasses import dataclass
from typing import ClassVar

from .base import Defense, Family


@dataclass(frozen=True)
class NoDefense(Defense):
    """The plain target, trained as every other."""

    family: ClassVar[Family] = "control"
