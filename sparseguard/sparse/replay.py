"""Record a computation on a GPU once, replay it with one launch.

A solver's step is a dozen small kernels, and launching them takes longer than running them. A CUDA graph launches all
kernels of all steps at once. Recording takes as long as several runs, so it waits until a computation comes again.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]


def record_graph(function: Function, inputs: Tensors) -> tuple[Tensors, Callable[[], object]]:
    """Outputs of ``function(*inputs)`` on a GPU, and what computes them anew from whatever ``inputs`` hold then."""
    with torch.cuda.device(inputs[0].device):
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            function(*inputs)  # libraries set themselves up, which cannot be recorded
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(*inputs)
    return outputs, graph.replay


@dataclass
class _Recording:
    inputs: Tensors
    outputs: Tensors
    replay: Callable[[], object]


class Replayer:
    """Runs functions of tensors, from their second call on from a recording.

    A function must follow from its ``key`` and from shape, strides, type and device of its inputs: it may not look at
    their values. Where recording fails, the function is called as it is, with a warning.

    Args:
        record: makes a recording.
        most: recordings that are kept; those used longest ago go.
    """

    def __init__(
        self, record: Callable[[Function, Tensors], tuple[Tensors, Callable[[], object]]] = record_graph, most: int = 16
    ) -> None:
        self.record, self.most = record, most
        self.known: OrderedDict[Hashable, _Recording | None] = OrderedDict()

    def __call__(self, function: Function, inputs: Tensors, key: Hashable) -> Tensors:
        """``function(*inputs)``; what is returned is the caller's."""
        key = (key, *((x.shape, x.stride(), x.dtype, x.device) for x in inputs))
        if key not in self.known:
            self.known[key] = None
            self._forget()
            return function(*inputs)
        self.known.move_to_end(key)
        recording = self.known[key]
        if recording is None:
            try:
                static = tuple(x.detach().clone() for x in inputs)
                recording = self.known[key] = _Recording(static, *self.record(function, static))
            except RuntimeError as error:
                warnings.warn(f"not recorded, and slower for it: {error}", stacklevel=2)
                del self.known[key]
                return function(*inputs)
        for mine, given in zip(recording.inputs, inputs):
            mine.copy_(given)
        recording.replay()
        return tuple(output.clone() for output in recording.outputs)

    def _forget(self) -> None:
        while len(self.known) > self.most:
            self.known.popitem(last=False)
