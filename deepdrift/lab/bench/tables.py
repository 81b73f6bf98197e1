"""Numbers in rows and columns, as text that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_table(
    rows: Mapping[str, Mapping[str, Any]],
    corner: str = "",
    spec: str = ".2f",
    width: int | None = None,
) -> str:
    """Rows and columns of numbers or estimates, as text.

    Parameters
    ----------
    rows : mapping of row name to mapping of column name to number or Estimate
    corner : str
        What stands above the names of the rows.
    spec : str
        Format of a number.
    width : int, optional
        Characters of a column; by default three more than its longest cell.

    Examples
    --------
    >>> print(as_table({"cnn": {"0 to 1": 0.25, "1 to 2": 0.75}}))
             0 to 1   1 to 2
    cnn        0.25     0.75
    """
    cells = {name: [format(v, spec) for v in row.values()] for name, row in rows.items()}
    columns = list(next(iter(rows.values())))
    longest = max(6, *(len(cell) for row in cells.values() for cell in row), *map(len, columns))
    size = longest + 3 if width is None else width
    first = max(map(len, [corner, *rows]))
    lines = [f"{corner:<{first}}" + "".join(f"{name:>{size}}" for name in columns)]
    lines += [
        f"{name:<{first}}" + "".join(f"{cell:>{size}}" for cell in row)
        for name, row in cells.items()
    ]
    return "\n".join(lines)
