"""Reference results that travel with the package: finished cells, read-only, beneath the store.

One compressed file a scale holds the records as JSON, in the safetensors header, and the tensors; ``index.json`` has
the files' checksums. What is shipped is small: images are of 8 bits, scores and exhibits of 16, and originals that
several cells show are there once. A cell is found under the name that the store would give it, so that a change of
code that changes a name leaves the shipped cell aside, which ``tests/test_reference.py`` tells.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import warnings
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save
from torch import Tensor

from .places import write

Cell = tuple[dict[str, Any], dict[str, Tensor]]
"""A JSON-able record, and tensors by name."""
FOLDER = Path(__file__).resolve().parent / "reference_data"
INDEX, RECORDS, TENSORS, CHECKED = "index.json", "records", "tensors", "sha256"
IMAGES = ("originals", "reconstructions")
"""Tensors that hold images in [0, 1]: kept to 1/255."""
SHIPPED = "shipped"
"""Entry of a record's details that says when a cell was packed, and of which version of the package."""


def told(record: Mapping[str, Any]) -> str | None:
    """When a record was packed and of which version of the package; ``None`` if it was computed here."""
    made = record.get("details", {}).get(SHIPPED)
    return None if made is None else f"{made['date']}, version {made['version']}"


def _small(name: str, tensor: Tensor) -> Tensor:
    if name in IMAGES:
        return (tensor * 255).round().to(torch.uint8)
    return tensor.half() if tensor.dtype == torch.float32 else tensor


def _whole(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    return tensor.float() if tensor.dtype == torch.float16 else tensor.clone()


def pack(cells: Mapping[str, Cell], scale: str) -> Path:
    """Write cells by name to the file of a scale, which is replaced; the file.

    Args:
        cells: of the store, by their names there.
        scale: names the file.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = {"date": date.today().isoformat(), "version": version("sparseguard")}
    shipped: dict[str, Cell] = {}
    for name, (record, arrays) in cells.items():
        small = {a: _small(a, tensor) if "metrics" in record else tensor for a, tensor in arrays.items()}
        details = record.get("details", {})
        shipped[name] = record | {"details": details | {SHIPPED: details.get(SHIPPED, made)}}, small
    path, payload = FOLDER / f"{scale}.safetensors.gz", gzip.compress(bundle(shipped), mtime=0)
    index = json.loads((FOLDER / INDEX).read_text()) if (FOLDER / INDEX).exists() else {}
    for target, data in (
        (path, payload),
        (FOLDER / INDEX, json.dumps(index | {path.name: hashlib.sha256(payload).hexdigest()}, indent=1).encode()),
    ):
        write(target, data)
    _shipped.cache_clear()
    return path


def bundle(cells: Mapping[str, Cell]) -> bytes:
    """Cells by name in one file, as they are; a tensor that several have is there once, named after what it holds."""
    records: dict[str, Any] = {}
    kept: dict[str, Tensor] = {}
    for name, (record, arrays) in sorted(cells.items()):
        names = {array: _name(tensor) for array, tensor in arrays.items()}
        kept |= {names[array]: tensor.contiguous() for array, tensor in arrays.items()}
        records[name] = {"record": record, TENSORS: names}
    text = json.dumps(records, sort_keys=True)
    return save(kept, {RECORDS: text, CHECKED: hashlib.sha256(text.encode()).hexdigest()})


def unbundle(path: Path) -> dict[str, Cell]:
    """The cells of such a file.

    Raises:
        ValueError: it is no such file, or anything in it is not as it was written.
        OSError: it cannot be read.
    """
    try:
        metadata, kept = _opened(path.read_bytes())
        text, claimed = (metadata[entry] for entry in (RECORDS, CHECKED))
        if hashlib.sha256(text.encode()).hexdigest() != claimed:
            raise ValueError("the records do not match their checksum")
        wrong = [name for name, tensor in kept.items() if _name(tensor) != name]
        if wrong:
            raise ValueError(f"the tensor {wrong[0]} does not match its checksum")
        return {
            name: (entry["record"], {array: kept[tensor] for array, tensor in entry[TENSORS].items()})
            for name, entry in json.loads(text).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged, or no file that was exported ({error}).") from error


def _opened(data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file in memory."""
    start, size = 8, int.from_bytes(data[:8], "little")
    return json.loads(data[start : start + size])["__metadata__"], tensors_of(data)


def _name(tensor: Tensor) -> str:
    content = tensor.contiguous().numpy().tobytes() + str((tensor.dtype, tensor.shape)).encode()
    return hashlib.sha256(content).hexdigest()[:16]


@lru_cache(maxsize=8)
def _shipped(folder: Path) -> dict[str, Cell]:
    """Every shipped cell by name, small as it lies there; a damaged file is reported, and its cells are absent."""
    found: dict[str, Cell] = {}
    if not (folder / INDEX).exists():
        return found
    for name, claimed in json.loads((folder / INDEX).read_text()).items():
        path = folder / name
        try:
            packed = path.read_bytes()
            if hashlib.sha256(packed).hexdigest() != claimed:
                raise ValueError("it does not match its checksum")
            metadata, kept = _opened(gzip.decompress(packed))
            for cell, entry in json.loads(metadata[RECORDS]).items():
                found[cell] = entry["record"], {array: kept[tensor] for array, tensor in entry[TENSORS].items()}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warnings.warn(f"the reference results {path} cannot be used ({error}).", stacklevel=2)
    return found


def names() -> list[str]:
    """Names of all shipped cells."""
    return sorted(_shipped(FOLDER))


def records() -> dict[str, dict[str, Any]]:
    """Records of all shipped cells by name, without their tensors."""
    return {name: record for name, (record, _) in _shipped(FOLDER).items()}


def load(name: str) -> Cell | None:
    """The shipped cell of that name, or ``None``."""
    cell = _shipped(FOLDER).get(name)
    return None if cell is None else (cell[0], {array: _whole(tensor) for array, tensor in cell[1].items()})
