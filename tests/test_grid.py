import pytest

from sparseguard.grid import cells


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
