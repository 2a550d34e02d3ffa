from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.lines import Line2D

from sparseguard import list_defenses
from sparseguard.experiment import Experiment
from sparseguard.report import (
    headline,
    image_distributions,
    lambda_curves,
    made_images,
    noise_curves,
    privacy_utility,
    provenance_of,
    reading,
    reconstruction_grid,
    results_table,
    save,
)
from sparseguard.report.compare import values
from sparseguard.report.figures import save as save_figure
from sparseguard.report.tables import spread
from sparseguard.result import METRICS, Result


def fake(
    defense: str,
    seed: int,
    psnr: float,
    lam: float | None = None,
    accuracy: float = 0.9,
    options: dict[str, object] | None = None,
) -> Result:
    numbers: dict[str, float | None] = dict.fromkeys(METRICS, 0.5)
    numbers |= {"psnr": psnr, "fid": None, "accuracy": accuracy, "psnr_mean_image": 10.0, "row_frechet": 100.0}
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    details = {
        "attack": {"attacker": "rows", "errors": {"rows": 1e-2, "ridge": 1e-1}, "updates": {"rows": 64},
                   "gains": {"rows": 0.04}, "capped": False},
        "train_images": 5, "attack_images": 2, "device": "a CPU",
        "notes": {"fid": "No weights."}, "facts": {},
    }  # fmt: skip
    per_image = {"psnr": torch.full((5,), psnr), "ssim": torch.linspace(0.4, 0.6, 5)}
    experiment = Experiment("mnist", "split", defense, lam, scale="smoke", seed=seed, options=options or {})
    return Result(experiment, numbers, per_image, images, images, details, {})


@pytest.fixture
def results() -> list[Result]:
    rows: list[tuple[str, float | None, float]] = [("none", None, 30.0), ("none_conv", None, 22.0)]
    rows += [("laplace", None, 18.0)]
    rows += [("sparse_guard", 0.1, 22.1), ("sparse_guard", 0.5, 15.0)]
    return [fake(name, seed, value + 0.1 * seed, lam) for name, lam, value in rows for seed in (0, 1, 2)]


def test_spread_is_mean_and_sample_deviation_or_a_dash() -> None:
    assert spread([20.0, 22.0, 24.0], 2) == "22.00 ± 2.00"
    assert spread([20.0], 2) == "20.00"
    assert spread([None, None], 2) == spread([20.0, None], 2) == spread([], 2) == "—"


def test_the_table_prints_both_numbers_their_scale_seeds_and_spread(results: list[Result]) -> None:
    """Invariant 5."""
    table = results_table(results)
    rows = table.frame.set_index(table.frame.columns[0])
    assert list(rows.index.str.split(r" \[").str[0]) == [
        "none", "none_conv", "laplace b=0.5", "sparse_guard lam=0.1", "sparse_guard lam=0.5",
    ]  # fmt: skip
    guard = rows.iloc[-1]
    assert guard["PSNR ↓ printed"].startswith("14.98 [")
    assert guard["PSNR ↓ measured"] == "15.10 ± 0.10"
    assert guard["accuracy ↑ printed"] == "0.975"
    assert rows.iloc[1]["PSNR ↓ printed"] == "—"
    for word in ("scale smoke", "seeds 0, 1, 2", "standard deviation", "MNIST", "split", "a CPU", "5 private images"):
        assert word in table.caption
    number = int(guard["FID ↑"].removeprefix("— [").removesuffix("]"))
    assert table.footnotes[number - 1] == "No weights."
    used = {
        int(n) for cell in table.frame.to_numpy().ravel() if "[" in cell for n in cell.split("[")[1][:-1].split(",")
    }
    assert used <= set(range(1, len(table.footnotes) + 1))


def test_one_seed_has_no_spread_and_says_so(results: list[Result]) -> None:
    table = results_table([r for r in results if r.experiment.seed == 0])
    assert "one seed, so no spread" in table.caption
    assert "±" not in table.to_markdown().split("\n\n1. ")[0].replace("mean ±", "")


def test_rows_that_were_not_measured_are_blank_and_those_of_fewer_seeds_say_so(results: list[Result]) -> None:
    absent = fake("dp_sgd", 0, 20.0).experiment
    planned = [results[0].experiment, absent, *(r.experiment for r in results)]
    found = [r for r in results if (r.experiment.defense, r.experiment.seed) != ("laplace", 1)]
    table = results_table(found, planned)
    rows = table.frame.set_index(table.frame["defense"].str.split(r" \[").str[0])
    assert list(rows.index)[:3] == ["none", absent.label, "none_conv"]
    blank = rows.loc[absent.label]
    assert set(blank.drop(["defense", *(c for c in rows if str(c).endswith("printed"))])) == {"—"}
    assert blank["PSNR ↓ printed"] != "—", "what the paper prints stands there all the same"
    notes = dict(enumerate(table.footnotes, 1))
    for label, note in ((absent.label, "Not measured."), ("laplace b=0.5", "Measured with seeds 0, 2 alone.")):
        (number,) = [str(i) for i, text in notes.items() if text == note]
        marked = rows["defense"].str.extract(r"\[([\d, ]+)\]")[0].fillna("").str.split(", ")
        assert [name for name in rows.index if number in marked[name]] == [label]
    told = provenance_of(found, planned=planned)
    assert "2 of 16 cells are not measured" in told
    assert "not measured" not in provenance_of(results, planned=[r.experiment for r in results])


