"""Results that travel with the package: small, checked, read-only, and never of another code than this."""

import gzip
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from sparseguard import Experiment, reference, shipping
from sparseguard.__main__ import main
from sparseguard.data import at_hand
from sparseguard.device import device_name
from sparseguard.reference import FOLDER, INDEX
from sparseguard.report import recomputed_table
from sparseguard.report.about import provenance_of
from sparseguard.result import Result
from sparseguard.scales import SCALES
from sparseguard.shipping import Recomputed, current, pack, recompute
from sparseguard.store import Cell, Store
from sparseguard.studies import clusters, costs, recalled
from sparseguard.studies.layer import LayerStudy

SMOKE = Experiment(setting="split", scale="smoke", fid=False)
LARGEST = 25 * 2**20


@pytest.fixture(scope="module")
def result() -> Result:
    return SMOKE.run(store=None, progress=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "shipped")
    return tmp_path / "shipped"


def test_a_shipped_cell_says_what_was_measured_and_where_it_is_from(
    result: Result, place: Path, tmp_path: Path
) -> None:
    reference.pack({SMOKE.key(): result.dump()}, "smoke")
    found = SMOKE.run(Store(tmp_path / "own"), progress=False)
    assert found.metrics == result.metrics
    assert (found.reconstructions - result.reconstructions).abs().max() <= 0.5 / 255 + 1e-6
    for name, scores in result.per_image.items():
        assert torch.allclose(found.per_image[name], scores, rtol=1e-3)
    assert found.shipped
    assert result.shipped is None
    assert not (tmp_path / "own").exists()  # nothing was computed
    told = provenance_of([found, found, result])
    assert told.endswith(f"2 were read from the reference ({found.shipped}), 1 were computed here.")
    assert "reference" not in provenance_of([result])
    assert "Drawn from 5,000 of the 70,000 images of MNIST." in provenance_of([result])


def test_what_is_computed_here_goes_before_what_is_shipped(result: Result, place: Path, tmp_path: Path) -> None:
    record, arrays = result.dump()
    reference.pack({SMOKE.key(): (record | {"metrics": record["metrics"] | {"psnr": 99.0}}, arrays)}, "smoke")
    store = Store(tmp_path / "own")
    assert (SMOKE.stored(store) or result).metrics["psnr"] == 99.0
    store.save(SMOKE.key(), record, arrays)
    assert (SMOKE.stored(store) or result).metrics["psnr"] == result.metrics["psnr"]


def test_originals_that_several_cells_show_are_there_once(result: Result, place: Path) -> None:
    record, arrays = result.dump()
    one = reference.pack({"a": (record, arrays)}, "smoke").stat().st_size
    other = arrays | {"reconstructions": arrays["originals"].flip(0)}
    path = reference.pack({"a": (record, arrays), "b": (record, other)}, "smoke")
    assert len(load(gzip.decompress(path.read_bytes()))) == len(arrays) + 1
    assert path.stat().st_size < 2 * one
    first, second = ((reference.load(name) or ({}, {}))[1] for name in "ab")
    assert torch.equal(second["reconstructions"], first["originals"].flip(0))


@pytest.mark.parametrize("what", ["tensor", "record", "cut", "gone", "index"])
def test_a_falsified_file_is_noticed(what: str, result: Result, place: Path) -> None:
    path = reference.pack({SMOKE.key(): result.dump()}, "smoke")
    data, psnr = path.read_bytes(), f"{result.metrics['psnr']:.6f}"[:6].encode()
    inside = gzip.decompress(data)
    assert psnr in inside
    changed = {
        "tensor": gzip.compress(inside[:-1] + bytes([inside[-1] ^ 1])),
        "record": gzip.compress(inside.replace(psnr, b"12.345"[: len(psnr)])),
        "cut": data[:-100], "gone": None, "index": data,
    }[what]  # fmt: skip
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    if what == "index":
        (place / INDEX).write_text(json.dumps({path.name: "0" * 64}))
    reference._shipped.cache_clear()
    with pytest.warns(UserWarning, match=r"the reference results .*smoke\.safetensors\.gz cannot be used"):
        assert reference.load(SMOKE.key()) is None


def test_packing_keeps_what_is_current_and_drops_what_is_stale(result: Result, place: Path, tmp_path: Path) -> None:
    store, (record, arrays) = Store(tmp_path / "own"), result.dump()
    store.save(SMOKE.key(), record, arrays)
    store.save("0123456789abcdef0123", record, arrays)  # of another code
    store.save("a study", {"energy": 1.0}, {})
    path, count = pack("smoke", store)
    assert (count, reference.names(), path.parent) == (1, [SMOKE.key()], place)
    first = (reference.load(SMOKE.key()) or ({}, {}))[0]["details"]["shipped"] | {"date": "2001-01-01"}
    reference.pack({SMOKE.key(): (record | {"details": record["details"] | {"shipped": first}}, arrays)}, "smoke")
    pack("smoke", Store(tmp_path / "empty"))  # what is shipped stays, with its date
    assert (reference.load(SMOKE.key()) or ({}, {}))[0]["details"]["shipped"] == first
    assert pack("quick", store)[1] == 0


