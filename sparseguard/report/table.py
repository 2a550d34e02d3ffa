"""A table as strings: shown with its headline first and without empty columns; as a file it keeps everything."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .looks import base_name, look
from .summary import inline

DASH = "—"
CLASS = "sparseguard-table"
LONG = 45
"""Characters from which a cell holds a text, whose lines are broken."""


@dataclass(frozen=True)
class Table:
    """A table as strings, with its caption and footnotes; a notebook shows it as HTML.

    Args:
        frame: the cells; ``[1, 2]`` at the end of one, or of a column's name, refers to footnotes.
        caption: data set, scale, seeds, spread.
        footnotes: in words; ```code``` and ``**bold**`` are rendered.
        head: places of the rows that are shown first; the others are folded behind them. Empty: all.
        columns: those of the headline; empty: all.
    """

    frame: pd.DataFrame
    caption: str
    footnotes: list[str]
    head: Sequence[int] = ()
    columns: Sequence[str] = ()

    @property
    def empty(self) -> list[str]:
        """Columns in which nothing was printed or measured."""
        bare = self.frame.astype(str).replace(r" \[[\d, ]+\]$", "", regex=True)
        return [str(name) for name in self.frame if len(bare) and (bare[name] == DASH).all()]

    def _shown(self) -> pd.DataFrame:
        return self.frame.drop(columns=self.empty)

    def _left_out(self) -> list[str]:
        names = ", ".join(re.sub(r" \[[\d, ]+\]$", "", name) for name in self.empty)
        return [f"Nothing was printed or measured here, so left out: {names}; the CSV file has them."] if names else []

    def _repr_html_(self) -> str:
        full = self._shown()
        parts = [f"<p><b>{inline(self.caption)}</b></p>"]
        if self.head or self.columns:
            few = full.iloc[list(self.head)] if self.head else full
            parts.append(_html(few[[name for name in few if name in self.columns]] if self.columns else few))
            size = f"All {len(full)} rows and {len(full.columns)} columns"
            parts.append(f"<details><summary>{size}</summary>{_html(full)}</details>")
        else:
            parts.append(_html(full))
        parts += [f"<p><small>{html.escape(text)}</small></p>" for text in self._left_out()]
        notes = "".join(f"<li>{inline(note)}</li>" for note in self.footnotes)
        if notes:
            parts.append(f"<details><summary>Footnotes ({len(self.footnotes)})</summary><ol>{notes}</ol></details>")
        return f'<div class="{CLASS}">{"".join(parts)}</div>'

    def to_markdown(self) -> str:
        """GitHub's table syntax, the caption above and the footnotes below."""
        shown = self._shown()
        head = ["| " + " | ".join(shown.columns) + " |", "|" + "---|" * len(shown.columns)]
        rows = ["| " + " | ".join(map(str, row)) + " |" for row in shown.itertuples(index=False)]
        notes = [f"{i}. {note}" for i, note in enumerate(self.footnotes, start=1)]
        return "\n".join([self.caption, "", *head, *rows, "", *self._left_out(), *[""] * bool(self.empty), *notes])

    def save(self, folder: str | Path, name: str) -> None:
        """Write ``name.csv`` (all cells) and ``name.md`` (with caption and footnotes)."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.frame.to_csv(Path(folder) / f"{name}.csv", index=False)
        (Path(folder) / f"{name}.md").write_text(self.to_markdown() + "\n", encoding="utf-8")


def _html(frame: pd.DataFrame) -> str:
    """Rows in their order; references to footnotes raised, a defense with its colour and its name in words."""
    text = re.sub(r" \[([\d, ]+)\](?=</t[dh]>)", r" <sup>\1</sup>", frame.to_html(index=False, border=0))
    if len(frame.columns) and frame.columns[0] == "defense":
        text = re.sub(r"(<tr>\s*<td>)(\w+)", _with_its_colour, text)
    text = re.sub(rf"<td>(?=[^<]{{{LONG},}}<)", '<td class="long">', text)
    return f'<div class="scroll" style="overflow-x:auto">{text}</div>'


def _with_its_colour(found: re.Match[str]) -> str:
    colour, _ = look(found[2])
    return f'{found[1]}<span style="color:{colour}" title="{base_name(found[2])}">■</span> {found[2]}'