def test_a_target_that_did_not_learn_is_marked() -> None:
    table = results_table([fake("none", 0, 12.0, accuracy=0.1), fake("none_conv", 0, 20.0)])
    first, second = table.frame.iloc[:, 0]
    mark = next(i for i, note in enumerate(table.footnotes, 1) if "did not learn" in note)
    assert str(mark) in first
    assert str(mark) not in second


def test_a_number_that_was_not_measured_has_no_value() -> None:
    group = [fake("none", 0, 12.0), fake("none", 1, 13.0)]
    assert values(group, "psnr") == [12.0, 13.0]
    group[1].metrics["psnr"] = None
    with pytest.raises(ValueError, match=r"psnr of none was not measured in every seed"):
        values(group, "psnr")


def test_a_number_that_was_not_measured_is_a_dash_and_never_a_0(results: list[Result]) -> None:
    """Invariant 5, in the table and the pictures."""
    for r in results:
        if r.experiment.defense == "laplace":
            r.metrics.update(dict.fromkeys(("psnr", "ssim", "accuracy", "judge_accuracy")))
    table = results_table(results)
    row = table.frame.iloc[2]
    for column in ("PSNR ↓ measured", "SSIM ↓ measured", "accuracy ↑ measured", "judge accuracy ↓"):
        assert row[column] == "—"
    assert not any("did not learn" in note for note in table.footnotes)
    labels = [label.get_text() for label in reconstruction_grid(results).axes[0].get_yticklabels()]
    assert labels[3] == "Laplace noise b=0.5\n— dB, SSIM —"


def first_sentences(results: list[Result]) -> str:
    lines = [line[2:] for line in reading(results).splitlines() if line.startswith("- ")]
    return " ".join(lines[:3])


def test_the_answer_names_the_ends_the_share_of_sparsity_and_the_floor(results: list[Result]) -> None:
    text = str(first_sentences(results))
    assert text.startswith(
        "The attacker rebuilds private images best from `none` (30.1 dB) and worst from `sparse_guard lam=0.5` (15.1 dB"
    )
    assert "`sparse_guard lam=0.5` hides most: -15.0 dB beside `none`, " in text
    assert text.endswith(
        "without any leak, reaches 10.0 dB; no row comes within 1 dB of that, so every leak here gives images away."
    )
    for r in results[-3:]:  # the row that hides most does not classify any more, and is as good as the mean image
        r.metrics.update(accuracy=0.2, psnr=10.5 + 0.1 * r.experiment.seed)
    text = str(first_sentences(results))
    assert "`sparse_guard lam=0.1` hides most: -7.9 dB beside `none`, " in text
    assert "+0.1 dB (not told apart) beside `none_conv`" in text
    assert text.endswith("within 1 dB of that, and so nearly private, is `sparse_guard lam=0.5`.")


def test_the_headline_shows_its_rows_large_and_what_is_there_without_them(results: list[Result]) -> None:
    figure = headline(results)
    labels = [axis.get_ylabel().split("\n")[0] for axis in figure.axes if axis.get_ylabel()]
    assert labels == ["private image", "no defense", "convolutions", "sparse-guard λ=0.5"]
    assert len(figure.axes) == 4 * 3
    few = headline([r for r in results if r.experiment.defense == "laplace"])
    assert [axis.get_ylabel().split("\n")[0] for axis in few.axes if axis.get_ylabel()][1:] == ["Laplace noise b=0.5"]


def test_facts_of_training_stand_in_columns_of_their_own() -> None:
    rows = [fake("none", 0, 20.0), *(fake("dp_sgd", seed, 19.0) for seed in (0, 1)), fake("laplace", 0, 15.0)]
    for row, epsilon in zip(rows[1:3], (1.0, 2.0)):
        row.details["facts"] = {"ε (δ = 1e-05)": epsilon}
    rows[3].details["facts"] = {"ε (δ = 1e-05)": float("inf")}
    frame = results_table(rows).frame
    assert frame["ε (δ = 1e-05)"].tolist() == ["—", "1.50 ± 0.71", "∞"]
    assert not [column for column in results_table(rows[:1]).frame if "ε" in str(column)]


