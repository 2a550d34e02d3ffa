"""The check that a notebook makes on its parameters before it runs anything."""

from __future__ import annotations

from typing import Any

_PLAIN = (str, int, float, bool, list, tuple, dict, type(None))


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
    ValueError: this notebook has no parameter 'datset'; its parameters are dataset, scale.
    """
    if len(namespace.get("In", ())) > 5:
        return
    for name, value in namespace.items():
        if name.startswith("_") or name in ("In", "Out") or not isinstance(value, _PLAIN):
            continue
        if name not in allowed.split():
            names = ", ".join(allowed.split())
            raise ValueError(f"this notebook has no parameter {name!r}; its parameters are {names}.")
