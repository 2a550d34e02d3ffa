"""What λ and time do to the images of a result: views at and between the computed cells of one sparse defense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ..checks import positive
from ..result import Result
from .coder import Coder, dictionaries, quality
from .compare import by_strength

LAMS = (0.02, 2.0)
"""Range of λ."""
TIMES = (0.1, 25.0)
"""Range of time, in time constants; at its end codes are taken to be settled."""


def sweeps(results: Sequence[Result]) -> dict[str, dict[float, list[Result]]]:
    """Sparse cells of one data set with one λ each, by defense (and further options) and λ, from small to large.

    Each holds its seeds. Other results are left out.

    Raises:
        ValueError: none is left.
    """
    found = by_strength([r for r in results if dictionaries(r)])
    if not found:
        raise ValueError("λ is swept by cells of a sparse defense; there is none among these results.")
    return found


def families(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Cells of one λ each by sparse defense and further options, whatever their ``tau``: how far a code settles."""
    found: dict[str, list[Result]] = {}
    for of in sweeps(results).values():
        cells = [r for group in of.values() for r in group]
        e = cells[0].experiment
        rest = {key: value for key, value in e.options.items() if key != "tau"}
        found.setdefault(replace(e, options=rest).variant, []).extend(cells)
    return found


@dataclass(frozen=True)
class View:
    """Everything that the explorer shows at one λ and time.

    Attributes:
        lam, time: coded with; dictionary and attacker are those of ``coder.result``, the nearest computed cell.
        code: ``(N, F, H, W)``; ``gap`` ``(N,)`` is its relative duality gap, ``active`` ``(N,)`` the share of its
            entries that are not zero.
        decoded: images from the code, ``(N, C, H, W)`` in [0, 1], and their ``psnr`` and ``ssim``, ``(N,)``.
    """

    lam: float
    time: float
    coder: Coder
    code: Tensor
    gap: Tensor
    active: Tensor
    decoded: Tensor
    psnr: Tensor
    ssim: Tensor


def _apart(one: float, other: float) -> float:
    """How far apart two λ or times are, as a ratio; settled is a little beyond the end of the axis of time."""
    return math.log(min(one, 2 * TIMES[1]) / min(other, 2 * TIMES[1]))


class Explorer:
    """The cells of one data set, setting and sparse defense that differ in λ and ``tau``, and what lies between them.

    Args:
        results: of any number of seeds; the first seed of each cell is shown.

    Attributes:
        cells: a result for each computed λ and time, in time constants, infinite where codes settle.
        layers: the sparse layers that can be looked at.

    Raises:
        ValueError: none has a sparse layer, or they mix sparse defenses, data sets, settings or scales.

    Example:
        >>> from sparseguard import Experiment
        >>> cell = Experiment(defense="sparse_guard", scale="smoke").run(store=None, progress=False)
        >>> view = Explorer([cell]).view(0.3)
        >>> tuple(view.code.shape), view.coder.result.experiment.lam
        ((4, 4, 28, 28), 0.5)
    """

    def __init__(self, results: Sequence[Result]) -> None:
        kinds = {(e.dataset, e.setting, e.scale) for e in (r.experiment for r in results)}
        found = families(results)
        if len(found) != 1 or len(kinds) != 1:
            raise ValueError(f"the explorer shows one sparse defense, data set, setting and scale, not "
                             f"{', '.join(found)} of {len(kinds)}.")  # fmt: skip
        self.cells: dict[tuple[float, float], Result] = {}
        for r in sorted(*found.values(), key=lambda r: r.experiment.seed):
            self.cells.setdefault((r.experiment.strength, r.experiment.make_defense().time), r)
        self.lams, self.times = (sorted({cell[i] for cell in self.cells}) for i in (0, 1))
        self.layers = range(1, min(len(dictionaries(next(iter(self.cells.values())))), 2) + 1)
        self._coders: dict[tuple[tuple[float, float], int], Coder] = {}

    def coder(self, lam: float, layer: int, time: float | None = None) -> Coder:
        """The coder of the computed cell that is nearest, by the ratios of λ and of time; without one, by λ alone."""

        def far(cell: tuple[float, float]) -> float:
            return math.hypot(_apart(cell[0], lam), 0.0 if time is None else _apart(cell[1], time))

        key = min(self.cells, key=far)
        if (key, layer) not in self._coders:
            self._coders[key, layer] = Coder(self.cells[key], layer)
        return self._coders[key, layer]

    def view(
        self, lam: float, layer: int = 1, start: View | None = None, quick: bool = False, time: float | None = None
    ) -> View:
        """Code all images at ``lam``, a finite number > 0, after ``time``, by default that of the cell.

        Args:
            start: a view to start from: at a λ near to this one that saves most of the steps. A view of another layer
                or of another explorer is not used.
            quick: take only as many steps as a moving slider has time for.
        """
        coder = self.coder(positive("lam", lam), layer, time)
        ours = start is not None and start.coder.number == layer and start.coder in self._coders.values()
        warm = start.code if ours and start is not None else None
        code, gap = coder.code(lam, time, warm, quick)
        decoded = coder.decode(code)
        active = (code != 0).float().mean(dim=(1, 2, 3))
        compared = quality(coder.images, decoded)
        return View(lam, coder.time if time is None else time, coder, code, gap, active, decoded, *compared)

    def path(self, lams: Sequence[float], layer: int = 1) -> list[View]:
        """A view at each λ, in their order; computed from large to small, each started from the one before."""
        views: dict[float, View] = {}
        last: View | None = None
        for lam in sorted(set(lams), reverse=True):
            last = views[lam] = self.view(lam, layer, last)
        return [views[lam] for lam in lams]
