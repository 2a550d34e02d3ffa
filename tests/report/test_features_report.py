import re

import pytest
import torch

from sparseguard.experiment import Experiment
from sparseguard.features import Features
from sparseguard.report import features_figure, features_reading, features_table


def fake(layer: str, silhouette: float, seed: int, dataset: str = "mnist") -> Features:
    defense = "none" if layer == "pixels" else layer
    experiment = Experiment(dataset, "end_to_end", defense, scale="smoke", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    label = layer if layer == "pixels" else experiment.label
    return Features(
        experiment, label, torch.rand(30, 2, generator=generator), torch.arange(30) % 3,
        silhouette + 0.001 * seed, 0.8 + 0.001 * seed, None if layer == "pixels" else 0.9, 12, ("a", "b", "c"),
        3.0, "cpu",
    )  # fmt: skip


@pytest.fixture
def found() -> list[Features]:
    rows = {"pixels": 0.04, "none": 0.05, "none_conv": 0.30, "sparse_guard": 0.04}
    return [
        fake(layer, value, seed, dataset)
        for dataset in ("mnist", "fashion_mnist")
        for layer, value in rows.items()
        for seed in (0, 1, 2)
    ]


def test_the_table_says_scale_seeds_spread_and_where_the_numbers_were_taken(found: list[Features]) -> None:
    table = features_table(found)
    assert table.frame["silhouette by class"].tolist()[:4] == [
        "0.041 ± 0.001", "0.051 ± 0.001", "0.301 ± 0.001", "0.041 ± 0.001",
    ]  # fmt: skip
    assert table.frame["accuracy of the target"].tolist()[:2] == ["—", "0.900 ± 0.000"]
    assert "scale smoke (30 private images), seeds 0, 1, 2; mean ± standard deviation" in table.caption
    assert "in feature space, not in the projection" in table.footnotes[0]
    assert "one seed, so no spread" in features_table([f for f in found if f.experiment.seed == 0]).caption


def test_the_reading_follows_the_numbers(found: list[Features]) -> None:
    text = features_reading(found)
    assert "less clustered than two convolutions (silhouette -0.260" in text
    assert "not to be told apart from two linear layers (silhouette -0.010; k-NN +0.00, within chance)" in text
    assert text.count("The claim holds in part here.") == 2
    assert "its classes stand apart" in text
    apart = [
        fake(f.layer.split()[0], 0.3 if f.layer == "none" else f.silhouette, f.experiment.seed) for f in found[:12]
    ]
    assert "The claim holds here." in features_reading(apart)
    flat = [fake(f.layer.split()[0], 0.04, f.experiment.seed) for f in found[:12]]
    assert "The claim does not hold here." in features_reading(flat)
    assert "no layer gathers the classes tightly" in features_reading(flat)
    one = features_reading([f for f in found if f.experiment.seed == 0])
    assert "The claim does not hold" in one  # one seed is never a difference


def test_each_panel_shows_every_class_in_a_colour_and_shape_of_its_own(found: list[Features]) -> None:
    figure = features_figure(found)
    assert len(figure.axes) == 8
    for axis, one in zip(figure.axes, found[::3]):
        assert f"silhouette {one.silhouette:.3f}, k-NN {one.knn:.2f}" in axis.get_title()
        assert len(axis.collections) == 3
        points = torch.cat([torch.as_tensor(c.get_offsets()) for c in axis.collections])
        assert points.shape == (30, 2)
        looks = {(str(c.get_facecolor()[0]), str(c.get_paths()[0].vertices)) for c in axis.collections}
        assert len(looks) == 3
    legend = figure.axes[3].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]
    assert re.search("scale smoke, seed 0", figure.get_suptitle())
