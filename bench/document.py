"""Rows as text: the table on the terminal, and docs/benchmarks.md."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.case import Bar, Case, Row, Unmeasured

__all__ = ["document", "print_table"]

Found = dict[str, tuple[Case, list[Row | Unmeasured]]]
HEAD = ("Measured", "Bar", "Result", "Met")


def number(value: float, unit: str) -> str:
    """A value with its unit, to the digits that mean something."""
    if unit in ("of the largest value", "of the length"):
        return f"{value:.1e} {unit}"
    if unit == "of theirs":
        return f"{100 * value:.3g} % {unit}"
    if unit == "kB":
        return f"{value:.0f} kB"
    return f"{value:.3f} s" if unit == "s" else f"{value:.2f} {unit}"


def cells(row: Row | Unmeasured) -> tuple[str, str, str, str]:
    """Name, bar, result and whether it is met."""
    if isinstance(row, Unmeasured):
        return row.name, "", f"not measured: {row.reason}", "-"
    known = row.low is not None and row.high is not None
    spread = f" ({_bare(row.low, row.unit)} to {_bare(row.high, row.unit)})" if known else ""
    detail = f"; {row.detail}" if row.detail else ""
    return row.name, _bar(row.bar, row.unit), f"{number(row.value, row.unit)}{spread}{detail}", _met(row)


def _bare(value: float, unit: str) -> str:
    return f"{value:.3f}" if unit == "s" else f"{value:.2f}"


def _bar(bar: Bar | None, unit: str) -> str:
    return "" if bar is None else f"{'≥' if bar.at_least else '≤'} {number(bar.limit, unit)}"


def _met(row: Row) -> str:
    if row.met is None:
        return "-"
    word = "yes" if row.met else "NO"
    return f"{word}, within the spread" if row.uncertain else word


def print_table(case: Case, rows: Sequence[Row | Unmeasured], console: Console) -> None:
    """One case's rows on the terminal."""
    table = Table(title=case.title, title_justify="left", expand=False)
    for name in HEAD:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)


def document(found: Found, machine: dict[str, str]) -> str:
    """docs/benchmarks.md."""
    parts = [INTRODUCTION, "## Where and when", _machine(machine), "## In short", in_short(found)]
    for case, rows_of_case in found.values():
        lines = [" | ".join(row) for row in (HEAD, ("---",) * len(HEAD), *map(cells, rows_of_case))]
        parts.append(f"## {case.title}\n\n{case.text}\n\n" + "\n".join(f"| {line} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def in_short(found: Found) -> str:
    """How many bars each case met, and every one that it missed, with what was measured."""
    lines = ["| Case | Bars | Met | Missed |", "| --- | --- | --- | --- |"]
    missed: list[str] = []
    for case, rows in found.values():
        barred = [row for row in rows if isinstance(row, Row) and row.bar is not None]
        failed = [row for row in barred if not row.met]
        lines.append(f"| {case.title} | {len(barred)} | {len(barred) - len(failed)} | {len(failed)} |")
        missed += [f"- {case.title}, {row.name}: {' '.join(cells(row)[2:0:-1])}" for row in failed]
    told = (
        "Every bar was met."
        if not missed
        else "Missed, each with what was measured and the bar:\n\n" + "\n".join(missed)
    )
    return "\n".join(lines) + "\n\n" + told


def _machine(machine: dict[str, str]) -> str:
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return "\n".join(f"- {label}: {text}" for label, text in {"Date": date, **machine}.items())


INTRODUCTION = """# Benchmarks

This page is written by `make bench`. It makes `.venv-bench` with the peers in it and runs `python -m bench`; one topic
alone: `make bench ARGS="--only grad-cam"`, a rough look: `make bench ARGS=--quick` (neither writes this page).

How it is measured: the values are compared first. Then the two sides of a pair run in alternation, A B A B ..., in one
process after a warm-up, each topic in a process of its own; each round gives a ratio, and the table has the median of
the ratios with the range of their middle half in brackets. Ratios are to be compared with ratios: milliseconds depend
on the machine and on what else it did. "Met" holds the median against the bar, and says where the range lies on both
sides of it."""
