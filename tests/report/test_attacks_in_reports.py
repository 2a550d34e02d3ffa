"""Invariant 8: the attack is part of a cell wherever cells are grouped, labelled, compared, or printed beside paper."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sparseguard import Experiment, Result
from sparseguard.access import BlackBox
from sparseguard.attacks import ATTACKS, Attack, Fitted, Holdout
from sparseguard.grid import cells, run_grid
from sparseguard.report import (
    image_distributions,
    lambda_curves,
    noise_reading,
    privacy_utility,
    reading,
    reconstruction_grid,
    results_table,
    settling_curves,
)
from sparseguard.report.compare import printed_attack
from sparseguard.scales import Scale
from sparseguard.store import Store
from sparseguard.studies.costs import costs


@dataclass(frozen=True)
class Guess(Attack):
    """The mean image, darker or not."""

    shade: float = 1.0

    def fit(self, box: BlackBox, holdout: Holdout, scale: Scale, device: str = "cpu") -> Fitted:
        mean = self.shade * holdout.images.mean(0, keepdim=True)
        return Fitted(lambda leak: mean.expand(len(leak), -1, -1, -1), {"attacker": "mean"})


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Result]:
    """``none`` and ``laplace`` under the usual attack, a second one, and that with an option; two seeds."""
    monkeypatch.setitem(ATTACKS.members, "guess", Guess)
    attacks: list[Any] = ["inversion", "guess", {"attack": "guess", "shade": 0.5}]
    rows = cells("mnist", "split", ["none", "laplace"], 0.5, "smoke", [0, 1], attacks)
    return run_grid(rows, Store(tmp_path), progress=False)


NAMES = [
    "none", "none under guess", "none under guess shade=0.5",
    "laplace b=0.5", "laplace b=0.5 under guess", "laplace b=0.5 under guess shade=0.5",
]  # fmt: skip


def test_a_second_attack_is_a_row_of_its_own_with_no_printed_number(two: list[Result]) -> None:
    table = results_table(two)
    rows = table.frame
    assert [name.split(" [")[0] for name in rows["defense"]] == NAMES
    assert "attack inversion, guess, guess shade=0.5" in table.caption
    assert rows["PSNR ↓ printed"].str.split(" ").str[0].tolist() == ["31.21", "—", "—", "25.40", "—", "—"]
    floor = float(table.footnotes[-2].split("scores ")[1].split(" ±")[0])
    psnr = [float(text.split(" ")[0]) for text in rows["PSNR ↓ measured"]]
    assert psnr[1] == pytest.approx(psnr[4], abs=0.01)
    assert psnr[1] == pytest.approx(floor, abs=0.3)
    assert psnr[0] > psnr[1] > psnr[2]
    assert rows["last doubling (dB)"].tolist()[1] == "—"
    assert len({r.experiment.key() for r in two}) == 12


def test_rows_are_compared_within_one_attack(two: list[Result]) -> None:
    text = str(reading(two))
    parts = text.split("Under `")
    assert [part.split("`")[0] for part in parts[1:]] == ["inversion", "guess", "guess shade=0.5"]
    assert all("under" not in part for part in parts[1:])
    noise = str(noise_reading({"split": [r for r in two if r.experiment.attack == "guess"]}))
    assert "split, guess" in noise or "laplace" not in noise


def test_pictures_name_the_attack(two: list[Result]) -> None:
    for draw in (reconstruction_grid, image_distributions, privacy_utility):
        figure = draw(two)
        title = figure._suptitle.get_text() if figure._suptitle else figure.axes[0].get_title()  # type: ignore[attr-defined]
        assert "attack inversion, guess, guess shade=0.5" in title
    labels = [text.get_text() for text in image_distributions(two).axes[0].get_yticklabels()]
    assert labels == [n.replace("none", "no defense").replace("laplace", "Laplace noise") for n in NAMES]
    marks = privacy_utility(two).axes[0].get_legend_handles_labels()[1]
    assert marks == [name.replace(" b=0.5", "") for name in labels]


def test_only_the_attack_of_the_papers_tables_has_printed_numbers() -> None:
    assert printed_attack(Experiment()) == "inverse-network"
    others: list[dict[str, Any]] = [
        {"attack": "nearest"}, {"attack_options": {"views": 16}}, {"holdout": 900}, {"holdout_from": "fashion_mnist"},
    ]  # fmt: skip
    assert [printed_attack(Experiment(**other)) for other in others] == [None] * 4


def test_costs_are_relative_to_none_under_the_same_attack() -> None:
    rows = cells("mnist", "split", ["none", "laplace"], 0.5, "smoke", 0, ["inversion", "nearest"])
    with pytest.raises(ValueError, match="costs are relative to none"):
        costs([e for e in rows if e.label != "none under nearest"])


def test_curves_of_two_attacks_are_two_curves() -> None:
    made = []
    for attack in ("inversion", "nearest"):
        for lam in (0.1, 0.5):
            e = Experiment("mnist", "split", "sparse_guard", lam, attack, scale="smoke")
            made.append(_fake(e, 20.0 + lam))
    labels = [c.get_label() for c in lambda_curves(made).axes[0].containers]
    assert labels == ["sparse-guard", "sparse-guard under nearest"]
    with pytest.raises(ValueError, match="settling is shown for one attack at a time, not inversion, nearest"):
        settling_curves(made)


def _fake(e: Experiment, psnr: float) -> Result:
    from tests.report.test_report import fake

    one = fake(e.defense, e.seed, psnr, float(str(e.lam)))
    one.exhibits["dictionary 1"] = torch.rand(4, 1, 5, 5)
    return replace(one, experiment=e)
