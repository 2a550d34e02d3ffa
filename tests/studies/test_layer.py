"""One layer over seeds: which layer it is, that settled codes are settled, and that every seed has its own numbers."""

from pathlib import Path

import pytest
import torch
import yaml

from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.places import digest
from sparseguard.scales import SCALES
from sparseguard.sparse import SparseCoding2d
from sparseguard.studies.layer import BATCH, LayerStudy
from sparseguard.studies.trace import energy_curves, kept

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("scale", SCALES)
def test_the_layer_has_as_many_features_as_the_first_of_the_targets(scale: str, split: Split) -> None:
    target = make_defense("sparse_guard").build(split, "end_to_end", SCALES[scale])
    first = next(module for module in target.front if isinstance(module, SparseCoding2d))
    assert LayerStudy(scale=scale).features == first.features
    assert LayerStudy(scale=scale, features=7).features == 7


def test_settled_codes_are_at_the_minimum_and_others_on_their_way() -> None:
    study = LayerStudy(scale="smoke", seeds=[3], lams=[0.3], taus=[100.0, None], images=4)
    x = study.split(3).held_images[:4]
    settled, early = (study.layer(3, 0.3, tau) for tau in (None, 100.0))
    assert torch.equal(settled.dictionary, early.dictionary)
    assert float(settled.gap(x, settled(x)).max()) < 1.1e-3 < float(early.gap(x, early(x)).min())
    rows = study.kept.measured()
    assert [(row.tau, row.lam, row.seed) for row in rows] == [(100.0, 0.3, 3), (None, 0.3, 3)]
    assert (rows[1].active, rows[1].explained) == pytest.approx(kept(settled, x))
    assert [found.tau for found in study.neurons()] == [100.0]


def test_energies_are_measured_for_every_seed_and_read_back_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    study = LayerStudy(scale="smoke", seeds=[0, 1], taus=[None, 20.0], images=BATCH + 1, iterations=10)
    found = study.energy_curves.measured()
    assert list(found) == [20.0]
    for seed, curves in zip(study.seeds, found[20.0], strict=True):
        alone = energy_curves(study.layer(seed, study.lam, 20.0), study.split(seed).held_images[:BATCH])
        for curve, expected in zip(curves, alone, strict=True):
            assert curve.solver == expected.solver
            assert torch.equal(curve.evaluations, expected.evaluations)
            torch.testing.assert_close(curve.excess, expected.excess)
    first, second = found[20.0]
    assert float(first[0].excess[-1]) != float(second[0].excess[-1])
    monkeypatch.setattr("sparseguard.studies.layer.energy_curves", lambda *_: pytest.fail("computed again"))
    again = study.energy_curves.measured()[20.0]
    assert all(torch.equal(a.excess, b.excess) for one, two in zip(again, found[20.0]) for a, b in zip(one, two))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_parameter_files_ask_for_what_the_overview_reads(name: str) -> None:
    """The overview looks for a study by its key: with other images, say, it would find nothing."""
    given = yaml.safe_load((ROOT / "params" / "08_sparse_coding" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert (given.pop("updates"), given.pop("sizes")) == (1000, [])
    found, wanted = LayerStudy(**given), LayerStudy(name, "paper", [0, 1, 2])
    assert digest(found.kept.key) == digest(wanted.kept.key)
