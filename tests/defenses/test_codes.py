from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparseguard import SparseCoding2d, ondisk
from sparseguard.defenses import codes
from sparseguard.ondisk import OnDisk
from sparseguard.places import home


class Counted(SparseCoding2d):
    """A layer that counts the images that it codes, and breaks off when it has coded so many."""

    coded, most = 0, 10**9

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        if self.coded + len(x) > self.most:
            raise KeyboardInterrupt
        self.coded += len(x)
        return super().forward(x, start)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Counted:
    monkeypatch.setattr(codes, "CHUNK", 3)
    torch.manual_seed(0)
    return Counted(1, 4, 3, lam=0.3, iterations=20).requires_grad_(False)


def places() -> list[Path]:
    return sorted((home() / ".codes").glob("*"))


def test_codes_on_disk_are_those_in_memory_and_a_killed_run_goes_on(
    layer: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(10, 1, 6, 5)
    known = codes.encode(layer, images)
    assert type(known) is Tensor
    assert places() == []
    monkeypatch.setattr(ondisk, "IN_MEMORY", 100)
    layer.coded, layer.most = 0, 7
    with pytest.raises(KeyboardInterrupt):
        codes.encode(layer, images)
    layer.coded, layer.most = 0, 10**9
    lying = codes.encode(layer, images)
    assert isinstance(lying, OnDisk)
    assert layer.coded == 4  # six were there
    assert torch.equal(lying[:], known)
    assert torch.equal(codes.encode(layer, images)[torch.tensor([9, 0])], known[[9, 0]])
    assert layer.coded == 4
    (place,) = places()
    (place / "codes").write_bytes((place / "codes").read_bytes()[:-1])  # a truncated file is coded anew
    assert torch.equal(codes.encode(layer, images)[:], known)
    assert layer.coded == 14


def test_another_dictionary_other_images_or_another_lambda_are_coded_anew(
    layer: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ondisk, "IN_MEMORY", 100)
    images = torch.rand(5, 1, 6, 5)
    codes.encode(layer, images)
    codes.encode(layer, images.flip(0))
    layer.lam = 0.2
    codes.encode(layer, images)
    layer.dictionary.copy_(layer.dictionary.flip(0))
    codes.encode(layer, images)
    assert len(places()) == 4
    assert layer.coded == 20
