import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparseguard.experiment as module
from sparseguard import Experiment, Result, load_data, trial
from sparseguard.attacks import Inversion
from sparseguard.attacks.nearest import Nearest
from sparseguard.data import Split
from sparseguard.defenses.sparse import SparseDefense
from sparseguard.metrics import psnr, ssim
from sparseguard.places import digest
from sparseguard.result import METRICS
from sparseguard.scales import SCALES
from sparseguard.store import Store
from sparseguard.studies import clusters, costs
from sparseguard.studies.walkthrough import walk_through


def smoke(**changes: object) -> Experiment:
    return Experiment(**({"scale": "smoke", "setting": "split", "fid": False} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def result() -> Result:
    return smoke(defense="laplace").run(store=None, progress=False)


def test_a_result_holds_every_metric_and_says_why_one_misses(result: Result) -> None:
    assert tuple(sorted(result.metrics)) == tuple(sorted(METRICS))
    assert [name for name, value in result.metrics.items() if value is None] == ["fid"]
    assert result.details["notes"] == {"fid": trial.FID_NOT_ASKED}
    m = result.metrics
    assert 5 < (m["psnr"] or 0) < 40
    assert -1 <= (m["ssim"] or 0) <= 1
    assert all(0 <= (m[name] or 0) <= 1 for name in ("accuracy", "judge_accuracy", "judge_accuracy_originals"))
    assert all((m[name] or 0) > 0 for name in ("seconds_target", "seconds_attack", "seconds_evaluation"))


def test_the_whole_training_set_is_rebuilt_and_scored_one_by_one(result: Result, split: Split) -> None:
    """Invariant 4."""
    n = len(split.train_images)
    assert {name: values.shape for name, values in result.per_image.items()} == {"psnr": (n,), "ssim": (n,)}
    for name, metric in (("psnr", psnr), ("ssim", ssim)):
        assert result.metrics[name] == pytest.approx(float(result.per_image[name].double().mean()), rel=1e-5)
        again = metric(result.originals, result.reconstructions)
        torch.testing.assert_close(result.per_image[name][: len(again)], again.float())
    for images in (result.originals, result.reconstructions):
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
    torch.testing.assert_close(result.originals, split.train_images[: len(result.originals)])


def test_what_training_established_and_made_comes_back_from_the_store(tmp_path: Path) -> None:
    for cell, facts, exhibits in (
        (smoke(defense="dp_sgd"), ["ε (δ = 1e-05)"], []),
        (
            smoke(defense="sparse_guard"),
            ["active 1 (%)", "cosine 1", "active 2 (%)", "cosine 2"],
            ["dictionary 1", "dictionary 2"],
        ),
    ):
        done, read = (cell.run(str(tmp_path), progress=False) for _ in range(2))
        assert list(done.details["facts"]) == facts
        assert sorted(done.exhibits) == exhibits
        assert read.details == done.details
        assert all(torch.equal(read.exhibits[name], done.exhibits[name]) for name in exhibits)
        assert all(tensor.flatten(1).norm(dim=1).sub(1).abs().max() < 1e-5 for tensor in done.exhibits.values())


def test_private_images_leave_only_through_what_a_notebook_shows(tmp_path: Path, split: Split) -> None:
    """Invariant 7: of all files a run writes, only the K shown originals are in any of them, in any common encoding."""
    done = smoke(defense="none").run(store=Store(tmp_path), progress=False)
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    shown = len(done.originals)
    assert shown == 4

    def found(image: torch.Tensor) -> bool:
        row = image[0, 14]
        encodings = (
            row.numpy().tobytes(),
            row.double().numpy().tobytes(),
            (row * 255).round().byte().numpy().tobytes(),
        )
        return any(e in content for e in encodings)

    assert all(found(image) for image in split.train_images[:shown])
    assert not any(found(image) for image in split.train_images[shown:60])


def test_same_seed_same_result_and_another_seed_another() -> None:
    """Invariant 6."""
    for defense in ("laplace", "sparse_guard"):
        pair = []
        for state in (1, 2):  # whatever the caller's generator is at
            torch.manual_seed(state)
            pair.append(smoke(defense=defense).run(store=None, progress=False))
        a, b = pair
        timeless = [name for name in METRICS if not name.startswith("seconds")]
        assert [a.metrics[name] for name in timeless] == [b.metrics[name] for name in timeless]
        assert torch.equal(a.reconstructions, b.reconstructions)
    c = smoke(defense="laplace", seed=1).run(store=None, progress=False)
    assert c.metrics["psnr"] != a.metrics["psnr"]


def test_a_run_does_not_disturb_the_callers_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    smoke().run(store=None, progress=False)
    assert torch.equal(torch.rand(1), expected)


def test_a_finished_cell_is_read_and_a_damaged_one_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Experiment] = []
    original = trial.run

    def counted(experiment: Experiment, *how: Any) -> Result:
        runs.append(experiment)
        return original(experiment, *how)

    monkeypatch.setattr(trial, "run", counted)
    store, cell = Store(tmp_path), smoke()
    first = cell.run(store, progress=False)
    second = cell.run(store, progress=False)
    assert len(runs) == 1
    assert second.metrics == first.metrics
    assert second.details == first.details
    assert torch.equal(second.reconstructions, first.reconstructions)
    assert torch.equal(second.per_image["ssim"], first.per_image["ssim"])
    path = tmp_path / cell.key() / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="damaged"):
        third = cell.run(store, progress=False)
    assert len(runs) == 2
    assert third.metrics["psnr"] == first.metrics["psnr"]
    assert cell.run(store, progress=False).metrics == third.metrics
    assert len(runs) == 2


