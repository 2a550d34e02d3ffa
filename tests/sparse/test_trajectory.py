import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparseguard.sparse import SparseCoding2d, solvers
from sparseguard.sparse import operators as ops
from sparseguard.sparse.schedules import RULES, euler_schedule, lca_schedule
from sparseguard.sparse.steps import Schedule
from sparseguard.sparse.trajectory import integrate
from tests.sparse.test_operators import draw, shapes


def unrolled(canvas: Tensor, dictionary: Tensor, lam: float, schedule: Schedule, stride: tuple[int, int]) -> Tensor:
    """The same steps in plain autograd."""
    size = (canvas.shape[2], canvas.shape[3])
    drive = ops.analysis(canvas, dictionary, stride)
    history, p = [drive], torch.zeros_like(drive)
    for step in schedule:
        points = [sum((w * q for w, q in zip(weights, history)), torch.zeros_like(p)) for weights in step.paths]
        mean = sum(((q - lam).relu() for q in points), torch.zeros_like(p)) / len(points)
        residual = canvas - ops.synthesis(mean, dictionary, stride, size)
        p = step.decay * p + step.gain * (ops.analysis(residual, dictionary, stride) + mean)
        history = [p, *(history if history[0] is not drive else [])]
    return (p - lam).relu()


@given(shapes, st.sampled_from([0.3, 4.0]))
@settings(max_examples=25)
def test_the_adjoint_is_plain_unrolling(shape: tuple[int, ...], time: float) -> None:
    canvas, dictionary, weight = draw(shape)
    stride = (shape[4], shape[4])
    schedules = [euler_schedule(30.0, round(30 * time)), lca_schedule(time, 8.0, 1e-3)]
    for schedule in schedules:
        results = []
        for adjoint in (True, False):
            x, d = canvas.clone().requires_grad_(), dictionary.clone().requires_grad_()
            code = integrate(x, d, 0.2, schedule, stride=stride) if adjoint else unrolled(x, d, 0.2, schedule, stride)
            results.append((code.detach(), *torch.autograd.grad((code * weight).sum(), (x, d))))
        for mine, plain in zip(*results):
            torch.testing.assert_close(mine, plain)


def test_the_adjoint_keeps_the_square_root_of_the_steps() -> None:
    canvas, dictionary, _ = draw((1, 4, 5, 5, 1, 6, 8))
    for iterations in (5, 100, 2500):
        code = solvers.euler(canvas.requires_grad_(), dictionary, 0.1, stride=(1, 1), tau=1000.0, iterations=iterations)
        node = code.grad_fn
        assert len(node.records) <= max(32, math.isqrt(iterations))  # type: ignore[union-attr]
        assert len(node.starts) <= max(32, math.isqrt(iterations)) + 2  # type: ignore[union-attr]


class FreshMemory(TorchDispatchMode):
    """Counts results of at least ``size`` bytes that do not live in an argument's memory."""

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size, self.count = size, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for made in tree_leaves(result):
            if isinstance(made, Tensor) and made.untyped_storage().data_ptr() not in given:
                self.count += made.nbytes >= self.size
        return result


@torch.no_grad()
def test_without_gradients_a_step_allocates_what_its_convolution_returns() -> None:
    canvas, dictionary, code = draw((1, 4, 5, 5, 1, 8, 8))
    counts = []
    for iterations in (20, 60):
        with FreshMemory(code.nbytes) as memory:
            solvers.euler(canvas, dictionary, 0.1, stride=(1, 1), tau=100.0, iterations=iterations)
        counts.append(memory.count)
    assert counts[1] - counts[0] == 40


def test_a_code_without_gradient_of_the_dictionary_has_that_of_the_input(fashion: Tensor) -> None:
    layer = SparseCoding2d(1, 4, lam=0.25)
    gradients = []
    for wanted in (True, False):
        layer.dictionary.requires_grad_(wanted)
        x = fashion[:2].clone().requires_grad_()
        gradients.append(torch.autograd.grad(layer(x).sum(), x)[0])
    torch.testing.assert_close(*gradients)


@given(st.floats(0.01, 20), st.floats(0.5, 300), st.sampled_from([1e-2, 1e-3, 1e-5]))
def test_schedules_reach_their_time_in_safe_steps(time: float, eigenvalue: float, tol: float) -> None:
    schedule = lca_schedule(time, eigenvalue, tol)
    decays = [step.decay for step in schedule[1:]]
    assert math.prod(decays) * (1 - schedule[0].gain) == pytest.approx(math.exp(-time), rel=1e-6)
    for step in schedule[1:]:
        assert -math.log(step.decay) * eigenvalue <= RULES.limit_2 * (1 + 1e-9)


