import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from sparseguard.sparse import SparseCoding2d, solvers
from sparseguard.sparse import operators as ops
from tests.sparse.test_operators import dense_matrix, draw, shapes


def textbook(canvas: torch.Tensor, dictionary: torch.Tensor, lam: float, tau: float, iterations: int) -> torch.Tensor:
    """Equation 2 as the paper writes it: similarity kernel, self-interaction removed, Euler steps (stride 1)."""
    kh, kw = dictionary.shape[-2:]
    drive = F.conv2d(canvas, dictionary)
    similarity = F.conv2d(F.pad(dictionary, (kw - 1, kw - 1, kh - 1, kh - 1)), dictionary)
    similarity[torch.arange(len(dictionary)), torch.arange(len(dictionary)), kh - 1, kw - 1] -= 1.0
    kernel = similarity.transpose(0, 1).flip(2, 3)
    p = torch.zeros_like(drive)
    for _ in range(iterations):
        code = (p - lam).clamp_min(0)
        p = p + (drive - p - F.conv2d(code, kernel, padding=(kh - 1, kw - 1))) / tau
    return (p - lam).clamp_min(0)


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@given(shapes.filter(lambda s: s[4] == 1))
def test_euler_is_the_textbook_recurrence(shape: tuple[int, ...]) -> None:
    canvas, dictionary, _ = draw(shape)
    code = solvers.euler(canvas, dictionary, 0.3, stride=(1, 1), tau=100.0, iterations=60)
    torch.testing.assert_close(code, textbook(canvas, dictionary, 0.3, 100.0, 60))