def test_every_field_version_and_size_is_in_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = [
        smoke(), smoke(dataset="fashion_mnist"), smoke(setting="end_to_end"), smoke(defense="none_conv"),
        smoke(defense="sparse_guard"), smoke(defense="sparse_guard", lam=0.1), smoke(scale="quick"), smoke(seed=1),
        smoke(defense="laplace"), smoke(defense="laplace", options={"b": 1.0}), smoke(fid=True),
        smoke(attack="nearest"), smoke(attack_options={"views": 2}), smoke(holdout=20), smoke(holdout=21),
        smoke(holdout_from="fashion_mnist"),
    ]  # fmt: skip
    keys = [cell.key() for cell in cells]
    for room, version in module.VERSIONS.items():
        monkeypatch.setitem(module.VERSIONS, room, version + 1)
        keys += [cell.key() for cell in cells]
    monkeypatch.setitem(SCALES, "smoke", replace(SCALES["smoke"], epochs=7))
    keys += [cell.key() for cell in cells if cell.scale == "smoke"]
    own = tmp_path / "own.npz"
    for value in (0.1, 0.2):  # a file's content counts, not its name
        np.savez(own, images=np.full((40, 12, 12), value), labels=np.arange(40) % 2)
        keys.append(smoke(dataset=str(own)).key())
    assert len(set(keys)) == len(keys)


def test_a_revised_defense_or_attack_is_computed_again_and_other_cells_are_still_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = {
        "3294666e74f3b5c60a69": Experiment(),
        "bd190a1e06a484867934": Experiment(defense="none_conv", scale="smoke", fid=False),
        "42d07d0f9b35c1627bc7": Experiment(defense="gaussian", options={"front": "conv"}, attack_options={"views": 16}),
        "1e291a1016c51866d138": Experiment(
            setting="split", defense="gong_cl", options={"consolidation": 1.0}, holdout=900
        ),
    }
    assert [cell.key() for cell in kept.values()] == list(kept)
    sparse, near = Experiment(defense="sparse_guard"), Experiment(attack="nearest")
    before = sparse.key(), near.key()
    monkeypatch.setattr(SparseDefense, "revision", SparseDefense.revision + 1)
    monkeypatch.setattr(Nearest, "revision", Nearest.revision + 1)
    assert not {sparse.key(), near.key()} & set(before)
    assert [cell.key() for cell in kept.values()] == list(kept)


