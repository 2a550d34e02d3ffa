"""SPARSE-GUARD: alternating pairs of sparse coding and dense (batch norm) layers (paper, section 3, Fig. 2, A.3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..checks import whole
from ..data import Split
from ..scales import Scale
from .base import features_of
from .sparse import SparseDefense


@dataclass(frozen=True)
class SparseGuard(SparseDefense):
    """Sparse layer, batch norm, ``pairs`` times (two in the paper), then the dense layers.

    Args:
        pairs: number of sparse and batch norm pairs.
    """

    pairs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("pairs", self.pairs)
        if len(self.lams(self.pairs)) != self.pairs:
            raise ValueError(f"lam must be one number, or one for each of the {self.pairs} pairs, not {self.lam!r}.")

    def layers(self, split: Split, scale: Scale) -> list[nn.Module]:
        counts = [split.image_shape[0], *features_of(scale, self.pairs)]
        modules: list[nn.Module] = []
        for a, b, lam in zip(counts, counts[1:], self.lams(self.pairs)):
            modules += [self.sparse_layer(a, b, lam, scale), nn.BatchNorm2d(b)]
        return modules + self.downstream_layers(counts[-1])
