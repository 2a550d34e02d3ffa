"""A target is trained once for all that attack it, and comes out of the store the same."""

import os
import time
from pathlib import Path
from threading import Thread

import pytest
import torch
from torch import nn

from sparseguard import Experiment, deployed, metrics, resuming, trial
from sparseguard.data import Split
from sparseguard.defenses import DEFENSES
from sparseguard.deployed import KEPT, RESUMED, deployable
from sparseguard.grid import cells
from sparseguard.leases import held
from sparseguard.store import LEASES, Store
from sparseguard.targets import Target

OPTIONS: dict[str, dict[str, object]] = {
    "gaussian": {"relative": True}, "laplace": {"relative": True}, "sparse_standard": {"train_first": False},
    "sparse_guard": {"dictionary": "submodular", "solver": "single"},
}  # fmt: skip


def never(*_: object) -> Target:
    raise AssertionError("trained again")


@pytest.mark.parametrize("name", [*DEFENSES.members])
def test_every_defense_is_put_together_as_it_was(
    name: str, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment("mnist", "split", name, scale="smoke", options=OPTIONS.get(name, {}))
    monkeypatch.setattr(resuming, "EVERY", 0.0)  # so that there is something to be removed
    trained, seconds = deployable(experiment, split, "cpu", tmp_path)
    monkeypatch.setattr(deployed, "train_target", never)
    again, told = deployable(experiment, split, "cpu", tmp_path)
    assert (told, again.facts) == (seconds, trained.facts)
    assert again is not trained
    assert not again.training
    torch.manual_seed(0)
    leak = trained.leak(split.held_images)
    torch.manual_seed(0)
    assert torch.equal(again.leak(split.held_images), leak)
    assert all(torch.equal(again.exhibits[key], made) for key, made in trained.exhibits.items())
    assert [*(tmp_path / RESUMED).iterdir()] == []


def test_what_does_not_come_out_the_same_is_trained_again(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defense of a user's, say, that puts its noise in place while it trains."""

    class Louder(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    plain = deployed.train_target

    def louder(experiment: Experiment, split: Split, device: str) -> Target:
        target = plain(experiment, split, device)
        target.noise = Louder()
        return target

    monkeypatch.setattr(deployed, "train_target", louder)
    experiment = Experiment("mnist", "split", "none", scale="smoke")
    for _ in range(2):
        assert isinstance(deployable(experiment, split, "cpu", tmp_path)[0].noise, Louder)
    assert Store(tmp_path / KEPT).names() == []


@pytest.mark.parametrize(("most", "kept"), [(400, "abcd"), (250, "acd"), (0, "ad")])
def test_the_targets_kept_first_go_where_all_take_too_much(most: int, kept: str, tmp_path: Path) -> None:
    """100 bytes each; ``d`` is the latest, ``a`` the oldest and in use."""
    for at, name in enumerate("abcd"):
        cell = tmp_path / KEPT / name
        cell.mkdir(parents=True)
        (cell / "arrays.safetensors").write_bytes(bytes(100))
        os.utime(cell, (at, at))
    with held(tmp_path / LEASES, "a"):
        deployed._bound(tmp_path, most)
    assert Store(tmp_path / KEPT).names() == [*kept]


def test_a_target_that_alone_takes_more_than_the_room_is_kept(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployed, "ROOM", 0)
    for seed in (0, 1):
        deployable(Experiment("mnist", "split", "none", scale="smoke", seed=seed), split, "cpu", tmp_path)
        assert len(Store(tmp_path / KEPT).names()) == 1


def test_an_attack_in_another_process_has_the_target_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cells("mnist", "split", "gaussian", 0.5, "smoke", 0, ["nearest", "inversion"])
    expected = second.run(None, progress=False)
    one = first.run(Store(tmp_path), progress=False)
    for kept in (trial._deployable, trial._judged_split):
        kept.cache_clear()
    monkeypatch.setattr(deployed, "train_target", never)
    monkeypatch.setattr(metrics, "train_judge", never)
    found = second.run(Store(tmp_path), progress=False)
    for name in ("psnr", "judge_accuracy", "fd_judge"):
        assert found.metrics[name] == expected.metrics[name]
    assert torch.equal(found.reconstructions, expected.reconstructions)
    assert found.metrics["seconds_target"] == one.metrics["seconds_target"]


def test_what_is_held_by_another_is_not_waited_for_unless_it_is_told_to(tmp_path: Path) -> None:
    experiment = Experiment("mnist", "split", "none", scale="smoke", attack="nearest")
    with held(tmp_path / LEASES, experiment.key()), pytest.raises(BlockingIOError, match="another process"):
        experiment.run(Store(tmp_path), progress=False, wait=False)
    assert experiment.run(Store(tmp_path), progress=False, wait=False).experiment == experiment


def test_what_another_computed_while_it_was_waited_for_is_read(tmp_path: Path) -> None:
    experiment, store = Experiment("mnist", "split", "none", scale="smoke", attack="nearest"), Store(tmp_path)
    record, arrays = experiment.run(None, progress=False).dump()
    found: list[float | None] = []
    with held(tmp_path / LEASES, experiment.key()):
        waiting = Thread(target=lambda: found.append(experiment.run(store, progress=False).metrics["psnr"]))
        waiting.start()
        time.sleep(1.0)  # it has seen that the store lacks it, and waits
        store.save(experiment.key(), record | {"metrics": record["metrics"] | {"psnr": 99.0}}, arrays)
    waiting.join()
    assert found == [99.0]
