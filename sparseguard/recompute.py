"""Shipped cells computed anew: what travels with the package is what this machine gets, or the difference is seen."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass

from . import reference
from .checks import whole
from .experiment import Experiment
from .grid import run_grid
from .result import Result
from .scales import check_scale
from .store import Store

COMPARED = {"psnr": 1.0, "ssim": 0.02, "accuracy": 0.03, "judge_accuracy": 0.03}
"""Metrics that are compared, and how far apart two machines may come out. With the instructions of older processors,
on one processor, ``benchmarks/machines.py`` found 0.3 dB and 0.009 of accuracy through convolutions, 0.01 dB without;
another processor was not at hand."""


@dataclass(frozen=True)
class Recomputed:
    """A cell as it was shipped and as it came out here."""

    shipped: Result
    here: Result

    def gap(self, metric: str) -> float:
        """Here minus shipped; not a number where one was not measured."""
        here, shipped = (r.metrics[metric] for r in (self.here, self.shipped))
        return float("nan") if here is None or shipped is None else here - shipped

    @property
    def complaint(self) -> str | None:
        """Which metrics are further apart than machines are; ``None``: none is."""
        apart = [f"{m} by {self.gap(m):+.3g}" for m, most in COMPARED.items() if not abs(self.gap(m)) <= most]
        return f"{', '.join(apart)} beside what was shipped" if apart else None


def shipped_experiments(scale: str) -> list[Experiment]:
    """The cells of a scale that travel with the package and are of this code."""
    check_scale(scale)
    records = [record for name in reference.names() if (record := (reference.load(name) or ({}, {}))[0])]
    made = [Experiment(**r["experiment"]) for r in records if "metrics" in r and r["experiment"]["scale"] == scale]
    return [e for e in made if reference.load(e.key()) is not None]


def recompute(count: int, scale: str = "quick", seed: int | None = None, progress: bool = True) -> list[Recomputed]:
    """Compute some shipped cells anew and put them beside what was shipped.

    Args:
        count: how many, drawn at random; all, if there are fewer.
        scale: of which scale.
        seed: of the draw; ``None``: another draw each time.
        progress: show what is computed.

    Raises:
        ValueError: nothing of that scale is shipped.
    """
    known = shipped_experiments(scale)
    if not known:
        raise ValueError(f"no cell of scale {scale!r} travels with this version of the package.")
    drawn = random.Random(seed).sample(known, min(whole("count", count), len(known)))
    with tempfile.TemporaryDirectory() as folder:
        here = run_grid(drawn, Store(folder, shipped=False), progress)
        packed = Store(folder + "/nothing")
        return [Recomputed(shipped, r) for r in here if (shipped := r.experiment.stored(packed))]
