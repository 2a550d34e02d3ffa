"""SPARSE-STANDARD: one off-the-shelf sparse layer after the image (Teti et al. 2022; paper, section 4).

The paper does not say what follows the layer. As in the released code a convolution does, so that the leak has the
shape of sparse-guard's; lambda is 0.25 there and in Table 3's matching row, although Table 5 prints 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..data import Split
from ..scales import Scale
from .base import KERNEL, features_of
from .sparse import SparseDefense


@dataclass(frozen=True)
class SparseStandard(SparseDefense):
    """Sparse layer, 5x5 convolution without activation, dense layers."""

    lam: float | tuple[float, ...] = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.lams(1)) != 1:
            raise ValueError(f"sparse_standard has one sparse layer, so lam must be one number, not {self.lam!r}.")

    def layers(self, split: Split, scale: Scale) -> list[nn.Module]:
        first, second = features_of(scale, 2)
        sparse = self.sparse_layer(split.image_shape[0], first, self.lams(1)[0], scale)
        conv = nn.Conv2d(first, second, KERNEL, padding=KERNEL // 2)
        return [sparse, conv, *self.downstream_layers(second)]
