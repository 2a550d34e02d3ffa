"""What the paper printed, and claims, with the remarks that they need. Data, never repaired."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

_SETTINGS = {"end_to_end": "end-to-end", "split": "split"}
_DATASETS = {
    "mnist": "MNIST", "fashion_mnist": "Fashion MNIST", "cifar10": "CIFAR10", "medical_mnist": "Medical MNIST",
    "celeba": "CelebA",
}  # fmt: skip
_PLUG_AND_PLAY = "plug-and-play"
"""This attack has tables of its own for one setting, whose networks are those of the end-to-end one."""
_TAUS = (None, 1000.0, 100.0)
"""What a printed sparse row can mean: settled codes (section 3), or a time constant: Table 5's, the released code's."""
_LAPLACE = "LAPLACE-NOISE Titcombe et al. (2021) b="


@dataclass(frozen=True)
class Printed:
    """One printed row: ``numbers`` by column (psnr, ssim, fid, accuracy), its table, and its remarks by column."""

    table: int
    numbers: dict[str, float]
    remarks: dict[str, list[str]]


@dataclass(frozen=True)
class Contrast:
    """One comparison that a claim is taken to mean; ``claims.yaml`` explains the fields."""

    of: list[Any]
    relation: str
    metrics: list[str]
    than: list[Any] = field(default_factory=list)
    settings: list[str] = field(default_factory=lambda: ["end_to_end", "split"])
    than_setting: str | None = None
    than_metric: str | None = None
    than_value: float | None = None
    attack: str = "inversion"
    times: float = 1.0


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its section, its words, what it is taken to mean, and where that is shown.

    ``every``: it says that of every row or experiment. ``untested`` says why there is nothing to compare, ``remark``
    what has to be said about the paper's own numbers.
    """

    section: str
    quote: str
    means: str = ""
    notebooks: list[str] = field(default_factory=list)
    compare: list[Contrast] = field(default_factory=list)
    every: bool = False
    untested: str = ""
    remark: str = ""


@lru_cache(maxsize=1)
def claims() -> list[Claim]:
    """The paper's claims, in its order."""
    entries = yaml.safe_load((files(__name__) / "claims.yaml").read_text(encoding="utf-8"))
    found = []
    for entry in entries:
        tests = [Contrast(relation=test.pop("is"), **test) for test in entry.pop("compare", [])]
        found.append(Claim(**entry, compare=tests))
    return found


@lru_cache(maxsize=1)
def printed_tables() -> pd.DataFrame:
    """All rows of Tables 1, 2, 3 and 6 to 15; ``fid`` in the printed unit of 10^3, ``lambda`` NaN where unprinted."""
    with (files(__name__) / "tables.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


@lru_cache(maxsize=1)
def _printed_times() -> dict[str, float]:
    """Table 16: seconds by the paper's name of the row."""
    with (files(__name__) / "timing.csv").open(encoding="utf-8") as file:
        return {str(model): float(seconds) for model, seconds in pd.read_csv(file).itertuples(index=False)}


@lru_cache(maxsize=1)
def _footnotes() -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = yaml.safe_load((files(__name__) / "footnotes.yaml").read_text(encoding="utf-8"))
    return notes


def printed_label(defense: str, lam: Any, options: dict[str, Any]) -> tuple[str, float | None] | None:
    """The paper's name of a defense and the lambda it prints, or ``None`` where the paper has no such row.

    A sparse row belongs to every regime of its codes that the paper or its released code names, by whatever solver
    reaches it: a single step reaches none.

    >>> printed_label("laplace", None, {"b": 1.0})
    ('LAPLACE-NOISE Titcombe et al. (2021) b=1.0', None)
    """
    plain = {
        ("none", ()): "NO-DEFENSE",
        ("gaussian", ()): "GAUSSIAN-NOISE",
        ("laplace", ()): f"{_LAPLACE}0.5",
        ("laplace", (("b", 1.0),)): f"{_LAPLACE}1.0",
        ("gan", ()): "GAN",
        ("gong", ()): "Gong et al. (2023)",
        ("gong_cl", ()): "Gong et al. (2023)++",
        ("mi_reg", ()): "MI-REG Wang et al. (2021b)",
        ("dp_sgd", ()): "DP-SGD Hayes et al. (2023)",
    }
    key = (defense, tuple(sorted(options.items())))
    if key in plain:
        return plain[key], None
    names = {"sparse_standard": "SPARSE-STANDARD", "sparse_guard": "SPARSE-GUARD"}
    named = (options.get("tau") in _TAUS and options.get("iterations", 500) == 500
             and options.get("solver") != "single")  # fmt: skip
    if defense in names and named and not set(options) - {"tau", "iterations", "solver", "train_first"}:
        values = set(lam) if isinstance(lam, tuple) else {lam}
        return (names[defense], float(values.pop())) if len(values) == 1 else None
    return None


def printed(
    setting: str,
    dataset: str,
    defense: str,
    lam: Any = None,
    options: dict[str, Any] | None = None,
    attack: str | None = "inverse-network",
) -> Printed | None:
    """The printed row that belongs to a cell, or ``None``.

    A row belongs to the attack that its table names: ``"inverse-network"`` or ``"plug-and-play"``; there is none for
    ``None``. An unlabelled SPARSE-STANDARD row is taken as lambda = 0.25 (see its remark).
    """
    label = printed_label(defense, lam, dict(options or {}))
    if label is None or dataset not in _DATASETS:
        return None
    name, value = label
    table = printed_tables()
    rows = table[
        (table.setting == (attack if setting == "end_to_end" and attack == _PLUG_AND_PLAY else _SETTINGS[setting]))
        & (table.attack == attack)
        & (table.dataset == _DATASETS[dataset])
        & (table.defense == name)
    ]
    lams = rows["lambda"].fillna(0.25) if name == "SPARSE-STANDARD" else rows["lambda"]
    rows = rows[lams == value] if value is not None else rows
    if rows.empty:
        return None
    row = rows.sort_values("table").iloc[0]
    remarks: dict[str, list[str]] = {}
    for note in _footnotes():
        wanted = dict(note["rows"])
        columns = wanted.pop("column", ["defense"])
        if all(row[key] in allowed for key, allowed in wanted.items()):
            for column in columns:
                remarks.setdefault(column, []).append(" ".join(note["text"].split()))
    return Printed(int(row.table), {c: float(row[c]) for c in ("psnr", "ssim", "fid", "accuracy")}, remarks)


def printed_seconds(defense: str, lam: Any = None, options: dict[str, Any] | None = None) -> float | None:
    """Seconds that Table 16 prints for a defense (MNIST under the Plug and Play attack), or ``None``.

    Its SPARSE-STANDARD row has no lambda and is taken as 0.25, as in :func:`printed`.

    >>> printed_seconds("sparse_guard", 0.5), printed_seconds("none_conv")
    (17912.9, None)
    """
    label = printed_label(defense, lam, dict(options or {}))
    if label is None:
        return None
    name, value = label
    plain = value is None or (name == "SPARSE-STANDARD" and value == 0.25)
    return _printed_times().get(name if plain else f"{name} {value:g}")


__all__ = [
    "Claim", "Contrast", "Printed", "claims", "printed", "printed_label", "printed_seconds", "printed_tables",
]  # fmt: skip
