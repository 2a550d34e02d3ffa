"""What happens inside the layer, step by step: potentials over time, energy against work, what a code keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..sparse import operators, solvers
from ..sparse.compiled import CompiledBank
from ..sparse.compiled_trajectory import course, states
from ..sparse.filterbank import FilterBank
from ..sparse.layer import SparseCoding2d
from ..sparse.operators import Size, energy
from ..sparse.schedules import euler_schedule
from ..sparse.steps import Problem, Schedule, run

FISTA_POINTS = (*range(1, 21), *range(24, 41, 4), *range(50, 101, 10))
"""Iterations after which the energy of ``fista`` is looked at: each is a run of its own."""


@torch.no_grad()
def follow(
    canvas: Tensor, dictionary: Tensor, lam: float, schedule: Schedule, *, stride: Size, nonneg: bool = True
) -> Iterator[Tensor]:
    """Membrane potentials P of eq. 2 before the first step (all zero) and after each: ``(N, F, h, w)``.

    Args:
        canvas: ``(N, C, Hc, Wc)``, see :meth:`SparseCoding2d.canvas`.
        dictionary: ``(F, C, kh, kw)``.
        schedule: of :mod:`.schedules`.
    """
    canvas = canvas.contiguous(memory_format=torch.channels_last)
    bank = FilterBank(dictionary, stride, (canvas.shape[2], canvas.shape[3]))
    problem, history = Problem(bank, canvas, lam, nonneg), [bank.analysis(canvas).clone()]
    yield torch.zeros_like(history[0])
    for index, step in enumerate(schedule):
        history, _ = run(problem, history, (step,), index, "nothing")
        yield history[0].clone()


@dataclass(frozen=True)
class Neurons:
    """The neurons at one position of one image.

    Attributes:
        potentials: ``(iterations + 1, F)``; the first row is the rest state, 0.
        drive: ``(F,)``: what the potentials would reach without competition.
        row, column: the position, in code positions.
        lam, tau: threshold, and time constant in iterations.
    """

    potentials: Tensor
    drive: Tensor
    row: int
    column: int
    lam: float
    tau: float

    @property
    def codes(self) -> Tensor:
        """``T_lam`` of the potentials, not negative: ``(iterations + 1, F)``."""
        return (self.potentials - self.lam).relu()


@torch.no_grad()
def neurons(layer: SparseCoding2d, image: Tensor, position: Size | None = None) -> Neurons:
    """Potentials over time by the textbook recurrence, whatever the layer's solver.

    Args:
        layer: its dictionary, lambda, tau, iterations and stride are used; its codes must be ``nonneg``.
        image: ``(1, C, H, W)``.
        position: row and column in the code; by default where the code is largest in the end.

    Example:
        >>> found = neurons(SparseCoding2d(1, 4, iterations=20), torch.rand(1, 1, 8, 8))
        >>> found.potentials.shape, float(found.potentials[0].abs().max())
        (torch.Size([21, 4]), 0.0)
    """
    if len(image) != 1:
        raise ValueError(f"neurons are followed in one image, (1, C, H, W), not {tuple(image.shape)}.")
    canvas, schedule = layer.canvas(image), euler_schedule(layer.tau, layer.iterations)
    states = list(follow(canvas, layer.dictionary, layer.lam, schedule, stride=layer.stride, nonneg=layer.nonneg))
    if position is None:
        activity = (states[-1] - layer.lam).relu().sum(1)[0]
        position = divmod(int(activity.argmax()), activity.shape[1])
    row, column = position
    drive = operators.analysis(canvas, layer.dictionary, layer.stride)[0, :, row, column].clone()
    return Neurons(torch.stack([p[0, :, row, column] for p in states]), drive, row, column, layer.lam, layer.tau)


@dataclass(frozen=True)
class Moment:
    """A code on its way along eq. 2.

    Attributes:
        time: in time constants; infinite: settled, at the minimum of eq. 1.
        code: ``(F, h, w)``.
        image: what the code stands for, on the canvas: ``(C, Hc, Wc)``.
        energy: eq. 1 over its value for the zero code.
        active: share of the neurons that are not zero.
    """

    time: float
    code: Tensor
    image: Tensor
    energy: float
    active: float


@torch.no_grad()
def moments(layer: SparseCoding2d, image: Tensor, times: Sequence[float]) -> list[Moment]:
    """The code of an image ``(1, C, H, W)`` after each of some times, whatever the layer's solver and tau."""
    canvas, dictionary = layer.canvas(image), layer.dictionary
    usual: dict[str, Any] = {"stride": layer.stride, "nonneg": layer.nonneg}
    zero, found = 0.5 * float(canvas.square().sum().clamp_min(1e-30)), []
    for time in times:
        if math.isinf(time):
            code = solvers.fista(canvas, dictionary, layer.lam, iterations=20_000, tol=1e-5, **usual).code
        else:
            steps: dict[str, Any] = {"tau": layer.iterations / time, "iterations": layer.iterations, "tol": layer.tol}
            code = solvers.lca(canvas, dictionary, layer.lam, **steps, **usual)
        value = float(energy(canvas, code, dictionary, layer.lam, layer.stride)) / zero
        stands = layer.reconstruct(code, (image.shape[2], image.shape[3]))[0]
        found.append(Moment(time, code[0], stands, value, float((code != 0).float().mean())))
    return found


