"""Tables: for a terminal with a rule under the head and long names cut, for a program in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fluoroscope.cli.console import printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["table"]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], terminal: bool) -> Table:
    """``columns`` whose name starts with ``>`` hold numbers and are set right. Cells are text, never markup.

    Where a terminal is too narrow, the columns of text after the first are cut, then the first, numbers never.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = [[printable(cell) for cell in row] for row in rows]
    made = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, show_edge=False)
    for i, column in enumerate(columns):
        number, name = column.startswith(">"), column.lstrip(">")
        width = max([len(name), *(len(line[i]) for line in lines)])
        made.add_column(
            Text(name, no_wrap=True),
            justify="right" if number else "left",
            min_width=width if number else None,
            no_wrap=number or i == 0,
            overflow="ellipsis",
        )
    for line in lines:
        made.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in line))
    return made
