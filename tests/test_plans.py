"""A file asks for what its notebook would run, or for all its entries with each other."""

from pathlib import Path

import pytest
import yaml

from sparseguard import list_defenses, metrics
from sparseguard.grid import cells, ladder
from sparseguard.plans import lacking, notebook_of, of_notebook, planned
from sparseguard.store import Store

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ("00_overview", "04_umap", "07_compute_time", "08_sparse_coding")


def plan(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}")
def test_a_file_of_params_asks_for_the_cells_of_its_notebook(file: Path) -> None:
    given = yaml.safe_load(file.read_text())
    if file.parent.name in STUDIES:
        assert planned(file) == []
        assert notebook_of(file) == ROOT / "notebooks" / f"{file.parent.name}.ipynb"
        return
    found = planned(file)
    swept = file.parent.name == "03_lambda"  # of sparse defenses alone
    least = len(given["defenses"]) * len(given["lams"]) * len(given["seeds"]) if swept else len(list_defenses())
    assert len(set(found)) == len(found) >= least
    assert {e.dataset for e in found} == {given.get("dataset", "mnist")}
    assert {e.scale for e in found} == {given.get("scale", "quick")}
    assert {e.seed for e in found} == set(given.get("seeds", {e.seed for e in found}))


def test_these_are_the_cells_that_its_notebook_names() -> None:
    file = ROOT / "params" / "02_split" / "mnist_regimes.yaml"
    given = yaml.safe_load(file.read_text())
    names = ("defenses", "lams", "scale", "seeds", "attack", "fid")
    assert planned(file) == cells(given["dataset"], "split", *(given[name] for name in names))
    found = planned(ROOT / "params" / "10_adaptive" / "mnist_paper.yaml")
    attacks = ladder([225, 1000, 4000], [1024, 8192], "fashion_mnist", ["nearest", "refinement"])
    assert set(cells("mnist", "split", ["none", "sparse_guard"], 0.5, "paper", [0, 2], attacks)) <= set(found)


def test_a_prior_of_another_data_set_is_tried_where_there_is_one() -> None:
    book = ROOT / "notebooks" / "06_plug_and_play.ipynb"
    for dataset, tried in (("mnist", True), ("lfw_subset", False)):
        asked = of_notebook(book, {"dataset": dataset, "scale": "smoke"})
        assert any(e.attack_options.get("prior") == "shifted" for e in asked) == tried


def test_an_attacker_abroad_has_images_of_the_same_kind() -> None:
    book = ROOT / "notebooks" / "10_adaptive.ipynb"
    for dataset, other in (("mnist", "fashion_mnist"), ("fashion_mnist", "mnist"), ("cifar10", None)):
        asked = of_notebook(book, {"dataset": dataset, "scale": "smoke"})
        assert {e.holdout_from for e in asked} == {None, other}
    for other, found in (("", {None}), ("lfw_subset", {None, "lfw_subset"})):
        assert {e.holdout_from for e in of_notebook(book, {"other": other})} == found


def test_entries_of_a_file_of_your_own_are_all_combined(tmp_path: Path) -> None:
    text = (
        "{datasets: [mnist, fashion_mnist], settings: [split, end_to_end], scale: smoke, seeds: [0, 1],"
        " defenses: [none, {defense: laplace, strengths: [0.5, 1.0]}], attack: [nearest, inversion]}"
    )
    found = planned(plan(tmp_path, text))
    assert len(set(found)) == len(found) == 2 * 2 * 2 * 3 * 2
    one = cells("fashion_mnist", "split", {"defense": "laplace", "b": 1.0}, 0.5, "smoke", 1, "nearest")[0]
    assert one in found
    assert planned(plan(tmp_path, "scale: smoke")) == cells(
        "mnist", "end_to_end", ["none", "sparse_guard"], 0.5, "smoke", 0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datset: mnist", "a plan has no entry 'datset'; its entries are dataset, datasets"),
        ("dataset: imagenet", "dataset must be one of mnist"),
        ("{dataset: mnist, datasets: [mnist]}", "either dataset or datasets, not both"),
        ("- mnist", r"must hold entries, as dataset: mnist, not \['mnist'\]"),
        ("a: [", "is no YAML: while parsing"),
        ("seeds: -1", "seed must be a whole number from 0"),
        ("scale: [smoke]", "scale must be one of smoke"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_sentence(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        planned(plan(tmp_path, text))
    with pytest.raises(OSError, match=r"none.yaml cannot be read \(No such file or directory\)\.$"):
        planned(tmp_path / "none.yaml")


def test_an_entry_that_a_notebook_has_not_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "02_split"
    folder.mkdir()
    with pytest.raises(ValueError, match="this notebook has no parameter 'datset'"):
        planned(plan(folder, "datset: mnist"), ROOT / "notebooks")


def test_what_the_store_or_the_package_has_is_not_lacking(tmp_path: Path) -> None:
    shipped = planned(plan(tmp_path, "{setting: split, defenses: none, scale: quick}"))
    here, not_there = cells("mnist", "split", "none", 0.5, "smoke", [0, 1])
    store = Store(tmp_path / "store")
    store.save(here.key(), {}, {})
    assert lacking([*shipped, here, not_there], store) == [not_there]
    assert lacking([*shipped, here], Store(tmp_path / "store", shipped=False)) == shipped


def test_a_cell_without_the_fid_that_was_asked_for_is_lacking_where_it_is_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = (cells("mnist", "split", "none", 0.5, "smoke", 0, "nearest", fid)[0] for fid in (False, True))
    store = Store(tmp_path)
    for e in (plain, asked):
        e.run(store, progress=False)
    assert lacking([plain, asked], store) == []
    monkeypatch.setattr(metrics, "fid_obstacle", lambda *_, **__: None)
    assert lacking([plain, asked], store) == [asked]
