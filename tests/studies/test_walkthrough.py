import pytest
import torch

from sparseguard import BlackBox, Experiment, load_data
from sparseguard.deployed import train_target
from sparseguard.studies.walkthrough import walk_through


def test_an_image_goes_through_the_trained_target_and_back_through_the_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment("mnist", "split", "sparse_guard", scale="smoke", fid=False)
    stages = walk_through(experiment)
    assert [stage.name for stage in stages[:-1]] == [
        "image", "sparse code 1", "batch norm 1", "sparse code 2", "batch norm 2", "leak",
    ]  # fmt: skip
    assert [stage.side for stage in stages] == ["target"] * 5 + ["leak", "attack"]
    assert [tuple(stage.values.shape) for stage in stages] == [
        (1, 28, 28), (4, 28, 28), (4, 28, 28), (6, 28, 28), (6, 28, 28), (6, 28, 8), (1, 28, 28),
    ]  # fmt: skip
    split = load_data("mnist", "smoke", 0)
    assert torch.equal(stages[0].values, split.held_images[0])  # no private image
    box = BlackBox(train_target(experiment, split, "cpu"))
    torch.testing.assert_close(stages[5].values, box.query(split.held_images[:1])[0])
    assert 0 <= stages[-1].values.min() <= stages[-1].values.max() <= 1

    monkeypatch.setattr("sparseguard.studies.walkthrough._walk", lambda _: pytest.fail("computed again"))
    again = walk_through(experiment)
    assert [s.name for s in again] == [s.name for s in stages]
    assert all(torch.equal(a.values, b.values) for a, b in zip(again, stages))
