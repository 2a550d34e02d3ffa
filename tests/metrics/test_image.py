import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sparseguard.metrics import psnr, ssim


def pair(n: int, c: int, h: int, w: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(h * w + c)
    a = torch.rand(n, c, h, w, generator=g)
    return a, (a + noise * torch.randn(n, c, h, w, generator=g)).clamp(0, 1)


sizes = st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(11, 30), st.integers(11, 30))


@given(sizes, st.floats(0.01, 1.0))
def test_psnr_is_scikit_images(size: tuple[int, int, int, int], noise: float) -> None:
    a, b = pair(*size, noise)
    expected = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1) for x, y in zip(a, b)]
    np.testing.assert_allclose(psnr(a, b).numpy(), expected, atol=1e-4)


@given(sizes, st.floats(0.01, 1.0), st.booleans())
def test_ssim_is_scikit_images(size: tuple[int, int, int, int], noise: float, gaussian: bool) -> None:
    a, b = pair(*size, noise)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if gaussian else {}
    expected = [
        structural_similarity(x.double().numpy(), y.double().numpy(), data_range=1, channel_axis=0, **options)
        for x, y in zip(a, b)
    ]
    np.testing.assert_allclose(ssim(a, b, gaussian_weights=gaussian).numpy(), expected, atol=1e-4)


def test_closed_forms() -> None:
    black, grey = torch.zeros(2, 1, 16, 16), torch.full((2, 1, 16, 16), 0.1)
    torch.testing.assert_close(psnr(black, grey), torch.full((2,), 20.0, dtype=torch.float64))
    assert bool(torch.isinf(psnr(grey, grey)).all())
    torch.testing.assert_close(ssim(grey, grey), torch.ones(2, dtype=torch.float64))
    # two constant images: structure is 1, luminance (2ab + c1) / (a^2 + b^2 + c1)
    expected = (2 * 0.5 * 0.1 + 1e-4) / (0.25 + 0.01 + 1e-4)
    torch.testing.assert_close(ssim(torch.full_like(grey, 0.5), grey), torch.full((2,), expected, dtype=torch.float64))


def test_images_are_clipped_and_scored_one_by_one() -> None:
    """Invariant 4: values outside [0, 1] count as 0 and 1; one value an image."""
    a, b = pair(3, 1, 16, 16, 0.3)
    wild = b.clone()
    wild[b == 0] -= 5
    wild[b == 1] += 5
    for metric in (psnr, ssim):
        values = metric(a, wild)
        assert values.shape == (3,)
        torch.testing.assert_close(values, metric(a, b))
        torch.testing.assert_close(values[1:2], metric(a[1:2], b[1:2]))


def test_bad_images_are_named() -> None:
    a = torch.rand(2, 1, 16, 16)
    with pytest.raises(ValueError, match="one shape"):
        psnr(a, a[:1])
    with pytest.raises(ValueError, match="NaN"):
        ssim(a, a * float("nan"))
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(a[..., :8], a[..., :8])
