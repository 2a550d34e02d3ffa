from pathlib import Path

import pandas as pd
import pytest
import yaml

from sparseguard.paper import printed, printed_label, printed_seconds, printed_tables

FOLDER = Path(printed_tables.__wrapped__.__code__.co_filename).parent


def test_every_printed_row_is_there() -> None:
    table = printed_tables()
    counts = {1: 20, 2: 20, 3: 8, 6: 8, 7: 8, 8: 20, 9: 20, 10: 24, 11: 24, 12: 40, 13: 24, 14: 6, 15: 6}
    assert table.groupby("table").size().to_dict() == counts
    assert table[["psnr", "ssim", "fid", "accuracy"]].notna().all(axis=None)


@pytest.mark.parametrize(
    ("cell", "table", "numbers"),
    [
        (("end_to_end", "mnist", "none"), 1, (40.87, 0.982, 16.31, 0.971)),
        (("end_to_end", "fashion_mnist", "sparse_guard", 0.5), 1, (14.51, 0.069, 423.2, 0.876)),
        (("split", "mnist", "sparse_guard", 0.1), 2, (16.17, 0.109, 227.4, 0.988)),
        (("split", "mnist", "sparse_standard", 0.25), 2, (18.71, 0.288, 188.4, 0.981)),
        (("split", "fashion_mnist", "laplace", None, {"b": 1.0}), 7, (18.36, 0.408, 80.80, 0.878)),
        (("end_to_end", "mnist", "laplace"), 1, (31.18, 0.863, 47.32, 0.980)),
        (("split", "mnist", "gan"), 2, (28.39, 0.894, 27.26, 0.969)),
        (("split", "mnist", "gong"), 2, (28.30, 0.806, 69.38, 0.986)),
        (("split", "mnist", "gong_cl"), 2, (21.94, 0.591, 97.33, 0.991)),
        (("end_to_end", "mnist", "sparse_standard", 0.75), 3, (22.39, 0.593, 142.0, 0.981)),
        (("end_to_end", "mnist", "none", None, {}, "plug-and-play"), 12, (7.24, 0.783, 23.6, 0.971)),
        (("end_to_end", "cifar10", "dp_sgd", None, {}, "plug-and-play"), 13, (11.12, 0.342, 142.1, 0.626)),
        (("end_to_end", "cifar10", "none"), 8, (21.17, 0.477, 70.96, 0.821)),
        (("split", "medical_mnist", "none"), 9, (23.47, 0.776, 45.57, 0.993)),
        (("end_to_end", "celeba", "none"), 14, (16.26, 0.262, 201.8, 0.773)),
        (("end_to_end", "celeba", "sparse_guard", 0.5, {}, "plug-and-play"), 15, (6.57, 0.107, 184.0, 0.723)),
        (("end_to_end", "mnist", "sparse_guard", 0.5, {}, "plug-and-play"), 12, (5.74, 0.604, 299.6, 0.977)),
    ],
)
def test_printed_numbers(cell: tuple[object, ...], table: int, numbers: tuple[float, ...]) -> None:
    row = printed(*cell)  # type: ignore[arg-type]
    assert row is not None
    assert row.table == table
    assert tuple(row.numbers.values()) == numbers


