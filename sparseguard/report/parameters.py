"""What a notebook does before it runs anything: its parameters are checked, and errors become short."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any

from IPython.core.getipython import get_ipython

from ..checks import near

_PLAIN = (str, int, float, bool, list, tuple, dict, type(None))


PACKAGE = str(Path(__file__).resolve().parents[1])
SAID = (ValueError, OSError, ArithmeticError)
"""Errors that this package raises with a sentence for whoever gave it something."""


def shorten_errors() -> None:
    """From now on a sentence of this package ends a cell without the package's own frames; other errors stay whole."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc(SAID, _show)


def _show(
    shell: Any, kind: type[Exception], value: Exception, tb: TracebackType, tb_offset: int | None = None
) -> list[str]:
    frames = extract_tb(tb)
    if frames and frames[-1].filename.startswith(PACKAGE):
        cell = next((f for f in frames if "ipykernel" in f.filename), frames[0])
        shown = [f"in the cell: {cell.line}", f"{kind.__name__}: {value}"]
    else:
        shown = shell.InteractiveTB.structured_traceback(kind, value, tb, tb_offset=tb_offset)
    shell._showtraceback(kind, value, shown)
    return list(shown)


def check_parameters(namespace: dict[str, Any], allowed: str) -> None:
    """End the run if a parameter was given that the notebook does not have (a misspelt one, say).

    Only a fresh kernel is checked, as papermill starts one; in an exploring session other names are nobody's business.

    Args:
        namespace: the notebook's ``globals()``.
        allowed: names of its parameters, separated by spaces.

    Raises:
        ValueError: the first unknown name, and the list of what is allowed.

    >>> check_parameters({"datset": "mnist"}, "dataset scale")
    Traceback (most recent call last):
        ...
    ValueError: this notebook has no parameter 'datset'; its parameters are dataset, scale; did you mean 'dataset'?
    """
    shorten_errors()
    if len(namespace.get("In", ())) > 5:
        return
    for name, value in namespace.items():
        if name.startswith("_") or name in ("In", "Out") or not isinstance(value, _PLAIN):
            continue
        if name not in allowed.split():
            names = allowed.split()
            said = f"its parameters are {', '.join(names)}{near(name, names)}"
            raise ValueError(f"this notebook has no parameter {name!r}; {said}")
