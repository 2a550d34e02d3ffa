"""Tables: the headline first, nothing empty, no mark-up left, and a CSV file that keeps everything."""

import html
import re
from pathlib import Path

import pandas as pd
import pytest

from sparseguard.report import results_table
from sparseguard.report.table import Table
from tests.report.test_report import fake

TABLE = Table(
    pd.DataFrame(
        {"defense": ["none [1]", "laplace", "laplace"], "b": ["1 [1, 2]", "2", "—"], "FID": ["— [2]", "—", "—"],
         "c < d": ["x", "y", "z"]}
    ),
    "About `x`.", ["One `code`, **bold**.", "Two."], head=[0, 2], columns=["defense", "b", "FID"],
)  # fmt: skip


def rows_of(text: str) -> list[list[list[str]]]:
    """Cells of each table in a page, without mark-up."""
    table, row, cell = (re.compile(rf"<{tag}[ >].*?</{tag}>", flags=re.S) for tag in ("table", "tr", "t[dh]"))

    def plain(of: str) -> str:
        return html.unescape(re.sub("<[^>]+>", "", of))

    return [[[plain(c) for c in cell.findall(r)] for r in row.findall(t)] for t in table.findall(text)]


def test_the_headline_stands_first_and_everything_behind_it() -> None:
    shown = TABLE._repr_html_()
    first, whole = rows_of(shown)
    assert first == [["defense", "b"], ["■ none 1", "1 1, 2"], ["■ laplace", "—"]]
    assert [row[0] for row in whole[1:]] == ["■ none 1", "■ laplace", "■ laplace"]
    assert whole[0] == ["defense", "b", "c < d"]
    assert shown.index("<details>") > shown.index("</table>")
    assert "All 3 rows and 3 columns" in shown


def test_empty_columns_are_a_sentence_footnotes_words_and_the_file_has_everything(tmp_path: Path) -> None:
    shown = TABLE._repr_html_()
    assert shown.count("FID") == 1
    assert "left out: FID;" in shown
    assert shown.count("Two.") == 1
    assert not re.search(r"`|\*\*|\[\d", shown)
    assert "<code>code</code>, <strong>bold</strong>" in shown
    TABLE.save(tmp_path, "t")
    assert list(pd.read_csv(tmp_path / "t.csv")) == ["defense", "b", "FID", "c < d"]
    assert "| FID" not in (tmp_path / "t.md").read_text(encoding="utf-8")
    assert len(rows_of(Table(TABLE.frame, "", [])._repr_html_())) == 1


def test_the_headline_of_results_is_one_row_a_defense_its_last_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparseguard.report.tables.FEW_ROWS", 4)
    rows = [fake("none", 0, 30.0), *(fake("sparse_guard", 0, 20.0, lam) for lam in (0.1, 0.5))]
    rows += [
        fake("sparse_guard", 0, 21.0, 0.5, options={"tau": 100.0}),
        fake("laplace", 0, 18.0, options={"front": "conv"}),
    ]
    first, whole = rows_of(results_table(rows)._repr_html_())
    assert [re.sub(r" [\d, ]+$", "", row[0]) for row in first[1:]] == [
        "■ none", "■ sparse_guard lam=0.5", "■ laplace b=0.5 front=conv",
    ]  # fmt: skip
    assert len(whole) == 6
    monkeypatch.undo()
    assert [len(t) for t in rows_of(results_table(rows)._repr_html_())] == [6, 6], "few rows are all shown"
    assert "best attacker" in first[0]
    assert not any(name.startswith("row-Fréchet") for name in first[0])
