import pytest
import torch
from hypothesis import given

from sparseguard.sparse import operators as ops
from sparseguard.sparse.filterbank import FilterBank, filter_gradient
from tests.sparse.test_operators import draw, shapes


@given(shapes)
def test_the_filter_gradient_is_autograds(shape: tuple[int, ...]) -> None:
    canvas, dictionary, code = draw(shape)
    stride = (shape[4], shape[4])
    dictionary.requires_grad_()
    (ops.analysis(canvas, dictionary, stride) * code).sum().backward()
    bank = FilterBank(dictionary, stride, (canvas.shape[2], canvas.shape[3]))
    torch.testing.assert_close(bank.filter_gradient(canvas, code), dictionary.grad)
    torch.testing.assert_close(filter_gradient(dictionary, stride, canvas, code), dictionary.grad)


def test_autocast_outside_does_not_shorten_the_products() -> None:
    canvas, dictionary, _ = (t.float() for t in draw((8, 4, 5, 5, 1, 6, 7)))
    bank = FilterBank(dictionary, (1, 1), (canvas.shape[2], canvas.shape[3]))
    expected = bank.analysis(canvas)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(bank.analysis(canvas), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_float32_is_float32_on_a_gpu() -> None:
    canvas, dictionary, _ = (t.float() for t in draw((16, 28, 5, 5, 1, 28, 28)))
    exact = ops.analysis(canvas.double(), dictionary.double(), (1, 1))
    bank = FilterBank(dictionary.cuda(), (1, 1), (canvas.shape[2], canvas.shape[3]))
    assert float((bank.analysis(canvas.cuda()).cpu() - exact).norm() / exact.norm()) < 1e-6
