"""A tap on any module: what one of its submodules puts out, as the leak of a target."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from .access import Leaky


class _Reached(BaseException):
    """The leak is there; the rest of the forward pass is not needed. No handler of the module's own should catch it."""


class Tapped(Leaky):
    """Any module, and the output of one of its submodules as what leaks.

    Of an output that is a tuple, list or mapping the first tensor counts, of several calls in one forward pass the
    last. The module's own hooks belong to what is deployed: they run, and what they make of the output leaks.

    Args:
        module: it is copied, and the copy frozen, in inference mode.
        name: of the submodule; ``""`` is the module itself.
        preprocess: from images in [0, 1] to what the module expects; ``None``: nothing.
        images: three or more, ``(N, C, H, W)``, to see that it works.

    Attributes:
        shape: of the leak of one image.

    Raises:
        ValueError: the module cannot be copied, there is no such submodule, the module does not run on the images, or
            the submodule is not called, puts out no tensor, or not one entry an image along the first axis.
    """

    def __init__(
        self, module: nn.Module, name: str, preprocess: Callable[[Tensor], Tensor] | None, images: Tensor
    ) -> None:
        super().__init__()
        try:
            self.module = copy.deepcopy(module).eval().requires_grad_(False)
        except Exception as error:
            raise ValueError(f"the module cannot be copied: {_first_line(error)}") from error
        self.name, self.preprocess, self.once = name, preprocess or nn.Identity(), False
        names = [found for found, _ in module.named_modules(remove_duplicate=False)]
        if name not in names:
            close = get_close_matches(str(name), names) or [found for found in names if found][:10]
            raise ValueError(f"leak must name a submodule, not {name!r}; there is {', '.join(close) or 'none'}.")
        device = next(module.parameters(), torch.empty(0)).device
        for count in (2, 3):  # a first axis that only happens to be as long as one batch is not taken for images
            with torch.no_grad():
                calls = self._outputs(images[:count].to(device))
            if not calls:
                raise ValueError(f"the module never calls its submodule {name!r}, so nothing leaks there.")
            leak = _tensor(calls, name)
            if leak.ndim < 2 or len(leak) != count:
                raise ValueError(f"{name!r} puts out {tuple(leak.shape)} for {count} images, not one entry an image.")
        self.once, self.shape = len(calls) == 1, tuple(leak.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        """The first tensor that the module puts out; an empty one where it puts out none."""
        output = first_tensor(self.module(self.preprocess(x)))
        return torch.empty(len(x), 0) if output is None else output

    def leak(self, x: Tensor) -> Tensor:
        return _tensor(self._outputs(x), self.name)

    def _outputs(self, x: Tensor) -> list[Tensor | None]:
        """What the submodule puts out, call by call."""
        calls: list[Tensor | None] = []

        def tap(module: nn.Module, inputs: Any, output: Any) -> None:
            found = first_tensor(output)
            calls.append(None if found is None else found.clone())  # a later layer may work in place
            if self.once:
                raise _Reached

        handle = self.module.get_submodule(self.name).register_forward_hook(tap)
        try:
            with suppress(_Reached):
                self.module(self.preprocess(x))
        except Exception as error:
            raise ValueError(f"the module does not run on these images: {_first_line(error)}") from error
        finally:
            handle.remove()
        return calls


def _tensor(calls: list[Tensor | None], name: str) -> Tensor:
    if calls[-1] is None:
        raise ValueError(f"the output of {name!r} holds no tensor, so nothing leaks there.")
    return calls[-1].float()


def _first_line(error: Exception) -> str:
    """What an error says first, or its kind."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def first_tensor(output: Any) -> Tensor | None:
    """The first tensor in a tensor, a tuple, a list or a mapping.

    >>> first_tensor((None, [torch.ones(1)])), first_tensor("text")
    (tensor([1.]), None)
    """
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)


@torch.no_grad()
def untrain(module: nn.Module) -> None:
    """Draw all weights anew by the ``reset_parameters`` of those that have it; shuffle the parameters of the others."""
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            for held in part.parameters(recurse=False):
                held.copy_(held.flatten()[torch.randperm(held.numel())].view_as(held))
