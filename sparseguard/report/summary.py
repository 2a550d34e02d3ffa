"""The answer of a notebook in a box: at most three numbers and five sentences, written from the results by rule."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_SENTENCES, MOST_NUMBERS = 5, 3
_BOX = "border:1px solid #c8ccd0;border-left:5px solid #0b5c8f;border-radius:4px;padding:.7em 1.1em;margin:.6em 0"
_EACH, _BIG = "max-width:15em", "font-size:1.7em;line-height:1.2"
_ROW = "display:flex;flex-wrap:wrap;gap:.6em 2.2em;margin:0 0 .7em"


@dataclass(frozen=True)
class Summary:
    """What a reader takes away if nothing else is read.

    Args:
        numbers: each with its unit, and what it is in a few words.
        sentences: the first is the answer; ``**bold**`` and ```code``` are rendered.

    Raises:
        ValueError: more than three numbers or five sentences, or no sentence.

    >>> Summary([("27 dB", "through convolutions")], ["**No.** Nothing is hidden."]).text
    '27 dB: through convolutions. No. Nothing is hidden.'
    """

    numbers: Sequence[tuple[str, str]]
    sentences: Sequence[str]

    def __post_init__(self) -> None:
        if not 1 <= len(self.sentences) <= MOST_SENTENCES or len(self.numbers) > MOST_NUMBERS:
            raise ValueError(
                f"a summary has 1 to {MOST_SENTENCES} sentences and at most {MOST_NUMBERS} numbers, not "
                f"{len(self.sentences)} and {len(self.numbers)}."
            )

    @property
    def text(self) -> str:
        """Without mark-up."""
        told = [f"{number}: {what}." for number, what in self.numbers] + list(self.sentences)
        return re.sub(r"\*\*|`", "", " ".join(told))

    def _repr_html_(self) -> str:
        numbers = "".join(
            f'<div style="{_EACH}"><strong style="{_BIG}">{html.escape(number)}</strong><br>{html.escape(what)}</div>'
            for number, what in ((_signed(number), what) for number, what in self.numbers)
        )
        row = f'<div style="{_ROW}">{numbers}</div>' if numbers else ""
        text = " ".join(map(inline, self.sentences))
        return f'<div class="sparseguard-summary" style="{_BOX}">{row}<p style="margin:0">{text}</p></div>'

    def __repr__(self) -> str:
        return self.text


def _signed(number: str) -> str:
    """With a minus in a hyphen's place."""
    return re.sub(r"(^|\s)-(?=\d)", "\\1−", number)


class Markup(str):
    """HTML that a notebook shows as it is, and keeps once."""

    def __repr__(self) -> str:
        return f"<HTML of {len(self)} characters>"

    def _repr_html_(self) -> str:
        return str(self)


def inline(text: str) -> str:
    """``**bold**`` and ```code``` as HTML, all else escaped.

    >>> inline("**a** < `b`")
    '<strong>a</strong> &lt; <code>b</code>'
    """
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text, quote=False))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence; where they are many, the first and how many more.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d", "e"])
    ('a', 'a, b and c', 'a, b and 3 more')
    """
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def span(values: Sequence[float], digits: int = 1) -> str:
    """Between what numbers lie.

    >>> span([27.0, 31.6]), span([0.94], 2), span([-0.04, 0.01])
    ('27.0 to 31.6', '0.94', '0.0')
    """
    return " to ".join(dict.fromkeys(f"{end(values):z.{digits}f}" for end in (min, max)))


def percent(values: Sequence[float]) -> str:
    """Between what shares lie, in percent.

    >>> percent([0.934, 0.94])
    '93 to 94 %'
    """
    return f"{span([100 * value for value in values], 0)} %"
