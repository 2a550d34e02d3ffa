"""Attacks: one file each, and the registry. They see a BlackBox and hold-out images, nothing else."""

from __future__ import annotations

from .inversion import Inversion, Inverter

_REGISTRY: dict[str, type[Inversion]] = {"inversion": Inversion}


def list_attacks() -> list[str]:
    """Names of all attacks."""
    return list(_REGISTRY)


def make_attack(name: str) -> Inversion:
    """An attack by name, or a ``ValueError`` with the list of what is allowed."""
    if name not in _REGISTRY:
        raise ValueError(f"attack must be one of {', '.join(_REGISTRY)}, not {name!r}.")
    return _REGISTRY[name]()


__all__ = ["Inversion", "Inverter", "list_attacks", "make_attack"]
