import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparseguard.sparse import SparseCoding2d, solvers
from sparseguard.sparse import operators as ops
from tests.sparse.test_operators import draw, shapes


@given(shapes, st.sampled_from([1e-2, 1e-5]), st.booleans())
def test_the_gap_that_is_reported_bounds_the_energy(shape: tuple[int, ...], tol: float, nonneg: bool) -> None:
    canvas, dictionary, _ = draw(shape)
    stride = (shape[4], shape[4])
    common = {"stride": stride, "iterations": 20000, "nonneg": nonneg}
    solution = solvers.fista(canvas, dictionary, 0.2, tol=tol, **common)  # type: ignore[arg-type]
    best = solvers.fista(canvas, dictionary, 0.2, tol=1e-10, **common).code  # type: ignore[arg-type]
    assert bool((solution.gap <= tol).all())
    above = [ops.energy(canvas, code, dictionary, 0.2, stride) for code in (solution.code, best)]
    assert bool((above[0] - above[1] <= solution.gap * 0.5 * canvas.square().sum((1, 2, 3)) + 1e-9).all())


def test_too_few_iterations_are_reported_as_a_gap(fashion: Tensor) -> None:
    layer = SparseCoding2d(1, 8, solver="fista", iterations=2, tol=1e-6)
    layer(fashion)
    assert layer.last_gap is not None
    assert layer.last_gap.shape == (len(fashion),)
    assert bool((layer.last_gap > 1e-6).all())


def test_a_warm_start_saves_iterations_and_a_path_uses_it(fashion: Tensor) -> None:
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 8, solver="fista", lam=0.3, tol=1e-5, iterations=3000)
    canvas = layer.canvas(fashion)
    near = solvers.fista(canvas, layer.dictionary, 0.32, stride=(1, 1), iterations=3000, tol=1e-5)
    cold = solvers.fista(canvas, layer.dictionary, 0.3, stride=(1, 1), iterations=3000, tol=1e-5)
    warm = solvers.fista(canvas, layer.dictionary, 0.3, stride=(1, 1), iterations=3000, tol=1e-5, start=near.code)
    assert warm.iterations < 0.9 * cold.iterations
    for lam, code in zip((0.5, 0.32, 0.3), layer.path(fashion, (0.5, 0.32, 0.3))):
        layer.lam = lam
        assert bool((layer.gap(fashion, code) <= 2e-5).all())
    torch.testing.assert_close(layer(fashion, start=code), cold.code, atol=2e-2, rtol=0)


def test_the_implicit_gradient_is_that_of_many_unrolled_steps() -> None:
    canvas, dictionary, weight = draw((2, 3, 3, 3, 1, 6, 5))
    size = (canvas.shape[2], canvas.shape[3])
    step = 1 / ops.largest_eigenvalue(dictionary, size)
    canvas.requires_grad_()
    dictionary.requires_grad_()
    code = torch.zeros_like(weight)
    for _ in range(3000):
        drive = ops.analysis(canvas - ops.synthesis(code, dictionary, (1, 1), size), dictionary, (1, 1))
        code = (code + step * drive - step * 0.4).relu()
    plain = torch.autograd.grad((code * weight).sum(), (canvas, dictionary))
    solution = solvers.fista(canvas, dictionary, 0.4, stride=(1, 1), iterations=20000, tol=1e-12)
    mine = torch.autograd.grad((solution.code * weight).sum(), (canvas, dictionary))
    torch.testing.assert_close(solution.code, code, atol=1e-6, rtol=0)
    for a, b in zip(mine, plain):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_dependent_features_have_a_finite_gradient() -> None:
    canvas, dictionary, _ = draw((1, 2, 3, 3, 1, 6, 6))
    dictionary = dictionary[:1].repeat(2, 1, 1, 1).requires_grad_()
    code = solvers.fista(canvas, dictionary, 0.1, stride=(1, 1), iterations=5000, tol=1e-6).code
    (gradient,) = torch.autograd.grad(code.sum(), dictionary)
    assert bool(torch.isfinite(gradient).all())
