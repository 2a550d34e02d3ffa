"""What numbers are of, in words."""

from dataclasses import replace

from sparseguard.data import DATASETS, dataset_title
from sparseguard.report.about import about, attacks_told, caption, in_short
from sparseguard.report.looks import row_names
from tests.report.test_report import fake


def test_every_data_set_has_a_title_of_its_own_and_a_path_its_last_part() -> None:
    titles = [dataset_title(name) for name in DATASETS]
    assert len(set(titles)) == len(DATASETS)
    assert "Fashion-MNIST" in titles
    assert dataset_title("cifar10 size=32") == "CIFAR-10-32"


def test_few_attacks_are_named_and_many_counted() -> None:
    one = fake("none", 0, 20.0)
    several = [replace(one, experiment=replace(one.experiment, holdout=n)) for n in (11, 12, 13, 14)]
    assert attacks_told(several[:2]) == "attack inversion holdout=11, inversion holdout=12"
    assert attacks_told(several) == "attack inversion holdout=11 and 3 others, which the rows name"
    assert len(caption(several)) < 200
    assert len(set(row_names([r.experiment for r in several]).values())) == 4
    assert about(several, leak=False, attack=False) == f"MNIST, scale {one.experiment.scale}"


def test_seeds_are_those_of_the_results_alone() -> None:
    assert in_short([fake("none", 0, 20.0)]).endswith("one seed, so no spread")
    assert in_short([fake("none", seed, 20.0) for seed in (0, 1)]).endswith("2 seeds")
