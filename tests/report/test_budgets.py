from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from sparseguard import Experiment, Result
from sparseguard.report import (
    attackers_table,
    budget_curves,
    budgets_reading,
    budgets_summary,
    equal_accuracy_table,
    ladder_table,
)
from sparseguard.report.about import by_attack, by_defense
from sparseguard.report.budgets import at_accuracy, survives, turned
from sparseguard.report.compare import by_strength
from tests.report.test_report import fake


def cell(
    defense: str, psnr: float, seed: int = 0, accuracy: float = 0.9, gain: float = 0.04, images: int = 225,
    options: dict[str, Any] | None = None, **attack: Any,
) -> Result:  # fmt: skip
    one = fake(defense, seed, psnr, accuracy=accuracy, options=options)
    e = Experiment("mnist", "split", defense, scale="smoke", seed=seed, options=options or {}, **attack)
    told = one.details["attack"] | {"gains": {"rows": gain}, "capped": gain > 0.1}
    return replace(one, experiment=e, details=one.details | {"attack": told, "attack_images": images})


@pytest.fixture
def results() -> list[Result]:
    """Sparsity hides more from a small budget, noise from a large one."""
    found = []
    for seed, shift in ((0, -0.1), (1, 0.1)):
        for images, sparse, noise in ((225, 18.0, 20.0), (900, 21.0, 20.5), (3725, 24.0, 21.0)):
            size: dict[str, Any] = {} if images == 225 else {"holdout": images}
            found.append(cell("sparse_guard", sparse + shift, seed, gain=0.8, images=images, **size))
            found.append(cell("gaussian", noise + shift, seed, images=images, **size))
        for name, psnr in (("sparse_guard", 12.0), ("gaussian", 13.0)):
            found.append(cell(name, psnr + shift, seed, attack="nearest"))
        for updates, sparse, noise in ((16, 15.0, 18.0), (32, 17.0, 19.0)):
            found.append(cell("sparse_guard", sparse, seed, attack_options={"updates": updates}))
            found.append(cell("gaussian", noise, seed, attack_options={"updates": updates}))
    return found


def test_pairs_that_turn_round_are_named_once_in_the_order_they_had(results: list[Result]) -> None:
    of = {name: by_defense(group) for name, group in by_attack(results).items()}
    assert turned(of["inversion"], of["inversion holdout=3725"]) == [("sparse_guard lam=0.5", "gaussian sigma=0.5")]
    assert turned(of["inversion"], of["inversion holdout=900"]) == []  # 0.5 dB is no difference
    assert turned(of["inversion"], of["nearest"]) == []


def test_the_ladder_goes_up_and_says_where_the_order_turns(results: list[Result]) -> None:
    table = ladder_table(results)
    assert table.frame["attack"].tolist() == [
        "the mean image", "nearest", "inversion updates=16", "inversion updates=32", "inversion",
        "inversion holdout=900", "inversion holdout=3725",
    ]  # fmt: skip
    assert table.frame["sparse_guard lam=0.5"].tolist()[-1] == "24.0 ± 0.1 (0.50 ± 0.00)"
    sparse, noise = "sparse_guard lam=0.5", "gaussian sigma=0.5"
    orders = [f"{sparse}, {noise}"] * 4 + [f"{noise}, {sparse}"] * 2
    assert table.frame["order"].tolist()[1:] == orders
    # never by more than half a dB in one step
    assert table.frame["turned round"].tolist() == ["—", "—", *["0 of 1 pairs"] * 5]
    steep = ladder_table([r for r in results if r.experiment.holdout != 900])
    assert steep.frame["turned round"].tolist()[-1] == "1 of 1 pairs"
    assert "scale smoke" in table.caption
    assert "seeds 0, 1" in table.caption


def test_an_order_survives_if_the_last_doubling_once_more_does_not_turn_it() -> None:
    close = [cell("sparse_guard", 20.0, gain=0.8), cell("gaussian", 20.7, gain=0.0)]
    assert survives(close) == ([], [("sparse_guard lam=0.5", "gaussian sigma=0.5")])
    far = [cell("sparse_guard", 20.0, gain=0.8), cell("gaussian", 21.0, gain=0.0)]
    assert survives(far) == ([("sparse_guard lam=0.5", "gaussian sigma=0.5")], [])


