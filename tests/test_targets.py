import pytest
import torch
from torch import nn

from sparseguard import BlackBox
from sparseguard.data import Split
from sparseguard.defenses.base import Defense
from sparseguard.scales import SCALES
from sparseguard.targets import Target

SMOKE = SCALES["smoke"]


def dense_layers(target: Target) -> list[nn.Linear]:
    return [m for m in target.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(("setting", "total", "before_leak"), [("end_to_end", 5, 4), ("split", 3, 1)])
def test_number_of_dense_layers_and_where_it_leaks(setting: str, total: int, before_leak: int, split: Split) -> None:
    target = Defense().build(split, setting, SMOKE)
    assert len(dense_layers(target)) == total
    assert sum(isinstance(m, nn.Linear) for m in target.body) == before_leak
    x = split.train_images[:3]
    leak = target.leak(x)
    assert leak.shape == (3, 1, 28, SMOKE.width)  # along the width: each row keeps its place
    torch.testing.assert_close(target(x), target.head(leak))


def test_dense_layers_act_row_by_row(split: Split) -> None:
    target = Defense().build(split, "end_to_end", SMOKE)
    x = split.train_images[:1].clone()
    y = x.clone()
    y[:, :, 5] = torch.rand(28)
    changed = (target.leak(x) != target.leak(y)).any(dim=3).flatten()
    assert changed.nonzero().flatten().tolist() == [5]


def test_an_unknown_setting_is_named(split: Split) -> None:
    with pytest.raises(ValueError, match="setting must be one of end_to_end, split, not 'federated'"):
        Defense().build(split, "federated", SMOKE)


def test_a_black_box_holds_no_module_parameter_or_gradient(split: Split) -> None:
    """Invariant 1: nothing of the target is within reach of an attack."""
    box = BlackBox(Defense().build(split, "split", SMOKE))
    public = [getattr(box, name) for name in dir(box) if not name.startswith("_")]
    assert not hasattr(box, "__dict__")
    assert all(callable(item) and not isinstance(item, nn.Module) for item in public)
    images = split.train_images[:2].clone().requires_grad_()
    assert not box.query(images).requires_grad
    assert not box.classify(images).requires_grad


def test_a_black_box_is_deployed_once_and_for_all(split: Split) -> None:
    """Invariant 2: inference mode whatever the original's mode, and later training changes nothing."""
    target = Defense(front="conv").build(split, "split", SMOKE).train()
    box = BlackBox(target)
    x = split.train_images[:4]
    first = box.query(x)
    torch.testing.assert_close(box.query(x[:1]), first[:1])  # batch norm would mix images in training mode
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.add_(1.0)
    target.train()
    torch.testing.assert_close(box.query(x), first, rtol=0, atol=0)
    assert target.training


def test_batches_do_not_change_the_answer(split: Split) -> None:
    target = Defense().build(split, "split", SMOKE)
    x = split.train_images[:7]
    torch.testing.assert_close(BlackBox(target, batch_size=2).query(x), BlackBox(target).query(x))


def test_changing_a_leak_in_place_changes_nothing_else(split: Split) -> None:
    box = BlackBox(Defense().build(split, "split", SMOKE))
    before = box.query(split.train_images[:2])
    kept = before.clone()
    before.zero_()
    torch.testing.assert_close(box.query(split.train_images[:2]), kept)
