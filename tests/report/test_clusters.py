import re
from statistics import mean

import pytest
import torch
from sklearn.metrics import silhouette_score

from sparseguard.experiment import Experiment
from sparseguard.report import features_figure, features_reading, features_table
from sparseguard.report.tables import spread
from sparseguard.studies.clusters import Features


def fake(layer: str, silhouette: float, seed: int, dataset: str = "mnist", apart: float = 0.0) -> Features:
    """Three classes in the plane, ``apart`` from each other beside a noise of 1."""
    defense = "none" if layer == "pixels" else layer
    experiment = Experiment(dataset, "end_to_end", defense, scale="smoke", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    label = layer if layer == "pixels" else experiment.label
    labels = torch.arange(30) % 3
    centres = apart * torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    return Features(
        experiment, label, torch.rand(30, 2, generator=generator) + centres[labels], labels,
        silhouette + 0.001 * seed, 0.8 + 0.001 * seed, None if layer == "pixels" else 0.9, 12, ("a", "b", "c"),
        3.0, "cpu",
    )  # fmt: skip


@pytest.fixture
def found() -> list[Features]:
    rows = {"pixels": 0.04, "none": 0.05, "none_conv": 0.30, "sparse_guard": 0.04}
    return [
        fake(layer, value, seed, dataset, apart=9.0 if layer == "none" else 0.0)
        for dataset in ("mnist", "fashion_mnist")
        for layer, value in rows.items()
        for seed in (0, 1, 2)
    ]


def test_the_table_says_scale_seeds_spread_and_where_the_numbers_were_taken(found: list[Features]) -> None:
    table = features_table(found)
    assert table.frame["silhouette in feature space"].tolist()[:4] == [
        "0.041 ± 0.001", "0.051 ± 0.001", "0.301 ± 0.001", "0.041 ± 0.001",
    ]  # fmt: skip
    plane = [silhouette_score(f.embedding.numpy(), f.labels.numpy()) for f in found if f.layer == "none"][:3]
    assert mean(plane) > 0.8
    assert table.frame["silhouette in the plane"].tolist()[1] == spread(plane, 3)
    assert table.frame["accuracy of the target"].tolist()[:2] == ["—", "0.900 ± 0.000"]
    assert "scale smoke (30 private images), seeds 0, 1, 2; mean ± standard deviation" in table.caption
    assert "in the UMAP plane, of which the paper's statement is, and in feature space" in table.footnotes[0]
    assert "one seed, so no spread" in features_table([f for f in found if f.experiment.seed == 0]).caption


def test_the_reading_follows_the_numbers(found: list[Features]) -> None:
    text = features_reading(found)
    convolutions = re.search(r"against two convolutions (.*?), k-NN", text)
    assert convolutions
    assert convolutions[1] == "not to be told apart in the plane (+0.000), less clustered in feature space (-0.260)"
    linear = re.search(r"against two linear layers (less clustered in the plane .*?), k-NN", text)
    assert linear
    assert linear[1].endswith("not to be told apart in feature space (-0.010)")
    assert text.count("; the claim holds in part here.") == 2
    plane = mean(f.silhouette_plane for f in found[:12] if f.layer == "none")
    assert f"in the plane is {plane:.3f} (two linear layers), of 1 at most: its classes stand apart" in text
    assert "the highest silhouette in feature space is 0.301 (two convolutions)" in text
    apart = [
        fake(f.layer.split()[0], f.silhouette + far, f.experiment.seed, apart=9.0 * far)
        for f in found[:12]
        for far in [f.layer in ("none", "none_conv")]
    ]
    assert "; the claim holds here." in features_reading(apart)
    more = [
        fake(f.layer.split()[0], 0.04 + tight, f.experiment.seed, apart=9.0 * tight)
        for f in found[:12]
        for tight in [f.layer.startswith("sparse_guard")]
    ]
    assert "; the claim is contradicted here." in features_reading(more)
    flat = [fake(f.layer.split()[0], 0.04, f.experiment.seed) for f in found[:12]]
    assert "; the claim is not shown here." in features_reading(flat)
    assert "no layer gathers the classes tightly" in features_reading(flat)
    one = features_reading([f for f in found if f.experiment.seed == 0])
    assert "; the claim is not shown here." in one  # one seed is never a difference


def test_each_panel_shows_every_class_in_a_colour_and_shape_of_its_own(found: list[Features]) -> None:
    figure = features_figure(found)
    assert len(figure.axes) == 8
    for axis, one in zip(figure.axes, found[::3]):
        numbers = (
            f"silhouette {one.silhouette_plane:.3f} here, {one.silhouette:.3f} in feature space\nk-NN {one.knn:.2f}"
        )
        assert numbers in axis.get_title()
        assert len(axis.collections) == 3
        points = torch.cat([torch.as_tensor(c.get_offsets()) for c in axis.collections])
        assert points.shape == (30, 2)
        looks = {(str(c.get_facecolor()[0]), str(c.get_paths()[0].vertices)) for c in axis.collections}
        assert len(looks) == 3
    legend = figure.axes[3].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]
    assert re.search("scale smoke, seed 0", figure.get_suptitle())
