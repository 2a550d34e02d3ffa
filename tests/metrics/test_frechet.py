from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy.linalg import sqrtm

from sparseguard.metrics import fid, fid_obstacle, frechet_distance, row_frechet
from sparseguard.metrics import frechet as module


def test_closed_form_of_axis_aligned_gaussians() -> None:
    """With diagonal covariances: ||mu||^2 + sum (sigma_a - sigma_b)^2."""
    corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]) * np.sqrt(3 / 4)  # unit sample covariance
    a, b = corners * [1.0, 2.0], corners * [3.0, 2.5] + [1.0, -2.0]
    assert frechet_distance(a, b) == pytest.approx(5.0 + 4.0 + 0.25)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:The .disp. argument:DeprecationWarning")
@given(st.integers(2, 12), st.integers(0, 99))
def test_agrees_with_pytorch_fid(dimensions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(60, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    b = rng.normal(size=(50, dimensions)) + 1
    expected = calculate_frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_singular_covariances_need_no_regularisation() -> None:
    a = np.zeros((10, 5))
    a[:, 0] = np.arange(10)
    assert frechet_distance(a, a + 2.0) == pytest.approx(20.0)


def test_row_frechet_is_the_released_codes_quantity() -> None:
    """Written out once more, with scipy's matrix root, on smooth images whose rows have full-rank covariance."""
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(70, 1, 12, 6, generator=g), 0.3 * torch.rand(70, 1, 12, 6, generator=g) + 0.2
    values = []
    for start in (0, 64):
        rows = []
        for images in (a, b):
            batch = images[start : start + 64].numpy()
            scaled = (255 * (batch - batch.min()) / (batch.max() - batch.min())).astype(np.uint8)
            rows.append(scaled[0][0].astype(float))
        covs = [np.cov(r, rowvar=False) for r in rows]
        root = sqrtm(covs[0] @ covs[1]).real
        means = rows[0].mean(0) - rows[1].mean(0)
        values.append(means @ means + np.trace(covs[0] + covs[1] - 2 * root))
    assert row_frechet(a, b) == pytest.approx(np.mean(values) / 1000, rel=1e-4)


def test_row_frechet_of_identical_and_constant_images() -> None:
    images = torch.rand(5, 1, 8, 8)
    assert row_frechet(images, images) == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(row_frechet(images, torch.zeros_like(images)))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty torch hub cache, and no network."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    yield tmp_path
    torch.hub.set_dir(before)


@pytest.mark.parametrize("download", [False, True])
def test_fid_without_weights_is_none_and_says_how_to_get_them(hub: Path, download: bool) -> None:
    images = torch.rand(2048, 1, 4, 4)
    value, reason = fid(images, images, download=download)
    assert value is None
    assert reason is not None
    assert "Inception weights" in reason
    assert str(hub) in reason


def test_fid_needs_as_many_images_as_features(hub: Path) -> None:
    value, reason = fid(torch.rand(100, 1, 4, 4), torch.rand(100, 1, 4, 4))
    assert value is None
    assert reason == "FID needs at least 2048 images, as many as Inception has features, not 100."


def place_weights(hub: Path) -> None:
    """pytorch-fid's network with seeded random weights, where the real ones would lie."""
    from pytorch_fid import inception

    torch.manual_seed(0)
    network = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    network.Mixed_5b = inception.FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = inception.FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = inception.FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = inception.FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = inception.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = inception.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = inception.FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = inception.FIDInceptionE_1(1280)
    network.Mixed_7c = inception.FIDInceptionE_2(2048)
    path = module.inception_weights()
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)


def test_fid_with_cached_weights_is_pytorch_fids_number(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_fid.inception import InceptionV3

    place_weights(hub)
    monkeypatch.setattr(module, "INCEPTION_MINIMUM", 6)
    a, b = torch.rand(6, 1, 28, 28), torch.rand(6, 1, 28, 28)
    assert fid_obstacle(6, download=False) is None
    value, reason = fid(a, b)
    assert reason is None
    network = InceptionV3([3]).eval()
    with torch.no_grad():
        features = [network(x.expand(-1, 3, -1, -1))[0].flatten(1).double().numpy() for x in (a, b)]
    assert value == pytest.approx(frechet_distance(*features), rel=1e-4)


def test_damaged_weights_are_a_sentence(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = module.inception_weights()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a checkpoint")
    value, reason = fid(torch.rand(2048, 1, 4, 4), torch.rand(2048, 1, 4, 4))
    assert value is None
    assert reason is not None
    assert "could not be loaded" in reason


def test_weights_that_would_run_code_are_refused(hub: Path, tmp_path: Path) -> None:
    """Nothing is unpickled: a checkpoint with anything but tensors in it does not run."""

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path(tmp_path / "ran").touch, ())  # type: ignore[return-value]

    path = module.inception_weights()
    path.parent.mkdir(parents=True)
    torch.save({"x": Payload()}, path)
    value, _ = fid(torch.rand(2048, 1, 4, 4), torch.rand(2048, 1, 4, 4))
    assert value is None
    assert not (tmp_path / "ran").exists()
