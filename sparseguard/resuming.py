"""Long computations that go on where a killed process left them, with the numbers of one that was not interrupted.

Whoever computes a cell names a folder (:func:`into`). Loops that take long leave there, every minute, what they go on
with: weights, optimisers, generators of chance, how far they are. A loop is known by its name, by the rounds that it is
in, and by how many of that name came before it there, so that the same computation finds its own. A file is written
whole or not at all and holds its checksum; one that is damaged, or of another loop, is reported, and the loop begins
anew. Nothing is unpickled. Who has the result removes the folder. Without a folder nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from .places import write

EVERY = float(os.environ.get("SPARSEGUARD_KEPT_EVERY", "60"))
"""Seconds between two times that a loop is kept."""
SHARE = 0.05
"""Of the time, at most, goes into keeping."""
HEAD = 32
"""Bytes of a file's checksum, before what it is of."""


@dataclass
class Course:
    """One computation, whichever processes it took.

    Args:
        folder: where its loops are kept; ``None``: nowhere.
    """

    folder: Path | None
    loops: Counter[str] = field(default_factory=Counter)
    within: str = ""
    _began: float = field(default_factory=lambda: time.perf_counter())
    _before: float = 0.0

    @property
    def seconds(self) -> float:
        """Spent on what is not lost, here and in earlier processes."""
        return self._before + time.perf_counter() - self._began

    def go_on(self, seconds: float) -> None:
        """It is where it was after so many seconds."""
        self._began, self._before = time.perf_counter(), seconds


_course: ContextVar[Course | None] = ContextVar("course", default=None)


@contextmanager
def into(folder: Path | None) -> Iterator[Course]:
    """What is computed inside is kept in a folder; ``None``: nowhere."""
    course = Course(folder)
    token = _course.set(course)
    try:
        yield course
    finally:
        _course.reset(token)


@contextmanager
def beside(name: str) -> Iterator[Course]:
    """What is computed inside is computed in some processes only, as others have it: its loops count apart."""
    around = _course.get()
    with into(None if around is None or around.folder is None else around.folder / name.replace("/", "|")) as course:
        yield course


def keeping() -> bool:
    """Whether what is computed here is kept."""
    course = _course.get()
    return course is not None and course.folder is not None


class Held:
    """Tensors that a loop changes in place, as one of its parts."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"tensors": [*self.tensors]}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        for tensor, value in zip(self.tensors, state["tensors"], strict=True):
            tensor.copy_(value)


class Kept:
    """What one loop goes on with.

    Args:
        name: of the loop.
        parts: whatever changes in it: modules, optimisers and all else with a ``state_dict``, and generators. Torch's
            own generators are kept besides.
    """

    def __init__(self, name: str, *parts: Any) -> None:
        self._parts, self._course = parts, _course.get() or Course(None)
        folder, loops = self._course.folder, self._course.loops
        self.name = f"{self._course.within}{name} {loops[name]}"
        self._path = None if folder is None else folder / self.name
        loops[name] += 1
        self._since, self._pause = time.monotonic(), EVERY

    def read(self) -> Any:
        """What :meth:`keep` was told last; ``None`` if there is nothing to go on with. Changes nothing yet."""
        if self._path is None or not self._path.exists():
            return None
        try:
            data = self._path.read_bytes()
            if hashlib.sha256(data[HEAD:]).digest() != data[:HEAD]:
                raise ValueError("it does not match its checksum")
            self._tensors = load(data[HEAD:])
            header = int.from_bytes(data[HEAD : HEAD + 8], "little")
            told = json.loads(json.loads(data[HEAD + 8 : HEAD + 8 + header])["__metadata__"]["told"])
            if told["of"] != self._of():
                raise ValueError("it is of another computation")
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self._path} cannot be gone on with ({error}); its loop begins anew.", stacklevel=2)
            return None
        self._state, self._seconds = told["state"], told["seconds"]
        return told["note"]

    def restore(self) -> None:
        """Bring the parts, and torch's generators, to where they were kept. To be called once, after :meth:`read`."""
        *states, chance, cuda = _joined(self._state, self._tensors)
        for part, state in zip(self._parts, states, strict=True):
            part.set_state(state) if isinstance(part, torch.Generator) else part.load_state_dict(state)
        torch.set_rng_state(chance)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        self._course.go_on(self._seconds)
        del self._state, self._tensors

    @property
    def due(self) -> bool:
        """It is time to keep it again."""
        return self._path is not None and time.monotonic() - self._since >= self._pause

    def keep(self, note: Any) -> None:
        """Keep the parts as they are now, and a JSON-able note; where that fails, the computation goes on."""
        assert self._path is not None
        start, tensors = time.monotonic(), dict[str, Tensor]()
        states = [p.get_state() if isinstance(p, torch.Generator) else p.state_dict() for p in self._parts]
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        state = _apart([*states, torch.get_rng_state(), cuda], tensors)
        told = {"of": self._of(), "note": note, "state": state, "seconds": self._course.seconds}
        payload = save(tensors, {"told": json.dumps(told)})
        try:
            write(self._path, hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            warnings.warn(f"{self._path} cannot be kept ({error.strerror}).", stacklevel=2)
        self._since = time.monotonic()
        self._pause = max(EVERY, (self._since - start) / SHARE)

    @contextmanager
    def inside(self, place: int) -> Iterator[None]:
        """Loops that begin here are of this place in the loop, however the process came to it."""
        around = self._course.loops, self._course.within
        self._course.loops, self._course.within = Counter(), f"{self.name} at {place}, "
        try:
            yield
        finally:
            self._course.loops, self._course.within = around

    def _of(self) -> list[str]:
        modules = [part for part in self._parts if isinstance(part, torch.nn.Module)]
        return [
            torch.__version__,
            *(f"{n} {tuple(p.shape)} {p.device}" for m in modules for n, p in m.named_parameters()),
        ]


def rounds(count: int, name: str, *parts: Any) -> Iterator[int]:
    """``range(count)``, from where a killed process left it.

    Args:
        name, parts: as of :class:`Kept`; kept between two rounds.
    """
    kept = Kept(name, *parts)
    done = kept.read()
    if done is not None:
        kept.restore()
    for k in range(done or 0, count):
        with kept.inside(k):
            yield k
        if kept.due and k + 1 < count:
            kept.keep(k + 1)


def _apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON has it, its tensors beside it."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name, "device": str(value.device)}
    if isinstance(value, Mapping):
        return {"pairs": [[key, _apart(each, tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_apart(each, tensors) for each in value]}
    return value


def _joined(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Inverse of :func:`_apart`."""
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]].to(value["device"])
    if "pairs" in value:
        return {key: _joined(each, tensors) for key, each in value["pairs"]}
    ((kind, held),) = value.items()
    joined = [_joined(each, tensors) for each in held]
    return joined if kind == "list" else tuple(joined)
