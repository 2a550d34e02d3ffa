"""Images that stay on disk: sets that are larger than what memory should hold are read where they are asked for."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .places import PARTIAL, home

IN_MEMORY = 2**27
"""Bytes of images that are held in memory; beyond that they lie in a file."""
SLOW = 5.0
"""Seconds after which what goes through all images shows how far it is."""
CHUNK = 1000
"""Images that are read at a time where all are gone through."""


class OnDisk(Tensor):
    """A tensor ``(N, ...)`` whose elements lie in a file: float32, and in [0, 1] where the file has 8 bits.

    It has a length and a shape, items by their numbers (``x[index]`` and ``x[a:b]``, tensors in memory), :meth:`split`,
    :meth:`mean` and :meth:`std`: what the package does with many images. Anything else is refused in a sentence.

    Args:
        path: of the raw file.
        shape: of all that is in it.
        dtype: ``"uint8"`` or ``"float32"``.
        index: which of them, in which order; ``None``: all.
        goes: device of what is read.

    Example:
        >>> lying = OnDisk.scratch([torch.zeros(3, 1, 2, 2), torch.ones(2, 1, 2, 2)])
        >>> len(lying), lying[torch.tensor([1, 4])].flatten(1).mean(1), [len(part) for part in lying.split(2)]
        (5, tensor([0., 1.]), [2, 2, 1])
    """

    _path: Path
    _all: tuple[int, ...]
    _kind: str
    _index: Tensor
    _goes: torch.device
    _folder: Scratch | None
    """Of a file that goes when nobody has a part of it any more."""

    @staticmethod
    def __new__(
        cls, path: Path, shape: Iterable[int], dtype: str = "uint8", index: Tensor | None = None,
        goes: torch.device | str = "cpu", folder: Scratch | None = None,
    ) -> OnDisk:  # fmt: skip
        everything = tuple(shape)
        index = torch.arange(everything[0]) if index is None else index.cpu()
        made: OnDisk = Tensor._make_wrapper_subclass(
            cls, (len(index), *everything[1:]), dtype=torch.float32, device=torch.device(goes)
        )
        made._path, made._all, made._kind, made._index = path, everything, dtype, index
        made._goes, made._folder = torch.device(goes), folder
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise NotImplementedError(f"{func} wants all images in memory, and these lie on disk; read them part by part.")

    @classmethod
    def scratch(cls, parts: Iterable[Tensor]) -> OnDisk:
        """Tensors one after the other in a file that is removed with the last that refers to it."""
        gathering = Gathering(most=-1)
        for part in parts:
            gathering.add(part)
        made = gathering.done()
        assert isinstance(made, cls)
        return made

    @property
    def kind(self) -> str:
        """Type of the elements in the file."""
        return self._kind

    def part(self, index: Tensor | slice) -> OnDisk:
        """Some of them, still on disk."""
        return self._with(self._index[index.cpu() if isinstance(index, Tensor) else index], self._goes)

    def _with(self, index: Tensor, goes: torch.device | str) -> OnDisk:
        return OnDisk(self._path, self._all, self._kind, index, goes, self._folder)

    def to(self, *args: Any, **kwargs: Any) -> OnDisk:
        """The same; what is read goes to that device."""
        return self._with(self._index, *args, **kwargs)

    def __getitem__(self, index: Any) -> Tensor:
        wanted = self._index[index.cpu() if isinstance(index, Tensor) else index].numpy()
        lying = np.memmap(self._path, self._kind, "r", shape=self._all)  # anew: what it mapped is given back at once
        read = torch.from_numpy(np.array(lying[wanted]))
        return (read.float() / 255 if read.dtype == torch.uint8 else read).to(self._goes)

    def split(self, size: int, dim: int = 0) -> Iterator[Tensor]:  # type: ignore[override]
        """All of them, so many at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def mean(self, dim: int | None = None) -> Tensor:  # type: ignore[override]
        """Of all elements, or with ``0`` of all items.

        Raises:
            NotImplementedError: along another axis.
        """
        if dim not in (None, 0):
            raise NotImplementedError(f"images that lie on disk have no mean along axis {dim}; read them part by part.")
        sums = [part.double().sum(0) for part in self.split(CHUNK)]
        mean = torch.stack(sums).sum(0) / len(self)
        return (mean.mean() if dim is None else mean).float()

    def std(self) -> Tensor:  # type: ignore[override]
        """Of all elements."""
        mean = float(self.mean())
        squares = math.fsum(float((part.double() - mean).square().sum()) for part in self.split(CHUNK))
        return torch.tensor(math.sqrt(squares / max(self.numel() - 1, 1)))


class Scratch:
    """A folder beside the results, removed with this object; what a killed run leaves is removed as its results are."""

    def __init__(self) -> None:
        home().mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=home(), prefix=PARTIAL))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class Gathering:
    """Arrays that come part by part: a tensor as long as they are few, else in a file.

    Args:
        path: of that file, which is there when :meth:`done` has returned, never half; ``None``: one that is removed
            with the last that refers to it.
        most: bytes in memory.
    """

    def __init__(self, path: Path | None = None, most: int | None = None) -> None:
        self._path, self._most = path, IN_MEMORY if most is None else most
        self._parts: list[Tensor] = []
        self._count, self._bytes = 0, 0
        self._file: Any = None
        self._folder: Scratch | None = None

    def add(self, part: Tensor) -> None:
        """``(n, ...)``, all of one shape and type but for n."""
        self.last = part
        self._count, self._bytes = self._count + len(part), self._bytes + part.nbytes
        self._parts.append(part)
        if self._bytes > self._most:
            self._file = self._file or self._opened()
            for kept in self._parts:
                self._file.write(raw(kept))
            self._parts.clear()

    def state_dict(self) -> dict[str, Any]:
        """What was added, as long as it is in memory."""
        return {"parts": self._parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Add that."""
        for part in state["parts"]:
            self.add(part)

    def _opened(self) -> Any:
        self._folder = Scratch()
        return (self._folder.path / "arrays").open("wb")

    def done(self) -> Tensor:
        """All of them."""
        if self._file is None:
            return torch.cat(self._parts)
        self._file.close()
        lies = Path(self._file.name)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lies = lies.rename(self._path)
        shape, dtype = (self._count, *self.last.shape[1:]), str(self.last.dtype).removeprefix("torch.")
        folder, self._folder = self._folder if self._path is None else None, None
        return OnDisk(lies, shape, dtype, folder=folder)


def raw(tensor: Tensor) -> bytes:
    """Its elements as they lie in a file."""
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def large(size: int) -> bool:
    """Whether so many bytes are more than memory should hold."""
    return size > IN_MEMORY


def cut(images: Tensor, where: slice) -> Tensor:
    """Some of them, where they are."""
    return images.part(where) if isinstance(images, OnDisk) else images[where]


def joined(images: Tensor, others: Tensor) -> Tensor:
    """Some, and then others; in a file of their own if either is on disk."""
    if isinstance(images, OnDisk) or isinstance(others, OnDisk):
        return OnDisk.scratch(part for some in (images, others) for part in some.split(CHUNK))
    return torch.cat([images, others])
