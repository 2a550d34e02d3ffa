"""What λ and time do to the images of a result: views at and between the computed cells of one sparse defense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import metrics
from ..checks import positive
from ..defenses.sparse import SparseDefense
from ..result import Result
from ..scales import check_scale
from ..sparse import SparseCoding2d, operators
from ..sparse.layer import Solver
from .compare import by_strength

TOL, ITERATIONS = 5e-3, 300
"""Relative duality gap that a code is solved to, and the most steps taken for it; the gap reached is always shown."""
QUICK_TOL = 1e-4
"""The same for a moving slider, so small that each move takes its steps: a code good to 1 % fits the next λ as well."""
PACE, STEPS = 70.0, (4, 30)
"""Milliseconds that an update should take, half of what a hand on a slider notices; fewest and most quick steps."""


def dictionaries(result: Result) -> list[Tensor]:
    """Trained dictionaries of a result's target, from the first layer on: ``(F, C, kh, kw)`` each."""
    names = sorted(name for name in result.exhibits if name.startswith("dictionary "))
    return [result.exhibits[name] for name in names]


class Coder:
    """Codes the images that a result keeps with one sparse layer of its trained target, and decodes the code.

    A code is settled, or as far on the trajectory of eq. 2 as it is let. The second layer's input is the first one's
    code, computed as the deployed target computes it. The batch norm between them is replaced by zero mean and unit
    variance of each feature over these images: its trained scale and shift are not kept with a result.

    Args:
        result: of a sparse defense; the images are ``result.originals``, ``(N, C, H, W)``.
        layer: 1 or 2.

    Attributes:
        quick: steps of a first answer, to start the next from; :meth:`pace` fits them to the machine.
        time: time constants for which the deployed layer follows eq. 2; infinite if its codes settle.
        attacked: PSNR and SSIM of the attacker's images, ``(N,)`` each.
        strongest: largest drive Ψ that any feature gets from an image, ``(N,)``: no entry of a code is much larger.

    Raises:
        ValueError: the target has no such sparse layer.
    """

    def __init__(self, result: Result, layer: int = 1) -> None:
        learned = dictionaries(result)
        if not 1 <= layer <= min(len(learned), 2):
            allowed = " and ".join(str(i + 1) for i in range(min(len(learned), 2))) or "none"
            raise ValueError(f"layer must be one that {result.experiment.label} has and this shows ({allowed}), "
                             f"not {layer!r}.")  # fmt: skip
        self.result, self.images = result, result.originals
        self.first, self.layer = (_deployed(result, learned, number) for number in (1, layer))
        self.time = result.experiment.make_defense().time
        solver: Solver = "lca" if self.layer.solver == "fista" else self.layer.solver
        self._followed = solver, self.layer.iterations, self.layer.tol
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        self.inputs = self.images
        if layer == 2:
            hidden = self.first(self.images)
            self.mean = hidden.mean(dim=(0, 2, 3), keepdim=True)
            self.std = (hidden.var(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
            self.inputs = (hidden - self.mean) / self.std
        self.number = layer
        self.quick = max(STEPS[0], min(STEPS[1] // 2, 1250 // self.layer.dictionary[:, :, 0, 0].numel()))
        self.attacked = quality(self.images, result.reconstructions)
        canvas = self.layer.canvas(self.inputs)
        drive = operators.analysis(canvas, self.layer.dictionary, self.layer.stride)
        self.strongest = drive.flatten(1).amax(1).clamp_min(1e-12)

    @torch.no_grad()
    def code(
        self, lam: float, time: float | None = None, start: Tensor | None = None, quick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Code ``(N, F, H, W)`` at ``lam`` after ``time``, by default the deployed one, and its duality gap ``(N,)``.

        A settled code may be found from a warm start, and in fewer steps; a trajectory has no start to choose.
        """
        layer, time = self.layer, self.time if time is None else time
        layer.lam = positive("lam", lam)
        if math.isinf(time):
            layer.solver = "fista"
            layer.tol, layer.iterations = (QUICK_TOL, self.quick) if quick else (TOL, ITERATIONS)
            code = layer(self.inputs, start=start)
            assert layer.last_gap is not None
            return code, layer.last_gap
        layer.solver, layer.iterations, layer.tol = self._followed
        layer.tau = layer.iterations / positive("time", time)
        code = layer(self.inputs)
        return code, layer.gap(self.inputs, code)

    def pace(self, milliseconds: float) -> None:
        """Take fewer or more quick steps after an update that took so long; no wilder than by half or a quarter."""
        wanted = round(self.quick * max(0.5, min(1.25, PACE / milliseconds)))
        self.quick = max(STEPS[0], min(STEPS[1], wanted))

    def decode(self, code: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` in [0, 1] from nothing but a code and the dictionaries.

        A code of a standardised image holds neither brightness nor contrast: those that fit the original best are
        given back to it, so this is what whoever guesses them would see.
        """
        with torch.no_grad():
            image = _crop(self.layer.reconstruct(code), self.layer)
            if self.number == 2:
                scale = self.inputs.std(dim=(1, 2, 3), keepdim=True)
                hidden = (image * scale + self.inputs.mean(dim=(1, 2, 3), keepdim=True)) * self.std + self.mean
                image = _crop(self.first.reconstruct(hidden.clamp_min(0)), self.first)
            return _fit(image, self.images).clamp(0, 1)


def _deployed(result: Result, learned: Sequence[Tensor], number: int) -> SparseCoding2d:
    """A sparse layer as the target of ``result`` has it, from the trained dictionaries."""
    defense, dictionary = result.experiment.make_defense(), learned[number - 1]
    assert isinstance(defense, SparseDefense)
    features, channels = dictionary.shape[:2]
    lam = defense.lams(len(learned))[number - 1]
    layer = defense.sparse_layer(channels, features, lam, check_scale(result.experiment.scale))
    layer.dictionary.requires_grad_(False).copy_(dictionary)
    return layer


def _crop(canvas: Tensor, layer: SparseCoding2d) -> Tensor:
    rows, columns = (k // 2 for k in layer.kernel_size)
    return canvas[:, :, rows : canvas.shape[2] - rows, columns : canvas.shape[3] - columns]


def _fit(image: Tensor, original: Tensor) -> Tensor:
    """Least squares: the brightness and contrast of ``image``, one each, that bring it closest to ``original``."""
    mean = original.mean(dim=(1, 2, 3), keepdim=True)
    centred = image - image.mean(dim=(1, 2, 3), keepdim=True)
    power = centred.square().sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    return mean + centred * (centred * original).sum(dim=(1, 2, 3), keepdim=True) / power


def quality(images: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR and SSIM, ``(N,)`` each."""
    return metrics.psnr(images, others), metrics.ssim(images, others)


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
