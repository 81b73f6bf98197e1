"""A small table that a notebook shows as HTML, and as plain lines where it cannot."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TextTable"]

WIDEST = 100  # characters of a printed line


@dataclass(frozen=True)
class TextTable:
    """Rows of words under a header; it looks the same on every machine.

    Attributes
    ----------
    header : sequence of str
    rows : sequence of sequences of str
        Each as long as the header.
    bold : sequence of str
        Rows that begin with one of these are bold.
    caption : str
        A line above the table.

    Examples
    --------
    >>> TextTable(["score", "mean"], [["energy", "0.84"], ["kNN", "0.87"]])
    score   mean
    energy  0.84
    kNN     0.87
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: Sequence[str] = ()
    caption: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"rows: expected {len(self.header)} words in each")

    def column(self, name: str) -> list[str]:
        """What stands under one word of the header, from the top."""
        k = list(self.header).index(name)
        return [row[k] for row in self.rows]

    def __repr__(self) -> str:
        lines = [list(self.header), *map(list, self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        if sum(widths) + 2 * len(widths) - 2 > WIDEST:
            return f"table of {len(self.rows)} rows: {' | '.join(self.header)}"
        printed = [
            "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join(([self.caption] if self.caption else []) + printed)

    def _repr_html_(self) -> str:
        parts = ["<table>"]
        if self.caption:
            parts.append(f"<caption>{html.escape(self.caption)}</caption>")
        parts.append(_line("th", self.header, bold=False))
        parts += [_line("td", row, bold=row[0] in self.bold) for row in self.rows]
        return "\n".join([*parts, "</table>"])


def _line(tag: str, words: Sequence[str], bold: bool) -> str:
    start, end = ("<b>", "</b>") if bold else ("", "")
    cells = (
        f'<{tag} style="text-align: left">{start}{html.escape(word)}{end}</{tag}>' for word in words
    )
    return f"<tr>{''.join(cells)}</tr>"
