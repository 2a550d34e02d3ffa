"""Finished cells on disk, under a hash of what made them; beneath them those that travel with the package.

A cell is a folder ``<store>/<hash>/`` with ``result.json`` and ``arrays.safetensors``. It is written under another
name and renamed when complete, so that a run killed at any moment leaves nothing under a cell's name. ``result.json``
holds the checksum of the arrays and of itself; what does not match is reported and treated as absent.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from . import reference
from .leases import held
from .places import PARTIAL, canonical, digest, home, write
from .reference import Cell as Cell

_STALE_SECONDS = 7 * 86_400
"""Age after which what a killed run left half-written is removed: more than a cell takes."""
LEASES = ".leases"


STILL = "SPARSEGUARD_FROM_STORE"
"""Environment variable: if it is set, nothing is computed; what the store lacks is an error."""


class NotMeasured(ValueError):
    """The store lacks what is asked for, and nothing is to be computed."""

    @classmethod
    def check(cls, what: str) -> None:
        """Raise it if nothing is to be computed."""
        if os.environ.get(STILL):
            raise cls(f"{what} has not been measured, and nothing is computed here.")


def opened(store: Store | str | Path | None) -> Store | None:
    """A store, or that of a folder; ``"default"``: the usual one; ``None``: none."""
    return store if store is None or isinstance(store, Store) else Store(None if store == "default" else store)


class Unwritable(OSError):
    """Results cannot be kept; whatever is computed further would be lost."""


class Store:
    """Results in one folder.

    Args:
        folder: created when the first result is saved; by default :func:`home`.
        shipped: what is not there is looked for in :mod:`.reference`.

    Example:
        >>> store = Store("runs")                                           # doctest: +SKIP
        >>> store.save("0a1b", {"psnr": 20.1}, {"originals": images})       # doctest: +SKIP
        >>> record, arrays = store.load("0a1b")                             # doctest: +SKIP
    """

    def __init__(self, folder: str | Path | None = None, shipped: bool = True) -> None:
        self.folder = Path(folder) if folder is not None else home()
        self.shipped = shipped

    def prepare(self) -> None:
        """Make sure that results can be saved, before hours are spent on one; remove what killed runs left long ago.

        Raises:
            Unwritable: the folder cannot be created or written to; the message names it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=PARTIAL) as file:
                now = os.stat(file.name).st_mtime  # by the clock of the file system, which machines share
        except OSError as error:
            raise Unwritable(
                f"results cannot be written to {self.folder} ({error.strerror}); set SPARSEGUARD_HOME to a folder "
                "that can be written to."
            ) from error
        for partial in self.folder.glob(f"{PARTIAL}*"):
            with suppress(OSError):  # another process removed it
                if now - partial.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink()

    def save(self, name: str, record: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        """Write a finished cell atomically; one that exists is replaced.

        Raises:
            Unwritable: the cell could not be written (no space left, say); what was there before is still there.
        """
        self.prepare()
        payload = save({key: value.detach().cpu().contiguous() for key, value in arrays.items()})
        body = {"record": record, "arrays_sha256": hashlib.sha256(payload).hexdigest()}
        body["sha256"] = hashlib.sha256(canonical(body)).hexdigest()
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=f"{PARTIAL}{name}-"))
        try:
            write(partial / "arrays.safetensors", payload)
            write(partial / "result.json", json.dumps(body, indent=1, sort_keys=True).encode())
            partial.chmod(0o755)
            self._put(partial, self.folder / name)
        except OSError as error:
            raise Unwritable(f"the result could not be written to {self.folder} ({error.strerror}).") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _put(self, partial: Path, target: Path) -> None:
        while True:  # another process may put one there at the same time
            retired = partial.with_name(f"{partial.name}-{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):
                target.rename(retired)
            try:
                partial.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    with suppress(OSError):
                        retired.rename(target)
                    raise
            else:
                return
            finally:
                shutil.rmtree(retired, ignore_errors=True)

    def recall(self, key: dict[str, Any], compute: Callable[[], Cell]) -> Cell:
        """The cell of a JSON-able key, computed and saved, by one process, where it is not there yet."""
        name = digest(key)
        found = self.load(name)
        if found is None:
            NotMeasured.check(str(key.get("study", "this")))
            self.prepare()
            with held(self.folder / LEASES, name):
                found = self.load(name)
                if found is None:
                    found = compute()
                    self.save(name, *found)
        return found

    def names(self) -> list[str]:
        """Names of the cells in the folder, finished or damaged."""
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())

    def present(self) -> set[str]:
        """Names of the cells in the folder, finished or damaged, and of those beneath it."""
        return {*self.names(), *(reference.names() if self.shipped else ())}

    def load(self, name: str) -> Cell | None:
        """The cell of that name, of this folder or else of :mod:`.reference`; ``None`` if there is none.

        A damaged one is reported as a warning and is ``None`` too.
        """
        folder = self.folder / name
        if not folder.is_dir():
            return reference.load(name) if self.shipped else None
        try:
            body = json.loads((folder / "result.json").read_bytes())
            payload = (folder / "arrays.safetensors").read_bytes()
            claimed = body.pop("sha256")
            if claimed != hashlib.sha256(canonical(body)).hexdigest():
                raise ValueError("result.json does not match its checksum")
            if body["arrays_sha256"] != hashlib.sha256(payload).hexdigest():
                raise ValueError("arrays.safetensors does not match its checksum")
            return body["record"], load(payload)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            warnings.warn(f"the stored result {folder} is damaged ({error}); it is computed again.", stacklevel=2)
            return None
