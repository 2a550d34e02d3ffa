"""One sparse coding layer on the images of a data set, over seeds: what a notebook shows of it.

All images are of the hold-out part, so no private image is shown. A seed draws the split and the random dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..checks import is_whole, positive, whole
from ..data import Split, check_dataset, dataset_title, fingerprint, load_data
from ..progress import bar
from ..scales import check_scale
from ..sparse import SparseCoding2d
from ..store import Cell
from .learning import Learning, learn_dictionary
from .recalled import Recalled
from .trace import EnergyCurve, Neurons, energy_curves, kept, neurons

T = TypeVar("T")
BATCH = 8
"""Images on which the solvers' energies are compared."""


@dataclass(frozen=True)
class Kept:
    """What the codes of one layer keep; see :func:`sparseguard.studies.trace.kept`."""

    lam: float
    tau: float | None
    seed: int
    active: float
    explained: float


@dataclass(frozen=True)
class LayerStudy:
    """A layer with a random dictionary.

    Args:
        dataset: a known data set or the path of your own, as :func:`sparseguard.data.check_dataset` has it.
        scale: ``"smoke"``, ``"quick"``, ``"medium"`` or ``"paper"``: where the images come from.
        seeds: of the split and the dictionary; pictures show the first.
        lam: sparsity in the pictures; > 0.
        lams: sparsities in the table.
        taus: time constants, in iterations: Table 5 of the paper has 1000, the released code 100. ``None``: settled
            codes, at the minimum of eq. 1, which the sparse defenses have by default. One must be a number.
        iterations: textbook iterations; of settled codes, the most that the minimiser takes.
        features: dictionary features; ``None``: as many as the first sparse layer of the scale's targets has.
        images: hold-out images a seed.

    Raises:
        ValueError: anything that is not allowed, before anything is computed.

    Example:
        >>> study = LayerStudy(scale="smoke", seeds=[0], taus=[100.0], lams=[0.5], images=4)
        >>> [(row.lam, row.tau, round(row.explained, 1)) for row in study.kept.measured()]
        [(0.5, 100.0, 0.8)]
    """

    dataset: str = "mnist"
    scale: str = "quick"
    seeds: Sequence[int] = (0, 1, 2)
    lam: float = 0.5
    lams: Sequence[float] = (0.1, 0.25, 0.5, 0.75)
    taus: Sequence[float | None] = (1000.0, 100.0, None)
    iterations: int = 500
    features: int | None = None
    images: int = 64

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        scale = check_scale(self.scale)
        if self.features is None:
            object.__setattr__(self, "features", scale.features[0])
        for name, values in (("seeds", self.seeds), ("lams", self.lams), ("taus", self.taus)):
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise ValueError(f"{name} must be a list of at least one value, not {values!r}.")
        for seed in self.seeds:
            if not is_whole(seed) or seed < 0:
                raise ValueError(f"seeds must be whole numbers from 0 on, not {seed!r}.")
        whole("images", self.images)
        if not self.trajectories:
            raise ValueError(f"taus must hold a number beside None, which is settled codes, not {self.taus!r}.")
        for lam in (self.lam, *self.lams):
            for tau in self.taus:
                self._build(1, positive("lam", lam), tau)

    @property
    def trajectories(self) -> list[float]:
        """The time constants of codes that follow eq. 2; settled ones have none."""
        return [tau for tau in self.taus if tau is not None]

    @property
    def named(self) -> str:
        """Data set and scale, for a title."""
        return f"{dataset_title(self.dataset)}, scale {self.scale}"

    def split(self, seed: int) -> Split:
        """The data of one seed."""
        return load_data(self.dataset, self.scale, seed)

    def layer(self, seed: int, lam: float, tau: float | None) -> SparseCoding2d:
        """The layer of one seed: the same dictionary for every lambda and tau."""
        channels = self.split(seed).image_shape[0]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self._build(channels, lam, tau).requires_grad_(False)

    def _build(self, channels: int, lam: float, tau: float | None) -> SparseCoding2d:
        assert self.features is not None  # __post_init__ saw to it
        regime: dict[str, Any] = {"solver": "fista"} if tau is None else {"tau": tau}
        return SparseCoding2d(channels, self.features, lam=lam, iterations=self.iterations, **regime)

    def image(self) -> Tensor:
        """The image that the pictures show: the first hold-out image of the first seed, ``(1, C, H, W)``."""
        return self.split(self.seeds[0]).held_images[:1]

    def neurons(self) -> list[Neurons]:
        """The neurons at one position of :meth:`image`, for each of :attr:`trajectories`: where the last is largest."""
        layers = [self.layer(self.seeds[0], self.lam, tau) for tau in self.trajectories]
        last = neurons(layers[-1], self.image())
        return [neurons(layer, self.image(), (last.row, last.column)) for layer in layers]

    def _recalled(
        self, part: str, compute: Callable[[], Cell], restore: Callable[[dict[str, Any], dict[str, Tensor]], T]
    ) -> Recalled[T]:
        own = {"study": part, "dataset": fingerprint(self.dataset)}
        return Recalled(asdict(self) | own, compute, restore)

    @property
    def energy_curves(self) -> Recalled[dict[float, list[list[EnergyCurve]]]]:
        """Each solver's way down eq. 1 on a few hold-out images.

        For each of :attr:`trajectories` the curves of each seed, in the order of :attr:`seeds`.
        """

        def compute() -> Cell:
            names, arrays = {}, {}
            for tau, seed in bar(iterable=[*product(self.trajectories, self.seeds)], desc="following solvers"):
                images = self.split(seed).held_images[: min(BATCH, self.images)]
                curves = energy_curves(self.layer(seed, self.lam, tau), images)
                names[f"{tau} {seed}"] = [curve.solver for curve in curves]
                for curve in curves:
                    arrays[f"{tau} {seed} {curve.solver} evaluations"] = curve.evaluations
                    arrays[f"{tau} {seed} {curve.solver} excess"] = curve.excess
            return names, arrays

        def restore(names: dict[str, Any], arrays: dict[str, Tensor]) -> dict[float, list[list[EnergyCurve]]]:
            def curves_of(cell: str) -> list[EnergyCurve]:
                return [
                    EnergyCurve(name, arrays[f"{cell} {name} evaluations"], arrays[f"{cell} {name} excess"])
                    for name in names[cell]
                ]

            return {tau: [curves_of(f"{tau} {seed}") for seed in self.seeds] for tau in self.trajectories}

        return self._recalled("energy curves", compute, restore)

    def learn(self, updates: int) -> list[Learning]:
        """For each seed: the dictionary, learned on the attack part, judged on hold-out images; first trajectory."""
        runs = []
        for seed in bar(iterable=self.seeds, desc="learning dictionaries"):
            split, layer = self.split(seed), self.layer(seed, self.lam, self.trajectories[0])
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                runs.append(learn_dictionary(layer, split.attack_images, split.held_images[: self.images], updates))
        return runs

    @property
    def kept(self) -> Recalled[list[Kept]]:
        """For each tau, lambda and seed: what the codes of the random dictionary keep of hold-out images."""

        def compute() -> Cell:
            rows = [
                Kept(lam, tau, seed, *kept(self.layer(seed, lam, tau), self.split(seed).held_images[: self.images]))
                for tau, lam, seed in bar(
                    iterable=[*product(self.taus, self.lams, self.seeds)], desc="coding hold-out images"
                )
            ]
            return {"rows": [asdict(row) for row in rows]}, {}

        return self._recalled("kept", compute, lambda record, _: [Kept(**row) for row in record["rows"]])
