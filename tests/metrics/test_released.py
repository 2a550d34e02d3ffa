"""The released code's metrics: against scikit-image where only the range differs, and in closed form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from sparseguard.metrics import row_frechet
from sparseguard.metrics.released import as_released, released_psnr, released_ssim
from sparseguard.normalisation import standardised


def pair(count: int, channels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Standardised images and something near them, well outside [0, 1] both."""
    chance = torch.Generator().manual_seed(seed)
    images = 2 * torch.randn(count, channels, 14, 17, generator=chance)
    return images, images + 0.5 * torch.randn(images.shape, generator=chance) + 0.3


@given(count=st.integers(1, 5), channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_they_are_the_usual_ones_with_other_ranges(count: int, channels: int, seed: int) -> None:
    a, b = pair(count, channels, seed)
    span = max(float(b.max()), 0) - min(float(b.min()), 0)
    expected = peak_signal_noise_ratio(a.double().numpy(), b.double().numpy(), data_range=span)
    assert released_psnr(a, b) == pytest.approx(expected, abs=1e-6)
    similarities = [
        structural_similarity(
            x.double().numpy(), y.double().numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, channel_axis=0,
        )
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    assert released_ssim(a, b) == pytest.approx(float(np.mean(similarities)), abs=1e-6)


def test_the_peak_is_the_range_of_the_reconstruction_with_zero_in_it() -> None:
    original = torch.zeros(1, 1, 12, 12)
    assert released_psnr(original, torch.full_like(original, 2.0)) == pytest.approx(0.0)  # range 0 to 2, error 2^2
    assert released_psnr(original + 1, torch.full_like(original, -3.0)) == pytest.approx(20 * math.log10(3 / 4))
    assert released_psnr(original, original) == math.inf
    assert released_psnr(original + 1, original) == -math.inf  # a reconstruction without a range
    louder = [released_psnr(original, a * torch.randn(original.shape)) for a in (1.0, 100.0)]
    assert louder[1] == pytest.approx(louder[0], abs=3)  # noise is not punished for how loud it is


def test_unit_noise_scores_what_the_printed_sparse_rows_do() -> None:
    """The floor: noise that has seen no image, under these metrics and under the true one."""
    from sparseguard.data import load_data
    from sparseguard.metrics import psnr

    images = load_data("mnist", "smoke").train_images
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * 0.3081 + 0.1307
    found = as_released(images, noise)
    assert found["psnr_released"] == pytest.approx(15.6, abs=0.4)
    assert found["ssim_released"] == pytest.approx(0.0, abs=0.02)
    assert float(psnr(images, noise).mean()) < 10.5


def test_the_mean_is_of_batches_and_nothing_is_clipped() -> None:
    a, b = (part.abs() / 4 for part in pair(5, 1, 3))
    found = as_released(a, b, batch_size=3)
    parts = [(standardised(a[:3]), standardised(b[:3])), (standardised(a[3:]), standardised(b[3:]))]
    assert found["psnr_released"] == pytest.approx(sum(released_psnr(*part) for part in parts) / 2)
    assert found["ssim_released"] == pytest.approx(sum(released_ssim(*part) for part in parts) / 2)
    assert found["row_frechet_released"] == row_frechet(a, b, 3)
    assert as_released(a, b.clamp(0, 1), 3)["psnr_released"] != found["psnr_released"]
