"""Codes of a fixed sparse layer: computed once, in memory where they are few, else in a file of chunks on disk.

The file lies beside the results, in ``.codes``, under a hash of the layer's dictionary and parameters and of the
images; it may be deleted at any time. A run that was killed goes on with the chunk that it was at.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..leases import held
from ..ondisk import SLOW, OnDisk, large, raw
from ..places import digest, home, write
from ..progress import bar
from ..sparse import SparseCoding2d

REVISION = 0
"""Raised whenever a layer's codes would come out otherwise."""
CHUNK = 250
"""Images that are coded at a time."""
DONE = "done"
"""File with the number of images whose codes are there."""


@torch.no_grad()
def encode(layer: SparseCoding2d, images: Tensor) -> Tensor:
    """Codes of images ``(N, C, H, W)``, on their device: ``(N, F, h, w)``."""

    def codes(part: Tensor) -> Tensor:
        code: Tensor = layer(part.to(layer.dictionary.device))
        return code.to(part.device)

    shape = (len(images), layer.features, *(-(-n // s) for n, s in zip(images.shape[2:], layer.stride)))
    size = 4 * math.prod(shape[1:])
    if not large(len(images) * size):
        return torch.cat([codes(part) for part in images.split(CHUNK)])
    place = home() / ".codes" / fingerprint(layer, images)
    with held(home() / ".leases", place.name):
        _go_on(place, codes, images, size)
    return OnDisk(place / "codes", shape, "float32")


def _go_on(place: Path, codes: Callable[[Tensor], Tensor], images: Tensor, size: int) -> None:
    """Write the codes that an earlier run did not leave in a folder."""
    done = finished(place, size)
    place.mkdir(parents=True, exist_ok=True)
    with (place / "codes").open("r+b" if done else "wb") as file:
        file.seek(size * done)
        with bar(len(images), desc="sparse codes", initial=done, delay=SLOW) as moved:
            for start in range(done, len(images), CHUNK):
                found = codes(images[start : start + CHUNK])
                file.write(raw(found.float()))
                file.flush()
                write(place / DONE, str(start + len(found)).encode())
                moved.update(len(found))


def fingerprint(layer: SparseCoding2d, images: Tensor) -> str:
    """Of all that codes depend on, the device's arithmetic and torch's version among it."""
    content = hashlib.sha256(raw(layer.dictionary))
    for part in images.split(CHUNK):
        content.update(raw(part))
    here = {"revision": REVISION, "device": layer.dictionary.device.type, "torch": torch.__version__}
    of = {"layer": repr(layer), "tol": layer.tol, "standardize": layer.standardize, "nonneg": layer.nonneg}
    return digest(here | of | {"shape": list(images.shape), "content": content.hexdigest()})


def finished(place: Path, size: int) -> int:
    """Images whose codes, of so many bytes each, an earlier run left."""
    try:
        claimed = int((place / DONE).read_text())
        return claimed if (place / "codes").stat().st_size >= claimed * size else 0
    except (OSError, ValueError):
        return 0