def copies(features: int, noise: float) -> Tensor:
    """Nearly the same feature many times: an eigenvalue near ``25 * features``."""
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.ones(features, 1, 5, 5) + noise * torch.randn(features, 1, 5, 5, generator=generator)
    unit: Tensor = dictionary / dictionary.flatten(1).norm(dim=1)[:, None, None, None]
    return unit


@pytest.mark.parametrize(("noise", "tau"), [(0.0, 1000.0), (1.0, 100.0), (0.3, 100.0)])
def test_lca_follows_the_trajectory_of_an_ill_conditioned_dictionary(noise: float, tau: float, fashion: Tensor) -> None:
    dictionary = copies(8, noise)
    canvas = ops.pad_to_canvas(fashion[:3, :, ::2, ::2], (5, 5)).double()
    fine = solvers.euler(canvas, dictionary.double(), 0.3, stride=(1, 1), tau=8 * tau, iterations=4000)
    code = solvers.lca(canvas, dictionary.double(), 0.3, stride=(1, 1), tau=tau, iterations=500)
    assert float((code - fine).norm() / fine.norm()) < 1e-3


@pytest.mark.parametrize("nonneg", [True, False])
@pytest.mark.parametrize("bright", [True, False])
def test_steps_are_short_enough_where_many_features_settle_at_once(bright: bool, nonneg: bool, fashion: Tensor) -> None:
    """On bright and on constant images, of copies of one feature."""
    images = 255 * fashion[:3, :, ::2, ::2] if bright else torch.ones(1, 1, 14, 14)
    canvas, dictionary = ops.pad_to_canvas(images, (5, 5)).double(), copies(8, 1.0).double()
    common = {"stride": (1, 1), "nonneg": nonneg}
    fine = solvers.euler(canvas, dictionary, 0.5, tau=800.0, iterations=4000, **common)  # type: ignore[arg-type]
    code = solvers.lca(canvas, dictionary, 0.5, tau=100.0, iterations=500, **common)  # type: ignore[arg-type]
    assert float((code - fine).norm() / fine.norm()) < 1e-3


def test_what_diverges_leaves_the_gradients_of_others_finite() -> None:
    """Codes of both signs have nothing that holds them back: the first attempt ends in NaN."""
    dictionary = copies(16, 0.0).requires_grad_()
    noise = 5 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) + 5
    code = solvers.lca(
        torch.cat([torch.zeros_like(noise), noise]), dictionary, 0.01,
        stride=(1, 1), tau=100.0, iterations=500, nonneg=False,
    )  # fmt: skip
    (gradient,) = torch.autograd.grad(code.sum(), dictionary)
    assert bool(code.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_each_image_has_steps_of_its_own() -> None:
    """A bright flat image makes all copies active and needs short steps; a dim one makes none, and is not touched."""
    dictionary = copies(16, 0.05).requires_grad_()
    quiet = 0.01 * torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    quiet[0, 0, 8, 8] = 3.0
    loud = torch.full((1, 1, 16, 16), 5.0)

    def solve(canvas: Tensor) -> Tensor:
        return solvers.lca(canvas, dictionary, 0.5, stride=(1, 1), tau=250.0, iterations=500)

    together = solve(torch.cat([quiet, loud, quiet]))
    assert torch.equal(together[:1], together[2:])
    assert torch.equal(together[:1], solve(quiet))
    assert torch.equal(together[1:2], solve(loud))
    (gradient,) = torch.autograd.grad(together.sum(), dictionary)
    assert bool(torch.isfinite(gradient).all())


def test_images_whose_squares_overflow_are_coded_with_safe_steps() -> None:
    dictionary, size = copies(8, 1.0), 1e25
    canvas = ops.pad_to_canvas(torch.ones(1, 1, 14, 14), (5, 5))
    plain, scaled = (
        solvers.lca(factor * canvas, dictionary, factor * 0.3, stride=(1, 1), tau=100.0, iterations=500)
        for factor in (1.0, size)
    )
    torch.testing.assert_close(scaled / size, plain, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("size", [1e-4, 1e4])
@pytest.mark.parametrize("solver", ["lca", "fista"])
def test_extreme_images(size: float, solver: str, fashion: Tensor) -> None:
    """Without standardisation, an image and lambda of any size give the same code, scaled."""
    torch.manual_seed(0)
    plain, scaled = (
        SparseCoding2d(1, 4, lam=lam, standardize=False, solver=solver, tol=1e-6)  # type: ignore[arg-type]
        for lam in (0.2, 0.2 * size)
    )
    scaled.load_state_dict(plain.state_dict())
    torch.testing.assert_close(scaled(size * fashion[:2]) / size, plain(fashion[:2]), atol=2e-3, rtol=1e-2)