@pytest.mark.parametrize(
    "cell",
    [
        ("split", "mnist", "none_conv"),
        ("split", "mnist", "laplace", None, {"b": 2.0}),
        ("split", "mnist", "gan", None, {"weight": 2.0}),
        ("split", "mnist", "gaussian", None, {"front": "conv"}),
        ("split", "mnist", "none_standardized"),
        ("split", "mnist", "gong", None, {"weight": 0.5}),
        ("split", "mnist", "gong_cl", None, {"consolidation": 1.0}),
        ("split", "mnist", "sparse_guard", (0.1, 0.5)),
        ("split", "mnist", "sparse_guard", 0.3),
        ("split", "mnist", "sparse_guard", 0.5, {"pairs": 3}),
        ("split", "mine.npz", "none"),
        ("split", "mnist", "none", None, {}, "plug-and-play"),
    ],
)
def test_what_the_paper_did_not_print_is_none(cell: tuple[object, ...]) -> None:
    assert printed(*cell) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"tau": 1000.0}, True),
        ({"tau": 100.0}, True),
        ({"tau": 100.0, "solver": "euler"}, True),
        ({"solver": "single"}, False),
        ({"dictionary": "submodular"}, False),
        ({"tau": 500.0}, False),
        ({"iterations": 200}, False),
        ({"tau": 100.0, "iterations": 50}, False),
        ({"tau": 100.0, "pairs": 3}, False),
    ],
)
def test_a_printed_sparse_row_stands_beside_every_regime_that_it_can_mean(
    options: dict[str, object], known: bool
) -> None:
    """Settled (section 3), Table 5's time constant, the released code's; followed by whatever solver."""
    settled = printed("split", "mnist", "sparse_guard", 0.5)
    assert settled is not None
    assert any("three regimes" in text for text in settled.remarks["defense"])
    assert printed("split", "mnist", "sparse_guard", 0.5, options) == (settled if known else None)
    assert printed_seconds("sparse_guard", 0.5, options) == (17912.9 if known else None)


def test_the_remark_on_regimes_is_on_sparse_rows_alone() -> None:
    for defense, lam, regimes in (("sparse_standard", 0.25, True), ("laplace", None, False), ("none", None, False)):
        row = printed("end_to_end", "mnist", defense, lam)
        assert row is not None
        assert any("regimes" in text for texts in row.remarks.values() for text in texts) == regimes


def test_a_lambda_for_each_layer_that_is_the_same_is_that_lambda() -> None:
    assert printed_label("sparse_guard", (0.5, 0.5), {}) == ("SPARSE-GUARD", 0.5)


def test_every_remark_applies_to_rows_that_exist() -> None:
    table = printed_tables()
    for note in yaml.safe_load((FOLDER / "footnotes.yaml").read_text(encoding="utf-8")):
        rows = {key: values for key, values in note["rows"].items() if key != "column"}
        mask = pd.Series(True, index=table.index)
        for key, values in rows.items():
            assert set(values) <= set(table[key]), (key, values)
            mask &= table[key].isin(values)
        assert mask.any(), note
        assert set(note["rows"].get("column", [])) <= {"psnr", "ssim", "fid", "accuracy"}


def test_remarks_come_with_their_numbers() -> None:
    row = printed("split", "mnist", "sparse_standard", 0.25)
    assert row is not None
    assert any("Fréchet" in text for text in row.remarks["fid"])
    assert any("prints no λ" in text for text in row.remarks["defense"])


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        (("none",), 10555.3),
        (("gaussian",), 12555.3),
        (("laplace",), 14390.2),
        (("gan",), 15762.4),
        (("gong",), 16061.8),
        (("gong_cl",), 17521.8),
        (("mi_reg",), 15229.9),
        (("dp_sgd",), 16923.9),
        (("sparse_standard", 0.25), 12327.5),
        (("sparse_guard", 0.1), 17009.8),
        (("sparse_guard", 0.25), 17181.2),
        (("sparse_guard", (0.5, 0.5)), 17912.9),
        (("sparse_standard", 0.5), None),
        (("sparse_guard", 0.3), None),
        (("laplace", None, {"b": 1.0}), None),
        (("none_conv",), None),
    ],
)
def test_printed_seconds(cell: tuple[object, ...], seconds: float | None) -> None:
    assert printed_seconds(*cell) == seconds  # type: ignore[arg-type]


def test_printed_seconds_do_not_follow_the_papers_own_order() -> None:
    """Notebook 07 says so: sparse-standard is quicker than the noises, sparse-guard slower than gan and gong."""
    seconds = {name: printed_seconds(name) or 0.0 for name in ("gaussian", "laplace", "gan", "gong")}
    assert (printed_seconds("sparse_standard", 0.25) or 0.0) < min(seconds["gaussian"], seconds["laplace"])
    assert all((printed_seconds("sparse_guard", v) or 0) > max(seconds.values()) for v in (0.1, 0.25, 0.5))
