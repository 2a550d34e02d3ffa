import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparseguard.sparse import operators as ops
from sparseguard.sparse.filterbank import BlockedFilterBank, FilterBank, filter_bank
from tests.sparse.test_operators import draw, shapes

blocked = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 3, 5, 7]), st.integers(1, 9),
    st.integers(1, 3),
)  # fmt: skip


@given(blocked)
def test_blocked_products_are_the_convolutions(shape: tuple[int, ...]) -> None:
    c, f, k, height, blocks = shape
    width = blocks * max(4, k - 1)
    canvas, dictionary, code = draw((c, f, k, k, 1, height, width))
    bank = filter_bank(dictionary, (1, 1), canvas)
    assert isinstance(bank, BlockedFilterBank)
    size = (canvas.shape[2], canvas.shape[3])
    for _ in range(2):  # its work space is used again
        torch.testing.assert_close(bank.analysis(canvas), ops.analysis(canvas, dictionary, (1, 1)))
        torch.testing.assert_close(bank.synthesis(code), ops.synthesis(code, dictionary, (1, 1), size))


@given(shapes)
def test_the_filter_gradient_is_autograds(shape: tuple[int, ...]) -> None:
    canvas, dictionary, code = draw(shape)
    stride = (shape[4], shape[4])
    dictionary.requires_grad_()
    (ops.analysis(canvas, dictionary, stride) * code).sum().backward()
    mine = filter_bank(dictionary, stride, canvas).filter_gradient(canvas, code)
    torch.testing.assert_close(mine, dictionary.grad)


def test_what_is_not_made_of_whole_blocks_is_convolved() -> None:
    for width, stride, channels in ((27, 1, 1), (28, 2, 1), (28, 1, 16)):
        canvas = torch.zeros(1, channels, 32, width + 4)
        assert isinstance(filter_bank(torch.zeros(2, channels, 5, 5), (stride, stride), canvas), FilterBank)


def test_autocast_outside_does_not_shorten_the_products() -> None:
    canvas, dictionary, _ = (t.float() for t in draw((8, 4, 5, 5, 1, 6, 7)))
    expected = filter_bank(dictionary, (1, 1), canvas).analysis(canvas)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(filter_bank(dictionary, (1, 1), canvas).analysis(canvas), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_float32_is_float32_on_a_gpu() -> None:
    canvas, dictionary, _ = (t.float() for t in draw((16, 28, 5, 5, 1, 28, 28)))
    exact = ops.analysis(canvas.double(), dictionary.double(), (1, 1))
    errors = {}
    for precision in ("float32", "tf32"):
        bank = filter_bank(dictionary.cuda(), (1, 1), canvas.cuda(), precision)
        errors[precision] = float((bank.analysis(canvas.cuda()).cpu() - exact).norm() / exact.norm())
    assert errors["float32"] < 1e-6
    assert errors["tf32"] < 2e-3
