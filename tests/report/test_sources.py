"""Claims in printed numbers, in the released procedure's, and in sound ones."""

from pathlib import Path

import pytest

from sparseguard import Experiment
from sparseguard.paper import Claim, Contrast, claims
from sparseguard.report import Evidence, judge_claims, near_table, released_rows, sources_table
from sparseguard.report.front import AsPrinted, AsReleased, as_claimed
from sparseguard.store import Store

GUARD = [{"defense": "sparse_guard", "lam": 0.5}]


def claim(relation: str, metric: str = "psnr", than: list[object] | None = None, attack: str = "inversion") -> Claim:
    test = Contrast(GUARD, relation, [metric], than=than or ["none"], settings=["split"], attack=attack)
    return Claim("1", "a quote", "something", compare=[test])


@pytest.mark.parametrize(
    ("relation", "metric", "found"),
    [
        ("lower", "psnr", (1, 1)),  # 14.98 and 31.21
        ("higher", "psnr", (0, 1)),
        ("higher", "frechet", (1, 1)),  # 307.7 and 19.64
        ("not_lower", "accuracy", (1, 1)),  # 0.975 and 0.963
        ("same", "accuracy", (1, 1)),  # by 0.012
        ("same", "ssim", (0, 1)),
        ("lower", "judge_accuracy", (0, 0)),  # nothing is printed
    ],
)
def test_printed_numbers_answer_for_themselves(relation: str, metric: str, found: tuple[int, int]) -> None:
    assert as_claimed(claim(relation, metric), AsPrinted("mnist", "quick", [0])) == found


def test_printed_numbers_stand_under_the_papers_attacks_alone() -> None:
    printed = AsPrinted(["mnist"], "quick", [0])
    assert as_claimed(claim("lower", attack="nearest"), printed) == (0, 0)
    assert as_claimed(claim("lower", than=["none_conv"]), printed) == (0, 0)


def test_the_central_claim_is_in_every_printed_number() -> None:
    assert as_claimed(claims()[0], AsPrinted(["mnist", "fashion_mnist"], "quick", [0])) == (180, 180)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The released procedure on two targets, and its last step on one of them, planted."""
    kept = Store(tmp_path)
    for defense, options, psnr, accuracy in (("none", {}, 30.0, 0.9), ("sparse_guard", {"tau": 100.0}, 15.0, 0.8)):
        e = Experiment("mnist", "split", defense, scale="smoke", options=options, attack="as_released")
        record, arrays = Experiment(scale="smoke").run(None, progress=False).dump()
        told = {
            "psnr": 99.0,
            "psnr_released": psnr,
            "accuracy": accuracy,
            "ssim_released": 0.1,
            "row_frechet_released": 9.0,
        }
        kept.save(e.key(), record | {"metrics": record["metrics"] | told}, arrays)
    return kept


def test_the_released_procedure_is_asked_at_its_own_time_constant(store: Store) -> None:
    released = AsReleased(["mnist"], "smoke", [0, 1], store=store)
    assert as_claimed(claim("lower"), released) == (1, 1)  # 15 and 30 by its own metric; seed 1 was not computed
    assert as_claimed(claim("not_lower", "accuracy"), released) == (0, 1)
    assert as_claimed(claim("lower", attack="nearest"), released) == (0, 0)
    assert as_claimed(claim("lower", than=["laplace"]), released) == (0, 0)


def test_the_table_puts_three_answers_beside_each_other(store: Store) -> None:
    evidence = Evidence(["mnist"], "smoke", [0, 1], store=store)
    table = sources_table(judge_claims([claim("lower")], evidence), evidence)
    (row,) = table.frame.to_dict("records")
    assert (row["printed"], row["as released"], row["sound"]) == ("1 of 1", "1 of 1", "—")
    rows = released_rows(evidence)
    assert [r.experiment.defense for r in rows] == ["none", "sparse_guard"]
    (row,) = near_table(rows).frame.to_dict("records")
    assert (row["SSIM, as released"], row["SSIM, as written"]) == ("0 of 2", "—")  # nothing as written