def test_nothing_shipped_is_of_another_code() -> None:
    """Raise a version, and what it makes stale is named here: compute and pack it again, or drop it."""
    stale = [
        f"{name}: {record.get('own', {}).get('study', 'cell')} of {record['experiment']}"
        for name, record in reference.records().items()
        if not any(current(name, record, scale) for scale in SCALES)
    ]
    assert not stale


def test_studies_travel_as_they_are_and_say_so(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, study = Store(tmp_path / "own"), LayerStudy(scale="smoke", seeds=[0], lams=[0.5], taus=[100.0], images=4)
    rows, curves = study.kept.measured(store), study.energy_curves.measured(store)
    features = clusters.measure(SMOKE, pixels=True, store=store)
    assert pack("smoke", store)[1] == 3
    other = Store(tmp_path / "other")
    assert study.kept.stored(other) == rows
    again = (study.energy_curves.stored(other) or {})[100.0][0]
    assert all(torch.equal(a.excess, b.excess) for a, b in zip(again, curves[100.0][0], strict=True))  # not in 16 bits
    found = clusters.stored(SMOKE, pixels=True, store=other)
    assert found
    assert torch.equal(found.embedding, features.embedding)
    assert "3 were read" not in provenance_of([found])
    assert "1 were read from the reference" in provenance_of([found])
    monkeypatch.setitem(recalled.VERSIONS, "kept", -1)
    assert study.kept.stored(other) is None
    assert pack("smoke", store)[1] == 2  # the stale one is dropped


def test_costs_of_another_machine_are_read_as_a_whole_or_not_at_all(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(e: Experiment) -> Cell:
        stages = dict.fromkeys(costs.STAGE_NAMES.values(), 1.0 + len(e.defense))
        record = {"seconds_by_stage": stages, "peaks_by_stage": stages, "held": 1.0, "threads": 9, "cores": 9}
        return record | {"load": 0.0, "device": costs._here()[0]}, {}

    def computed(e: Experiment, threads: int) -> Cell:
        return told(e)

    monkeypatch.setattr(costs, "apart", lambda name, work: work())
    monkeypatch.setattr(costs, "_compute", computed)
    none, laplace = SMOKE, replace(SMOKE, defense="laplace")
    gan, there, store = replace(SMOKE, defense="gan"), Store(tmp_path / "there"), Store(tmp_path / "here")
    with monkeypatch.context() as changed:
        changed.setattr(costs, "_here", lambda: ("another machine", 9))
        measured = costs.costs([none, laplace], there, progress=False)
    assert pack("smoke", there)[1] == 2
    assert [replace(c, shipped=None) for c in costs.costs([none, laplace], store, progress=False)] == measured
    assert not store.folder.exists()
    assert {c.device for c in costs.costs([none, laplace, gan], store, progress=False)} == {device_name("cpu")}
    assert (costs.stored(laplace, store) or measured[0]).device == device_name("cpu")
    assert (costs.stored(laplace, Store(tmp_path / "third")) or measured[0]).device == "another machine"
    assert costs.stored(gan, Store(tmp_path / "third")) is None
    fresh = costs.costs([none, laplace], Store(tmp_path / "fourth"), progress=False, here=True)
    assert {c.device for c in fresh} == {device_name("cpu")}


def test_the_reference_is_small() -> None:
    files = list(FOLDER.glob("*"))
    assert sum(file.stat().st_size for file in files) <= LARGEST
    assert {file.name for file in files} == {INDEX, *json.loads((FOLDER / INDEX).read_text())}


def test_shipped_cells_that_are_computed_anew_come_out_the_same(
    result: Result, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no cell of scale 'smoke' travels"):
        recompute(1, "smoke")
    reference.pack({SMOKE.key(): result.dump()}, "smoke")
    (found,) = recompute(5, "smoke", progress=False)
    assert found.gap("psnr") == 0.0
    assert found.complaint is None
    table = recomputed_table([found])
    assert table.frame["psnr, shipped"][0] == table.frame["psnr, here"][0] == f"{result.metrics['psnr']:.2f}"
    assert table.frame["within"][0] == "yes"
    monkeypatch.setattr(sys, "argv", ["sparseguard", "verify", "--scale", "smoke", "--count", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "1 shipped cells computed anew" in capsys.readouterr().out


def test_only_cells_whose_images_are_at_hand_are_drawn(
    result: Result, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path / "nothing"))
    away = replace(SMOKE, dataset="cifar10")
    reference.pack({SMOKE.key(): result.dump(), away.key(): replace(result, experiment=away).dump()}, "smoke")
    (found,) = recompute(5, "smoke", progress=False)
    assert found.here.experiment == SMOKE
    assert at_hand("lfw_subset", bundled=False)
    assert not at_hand("mnist", bundled=False)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "cifar10.npz").touch()
    assert at_hand("cifar10", bundled=True)


def test_cells_that_take_long_are_drawn_last(result: Result, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty draws, each would find one of the five slow ones with a chance of five in six."""
    slow = result.metrics | {"seconds_attack": 1000.0}
    cells = {SMOKE.key(): result.dump()}
    for seed in range(1, 6):
        other = replace(SMOKE, seed=SMOKE.seed + seed)
        cells[other.key()] = replace(result, experiment=other, metrics=slow).dump()
    reference.pack(cells, "smoke")
    monkeypatch.setattr(shipping, "anew", lambda drawn, *_: [Recomputed(r, r) for r in drawn])
    drawn = [
        [one.here.experiment for one in recompute(count, "smoke", seed)] for count in (1, 2, 6) for seed in range(20)
    ]
    assert all(found[0] == SMOKE for found in drawn)
    assert len(set(drawn[-1])) == 6
    assert len({found[1] for found in drawn[20:40]}) > 1, "another draw each time"


def test_a_falsified_number_is_noticed_when_its_cell_is_computed_anew(
    result: Result, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the file's checksum was made to fit."""
    record, arrays = result.dump()
    better = record["metrics"] | {"psnr": record["metrics"]["psnr"] - 3.0}
    reference.pack({SMOKE.key(): (record | {"metrics": better}, arrays)}, "smoke")
    (found,) = recompute(1, "smoke", progress=False)
    assert found.complaint == "psnr by +3 beside what was shipped"
    monkeypatch.setattr(sys, "argv", ["sparseguard", "verify", "--scale", "smoke", "--count", "1"])
    assert main() == 2
    assert "sparseguard: none: psnr by +3 beside what was shipped." in capsys.readouterr().err


def test_reproduce_says_beforehand_what_it_takes_and_computes_it_once(
    result: Result, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Into the store, whatever is shipped; what was computed is not computed again, nor taken from what is shipped."""
    record, arrays = result.dump()
    slow = record["metrics"] | {"seconds_target": 3600.0, "seconds_attack": 0.0, "seconds_evaluation": 0.0}
    reference.pack({SMOKE.key(): (record | {"metrics": slow}, arrays)}, "smoke")
    monkeypatch.setenv("SPARSEGUARD_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("SPARSEGUARD_JOBS", "2")
    monkeypatch.setattr(sys, "argv", ["sparseguard", "reproduce", "--scale", "smoke"])
    first, second = (
        r"1 of 1 cells .* took 1\.0 hours of one core .* that is about 0\.5 hours",
        "All 1 cells are computed",
    )
    for sentence in (first, second):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert re.match(sentence, out)
        assert "1 shipped cells computed anew" in out
        assert (tmp_path / "store" / SMOKE.key()).is_dir()


def test_reproduce_leaves_out_the_data_sets_that_cannot_be_had(
    result: Result, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whether the images under attack or the attacker's are of it."""
    monkeypatch.setenv("SPARSEGUARD_DATA", str(tmp_path / "nothing"))
    away = [replace(SMOKE, dataset="medical_mnist"), replace(SMOKE, holdout_from="medical_mnist")]
    cells = {e.key(): replace(result, experiment=e).dump() for e in [SMOKE, *away]}
    reference.pack(cells, "smoke")
    monkeypatch.setenv("SPARSEGUARD_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["sparseguard", "reproduce", "--scale", "smoke"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("Left out are 2 of 3 cells, of medical_mnist: ")
    assert "1 of 1 cells are to be computed." in out
    assert "1 shipped cells computed anew" in out
    reference.pack({away[0].key(): cells[away[0].key()]}, "smoke")
    assert main() == 2, "nothing is left"
    assert "sparseguard: Left out are 1 of 1 cells, of medical_mnist: " in capsys.readouterr().err


def test_shipped_means_are_those_of_the_shipped_images() -> None:
    for name in reference.names():
        record, arrays = reference.load(name) or ({}, {})
        for metric in ("psnr", "ssim") if "metrics" in record else ():
            images = arrays[f"per_image.{metric}"]
            mean = float(images.mean())
            assert mean == pytest.approx(record["metrics"][metric], abs=max(2e-3 * abs(mean), 1e-5))


@pytest.mark.parametrize(("images", "most"), [(4000, 0.03), (1000, 0.03), (250, 0.06), (40, 0.15)])
def test_means_over_few_images_may_be_further_apart(images: int, most: float, result: Result) -> None:
    of = replace(result, per_image={name: torch.zeros(images) for name in result.per_image})
    found = Recomputed(of, of)
    assert found.most("judge_accuracy") == pytest.approx(most)
    assert found.most("accuracy") == 0.03  # of hold-out images, whatever was rebuilt
