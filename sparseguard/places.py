"""Where results and caches lie, and how a file is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
"""What a name starts with while what it names is not complete."""


def home() -> Path:
    """Folder of results: ``SPARSEGUARD_HOME``; by default ``runs/`` beside the ``notebooks`` folder, or here."""
    if os.environ.get("SPARSEGUARD_HOME"):
        return Path(os.environ["SPARSEGUARD_HOME"]).expanduser()
    checkout = Path(__file__).resolve().parent.parent
    return (checkout if (checkout / "notebooks").is_dir() else Path.cwd()) / "runs"


def digest(key: dict[str, Any]) -> str:
    """Hash of a JSON-able key, independent of the order of its entries."""
    return hashlib.sha256(canonical(key)).hexdigest()[:20]


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON-able value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True).encode()


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and onto the disk; one that exists is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
