"""Tables, pictures and readings of the protocol audit, on numbers that were planted."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from sparseguard import Experiment, Result
from sparseguard.report import (
    audited,
    near_table,
    protocol_reading,
    protocol_summary,
    protocol_table,
    updates_figure,
    waterfall_attacks,
    waterfall_figure,
    waterfall_table,
)
from sparseguard.report.protocol import STEPS, UNTRAINED, WRITTEN, near, waterfall
from sparseguard.result import METRICS, OF_VICTIM

ONE = "none"


def planted(attack: str, seed: int, options: Mapping[str, Any] | None = None, **given: float | None) -> Result:
    cell = Experiment("mnist", "split", ONE, attack=attack, seed=seed, attack_options=options or {})
    names = METRICS if attack == "inversion" else (*METRICS, *OF_VICTIM)
    told = {"attacker": "random network", "capped": False, "curve": [[1, 0.1], [2, 0.05], [4, 0.01]], "gains": {}}
    details = {
        "attack": told, "attack_images": 225, "train_images": 1050, "device": "cpu", "facts": {}, "notes": {},
    }  # fmt: skip
    image = torch.zeros(1, 1, 28, 28)
    metrics: dict[str, float | None] = dict.fromkeys(names, 0.5)
    return Result(cell, metrics | given, {}, image, image, details, {})


@pytest.fixture
def results() -> list[Result]:
    """``none``: 31 dB as released (printed: 31.21), 20 dB as written, 37 dB attacked, each step worth something."""
    made = []
    for seed in (0, 1):
        for place, step in enumerate(STEPS):
            if place and step.options == STEPS[place - 1].options:
                continue
            numbers: dict[str, float | None] = {
                "psnr": 40.0 - place, "psnr_released": 31.0 - 2 * place + seed * 0.2, "ssim_released": 0.9,
                "row_frechet_released": 100.0, "accuracy": 0.9, "accuracy_after": 0.4,
            }  # fmt: skip
            made.append(planted("as_released", seed, dict(step.options), **numbers))
        nothing: dict[str, float | None] = {
            "psnr_released": 15.0, "ssim_released": 0.01, "row_frechet_released": 19.0, "accuracy": 0.9,
        }  # fmt: skip
        made.append(planted("as_released", seed, dict(UNTRAINED.options), **nothing))
        made.append(planted("inversion", seed, psnr=37.0 + seed, ssim=0.99))
        made.append(planted("refinement", seed, psnr=30.0, ssim=0.99))
    return made


def test_each_step_keeps_those_before_it_and_changes_one_thing() -> None:
    ends = [dict(step.options) for step in (STEPS[0], WRITTEN, UNTRAINED)]
    assert [e.attack_options for e in audited("mnist", ["split"], ["none"], "smoke", [0])] == ends
    asked = audited("mnist", ["split"], ["dp_sgd"], "smoke", [0])
    assert [e.attack_options for e in asked] == ends[1:], "in its released files nothing is trained"
    for before, step in pairwise(STEPS):
        assert before.options.items() <= step.options.items()
        changed = set(step.options) - set(before.options)
        assert len(changed) + (step.metric != before.metric) in (1, 2)
        assert (step.metric != before.metric) == (changed == set())
    assert len(waterfall_attacks()) == len(STEPS) - 1  # true metrics are of the same cells
    assert WRITTEN.options == {
        "train_attacker": True, "change_target": False, "noise": True, "batch": 1, "half": False, "decay": 0.0,
    }  # fmt: skip


def test_a_row_puts_printed_released_written_and_attacked_side_by_side(results: list[Result]) -> None:
    (row,) = protocol_table(results).frame.to_dict("records")
    assert row["PSNR printed"] == "31.21"
    assert row["PSNR untrained"] == "15.00 ± 0.00"
    assert row["PSNR as released"] == "31.10 ± 0.14"
    assert row["PSNR as written"] == "19.10 ± 0.14"
    assert row["PSNR true"] == "34.00 ± 0.00"
    assert row["PSNR attacked"] == "37.50 ± 0.71"  # the strongest of the two
    assert row["accuracy, before → after"] == "0.900 ± 0.000 → 0.400 ± 0.000"
    assert row["Fréchet (10³) printed"] == "19.6"
    alone = protocol_table(
        [r for r in results if r.experiment.attack_options == {} and r.experiment.attack == "as_released"]
    )
    assert alone.frame["PSNR as written"][0] == alone.frame["PSNR attacked"][0] == "—"


def test_printed_numbers_that_come_out_again_are_counted(results: list[Result]) -> None:
    counted = {column: of for (_, column), of in near(results).items()}
    # 15.0, 31.1, 19.1 of 31.21; 0.01, 0.9, 0.9 of 0.923; 19, 100, 100 of 19.6
    no, yes = (0, 1), (1, 1)
    assert counted == {"psnr": [no, yes, no], "ssim": [no, yes, yes], "fid": [yes, no, no]}
    lacking = near([r for r in results if r.experiment.attack_options != UNTRAINED.options])
    assert {of[0] for of in lacking.values()} == {(0, 0)}
    frame = near_table(results).frame
    assert frame.to_dict("records")[0]["PSNR, as released"] == "1 of 1"
    edge = [replace(r, metrics=r.metrics | {"psnr_released": 31.21 * 1.1001}) for r in results]
    assert [of[1] for (_, column), of in near(edge).items() if column == "psnr"] == [no]


def test_the_steps_are_told_by_the_metric_of_their_place(results: list[Result]) -> None:
    course = waterfall(results)[ONE]
    assert course == pytest.approx([31.1, 29.1, 27.1, 25.1, 37.0, 35.0, 34.0])
    frame = waterfall_table(results).frame
    assert list(frame["step"]) == [step.name for step in STEPS]
    assert frame[ONE][4] == "37.0 (+11.9)"
    figure = waterfall_figure(results)
    assert figure is not None
    assert len(figure.axes) == 1
    assert figure.get_suptitle().endswith("MNIST, scale quick, seeds 0, 1")
    assert [len(axis.lines) for axis in updates_figure(results).axes] == [1, 1]
    some = [r for r in results if r.experiment.attack_options != {"train_attacker": True}]
    assert waterfall(some) == {}
    assert waterfall_figure(some) is None


def test_the_reading_says_what_came_out_again_and_what_it_cost(results: list[Result]) -> None:
    text = protocol_reading(results)
    assert "The released procedure comes within 10% of 1 of 1 printed PSNR, 1 of 1 printed SSIM, 0 of 1" in text
    assert "+0.500 to +0.500 of accuracy (most: `none`)" in text
    assert "31.1 dB as released, 34.0 dB as written; the largest step is “true metrics” (+11.9 dB)" in text


def test_the_summary_says_it_in_one_breath(results: list[Result]) -> None:
    told = protocol_summary(results)
    assert told.numbers[0][0] == "2 of 3"
    assert told.numbers[1][0] == "1 of 3"
    assert told.numbers[2][0] == "0.50"
    assert "no defense 31.1 → 34.0 dB" in told.text
    assert "MNIST, scale quick (1,050 private images a seed), 2 seeds" in told.text
    one = [r for r in results if r.experiment.seed == 0 or r.experiment.attack != "as_released"]
    assert (
        "MNIST, scale quick (1,050 private images a seed), one seed, so no spread" in protocol_summary(one).text
    )  # whatever the attacked rows have
