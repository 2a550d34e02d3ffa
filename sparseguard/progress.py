"""What a long computation shows of itself: a bar, and where it is seen.

In a notebook that somebody has open that is the cell's output. In one that papermill runs nobody sees the outputs
before the end: there it is the terminal that papermill was started in, below its own bar.
"""

from __future__ import annotations

import os
import sys
from io import UnsupportedOperation
from pathlib import Path
from typing import Any

from tqdm import auto, std

from .places import write

PROGRESS = "SPARSEGUARD_PROGRESS"
"""Environment variable: a file that always holds the latest state of the bar, which is shown nowhere else then."""
FORMAT = "{desc}: {percentage:.0f} % |{bar}| {elapsed}"


def is_live() -> bool:
    """Whether somebody sits at this notebook.

    A front end tells the kernel with every cell that it could ask its user for input; papermill and nbconvert tell it
    that they cannot. Outside a kernel: ``False``.
    """
    kernel = _kernel()
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def _kernel() -> Any:
    ipython: Any = sys.modules.get("IPython")  # whoever runs in a kernel has it
    return None if ipython is None else getattr(ipython.get_ipython(), "kernel", None)


class _Latest:
    """A file for tqdm that keeps nothing but the last line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        if text.strip():
            write(self.path, text.strip().encode())

    def flush(self) -> None:
        """Nothing waits to be written."""


def bar(total: int | None = None, shown: bool = True, **options: Any) -> std.tqdm[Any]:
    """A bar of tqdm's, which leaves nothing behind.

    Args:
        total: what it counts to, in steps of any size; ``None``: as many as the ``iterable`` among the options has.
        shown: nothing is shown otherwise.
        options: further ones of tqdm's.
    """
    options |= {"total": total, "disable": not shown, "leave": False, "bar_format": FORMAT}
    if os.environ.get(PROGRESS):
        return std.tqdm(file=_Latest(Path(os.environ[PROGRESS])), **options)
    if _kernel() is not None and not is_live():
        try:
            terminal = open(sys.stderr.fileno(), "w", closefd=False)  # noqa: SIM115 - the kernel's own, not the cell's
        except UnsupportedOperation:
            return std.tqdm(**options)
        return std.tqdm(file=terminal, position=int(terminal.isatty()), dynamic_ncols=True, **options)
    return auto.tqdm(**options)