def test_equal_accuracy_is_interpolated_between_strengths_and_not_beyond() -> None:
    noise = [
        cell("gaussian", psnr, accuracy=accuracy, options={"sigma": sigma})
        for sigma, psnr, accuracy in ((0.25, 24.0, 0.90), (1.0, 18.0, 0.80))
    ]
    (of,) = by_strength(noise).values()
    assert at_accuracy(of, 0.85) == pytest.approx(21.0)
    assert at_accuracy(of, 0.80) == pytest.approx(18.0)
    assert at_accuracy(of, 0.95) is None
    table = equal_accuracy_table([*noise, cell("sparse_guard", 20.0, accuracy=0.875)])
    assert table.frame["gaussian there"].tolist() == ["22.5"]
    beyond = equal_accuracy_table([*noise, cell("sparse_guard", 20.0, accuracy=0.7)])
    assert beyond.frame["gaussian there"].tolist() == ["—"]


def test_every_decoders_score_is_shown_and_who_was_still_gaining(results: list[Result]) -> None:
    table = attackers_table(results)
    row = table.frame.set_index("cell").loc["sparse_guard lam=0.5 under inversion holdout=3725"]
    assert row["rows"] == "20.0 ± 0.0 (64)"
    assert row["ridge"] == "10.0 ± 0.0"
    assert row["last doubling (dB)"] == "0.80 ± 0.00 †"
    assert table.frame.set_index("cell").loc["gaussian sigma=0.5"]["last doubling (dB)"] == "0.04 ± 0.00"


def test_curves_have_a_point_for_each_budget(results: list[Result]) -> None:
    images, updates = budget_curves(results).axes[:2]
    for axis, expected in ((images, [225, 900, 3725]), (updates, [16, 32, 64])):
        for container in axis.containers:
            assert isinstance(container, ErrorbarContainer)
            assert list(np.asarray(container.lines[0].get_xdata())) == expected
        assert len(axis.containers) == 2


def test_the_reading_says_which_order_survives(results: list[Result]) -> None:
    text = str(budgets_reading(results))
    assert "With 3725 hold-out images, from the defense that hides most: `gaussian sigma=0.5` 21.0 ± 0.1 dB" in text
    assert "From 225 to 3725 images the attacker gains, in dB: `sparse_guard lam=0.5` +6.0, `gaussian" in text
    assert "That turns round: `sparse_guard lam=0.5` / `gaussian sigma=0.5`." in text
    assert "1 of the 1 pairs" in text
    assert "From 32 to 64 updates turned round: no pair." in text
    assert "`gaussian sigma=0.5` 21.0 dB (`inversion holdout=3725`)" in text


def test_the_answer_names_what_was_tried_and_no_more(results: list[Result]) -> None:
    def told(of: list[Result]) -> str:
        return str(budgets_summary(of)).split("; ")[0].rpartition(". ")[2]

    usual = [r for r in results if r.experiment.attack_label == "inversion"]
    longer = [r for r in results if "updates" in r.experiment.attack_options]
    larger = [r for r in results if r.experiment.holdout == 900]
    turn = "round by more than 0.5 dB"
    assert told(results) == f"Longer training or more images turned 1 pair of defenses {turn}"
    assert told([*usual, *longer]) == f"Longer training turned no two defenses {turn}"
    assert told([*usual, *larger]) == f"More images turned no two defenses {turn}"
    assert told(usual) == "Neither more images nor longer training was tried"


def test_the_answer_says_what_a_longer_attack_gains_and_where_it_ends(results: list[Result]) -> None:
    assert "times the updates" not in str(budgets_summary(results)), "none was longer than the usual one"
    options = {"updates": 256}
    for seed in (0, 1):
        results.append(cell("sparse_guard", 18.5, seed, gain=0.3, attack_options=options))
        results.append(cell("gaussian", 20.0, seed, attack_options=options))
    text = str(budgets_summary(results))
    assert "4 times the updates gain 0.0 to 0.5 dB, and the attack then ends by itself in 1 of 2 rows." in text
