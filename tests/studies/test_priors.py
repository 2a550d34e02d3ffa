from pathlib import Path

import pytest
import torch

from sparseguard import load_data
from sparseguard.priors import make_prior
from sparseguard.report import priors_grid, priors_table
from sparseguard.scales import SCALES
from sparseguard.shipping import current
from sparseguard.store import Store
from sparseguard.studies.priors import SHOWN, drawn


def test_what_a_prior_draws_is_measured_once(tmp_path: Path) -> None:
    store, names = Store(tmp_path / "store"), ["hold_out", "labelled", "shifted", "pca"]
    assert drawn("mnist", names, "smoke", 0, store, measure=False) == []
    found = drawn("mnist", names, "smoke", 0, store)
    assert [one.prior for one in found] == names
    split = load_data("mnist", "smoke", 0)
    prior = make_prior("pca", split.attack_images, None, SCALES["smoke"])
    assert torch.equal(found[3].images, prior.sample(1000, torch.Generator().manual_seed(0))[:SHOWN])
    assert [one.accuracy is None for one in found] == [True, False, True, True]
    assert all(0 <= one.coverage <= 1 and one.fd_judge > 0 for one in found)
    assert all(current(name, cell[0], "smoke") for name in store.names() if (cell := store.load(name)))
    again = drawn("mnist", names, "smoke", 0, store, measure=False)
    assert [one.seconds for one in again] == [one.seconds for one in found]

    table = priors_table(found, "mnist", "smoke")
    assert table.frame["judge sees the label"].tolist()[0] == "—"
    assert table.frame["judge sees the label"].tolist()[1] != "—"
    assert len(priors_grid(found).axes) == 4 * SHOWN


def test_an_unknown_prior_is_named() -> None:
    with pytest.raises(ValueError, match="prior must be one of hold_out"):
        drawn("mnist", ["diffusion"], "smoke", 0)
