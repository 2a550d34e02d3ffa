"""What was interrupted gives the numbers of what was not, from wherever it was left."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparseguard import Experiment, resuming, trial
from sparseguard.access import BlackBox
from sparseguard.attacks import Holdout
from sparseguard.attacks.inversion import Inversion
from sparseguard.data import Split
from sparseguard.defenses import DEFENSES
from sparseguard.deployed import RESUMED
from sparseguard.priors.gan import train_gan
from sparseguard.resuming import Kept, into, rounds
from sparseguard.scales import SCALES
from sparseguard.store import Store

SMOKE = SCALES["smoke"]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Everything is kept as often as can be; the process ends when something was kept so many times."""
    keep, left = Kept.keep, [10**9]
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "SHARE", math.inf)

    def counted(self: Kept, note: Any) -> None:
        keep(self, note)
        left[0] -= 1
        if not left[0]:
            raise Killed

    monkeypatch.setattr(Kept, "keep", counted)

    def after(times: int) -> None:
        left[0] = times

    return after


def states(module: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def interrupted(folder: Path, work: Callable[[], list[Tensor]], killed_after: Callable[[int], None], step: int) -> int:
    """Run work as often as it takes, killed after so many keepings each time, and compare; how often it was killed."""
    torch.manual_seed(3)
    expected = [*work(), torch.get_rng_state()]
    kills = 0
    while True:
        killed_after(step)
        torch.manual_seed(3)
        try:
            with into(folder):
                found = [*work(), torch.get_rng_state()]
        except Killed:
            kills += 1
            torch.rand(17)  # whatever the next process did before
            continue
        assert len(found) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        return kills


@pytest.mark.parametrize("name", [*DEFENSES.members])
def test_a_target_is_the_same_wherever_its_training_was_interrupted(
    name: str, split: Split, tmp_path: Path, killed_after: Callable[[int], None]
) -> None:
    scale = replace(SMOKE, epochs=4, dp_epochs=4, gan_epochs=4, tuning_epochs=3)
    few = replace(split, train_images=split.train_images[:60], train_labels=split.train_labels[:60])

    def work() -> list[Tensor]:
        few.derived.clear()
        defense = DEFENSES.make(name, {})
        target = defense.build(few, "split", scale)
        defense.train(target, few, scale)
        facts = torch.tensor([value for fact, value in sorted(target.facts.items())])
        return [*states(target), *target.exhibits.values(), facts]

    assert interrupted(tmp_path, work, killed_after, 2) >= 1


def test_what_the_killed_process_had_at_hand_is_not_taken_for_the_target(
    split: Split, tmp_path: Path, killed_after: Callable[[int], None]
) -> None:
    """The public models of other cells: the next process trains them, and goes on with the target alone."""
    few = replace(split, train_images=split.train_images[:60], train_labels=split.train_labels[:60])
    scale = replace(SMOKE, epochs=4)

    def work() -> list[Tensor]:
        torch.manual_seed(3)
        target = DEFENSES.make("gong", {}).build(few, "split", scale)
        DEFENSES.make("gong", {}).train(target, few, scale)
        return states(target)

    few.derived.clear()
    expected = work()
    killed_after(2)
    counted_until_killed(tmp_path, work)
    few.derived.clear()
    killed_after(10**9)
    with into(tmp_path):
        assert all(torch.equal(a, b) for a, b in zip(work(), expected, strict=True))


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize(("decoders", "step"), [(("rows", "mixer"), 70), (("unet",), 13)])
def test_an_attack_is_the_same_wherever_it_was_interrupted(
    noise: float,
    decoders: tuple[str, ...],
    step: int,
    split: Split,
    tmp_path: Path,
    killed_after: Callable[[int], None],
) -> None:
    class Glass(nn.Module):
        def leak(self, x: Tensor) -> Tensor:
            return x + noise * torch.randn_like(x)

        forward = leak

    attack, scale = Inversion(decoders=decoders), replace(SMOKE, attack_updates=32, attack_hidden=8)
    images = split.held_images[:5]

    def work() -> list[Tensor]:
        fitted = attack.fit(BlackBox(Glass()), Holdout(split.attack_images, images), scale)  # type: ignore[arg-type]
        errors = torch.tensor([rung for course in fitted.details["courses"].values() for rung in course])
        return [errors, fitted.reconstruct(images)]

    assert interrupted(tmp_path, work, killed_after, step) >= 2


@pytest.mark.parametrize(
    ("attack", "options", "steps"),
    [
        ("refinement", {"decoders": ["mixer"], "updates": 32, "steps": 2}, (20, 4)),
        ("code_descent", {"decoders": ["mixer"], "updates": 32, "steps": 2}, (20, 8)),  # two trainings of decoders
        ("plug_and_play", {"batch": 3}, (6, 2)),
        ("plug_and_play_black_box", {"queries": 5000}, (2, 1)),
        ("leak_matching", {"steps": 4}, (2, 1)),
        ("leak_matching_black_box", {"queries": 5000}, (2, 2)),
        ("as_released", {"updates": 30, "batch": 16, "noise": True}, (3, 8)),
    ],
)
def test_a_cell_is_the_same_wherever_it_was_interrupted(
    attack: str,
    options: dict[str, Any],
    steps: tuple[int, int],
    tmp_path: Path,
    killed_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    front = {"front": "conv"} if attack == "code_descent" else {}
    cell = Experiment("mnist", "split", "gaussian", options=front, scale="smoke", attack=attack, attack_options=options)
    monkeypatch.setattr(trial, "BATCH", 100)
    expected, kills = cell.run(None, progress=False), 0
    while True:
        killed_after(steps[0] if kills < 1 else steps[1])
        trial._deployable.cache_clear()
        try:
            found = cell.run(Store(tmp_path), progress=False)
        except Killed:
            kills += 1
            assert kills < 100
            continue
        break
    assert kills >= 2
    compared = {name: value for name, value in found.details["attack"].items() if name != "curve"}
    assert compared == {name: value for name, value in expected.details["attack"].items() if name != "curve"}
    for name, value in expected.metrics.items():
        assert name.startswith("seconds") or found.metrics[name] == value, name
    assert torch.equal(found.reconstructions, expected.reconstructions)
    assert [*(tmp_path / RESUMED).iterdir()] == []


def test_a_gan_is_the_same_wherever_its_training_was_interrupted(
    split: Split, tmp_path: Path, killed_after: Callable[[int], None]
) -> None:
    def work() -> list[Tensor]:
        return states(train_gan(split.attack_images, split.attack_labels, 10, 5))

    assert interrupted(tmp_path, work, killed_after, 1) == 4


def counted_until_killed(folder: Path, work: Callable[[], Any]) -> None:
    with pytest.raises(Killed), into(folder):
        work()


def counting(done: list[int], count: int = 5) -> Tensor:
    model = nn.Linear(2, 1)
    for k in rounds(count, "loop", model):
        done.append(k)
        with torch.no_grad():
            model.weight += torch.rand(1, 2)
    return model.weight.detach().clone()


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "of another", "of another torch"])
def test_a_damaged_one_is_said_and_begins_anew(
    damage: str, tmp_path: Path, killed_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    expected = counting([])
    killed_after(3)
    torch.manual_seed(0)
    counted_until_killed(tmp_path, lambda: counting([]))
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    if damage == "of another":
        killed_after(1)
        counted_until_killed(tmp_path / "other", lambda: [*rounds(3, "loop", nn.Linear(3, 3))])
        data = (tmp_path / "other" / file.name).read_bytes()
    elif damage == "of another torch":
        monkeypatch.setattr(torch, "__version__", "0.4")
    else:
        data = {"cut": data[:-1], "changed": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "empty": b""}[damage]
    file.write_bytes(data)
    done: list[int] = []
    killed_after(10**9)
    torch.manual_seed(0)
    with into(tmp_path), pytest.warns(UserWarning, match="cannot be gone on with .*; its loop begins anew"):
        assert torch.equal(counting(done), expected)
    assert done == [0, 1, 2, 3, 4]


def test_it_goes_on_where_it_was_and_counts_the_seconds_that_are_not_lost(
    tmp_path: Path, killed_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    killed_after(3)

    def begun() -> None:
        now[0] = 10.0
        counting([])

    counted_until_killed(tmp_path, begun)
    now[0] = 1000.0
    done: list[int] = []
    killed_after(10**9)
    with into(tmp_path) as course:
        now[0] = 1003.0  # lost: what led to where it goes on
        counting(done)
        now[0] = 1005.0
        assert course.seconds == 12.0
    assert done == [3, 4]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, killed_after: Callable[[int], None]) -> None:
    killed_after(1)
    counting([])
    with into(None):
        counting([])


def test_a_full_disk_does_not_end_a_computation(
    tmp_path: Path, killed_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resuming, "write", full)
    done: list[int] = []
    with into(tmp_path), pytest.warns(UserWarning, match=r"cannot be kept \(No space left on device\)"):
        counting(done)
    assert done == [0, 1, 2, 3, 4]
