"""A scorecard as text of ordinary width: a line for each measure, a column for each method, the verdicts below."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.table import table
from fluoroscope.cli.units import decimal
from fluoroscope.cli.units import share as percent

if TYPE_CHECKING:
    from fluoroscope.results import Scorecard

__all__ = ["say_scores"]

WIDTH = 100
"""Columns of an answer that goes into a file or to a program, where no terminal says how many there are."""
GAP = 3
CONTROL = "Control: "
ARROWS = {"high": "↑ ", "low": "↓ "}


def say_scores(card: Scorecard, console: Console) -> None:
    """The table, in several parts where the methods do not fit beside each other, and a verdict for each method.

    Random controls have no column: chance says what they reach.
    """
    width = min(shutil.get_terminal_size().columns, 120) if console.terminal else WIDTH
    for part in _parts(card, width):
        console.show(table(*part, console.terminal))
        console.say()
    console.say("↑ higher is better, ↓ lower is better; ± standard error; chance: random maps")
    console.say()
    for row, verdict in zip(card.rows, card.verdicts, strict=True):
        if not row.startswith(CONTROL):
            _paragraph(f"{printable(row)}: {printable(verdict)}", width, console, "  ")
    console.say()
    _paragraph(printable(card.caption), width, console)


def _paragraph(text: str, width: int, console: Console, indent: str = "") -> None:
    for line in textwrap.wrap(text, width, subsequent_indent=indent):
        console.say(line)


def _parts(card: Scorecard, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Heads and lines of tables that are ``width`` columns wide where they can be, all methods between them."""
    measures = ["measure", *(ARROWS.get(b, "  ") + name for b, name in zip(card.better, card.columns, strict=True))]
    chance = [">chance", *(_number(card, value, c) for c, value in enumerate(card.reference))]
    room = width - _breadth(measures) - _breadth(chance)
    some: list[list[str]] = []
    for column in _methods(card):
        if some and sum(map(_breadth, [*some, column])) > room:
            yield _table(measures, some, chance)
            some = []
        some.append(column)
    yield _table(measures, some, chance)


def _methods(card: Scorecard) -> Iterator[list[str]]:
    for r, row in enumerate(card.rows):
        if not row.startswith(f"{CONTROL}random"):
            yield [">" + row.removeprefix(CONTROL), *(_cell(card, r, c) for c in range(len(card.columns)))]


def _table(measures: list[str], some: list[list[str]], chance: list[str]) -> tuple[list[str], list[list[str]]]:
    lines = [list(line) for line in zip(measures, *some, chance, strict=True)]
    return lines[0], lines[1:]


def _breadth(column: list[str]) -> int:
    return max(len(cell.lstrip(">")) for cell in column) + GAP


def _cell(card: Scorecard, row: int, column: int) -> str:
    error = card.errors[row, column] if card.errors is not None else float("nan")
    doubt = f" ± {_number(card, error, column)}" if error == error else ""
    return _number(card, card.table[row, column], column) + doubt


def _number(card: Scorecard, value: float, column: int) -> str:
    if value != value:
        return ""
    if card.units[column] != "share":
        return decimal(round(float(value), 3))
    return ("-" if value < 0 else "") + percent(abs(float(value)))
