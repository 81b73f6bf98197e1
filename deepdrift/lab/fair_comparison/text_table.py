"""A small table that a notebook shows as HTML, and as plain lines where it cannot."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
    colours : mapping of (int, int) to str
        Row and column -> background of that cell; words are white on dark ones.
    marked : set of (int, int)
        Cells in bold.

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
    colours: Mapping[tuple[int, int], str] = field(default_factory=dict)
    marked: frozenset[tuple[int, int]] = frozenset()

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
        left = [not all(map(_is_number, column)) for column in zip(*self.rows, strict=True)]
        parts.append(_line(map(_cell, ["th"] * len(left), self.header, left)))
        for i, row in enumerate(self.rows):
            bold = row[0] in self.bold
            parts.append(
                _line(
                    _cell(
                        "td", word, left[j], bold or (i, j) in self.marked, self.colours.get((i, j))
                    )
                    for j, word in enumerate(row)
                )
            )
        return "\n".join([*parts, "</table>"])


def _is_number(word: str) -> bool:
    """Whether a word stands at the right of its column, as notebooks align by themselves."""
    return word[:1].isdigit() or word[:1] in {"-", "[", "±", "–"}


def _line(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, word: str, left: bool, bold: bool = False, colour: str | None = None) -> str:
    style = ["text-align: left"] if left else []
    if colour is not None:
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 128
        style.append(f"background-color: {colour}; color: {'#fff' if dark else '#222'}")
    look = f' style="{"; ".join(style)}"' if style else ""
    word = html.escape(word)
    return f"<{tag}{look}>{f'<b>{word}</b>' if bold else word}</{tag}>"
