from pathlib import Path

import pytest

from sparseguard import Result
from sparseguard.grid import cells, run_grid, settling_cells


def labels(*defenses: object, lams: list[float] | None = None) -> list[str]:
    return [e.label for e in cells("mnist", "split", defenses, lams or [0.1, 0.5], "smoke", 0)]


def test_strengths_make_a_row_each() -> None:
    assert labels({"defense": "laplace", "strengths": [0.25, 1]}) == ["laplace b=0.25", "laplace b=1.0"]
    assert labels({"defense": "sparse_guard", "strengths": [0.3]}) == ["sparse_guard lam=0.3"]
    assert labels("sparse_guard") == ["sparse_guard lam=0.1", "sparse_guard lam=0.5"]
    assert labels({"defense": "sparse_guard", "lam": [0.1, 0.5]}) == ["sparse_guard lam=(0.1, 0.5)"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"defense": "none", "strengths": [1.0]}, "an entry with several strengths has no strength"),
        ({"defense": "laplace", "b": 1.0, "strengths": [0.5]}, "states its b already"),
        ({"defense": "laplace", "strengths": []}, "strengths must name at least one value"),
        ({"defense": "laplace", "strengths": [0.5, 0.5]}, "twice"),
        ({"defense": "laplace", "strengths": [-1.0]}, "b must be a finite number greater than 0"),
        ({"b": 1.0}, "a name or a mapping with the key 'defense'"),
    ],
)
def test_wrong_entries_are_named(entry: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels(entry)


def test_settling_starts_with_the_controls_and_ends_at_the_minimum() -> None:
    found = settling_cells("mnist", "split", [2.0, 0.5], 0.5, "smoke", [0, 1])
    assert [e.label for e in found[::2]] == [
        "none_conv",
        "none_frozen_conv",
        "sparse_guard lam=0.5 tau=1000",
        "sparse_guard lam=0.5 tau=250",
        "sparse_guard lam=0.5",
    ]
    assert {e.seed for e in found} == {0, 1}
    assert found[-1] in cells("mnist", "split", "sparse_guard", [0.1, 0.5], "smoke", [0, 1])  # so it is run once
    assert settling_cells("mnist", "split", [], 0.5, "smoke", 0) == []
    assert len(settling_cells("mnist", "split", 0.5, 0.5, "smoke", 0)) == 4


@pytest.mark.parametrize(
    ("times", "message"),
    [([0.0], "settle must be a finite number greater than 0, not 0.0"), ([1.0, 1.0], "twice")],
)
def test_wrong_times_are_named(times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settling_cells("mnist", "split", times, 0.5, "smoke", 0)


def test_what_is_not_to_be_measured_is_left_out_and_nothing_at_all_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = cells("mnist", "split", ["none", "none_conv"], 0.5, "smoke", 0, "nearest")
    with pytest.raises(
        ValueError, match=r"none of the 2 cells \(mnist, split, scale smoke\) has been measured; measure="
    ):
        run_grid(planned, str(tmp_path), measure=False)
    assert run_grid([], str(tmp_path), measure=False) == []
    done = planned[1].run(str(tmp_path))
    found = run_grid(planned, str(tmp_path), measure=False)
    assert [r.experiment for r in found] == [planned[1]]
    assert found[0].metrics == done.metrics
    monkeypatch.setattr(Result, "fid_can_be_had_now", lambda self: True)
    assert run_grid(planned, str(tmp_path), measure=False)[0].metrics == done.metrics, "what was measured is shown"
