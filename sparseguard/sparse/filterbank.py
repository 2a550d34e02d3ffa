"""Analysis and synthesis with one dictionary, many times over, without autograd.

The solvers apply the two operators of :mod:`.operators` tens of times to the same batch. A filter bank prepares the
dictionary once, keeps its work space, and is the only place that knows how the products are computed. All tensors are
``(N, C, H, W)`` in channels-last memory; what a bank returns may be overwritten by the next call of
the same method.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from .operators import Size, analysis, synthesis

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
BLOCK_CHANNELS = 3
"""Most input channels for which blocked matrix products beat convolutions (measured, benchmarks/sparse_coding.py)."""


class FilterBank:
    """The two operators as convolutions of torch.

    Args:
        dictionary: ``(F, C, kh, kw)``.
        stride: step between code positions.
        batch: shape ``(N, C, Hc, Wc)`` of the canvases.
        precision: of the products; what goes in and comes out has the dictionary's type.
    """

    def __init__(self, dictionary: Tensor, stride: Size, batch: torch.Size, precision: Precision = "float32") -> None:
        self.shape, self.stride, self.size = list(dictionary.shape), stride, (batch[2], batch[3])
        self.precision, self.dtype = precision, dictionary.dtype
        self.inner = torch.bfloat16 if precision == "bfloat16" else dictionary.dtype
        self.dictionary = dictionary.detach().to(self.inner).contiguous(memory_format=torch.channels_last)

    def analysis(self, canvas: Tensor) -> Tensor:
        """``(N, C, Hc, Wc) -> (N, F, h, w)``."""
        with self._products():
            return analysis(canvas.to(self.inner), self.dictionary, self.stride).to(self.dtype)

    def synthesis(self, code: Tensor) -> Tensor:
        """``(N, F, h, w) -> (N, C, Hc, Wc)``, the adjoint."""
        with self._products():
            return synthesis(code.to(self.inner), self.dictionary, self.stride, self.size).to(self.dtype)

    def filter_gradient(self, canvas: Tensor, code: Tensor) -> Tensor:
        """Derivative of ``<code, analysis(canvas)>`` in the dictionary: ``(F, C, kh, kw)``."""
        with self._products():
            inputs, outputs = canvas.to(self.inner), code.to(self.inner)
            gradient: Tensor = conv2d_weight(inputs, self.shape, outputs, stride=list(self.stride))
            return gradient.to(self.dtype)

    @contextmanager
    def _products(self) -> Iterator[None]:
        """On a GPU torch rounds the factors of convolutions to TF32 unless told otherwise; autocast would, anywhere."""
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        try:
            with torch.no_grad(), torch.autocast(self.dictionary.device.type, enabled=False):
                yield
        finally:
            torch.backends.cudnn.allow_tf32 = before


class BlockedFilterBank:
    """The two operators as products with a banded matrix, for few channels, stride 1 and a width of whole blocks.

    ``block`` neighbouring code positions of one row see ``kh`` rows of ``block + kw - 1`` pixels. Their codes are the
    product of those pixels with one matrix that holds every filter at every offset, mostly zeros; on few channels a
    dense product with it is still several times faster than a convolution with so few inputs. Nothing is allocated
    after construction.
    """

    def __init__(self, dictionary: Tensor, batch: torch.Size, block: int) -> None:
        features, channels, kh, kw = self.shape = tuple(dictionary.shape)
        count, _, self.height, self.width = batch
        self.rows, self.span, self.block = self.height - kh + 1, block + kw - 1, block
        self.blocks = (self.width - kw + 1) // block
        matrix = dictionary.new_zeros(kh, self.span, channels, block, features)
        for offset in range(block):
            matrix[:, offset : offset + kw, :, offset] = dictionary.detach().permute(2, 3, 1, 0)
        self.matrix = matrix.view(kh * self.span * channels, block * features)
        self.adjoint = self.matrix.t().contiguous()
        self.patches = dictionary.new_empty(count, self.rows, self.blocks, kh, self.span, channels)
        self.bands = dictionary.new_empty(count, self.height, self.blocks, self.span, channels)
        self.code = dictionary.new_empty(count, self.rows, self.blocks * block, features)
        self.image = dictionary.new_empty(count, self.height, self.width, channels)

    def analysis(self, canvas: Tensor) -> Tensor:
        """``(N, C, Hc, Wc) -> (N, F, h, w)``."""
        self._cut(canvas)
        torch.mm(self.patches.view(-1, len(self.matrix)), self.matrix, out=self.code.view(-1, self.matrix.shape[1]))
        return self.code.permute(0, 3, 1, 2)

    def synthesis(self, code: Tensor) -> Tensor:
        """``(N, F, h, w) -> (N, C, Hc, Wc)``, the adjoint."""
        patches, bands, image = self.patches, self.bands, self.image
        torch.mm(self._rows_of(code), self.adjoint, out=patches.view(-1, len(self.matrix)))
        bands[:, : self.rows].copy_(patches[:, :, :, 0])
        bands[:, self.rows :].zero_()
        for y in range(1, self.shape[2]):
            bands[:, y : y + self.rows].add_(patches[:, :, :, y])
        # neighbouring blocks overlap by kw - 1 pixels, at most a block: two passes that do not overlap in themselves
        self._blocks(image, 0, self.block).copy_(bands[:, :, :, : self.block])
        image[:, :, self.blocks * self.block :].zero_()
        self._blocks(image, self.block, self.span - self.block).add_(bands[:, :, :, self.block :])
        return image.permute(0, 3, 1, 2)

    def filter_gradient(self, canvas: Tensor, code: Tensor) -> Tensor:
        """Derivative of ``<code, analysis(canvas)>`` in the dictionary: ``(F, C, kh, kw)``."""
        self._cut(canvas)
        features, channels, kh, kw = self.shape
        full = self.patches.view(-1, len(self.matrix)).t() @ self._rows_of(code)
        full = full.view(kh, self.span, channels, self.block, features)
        offsets = [full[:, offset : offset + kw, :, offset] for offset in range(self.block)]
        return torch.stack(offsets).sum(0).permute(3, 2, 0, 1)

    def _cut(self, canvas: Tensor) -> None:
        image = canvas.permute(0, 2, 3, 1).contiguous()
        row, column = image.stride(1), image.stride(2)
        strides = (image.stride(0), row, self.block * column, row, column, 1)
        self.patches.copy_(image.as_strided(self.patches.shape, strides, image.storage_offset()))

    def _rows_of(self, code: Tensor) -> Tensor:
        return code.permute(0, 2, 3, 1).reshape(-1, self.matrix.shape[1])

    def _blocks(self, image: Tensor, start: int, length: int) -> Tensor:
        """View of ``length`` columns a block, the first at ``start``: ``(N, Hc, blocks, length, C)``."""
        step = image.stride(2)
        shape = (*image.shape[:2], self.blocks, length, image.shape[3])
        return image.as_strided(shape, (*image.stride()[:2], self.block * step, step, 1), start * step)


Bank = FilterBank | BlockedFilterBank


@torch.no_grad()
def filter_bank(dictionary: Tensor, stride: Size, canvas: Tensor, precision: Precision = "float32") -> Bank:
    """The fastest bank for these shapes."""
    block = max(4, dictionary.shape[3] - 1)
    few = dictionary.shape[1] <= BLOCK_CHANNELS and stride == (1, 1) and not canvas.is_cuda and precision != "bfloat16"
    if few and (canvas.shape[3] - dictionary.shape[3] + 1) % block == 0:
        return BlockedFilterBank(dictionary, canvas.shape, block)
    return FilterBank(dictionary, stride, canvas.shape, precision)


class Gradients:
    """Sums of derivatives of ``<outer, analysis(canvas - synthesis(code))>``, in whichever of the two is wanted."""

    def __init__(self, canvas: Tensor, dictionary: Tensor, bank: Bank, to_canvas: bool, to_dictionary: bool) -> None:
        self.bank = bank
        self.canvas = torch.zeros_like(canvas) if to_canvas else None
        self.dictionary = torch.zeros_like(dictionary) if to_dictionary else None

    def add(self, outer: Tensor, image: Tensor, residual: Tensor | None, code: Tensor | None = None) -> None:
        """One more term; ``image`` is ``synthesis(outer)``, ``residual`` what is analysed, no code is the zero code."""
        if self.canvas is not None:
            self.canvas.add_(image)
        if self.dictionary is not None and residual is not None:
            self.dictionary.add_(self.bank.filter_gradient(residual, outer))
            if code is not None:
                self.dictionary.sub_(self.bank.filter_gradient(image, code))
