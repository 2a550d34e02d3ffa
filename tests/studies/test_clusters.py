from pathlib import Path

import pytest
import torch
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from sparseguard import Experiment, load_data
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.deployed import train_target
from sparseguard.scales import SCALES
from sparseguard.store import Store
from sparseguard.studies.clusters import after_two_layers, clustering, features_of, measure, project, stored, study

SMOKE = SCALES["smoke"]


@pytest.mark.parametrize(
    ("name", "kinds", "shape"),
    [
        ("none", "Normalize Linear ReLU Linear ReLU", (1, 28, 8)),
        ("none_conv", "Standardize Conv2d ReLU BatchNorm2d Standardize Conv2d ReLU BatchNorm2d", (6, 28, 28)),
        ("sparse_guard", "SparseCoding2d BatchNorm2d SparseCoding2d BatchNorm2d", (6, 28, 28)),
    ],
)
def test_two_layers_are_two_layers(name: str, kinds: str, shape: tuple[int, ...], split: Split) -> None:
    target = make_defense(name).build(split, "end_to_end", SMOKE).eval()
    layers = after_two_layers(target)
    flat = [type(m).__name__ for m in layers.modules() if not isinstance(m, nn.Sequential)]
    assert " ".join(flat) == kinds
    x = split.train_images[:2]
    assert layers(x).shape[1:] == shape
    first = target.body[0].in_features if name != "none" else 8
    assert layers(x).shape[-1] == first  # what follows can go on from here


def test_a_split_target_without_a_front_has_only_one_layer(split: Split) -> None:
    target = make_defense("none").build(split, "split", SMOKE)
    with pytest.raises(ValueError, match="no two layers before its leak, but 1"):
        after_two_layers(target)


def test_features_are_those_of_the_trained_target_in_inference_mode() -> None:
    """The target that the experiment attacks: same accuracy; batch norm does not mix images; it was trained."""
    experiment = Experiment("mnist", "end_to_end", "none_conv", scale="smoke", fid=False)
    split = load_data("mnist", "smoke", 0)
    target = train_target(experiment, split, "cpu")
    found = measure(experiment)
    assert found.accuracy == pytest.approx(experiment.run(progress=False).metrics["accuracy"])
    layers = after_two_layers(target)
    features = features_of(layers.train(), split.train_images)
    torch.testing.assert_close(features[:1], layers(split.train_images[:1]).flatten(1).detach())
    assert features.shape == (210, found.dimensions)
    held = features_of(layers, split.held_images)
    numbers = clustering(features, split.train_labels, held, split.held_labels)
    assert (found.silhouette, found.knn) == pytest.approx(numbers, abs=1e-6)
    torch.manual_seed(0)
    untrained = make_defense("none_conv").build(split, "end_to_end", SMOKE)
    assert not torch.allclose(features_of(after_two_layers(untrained), split.train_images), features)


def test_numbers_are_scikit_learns_and_tell_clusters_from_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    noise = torch.randn(120, 6, generator=generator)
    for distance, low, high in ((20.0, 0.8, 1.0), (0.0, -0.1, 0.1)):
        x = noise + distance * torch.nn.functional.one_hot(labels, 6)
        silhouette, knn = clustering(x[:90], labels[:90], x[90:], labels[90:])
        assert low < silhouette < high
        assert silhouette == pytest.approx(silhouette_score(x[:90].numpy(), labels[:90].numpy()))
        by_hand = KNeighborsClassifier(5).fit(x[:90].numpy(), labels[:90].numpy())
        assert knn == by_hand.score(x[90:].numpy(), labels[90:].numpy())
        assert (knn == 1.0) == (distance > 0)


def test_what_is_stored_is_read_back_equal_and_holds_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "kept")
    first = study("mnist", "pixels", 0.5, "smoke", [0, 1], store, progress=False)
    monkeypatch.setattr("sparseguard.studies.clusters._compute", lambda *_: pytest.fail("computed again"))
    again = study("mnist", "pixels", 0.5, "smoke", [0, 1], store, progress=False)
    for one, two in zip(first, again):
        torch.testing.assert_close(one.embedding, two.embedding, rtol=0, atol=0)
        assert torch.equal(one.labels, two.labels)
        assert (one.silhouette, one.knn, one.classes, one.accuracy) == (two.silhouette, two.knn, two.classes, None)
        expected = silhouette_score(two.embedding.numpy(), two.labels.numpy())
        assert one.silhouette_plane == two.silhouette_plane == pytest.approx(expected)
    assert first[0].silhouette != first[1].silhouette
    sizes = [path.stat().st_size for path in (tmp_path / "kept").rglob("*.safetensors")]
    assert len(sizes) == 2
    assert max(sizes) < 210 * (2 * 4 + 8) + 1000  # coordinates and labels


def test_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(project(x, 0), project(x, 0), rtol=0, atol=0)
    assert not torch.allclose(project(x, 0), project(x, 1))


def test_a_projection_leaves_torchs_threads_alone() -> None:
    """Numba changes them, and with them the speed and the rounding of whatever is trained next."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        project(torch.rand(20, 3), 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_nothing_is_computed_before_all_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparseguard.studies.clusters._compute", lambda *_: pytest.fail("computed"))
    for layers, message in ((["pixels", "blur"], "defense must be one of none"), ([], "layers must name at least one")):
        with pytest.raises(ValueError, match=message):
            study("mnist", layers, 0.5, "smoke", 0)


def test_pixels_and_features_of_one_experiment_are_kept_apart(tmp_path: Path) -> None:
    experiment, store = Experiment("mnist", "end_to_end", "none", scale="smoke", fid=False), Store(tmp_path)
    assert stored(experiment, store=store) is None
    raw = measure(experiment, pixels=True, store=store)
    assert stored(experiment, store=store) is None
    features = measure(experiment, store=store)
    again = stored(experiment, pixels=True, store=store)
    assert again is not None
    assert (raw.layer, raw.dimensions, raw.accuracy) == (again.layer, again.dimensions, again.accuracy)
    assert (raw.dimensions, features.dimensions) == (784, 28 * 8)
    assert torch.equal(raw.embedding, again.embedding)
    assert features.seconds > 0


def test_a_noisy_target_answers_the_same_for_a_seed_and_leaves_the_callers_chance_alone(tmp_path: Path) -> None:
    noisy = Experiment(setting="end_to_end", defense="laplace", options={"b": 3.0}, scale="smoke")
    found = []
    for k in range(2):
        torch.manual_seed(k)
        before = torch.get_rng_state()
        found.append(measure(noisy, store=Store(tmp_path / str(k))).accuracy)
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]
