"""Shared fixtures; results of tests never land in the user's store."""

import os
from pathlib import Path

# test processes run side by side, a core each, and so do the programs that they start
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "SPARSEGUARD_JOBS": "1"}
os.environ.setdefault("XDG_CACHE_HOME", str(Path("~/.cache").expanduser()))  # compiled code, whatever HOME is given

import pytest
import torch
from hypothesis import settings

from sparseguard.data import Split, load_data

settings.register_profile("sparseguard", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("sparseguard")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEGUARD_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def split() -> Split:
    return load_data("mnist", "smoke", 0)


@pytest.fixture(scope="session")
def fashion() -> torch.Tensor:
    """Real images, ``(16, 1, 28, 28)``."""
    return load_data("fashion_mnist", "smoke", 0).train_images[:16]