@dataclass(frozen=True)
class EnergyCurve:
    """Energy of eq. 1 along one solver's way.

    Attributes:
        evaluations: applications of the two operators (one synthesis and one analysis), ascending: ``(T,)``. The
            drive of the input, which all solvers compute once, is not counted, nor are the rounds of the power
            method by which ``lca`` measures eigenvalues, on active neurons alone.
        excess: energy above the minimum over the energy of the zero code, mean over images: ``(T,)``.
    """

    solver: str
    evaluations: Tensor
    excess: Tensor

    def reaches(self, excess: float) -> int | None:
        """Evaluations after which the excess is no more than that; ``None`` if it never is."""
        good = (self.excess <= excess).nonzero()
        return int(self.evaluations[good[0, 0]]) if len(good) else None


@torch.no_grad()
def energy_curves(layer: SparseCoding2d, x: Tensor) -> list[EnergyCurve]:
    """Energy after each evaluation, for ``euler`` (the textbook), ``lca`` and ``fista``, in double precision.

    Args:
        layer: its dictionary, lambda, tau, iterations and tolerance are used.
        x: ``(N, C, H, W)``.
    """
    canvas, dictionary, lam, stride = layer.canvas(x).double(), layer.dictionary.double(), layer.lam, layer.stride
    scale = 0.5 * canvas.square().sum((1, 2, 3)).clamp_min(1e-30)
    best = solvers.fista(
        canvas, dictionary, lam, stride=stride, iterations=20_000, tol=1e-7, nonneg=layer.nonneg
    ).code  # fmt: skip
    least = energy(canvas, best, dictionary, lam, stride)

    def excess(codes: Iterator[Tensor]) -> Tensor:
        above = [((energy(canvas, code, dictionary, lam, stride) - least) / scale).mean() for code in codes]
        return torch.stack(above)

    schedule = euler_schedule(layer.tau, layer.iterations)
    ways = {
        "euler": follow(canvas, dictionary, lam, schedule, stride=stride, nonneg=layer.nonneg),
        "lca": lca_states(layer, canvas),
    }
    curves = []
    for name, potentials in ways.items():
        values = excess(_threshold(p, lam, layer.nonneg) for p in potentials)
        curves.append(EnergyCurve(name, torch.arange(len(values)), values))
    points = [n for n in FISTA_POINTS if n <= layer.iterations]
    minimisers = (
        solvers.fista(canvas, dictionary, lam, stride=stride, iterations=n, tol=1e-12, nonneg=layer.nonneg).code
        for n in points
    )
    zero = energy(canvas, torch.zeros_like(best), dictionary, lam, stride)
    start = ((zero - least) / scale).mean().reshape(1)
    return [*curves, EnergyCurve("fista", torch.tensor([0, *points]), torch.cat([start, excess(minimisers)]))]


def lca_states(layer: SparseCoding2d, canvas: Tensor) -> Iterator[Tensor]:
    """Potentials before the first step of ``lca`` and after each: ``(N, F, h, w)``; an image that has ended stays."""
    dictionary, size = layer.dictionary.detach().to(canvas.dtype), (canvas.shape[2], canvas.shape[3])
    time = layer.iterations / layer.tau
    way = course(canvas, dictionary, layer.lam, time, layer.tol, layer.nonneg)
    return states(CompiledBank(dictionary, layer.stride, size), canvas, way)


def _threshold(potential: Tensor, lam: float, nonneg: bool) -> Tensor:
    return (potential - lam).relu() if nonneg else potential - potential.clamp(-lam, lam)


@torch.no_grad()
def kept(layer: SparseCoding2d, x: Tensor) -> tuple[float, float]:
    """What a code keeps of its input: share of active neurons, and share of the variance that it explains.

    Explained is ``1 - ||canvas - synthesis(code)||^2 / ||canvas||^2``, each a sum over all images: what anybody who has
    the dictionary rebuilds linearly, without training anything. The standardised canvas has mean 0.

    Args:
        x: ``(N, C, H, W)``.
    """
    code, canvas = layer(x), layer.canvas(x)
    rest = canvas - layer.reconstruct(code, (x.shape[2], x.shape[3]))
    return float((code != 0).float().mean()), 1 - float(rest.square().sum() / canvas.square().sum())