def test_what_is_measured_beside_cells_follows_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs, features and stages of a revised defense are computed again, those of others are read."""
    names: list[str] = []

    def asked(_: Store, key: dict[str, Any], compute: object) -> None:
        names.append(digest(key))
        raise LookupError

    def of(experiment: Experiment) -> list[str]:
        names.clear()
        for measure in (clusters.measure, costs.measure, walk_through):
            with pytest.raises(LookupError):
                measure(experiment)
        return list(names)

    monkeypatch.setattr(Store, "recall", asked)
    plain, sparse = of(Experiment()), of(Experiment(defense="sparse_guard"))
    assert plain[0] == "7da180af9c481dd3a8b3"  # literally: a key that changes unawares throws away what was computed
    monkeypatch.setattr(SparseDefense, "revision", SparseDefense.revision + 1)
    assert of(Experiment()) == plain
    assert not set(of(Experiment(defense="sparse_guard"))) & set(sparse)
    monkeypatch.setattr(Inversion, "revision", Inversion.revision + 1)
    features, *attacked = of(Experiment())
    assert features == plain[0] == of(Experiment(attack="nearest"))[0]
    assert not set(attacked) & set(plain)


def test_an_attack_with_other_images_has_those_and_says_so(split: Split) -> None:
    count = len(split.attack_images)
    usual = smoke().holdout_images(split)
    assert torch.equal(usual.images, split.attack_images)
    assert torch.equal(usual.validation, split.held_images)
    assert usual.labels is not None
    assert torch.equal(usual.labels, split.attack_labels)
    few = smoke(holdout=7).holdout_images(split)
    assert torch.equal(few.images, split.attack_images[:7])
    known = smoke(holdout=count + 30).holdout_images(split)
    more = known.images
    assert known.labels is not None
    assert len(known.labels) == len(more)
    assert torch.equal(more[:count], split.attack_images)
    everyone = torch.cat([split.train_images, split.attack_images, split.held_images]).flatten(1)
    assert float(torch.cdist(more[count:].flatten(1), everyone).min()) > 0, "a spare image is in the split"
    with pytest.raises(ValueError, match="holdout must be at most 4545 for mnist at scale 'smoke', not 5000"):
        smoke(holdout=5000).holdout_images(split)
    other = smoke(holdout_from="fashion_mnist").holdout_images(split)
    fashion = load_data("fashion_mnist", "smoke", 0)
    assert torch.equal(other.images, fashion.attack_images)
    assert torch.equal(other.validation, fashion.held_images)
    labels = [smoke(**c).label for c in ({}, {"holdout": 7}, {"attack": "nearest"}, {"holdout_from": "mnist"})]
    assert labels == ["none", "none under inversion holdout=7", "none under nearest", "none"]


def test_an_attack_option_that_repeats_the_default_is_the_same_cell() -> None:
    plain, stated = smoke(), smoke(attack_options={"views": 1, "bent": True})
    assert plain == stated
    assert plain.key() == stated.key()
    assert smoke(attack_options={"decoders": ["rows"]}).key() == smoke(attack_options={"decoders": ("rows",)}).key()


def test_lambda_belongs_to_the_sparse_defenses() -> None:
    assert smoke(defense="none", lam=0.5) == smoke(defense="none")
    assert smoke(defense="sparse_guard").lam == 0.5
    assert smoke(defense="sparse_standard").key() == smoke(defense="sparse_standard", lam=0.25).key()
    assert smoke(defense="sparse_guard", lam=1).key() == smoke(defense="sparse_guard", lam=1.0).key()
    assert smoke(defense="sparse_guard", lam=[0.1, 0.5]).make_defense().lam == (0.1, 0.5)  # type: ignore[attr-defined]


def test_an_option_that_repeats_the_default_is_the_same_cell() -> None:
    plain, stated = smoke(defense="laplace"), smoke(defense="laplace", options={"b": 0.5})
    assert plain == stated
    assert plain.key() == stated.key()
    assert stated.label == "laplace b=0.5"
    assert smoke(defense="laplace", options={"b": 1}).label == "laplace b=1.0"


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({}, "sparse_guard lam=0.5"),
        ({"solver": "fista"}, "sparse_guard lam=0.5"),
        ({"tau": 1000}, "sparse_guard lam=0.5 tau=1000"),
        ({"tau": 100.0, "solver": "lca"}, "sparse_guard lam=0.5 tau=100"),
        ({"tau": 12.5, "iterations": 200}, "sparse_guard lam=0.5 tau=12.5 iterations=200"),
        ({"solver": "lca"}, "sparse_guard lam=0.5 tau=1000"),
        ({"solver": "euler"}, "sparse_guard lam=0.5 tau=1000 solver=euler"),
        ({"solver": "single"}, "sparse_guard lam=0.5 solver=single"),
        ({"dictionary": "learned"}, "sparse_guard lam=0.5"),
        ({"dictionary": "submodular", "train_first": False}, "sparse_guard lam=0.5 dictionary=submodular"),
    ],
)
def test_a_label_names_the_regime_of_the_codes(options: dict[str, object], label: str) -> None:
    cell = smoke(defense="sparse_guard", options=options)
    assert cell.label == label
    assert cell.variant == label.replace(" lam=0.5", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dataset": "imagenet"}, "dataset must be one of mnist, fashion_mnist, .*, or the path"),
        ({"setting": "federated"}, "setting must be one of end_to_end, split, not 'federated'"),
        ({"defense": "blur"}, "defense must be one of none, none_standardized, none_conv, .*, not 'blur'"),
        ({"attack": "guess"}, "attack must be one of inversion, .*, not 'guess'"),
        ({"attack_options": {"views": 0}}, "views must be a whole number from 1 on, not 0"),
        ({"attack_options": {"sights": 2}}, "attack 'inversion' has no option 'sights'"),
        ({"holdout": 0}, "holdout must be a whole number from 1 on, not 0"),
        ({"holdout_from": "imagenet"}, "dataset must be one of mnist"),
        ({"scale": "huge"}, "scale must be one of smoke, quick, medium, paper, not 'huge'"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"defense": "sparse_guard", "lam": 0.0}, "lam must be a finite number greater than 0, not 0.0"),
        ({"defense": "sparse_guard", "lam": float("nan")}, "lam must be a finite number greater than 0, not nan"),
        ({"defense": "none", "lam": float("inf")}, "lam must be a finite number greater than 0, not inf"),
        ({"defense": "sparse_guard", "options": {"lam": 0.1}}, "lam is a field of its own"),
        ({"defense": "laplace", "options": {"sigma": 1.0}}, "has no option 'sigma'; its options are front, b"),
    ],
)
def test_wrong_values_end_before_anything_runs(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smoke(**wrong)


def test_an_unwritable_store_ends_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(trial, "run", lambda *_: pytest.fail("trained although nothing could be kept"))
    with pytest.raises(OSError, match="results cannot be written"):
        smoke().run(str(tmp_path / "file" / "store"))


def test_a_run_killed_halfway_leaves_nothing_and_is_run_again(tmp_path: Path) -> None:
    """Invariant 6, with a real process: it is killed while it trains, then run to its end."""
    cell = ["run", "--setting", "split", "--defense", "none_conv", "--scale", "smoke"]
    command = [sys.executable, "-m", "sparseguard", *cell]
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # two spin beside other tests
    environment = one_thread | {"SPARSEGUARD_HOME": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    seen = ""
    while "training the target" not in seen:
        seen += process.stderr.read(1)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not [path for path in tmp_path.glob("[0-9a-f]*") if path.is_dir()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r'"psnr": \d+\.\d+', done.stdout)
    stored = [path for path in tmp_path.iterdir() if path.is_dir() and re.fullmatch("[0-9a-f]{20}", path.name)]
    assert len(stored) == 1


def test_fid_that_can_be_had_now_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, store = smoke(fid=True), Store(tmp_path)
    first = cell.run(store, progress=False)
    assert first.metrics["fid"] is None
    assert "FID needs at least 2048 images" in first.details["notes"]["fid"]
    monkeypatch.setattr("sparseguard.metrics.fid_obstacle", lambda *_, **__: None)
    monkeypatch.setattr("sparseguard.metrics.fid", lambda *_, **__: (12.5, None))
    again = cell.run(store, progress=False)
    assert again.metrics["fid"] == 12.5
    assert again.details["notes"] == {}


def test_grey_and_colour_images_of_other_sizes_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(path, images=rng.random((60, 14, 12, 3)), labels=np.arange(60) % 3)
    for defense in ("none", "sparse_guard"):
        done = smoke(dataset=str(path), defense=defense).run(store=None, progress=False)
        assert done.reconstructions.shape == (4, 3, 14, 12)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    shown = []
    for seed in (0, 1):
        images = np.random.default_rng(seed).random((60, 14, 12))
        np.savez(tmp_path / "own.npz", images=images, labels=np.arange(60) % 3)
        shown.append(smoke(dataset=str(tmp_path / "own.npz")).run(str(tmp_path / "store"), progress=False).originals)
    assert not torch.equal(*shown)


def test_images_too_small_for_ssim_end_before_training(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, images=np.random.default_rng(0).random((60, 10, 30)), labels=np.arange(60) % 3)
    with pytest.raises(ValueError, match="SSIM needs images of at least 11 x 11 pixels, not 10 x 30"):
        smoke(dataset=str(path)).run(store=None, progress=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("defense", ["none", "laplace", "sparse_guard"])
def test_the_line_runs_on_a_gpu_and_agrees_with_the_cpu(defense: str) -> None:
    gpu = smoke(defense=defense).run(store=None, progress=False, device="cuda")
    cpu = smoke(defense=defense).run(store=None, progress=False, device="cpu")
    assert torch.cuda.get_device_name() == gpu.details["device"]
    assert gpu.metrics["psnr"] == pytest.approx(cpu.metrics["psnr"], abs=1.0)
    assert torch.equal(gpu.originals, load_data("mnist", "smoke", 0).train_images[:4])
