"""Readings and tables of attacks on classes, on numbers that were planted."""

from dataclasses import replace
from pathlib import Path

import pytest

from sparseguard import Experiment, Result
from sparseguard.grid import run_grid
from sparseguard.report import (
    classes_grid,
    classes_reading,
    classes_summary,
    classes_table,
    results_table,
    search_curves,
    ssim_histogram,
)
from sparseguard.store import Store


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    options = {"prior": "pca", "tries": 500, "results": 250}
    rows = [
        Experiment("mnist", "split", name, scale="smoke", seed=seed, attack="plug_and_play", attack_options=options)
        for name in ("none", "none_conv")
        for seed in (0, 1, 2)
    ]
    store: Path = tmp_path_factory.mktemp("store")
    return run_grid(rows, Store(store), progress=False)


def planted(results: list[Result], name: str, **metrics: tuple[float, float, float]) -> list[Result]:
    """The same, one defense's metrics set, one a seed."""
    made = []
    for r in results:
        if r.experiment.defense == name:
            given: dict[str, float | None] = {metric: numbers[r.experiment.seed] for metric, numbers in metrics.items()}
            r = replace(r, metrics=r.metrics | given)
        made.append(r)
    return made


def test_a_search_that_finds_more_is_told_from_one_that_does_not(found: list[Result]) -> None:
    before = {"judge_accuracy_prior_only": (0.5, 0.52, 0.48)}
    results = planted(found, "none", judge_accuracy=(0.8, 0.81, 0.79), **before)
    results = planted(results, "none_conv", judge_accuracy=(0.5, 0.53, 0.47), **before)
    text = classes_reading(results)
    assert "more in 1 (`none`), less in 0 of 2 rows" in text
    assert "50% to 50% of what the prior alone offers" in text
    assert "what the target knows of a class in 1 of 2 rows, whatever the defense" in classes_summary(results).text
    none = planted(results, "none", judge_accuracy=(0.5, 0.53, 0.47))
    assert "In none of 2 rows does the search find more of a class than the prior offers." in classes_summary(none).text
    results = planted(results, "none_conv", judge_accuracy=(0.2, 0.22, 0.18), **before)
    assert "more in 1" in classes_reading(results)
    assert "less in 1 (`none_conv`)" in classes_reading(results)


def test_what_is_as_near_to_hold_out_images_gives_no_training_image_away(found: list[Result]) -> None:
    alone = {"distance_private_prior_only": (50.0, 52.0, 51.0), "distance_holdout_prior_only": (55.0, 57.0, 56.5)}
    class_alone = {"distance_private": (30.0, 31.0, 30.5), "distance_holdout": (33.1, 33.9, 33.7)}
    training = {"distance_private": (30.0, 31.0, 30.5), "distance_holdout": (60.0, 61.5, 61.2)}
    results = planted(planted(found, "none", **alone, **class_alone), "none_conv", **alone, **training)
    text = classes_reading(results)
    assert "towards the private images in 1 (`none_conv`)" in text
    assert "1.10 to 2.00 times as far from the nearest of as many hold-out images" in text
    assert "in 1 of 2 rows the search moves towards the private ones." in classes_summary(results).text
    told = classes_summary(planted(results, "none_conv", **alone, **class_alone)).text
    assert "it shows the class and no training image." in told


def test_with_one_seed_nothing_is_called_a_difference(found: list[Result]) -> None:
    first = [r for r in found if r.experiment.seed == 0]
    apart = planted(first, "none", judge_accuracy=(0.9, 0, 0), judge_accuracy_prior_only=(0.1, 0, 0))
    assert "more in 0, less in 0 of 2 rows" in classes_reading(apart)
    told = classes_summary(apart).text
    assert "Whether the search finds what the target knows of a class, one seed cannot tell." in told
    assert "as from private ones: one seed cannot tell these apart." in told


def test_tables_show_the_control_before_the_search(found: list[Result]) -> None:
    results = planted(found, "none", judge_accuracy=(0.8, 0.81, 0.79), judge_accuracy_prior_only=(0.5, 0.52, 0.48))
    table = classes_table(results)
    assert table.frame["judge accuracy"][0] == "0.500 ± 0.020 → 0.800 ± 0.010"
    assert list(table.frame["prior"]) == ["pca prior", "pca prior"]
    assert any("no pairs of original and reconstruction" in note for note in table.footnotes)
    assert len(results_table(results).frame) == 2
    few = [replace(r, metrics=r.metrics | {"judge_top5": None, "judge_top5_prior_only": None}) for r in found]
    assert "(210 private images, 45 attacked with)" in table.caption, "nothing is rebuilt: it is of classes"
    assert list(classes_table(few).frame["judge's five best"]) == ["—", "—"]


def test_figures_have_a_row_a_panel_and_a_curve_a_defense(found: list[Result]) -> None:
    grid = classes_grid(found)
    shown = len(found[0].originals)
    assert len(grid.axes) == 2 * 2 * shown
    assert [axis.get_ylabel().split("\n")[0] for axis in grid.axes[::shown]][1::2] == ["nearest private"] * 2
    (axis,) = search_curves(found).axes
    assert len(axis.lines) == 2
    axis.figure.canvas.draw()
    legend = axis.get_legend()
    assert legend is not None
    assert not legend.get_window_extent().overlaps(axis.get_window_extent())
    assert not any(" under " in text.get_text() for text in legend.get_texts())  # the title names the attack
    panels = [axis for axis in ssim_histogram(found).axes if axis.get_visible()]
    assert len(panels) == 2
    assert panels[0].get_legend_handles_labels()[1] == ["prior only", "search"]