def test_images_that_defenses_made_are_shown_once(results: list[Result]) -> None:
    made = torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with_images = [replace(r, exhibits={"generated": made, "dictionary 1": made[..., :5, :5]}) for r in results]
    figure = made_images(with_images)  # the same images in every row
    assert figure is not None
    assert len(figure.axes) == 10
    torch.testing.assert_close(torch.as_tensor(np.asarray(figure.axes[3].images[0].get_array())), made[3, 0])
    assert "no defense\ngenerated" in str(figure.axes[0].get_ylabel())
    with_images[3] = replace(with_images[3], exhibits={"generated": made[:7].flip(0)})
    figure = made_images(with_images)
    assert figure is not None
    assert sum(bool(axis.images) for axis in figure.axes) == 17
    assert made_images(results) is None, "what there is nothing of draws no empty figure"


def test_images_that_defenses_made_stand_in_one_order_however_they_were_read(results: list[Result]) -> None:
    images = torch.rand(2, 10, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    told = []
    for names in (("inverted", "generated"), ("generated", "inverted")):
        exhibits = {name: images[int(name == "inverted")] for name in names}
        figure = made_images([replace(results[0], exhibits=exhibits)])
        assert figure is not None
        told.append([axis.get_ylabel() for axis in figure.axes[::10]])
    assert told[0] == told[1] == ["no defense\ngenerated", "no defense\ninverted"]


def test_the_reading_follows_the_numbers(results: list[Result]) -> None:
    text = reading(results)
    assert "`sparse_guard lam=0.1` and `none_conv` cannot be told apart (+0.1 dB)" in text
    assert "`sparse_guard lam=0.5` gives the attacker 7.0 dB less than `none_conv`" in text
    assert "`sparse_guard lam=0.1` (accuracy 0.90): `laplace b=0.5` (-4.1 dB) hides more" in text
    assert "`sparse_guard lam=0.5` (accuracy 0.90): `laplace b=0.5` (+3.0 dB) hides less" in text
    assert "no row comes within 1 dB" in text
    one = reading([r for r in results if r.experiment.seed == 0])
    assert "gives the attacker" not in one


REGIMES: tuple[dict[str, object], ...] = ({}, {"tau": 1000.0}, {"tau": 100.0})


@pytest.fixture
def regimes() -> list[Result]:
    """A sparse defense in three regimes (16, 17 and 18 dB), the first at three λ, and noise behind two fronts."""
    noise = [fake("laplace", seed, 14.0 + seed / 10, options={"front": front})
             for front in ("linear", "conv") for seed in (0, 1)]  # fmt: skip
    lams: list[tuple[float, ...]] = [(0.1, 0.25, 0.5), (0.5,), (0.5,)]
    cells = [(lam, options, 16.0 + i) for i, (options, of) in enumerate(zip(REGIMES, lams)) for lam in of]
    sparse = [fake("sparse_guard", seed, psnr + seed / 10, lam, options=options)
              for lam, options, psnr in cells for seed in (0, 1)]  # fmt: skip
    return [*noise, *sparse]


def test_the_printed_row_stands_beside_each_regime_with_a_remark(regimes: list[Result]) -> None:
    table = results_table(regimes)
    rows = table.frame.set_index(table.frame["defense"].str.split(r" \[").str[0])
    at_half = [f"sparse_guard lam=0.5{rest}" for rest in ("", " tau=1000", " tau=100")]
    assert rows.loc[at_half, "PSNR ↓ measured"].tolist() == ["16.05 ± 0.07", "17.05 ± 0.07", "18.05 ± 0.07"]
    assert rows.loc[at_half, "PSNR ↓ printed"].str.startswith("14.98 ").all()
    remark = next(str(i) for i, note in enumerate(table.footnotes, 1) if "three regimes" in note)
    marked = (
        table.frame["defense"].str.extract(r"\[([\d, ]+)\]")[0].fillna("").str.split(", ").map(lambda m: remark in m)
    )
    assert rows.index[marked].tolist() == ["sparse_guard lam=0.1", "sparse_guard lam=0.25", *at_half]
    assert rows.loc["laplace b=0.5 front=conv", "PSNR ↓ printed"] == "—"


def test_regimes_and_fronts_are_curves_of_their_own(regimes: list[Result]) -> None:
    axis = privacy_utility(regimes).axes[0]
    names = ["Laplace noise", "Laplace noise behind convolutions", "sparse-guard", "sparse-guard τ=1000",
             "sparse-guard τ=100"]  # fmt: skip
    marks: dict[str, list[Line2D]] = {}
    for container in axis.containers:
        marks.setdefault(str(container.get_label()), []).append(container[0])
    assert list(marks) == names
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [*names, "beaten by no row"]
    assert [len(of) for of in marks.values()] == [1, 1, 3, 1, 1]
    assert [mark.get_markersize() for mark in marks[names[2]]] == [5.0, 7.5, 10.0]
    lines = [line for line in axis.lines if line.get_linewidth() == 1]
    curves = [x.tolist() for line in lines if len(x := np.asarray(line.get_xdata())) == 3]
    assert curves == [[np.asarray(mark.get_xdata()).item() for mark in marks[names[2]]]]
    first = [of[0] for of in marks.values()]
    assert len({mark.get_color() for mark in first}) == 2
    assert len({(mark.get_color(), mark.get_marker(), mark.get_fillstyle()) for mark in first}) == 5


def test_no_two_defenses_look_alike() -> None:
    lines = [c[0] for c in privacy_utility([fake(d, 0, 20.0) for d in list_defenses()]).axes[0].containers]
    looks = [(line.get_color(), line.get_marker()) for line in lines]
    assert len(set(looks)) == len(looks) == len(list_defenses())


def test_a_printed_number_is_drawn_once_whatever_the_regimes(regimes: list[Result]) -> None:
    cells = [replace(r, exhibits={"dictionary 1": torch.rand(4, 1, 5, 5)}) for r in regimes if r.experiment.lam]
    axis = lambda_curves(cells).axes[0]
    assert axis.get_legend_handles_labels()[1].count("sparse-guard, printed") == 1
    hollow = {str(line.get_label()): line for line in axis.lines if line.get_markerfacecolor() == "none"}
    assert np.asarray(hollow["sparse-guard, printed"].get_ydata()).tolist() == [16.17, 17.40, 14.98]
    noise = noise_curves({"split": regimes}).axes[0]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in noise.lines if line.get_markerfacecolor() == "none"]
    assert drawn == [[25.40], [16.17, 17.40, 14.98]]
    assert noise.get_legend_handles_labels()[1] == [
        "Laplace noise", "Laplace noise behind convolutions",
        "sparse-guard", "sparse-guard τ=1000", "sparse-guard τ=100",
    ]  # fmt: skip


