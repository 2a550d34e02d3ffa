"""Analysis and synthesis with one dictionary, many times over, without autograd.

The solvers apply the two operators of :mod:`.operators` tens of times to the same batch, with the factors of products
as they are. All tensors are ``(N, C, H, W)`` in channels-last memory. On the CPU :mod:`.compiled` is faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from .compiled import CompiledBank
from .operators import Size, analysis, synthesis


class FilterBank:
    """The two operators as convolutions of torch.

    Args:
        dictionary: ``(F, C, kh, kw)``.
        stride: step between code positions.
        size: height and width of the canvases.
    """

    def __init__(self, dictionary: Tensor, stride: Size, size: Size) -> None:
        self.shape, self.stride, self.size = list(dictionary.shape), stride, size
        self.dictionary = dictionary.detach().contiguous(memory_format=torch.channels_last)

    def analysis(self, canvas: Tensor) -> Tensor:
        """``(N, C, Hc, Wc) -> (N, F, h, w)``."""
        with self._products():
            return analysis(canvas, self.dictionary, self.stride)

    def synthesis(self, code: Tensor) -> Tensor:
        """``(N, F, h, w) -> (N, C, Hc, Wc)``, the adjoint."""
        with self._products():
            return synthesis(code, self.dictionary, self.stride, self.size)

    def filter_gradient(self, canvas: Tensor, code: Tensor) -> Tensor:
        """Derivative of ``<code, analysis(canvas)>`` in the dictionary: ``(F, C, kh, kw)``."""
        with self._products():
            gradient: Tensor = conv2d_weight(canvas, self.shape, code, stride=list(self.stride))
            return gradient

    @contextmanager
    def _products(self) -> Iterator[None]:
        """On a GPU torch rounds the factors of convolutions to TF32 unless told otherwise; autocast would, anywhere."""
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            with torch.no_grad(), torch.autocast(self.dictionary.device.type, enabled=False):
                yield
        finally:
            torch.backends.cudnn.allow_tf32 = before


class Gradients:
    """Sums of derivatives of ``<outer, analysis(canvas - synthesis(code))>``, in whichever of the two is wanted."""

    def __init__(
        self, canvas: Tensor, dictionary: Tensor, bank: FilterBank, to_canvas: bool, to_dictionary: bool
    ) -> None:
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


@torch.no_grad()
def filter_gradient(dictionary: Tensor, stride: Size, canvas: Tensor, code: Tensor) -> Tensor:
    """Derivative of ``<code, analysis(canvas)>`` in the dictionary: ``(F, C, kh, kw)``."""
    size = (canvas.shape[2], canvas.shape[3])
    make = CompiledBank if canvas.device.type == "cpu" else FilterBank
    return make(dictionary, stride, size).filter_gradient(canvas, code)
