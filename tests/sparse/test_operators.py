import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sparseguard.sparse import operators as ops

shapes = st.tuples(
    st.integers(1, 3),  # channels
    st.integers(1, 5),  # features
    st.sampled_from([1, 3, 5]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),  # stride
    st.integers(3, 9),  # height
    st.integers(3, 9),  # width
)


def draw(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Canvas, dictionary with unit-norm features, and a code of the right shape, all float64."""
    c, f, kh, kw, s, h, w = shape
    g = torch.Generator().manual_seed(seed)
    dictionary = torch.randn(f, c, kh, kw, generator=g, dtype=torch.float64)
    dictionary /= dictionary.flatten(1).norm(dim=1)[:, None, None, None]
    canvas = ops.pad_to_canvas(torch.randn(2, c, h, w, generator=g, dtype=torch.float64), (kh, kw))
    code = torch.randn(2, f, -(-h // s), -(-w // s), generator=g, dtype=torch.float64)
    return canvas, dictionary, code


@given(shapes)
def test_synthesis_is_the_adjoint_of_analysis(shape: tuple[int, ...]) -> None:
    canvas, dictionary, code = draw(shape)
    stride, size = (shape[4], shape[4]), (canvas.shape[2], canvas.shape[3])
    drive = ops.analysis(canvas, dictionary, stride)
    assert drive.shape == code.shape
    image = ops.synthesis(code, dictionary, stride, size)
    assert image.shape == canvas.shape
    torch.testing.assert_close((drive * code).sum(), (image * canvas).sum())


def dense_matrix(shape: tuple[int, ...]) -> torch.Tensor:
    """Synthesis as a matrix, built column by column with plain loops: (pixels, code entries)."""
    canvas, dictionary, code = draw(shape)
    s, kh, kw = shape[4], shape[2], shape[3]
    columns = []
    for f in range(code.shape[1]):
        for i in range(code.shape[2]):
            for j in range(code.shape[3]):
                image = torch.zeros_like(canvas[0])
                image[:, i * s : i * s + kh, j * s : j * s + kw] += dictionary[f]
                columns.append(image.flatten())
    return torch.stack(columns, dim=1)


@given(shapes)
def test_both_operators_equal_the_dense_matrix(shape: tuple[int, ...]) -> None:
    canvas, dictionary, code = draw(shape)
    matrix = dense_matrix(shape)
    stride, size = (shape[4], shape[4]), (canvas.shape[2], canvas.shape[3])
    expected = (code.flatten(1) @ matrix.T).view_as(canvas)
    torch.testing.assert_close(ops.synthesis(code, dictionary, stride, size), expected)
    expected = (canvas.flatten(1) @ matrix).view_as(code)
    torch.testing.assert_close(ops.analysis(canvas, dictionary, stride), expected)


@given(shapes)
def test_eigenvalue_bound_holds_and_is_tight(shape: tuple[int, ...]) -> None:
    canvas, dictionary, _ = draw(shape)
    exact = float(torch.linalg.matrix_norm(dense_matrix(shape), 2) ** 2)
    bound = ops.largest_eigenvalue(dictionary, (canvas.shape[2], canvas.shape[3]))
    assert exact <= bound * (1 + 1e-9)
    circular = torch.fft.fft2(dictionary, s=tuple(canvas.shape[2:])).permute(2, 3, 1, 0)
    assert bound <= 1.03 * float(torch.linalg.matrix_norm(circular, 2).max() ** 2)


@pytest.mark.parametrize("size", [1e-15, 1.0, 1e12])
@pytest.mark.parametrize(("features", "channels"), [(28, 16), (16, 28), (64, 64), (1, 3)])
def test_eigenvalue_bound_is_tight_for_dictionaries_of_any_size(features: int, channels: int, size: float) -> None:
    dictionary = torch.randn(features, channels, 5, 5, generator=torch.Generator().manual_seed(0))
    circular = torch.fft.fft2(dictionary.double(), s=(32, 32)).permute(2, 3, 1, 0)
    exact = float(torch.linalg.matrix_norm(circular, 2).max() ** 2)
    assert exact <= ops.largest_eigenvalue(size * dictionary, (32, 32)) / size**2 <= 1.03 * exact


def test_eigenvalue_bound_of_orthonormal_features_is_nearly_one() -> None:
    dictionary = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[0]
    assert 1 <= ops.largest_eigenvalue(dictionary[:, :, None, None], (9, 9)) <= 64 ** (1 / 64) * 1.001


def test_eigenvalue_of_a_zero_dictionary_is_zero() -> None:
    assert ops.largest_eigenvalue(torch.zeros(3, 2, 5, 5), (9, 9)) == 0.0


@given(shapes.filter(lambda s: s[4] == 1))
def test_residual_form_equals_the_similarity_kernel(shape: tuple[int, ...]) -> None:
    """Lateral competition of eq. 2 with G = Omega * Omega, zero padding, is analysis after synthesis."""
    _, dictionary, code = draw(shape)
    kh, kw = shape[2], shape[3]
    size = (code.shape[2] + kh - 1, code.shape[3] + kw - 1)
    padded = F.pad(dictionary, (kw - 1, kw - 1, kh - 1, kh - 1))
    similarity = F.conv2d(padded, dictionary)  # (F, F, 2kh - 1, 2kw - 1)
    lateral = F.conv2d(code, similarity.transpose(0, 1).flip(2, 3), padding=(kh - 1, kw - 1))
    residual_form = ops.analysis(ops.synthesis(code, dictionary, (1, 1), size), dictionary, (1, 1))
    torch.testing.assert_close(residual_form, lateral)


def test_energy_of_the_zero_code_is_half_the_square_of_the_canvas() -> None:
    canvas, dictionary, code = draw((2, 3, 3, 5, 2, 7, 6))
    zero = torch.zeros_like(code)
    expected = 0.5 * canvas.flatten(1).square().sum(1)
    torch.testing.assert_close(ops.energy(canvas, zero, dictionary, 0.3, (2, 2)), expected)


def test_gap_bounds_the_distance_to_the_minimum() -> None:
    """One feature of one pixel: the minimiser is max(x - lam, 0), and the gap of any code bounds its excess energy."""
    x = torch.tensor([[[[2.0]]], [[[0.2]]], [[[-1.0]]]], dtype=torch.float64)
    dictionary = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    best = (x - 0.5).relu()
    torch.testing.assert_close(ops.relative_gap(x, best, dictionary, 0.5, (1, 1)), torch.zeros(3, dtype=torch.float64))
    for shift in (0.1, 1.0):
        code = best + shift
        excess = ops.energy(x, code, dictionary, 0.5, (1, 1)) - ops.energy(x, best, dictionary, 0.5, (1, 1))
        gap = ops.relative_gap(x, code, dictionary, 0.5, (1, 1)) * 0.5 * x.flatten().square()
        assert bool((gap >= excess - 1e-12).all())
