"""SPARSE-STANDARD: one off-the-shelf sparse layer after the image (Teti et al. 2022; paper, section 4).

The paper does not say what follows the layer. Here it is what ``none_conv`` has in the second sparse layer's place, so
that ``none_conv``, ``sparse_standard`` and ``sparse_guard`` differ by one sparse layer each; the released code has a
bare convolution there. Lambda is 0.25, as in the released code and in the row of Table 3 that equals Table 1's,
although Table 5 prints 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..data import Split
from ..scales import Scale
from .base import conv_pair, features_of
from .sparse import SparseDefense


@dataclass(frozen=True)
class SparseStandard(SparseDefense):
    """Sparse layer, batch norm, 5x5 convolution with ReLU and batch norm, then the dense layers."""

    lam: float | tuple[float, ...] = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.lams(1)) != 1:
            raise ValueError(f"sparse_standard has one sparse layer, so lam must be one number, not {self.lam!r}.")

    def layers(self, split: Split, scale: Scale) -> list[nn.Module]:
        first, second = features_of(scale, 2)
        sparse = self.sparse_layer(split.image_shape[0], first, self.lams(1)[0], scale)
        return [sparse, nn.BatchNorm2d(first), *conv_pair(first, second), *self.downstream_layers(second)]