def test_the_reading_holds_sparse_rows_against_standardisation_and_noise_behind_convolutions(
    regimes: list[Result],
) -> None:
    controls = [fake(name, seed, psnr + seed / 10) for name, psnr in (("none", 22.0), ("none_standardized", 18.0))
                for seed in (0, 1)]  # fmt: skip
    text = reading([*controls, *regimes])
    assert "standardising each image does alone: `none_standardized` gives the attacker 4.0 dB less than `none`" in text
    beyond = text.split("Against `none_standardized` (what it changes beyond standardising each image): ")[1]
    assert "`sparse_guard lam=0.5` gives the attacker 2.0 dB less than `none_standardized`" in beyond
    assert "`sparse_guard lam=0.5 tau=100` and `none_standardized` cannot be told apart (+0.0 dB)" in beyond
    rivals = text.split("accuracy is no more than")[1]
    assert "`laplace b=0.5` (-2.0 dB), `laplace b=0.5 front=conv` (-2.0 dB) hide more" in rivals
    assert "`none" not in rivals.split("\n")[0]


def test_figures_show_what_they_should(results: list[Result], tmp_path: Path) -> None:
    grid = reconstruction_grid(results)
    sheet = torch.as_tensor(np.asarray(grid.axes[0].images[0].get_array()))
    assert sheet.shape == (6 * 30, 3 * 30)  # originals and five rows, every kept image
    for k in range(3):
        part = slice(30 * k + 1, 30 * k + 29)
        torch.testing.assert_close(sheet[1:29, part], results[0].originals[k, 0])
        torch.testing.assert_close(sheet[31:59, part], results[0].reconstructions[k, 0])
    utility = privacy_utility(results)
    labels = utility.axes[0].get_legend_handles_labels()[1]
    assert list(dict.fromkeys(labels)) == ["no defense", "convolutions", "Laplace noise", "sparse-guard"]
    boxes = image_distributions(results)
    assert [label.get_text() for label in boxes.axes[0].get_yticklabels()][-1] == "sparse-guard λ=0.5"
    for name, figure in (("grid", grid), ("utility", utility), ("boxes", boxes)):
        save_figure(figure, tmp_path, name)
        assert matplotlib.image.imread(tmp_path / f"{name}.png").std() > 0
    save(grid, "", "nothing")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_table_is_saved_as_csv_and_markdown(results: list[Result], tmp_path: Path) -> None:
    results_table(results).save(tmp_path, "t")
    assert "15.10 ± 0.10" in (tmp_path / "t.csv").read_text()
    assert "seeds 0, 1, 2" in (tmp_path / "t.md").read_text()