def test_one_pixel_follows_the_closed_form() -> None:
    """One unit-norm feature does not compete with itself (G = 0): P = x (1 - e^-t), R = max(P - lam, 0)."""
    x = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    for time in (0.2, 1.0, 3.0):
        expected = max(2.0 * (1 - math.exp(-time)) - 0.5, 0.0)
        code = solvers.lca(x, one, 0.5, stride=(1, 1), tau=100.0, iterations=round(100 * time), tol=1e-4)
        assert float(code) == pytest.approx(expected, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("tau", [100.0, 1000.0])
@pytest.mark.parametrize("lam", [0.1, 0.5])
def test_lca_reaches_the_fine_euler_answer(tau: float, lam: float, fashion: torch.Tensor) -> None:
    torch.manual_seed(0)
    first = SparseCoding2d(1, 16, lam=lam, tau=tau)
    x, layer = fashion[:4], first
    for layer in (first, SparseCoding2d(16, 8, lam=lam, tau=tau)):
        with torch.no_grad():
            canvas = layer.canvas(x)
            fine = solvers.euler(canvas, layer.dictionary, lam, stride=(1, 1), tau=8 * tau, iterations=4000)
            x = layer(x)
        assert relative_error(x, fine) < 1e-3


@given(shapes, st.sampled_from([0.05, 0.3, 1.0]))
def test_a_long_trajectory_ends_at_the_minimum(shape: tuple[int, ...], lam: float) -> None:
    canvas, dictionary, _ = draw(shape)
    stride = (shape[4], shape[4])
    settled = solvers.lca(canvas, dictionary, lam, stride=stride, tau=10.0, iterations=1200, tol=1e-3)
    solved = solvers.fista(canvas, dictionary, lam, stride=stride, iterations=5000, tol=1e-8).code
    a, b = (ops.energy(canvas, code, dictionary, lam, stride) for code in (settled, solved))
    torch.testing.assert_close(a, b, rtol=2e-4, atol=1e-5)


@given(shapes, st.sampled_from([0.05, 0.3, 1.0]), st.booleans())
def test_fista_meets_the_kkt_conditions(shape: tuple[int, ...], lam: float, nonneg: bool) -> None:
    canvas, dictionary, _ = draw(shape)
    stride, size = (shape[4], shape[4]), (canvas.shape[2], canvas.shape[3])
    code = solvers.fista(canvas, dictionary, lam, stride=stride, iterations=20000, tol=1e-10, nonneg=nonneg).code
    slope = ops.analysis(canvas - ops.synthesis(code, dictionary, stride, size), dictionary, stride)
    active = code != 0
    torch.testing.assert_close(slope[active], lam * code[active].sign(), rtol=0, atol=2e-4)
    inactive = slope[~active] if nonneg else slope[~active].abs()
    assert bool((inactive <= lam + 2e-4).all())
    assert not nonneg or bool((code >= 0).all())


@pytest.mark.parametrize("stride", [1, 2])
def test_fista_agrees_with_scikit_learn(stride: int) -> None:
    shape = (2, 4, 3, 3, stride, 6, 7)
    canvas, dictionary, _ = draw(shape)
    matrix = dense_matrix(shape).numpy()
    code = solvers.fista(canvas, dictionary, 0.4, stride=(stride, stride), iterations=20000, tol=1e-12).code
    for image, mine in zip(canvas, code):
        lasso = Lasso(alpha=0.4 / len(matrix), positive=True, fit_intercept=False, tol=1e-12, max_iter=100_000)
        theirs = lasso.fit(matrix, image.flatten().numpy()).coef_
        np.testing.assert_allclose(mine.flatten().numpy(), theirs, atol=1e-5)


@given(shapes)
def test_lambda_above_the_largest_drive_gives_an_all_zero_code(shape: tuple[int, ...]) -> None:
    canvas, dictionary, _ = draw(shape)
    stride = (shape[4], shape[4])
    lam = float(ops.analysis(canvas, dictionary, stride).abs().max()) * (1 + 1e-9)
    assert not solvers.fista(canvas, dictionary, lam, stride=stride, iterations=50).code.any()
    assert not solvers.lca(canvas, dictionary, lam, stride=stride, tau=100.0, iterations=500).any()
    assert not solvers.euler(canvas, dictionary, lam, stride=stride, tau=100.0, iterations=50).any()
    assert not solvers.single(canvas, dictionary, lam, stride=stride).any()


@given(shapes, st.sampled_from([0.05, 0.3, 1.0]), st.booleans())
def test_single_is_the_first_step_of_ista_and_of_the_textbook(shape: tuple[int, ...], lam: float, nonneg: bool) -> None:
    canvas, dictionary, _ = draw(shape)
    stride, size = (shape[4], shape[4]), (canvas.shape[2], canvas.shape[3])
    code = solvers.single(canvas, dictionary, lam, stride=stride, nonneg=nonneg)
    zero = torch.zeros_like(code)
    inner = zero + ops.analysis(canvas - ops.synthesis(zero, dictionary, stride, size), dictionary, stride)
    ista = (inner - lam).clamp_min(0) if nonneg else inner.sign() * (inner.abs() - lam).clamp_min(0)
    torch.testing.assert_close(code, ista)
    step = solvers.euler(canvas, dictionary, lam, stride=stride, tau=1.0, iterations=1, nonneg=nonneg)
    torch.testing.assert_close(code, step)


@given(st.integers(1, 2), st.sampled_from([1, 3]), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_single_is_the_minimum_where_no_features_overlap(c: int, k: int, h: int, w: int, nonneg: bool) -> None:
    """Orthonormal features as far apart as they are large: eq. 1 falls into one problem a neuron."""
    chance = torch.Generator().manual_seed(100 * c + 10 * k + h)
    basis = torch.linalg.qr(torch.randn(c * k * k, c * k * k, generator=chance, dtype=torch.float64))[0]
    dictionary = basis.T.reshape(-1, c, k, k)
    canvas = torch.randn(2, c, k * h, k * w, generator=chance, dtype=torch.float64)
    code = solvers.single(canvas, dictionary, 0.3, stride=(k, k), nonneg=nonneg)
    least = solvers.fista(canvas, dictionary, 0.3, stride=(k, k), iterations=5000, tol=1e-10, nonneg=nonneg).code
    assert code.any()
    torch.testing.assert_close(code, least, atol=1e-4, rtol=0)


def test_without_competition_similar_neurons_are_all_active() -> None:
    """Two equal features: the minimum needs half of each, or one; the single step has the whole of both."""
    dictionary = torch.ones(2, 1, 1, 1, dtype=torch.float64)
    canvas = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    assert solvers.single(canvas, dictionary, 0.5, stride=(1, 1)).flatten().tolist() == [1.5, 1.5]
    least = solvers.fista(canvas, dictionary, 0.5, stride=(1, 1), iterations=1000, tol=1e-10).code
    assert float(least.sum()) == pytest.approx(1.5, abs=1e-4)


def test_fista_uses_a_warm_start() -> None:
    canvas, dictionary, _ = draw((1, 6, 5, 5, 1, 12, 12))
    full = solvers.fista(canvas, dictionary, 0.2, stride=(1, 1), iterations=5000, tol=1e-7).code
    again = solvers.fista(canvas, dictionary, 0.2, stride=(1, 1), iterations=1, tol=1e-6, start=full).code
    torch.testing.assert_close(again, full)


def test_lca_does_not_diverge_on_an_ill_conditioned_dictionary() -> None:
    """Sixty-four copies of one feature: an eigenvalue near 64 times 25."""
    dictionary = torch.full((64, 1, 5, 5), 0.2)
    canvas = ops.pad_to_canvas(torch.rand(2, 1, 12, 12), (5, 5))
    code = solvers.lca(canvas, dictionary, 0.1, stride=(1, 1), tau=100.0, iterations=500)
    start = ops.energy(canvas, torch.zeros_like(code), dictionary, 0.1, (1, 1))
    assert bool((ops.energy(canvas, code, dictionary, 0.1, (1, 1)) < start).all())


@pytest.mark.parametrize("solver", ["lca", "euler", "fista", "single"])
def test_gradients_with_respect_to_input_and_dictionary(solver: str) -> None:
    canvas, dictionary, _ = draw((2, 3, 3, 3, 2, 5, 5))
    call = {
        "lca": lambda x, d: solvers.lca(x, d, 0.2, stride=(2, 2), tau=100.0, iterations=100),
        "euler": lambda x, d: solvers.euler(x, d, 0.2, stride=(2, 2), tau=10.0, iterations=12),
        "fista": lambda x, d: solvers.fista(x, d, 0.2, stride=(2, 2), iterations=2000, tol=1e-12).code,
        "single": lambda x, d: solvers.single(x, d, 0.2, stride=(2, 2)),
    }[solver]
    inputs = (canvas.requires_grad_(), dictionary.requires_grad_())
    assert torch.autograd.gradcheck(call, inputs, eps=1e-7, atol=1e-5)
