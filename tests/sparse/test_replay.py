"""The rules of replaying, with a recorder that needs no GPU: it computes into the recorded outputs again."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparseguard.sparse import SparseCoding2d, trajectory
from sparseguard.sparse.replay import Function, Replayer, Tensors
from sparseguard.sparse.schedules import lca_schedule


class Recorder:
    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, function: Function, inputs: Tensors) -> tuple[Tensors, Callable[[], object]]:
        self.recorded += 1
        outputs = function(*inputs)

        def again() -> None:
            for mine, new in zip(outputs, function(*inputs)):
                mine.copy_(new)

        return outputs, again


def sums(x: Tensor, y: Tensor) -> Tensors:
    return x + y, x - y


def test_a_replay_computes_with_what_it_is_given() -> None:
    recorder = Recorder()
    replayer = Replayer(recorder)
    kept = []
    for i in range(4):
        x, y = torch.randn(3, generator=torch.Generator().manual_seed(i)), torch.ones(3)
        kept.append((replayer(sums, (x, y), "sums"), (x + y, x - y)))
    assert recorder.recorded == 1  # from the second call on
    for mine, expected in kept:  # a later replay does not overwrite what was returned
        torch.testing.assert_close(mine, expected)


def test_another_key_shape_type_or_layout_is_another_recording() -> None:
    recorder = Recorder()
    replayer = Replayer(recorder)
    x = torch.ones(4, 4)
    for inputs, key in (((x, x), 1), ((x, x), 2), ((x[:2], x[:2]), 1), ((x.double(), x.double()), 1), ((x.t(), x), 1)):
        for _ in range(3):
            torch.testing.assert_close(replayer(sums, inputs, key), sums(*inputs))
    assert recorder.recorded == 5


def test_only_so_many_recordings_are_kept() -> None:
    recorder = Recorder()
    replayer = Replayer(recorder, most=2)
    x = torch.ones(2)
    for key in (1, 1, 2, 2, 1, 3, 3, 1, 1):  # 3 pushes 2 out, not 1, which was used since
        replayer(sums, (x, x), key)
    assert len(replayer.known) == 2
    assert recorder.recorded == 3


def test_what_cannot_be_recorded_is_computed_with_a_warning() -> None:
    def refuse(function: Function, inputs: Tensors) -> tuple[Tensors, Callable[[], object]]:
        raise RuntimeError("operation not permitted when stream is capturing")

    replayer = Replayer(refuse)
    x = torch.ones(2)
    replayer(sums, (x, x), 0)
    with pytest.warns(UserWarning, match="not recorded, and slower for it: operation not permitted"):
        torch.testing.assert_close(replayer(sums, (x, x), 0), sums(x, x))


def test_codes_follow_from_shapes_and_setting_alone(fashion: Tensor) -> None:
    """A trajectory recorded with some images and one dictionary is right for others."""
    replayer, schedule = Replayer(Recorder()), lca_schedule(0.5, 16.0, 8.0, 1e-2)
    setting = (0.25, schedule, (1, 1), True, "float32")
    for seed in range(3):
        torch.manual_seed(seed)
        layer = SparseCoding2d(1, 8, lam=0.25, tol=1e-2)
        canvas = layer.canvas(fashion[4 * seed : 4 * seed + 4]).contiguous(memory_format=torch.channels_last)
        expected = trajectory.integrate(canvas, layer.dictionary.detach(), 0.25, schedule, stride=(1, 1))
        mine = replayer(
            lambda c, d: trajectory._follow(c, d, setting),  # type: ignore[arg-type]
            (canvas, layer.dictionary.detach()), setting,
        )  # fmt: skip
        torch.testing.assert_close(mine, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.no_grad()
def test_a_gpu_replays_what_a_cpu_computes(fashion: Tensor) -> None:
    torch.manual_seed(0)
    for tau in (100.0, 1000.0):
        layer = SparseCoding2d(1, 16, lam=0.25, tau=tau)
        expected = [layer(part) for part in fashion.split(4)]
        layer.cuda()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a failed recording is one
            for part, code in zip(fashion.split(4), expected):
                mine = layer(part.cuda()).cpu()
                assert float((mine - code).norm() / code.norm()) < 1e-3
    assert any(trajectory.replayer.known.values())
