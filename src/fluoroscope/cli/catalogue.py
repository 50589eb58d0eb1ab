"""The methods and their options, for people and for programs."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from fluoroscope.cli.console import Console
from fluoroscope.methods.base import PHASES, Method
from fluoroscope.options import type_text

__all__ = ["catalogue"]

TITLES = {
    "before": "Before training",
    "during": "During training",
    "after": "After training",
    "inference": "At inference",
}


def catalogue(console: Console, chosen: Iterable[type[Method]]) -> None:
    """Show the ``chosen`` methods, in the order of the life cycle, with their options."""
    found = sorted(chosen, key=lambda cls: (PHASES.index(cls.phase), cls.name))
    common = {f.name for f in dataclasses.fields(Method)}
    for phase in PHASES:
        group = [cls for cls in found if cls.phase == phase]
        if group:
            console.say(TITLES[phase])
        width = max((len(cls.name) for cls in group), default=0) + 2
        for cls in group:
            console.say(f"  {cls.name:<{width}}{cls.title}, gives {cls.returns.__name__}")
            _show(console, cls, [f for f in cls.options() if f.name not in common])
    console.say("All of them")
    _show(console, Method, dataclasses.fields(Method))
    console.say("\nSet an option with --set OPTION=VALUE, or --set METHOD.OPTION=VALUE.")
    console.answer({"methods": [_entries(cls) for cls in found]})


def _show(console: Console, cls: type[Method], options: Iterable[dataclasses.Field[Any]]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for field in options:
        grid.add_row(Text(f"{field.name:<11}"), Text(_meaning(cls, field)))
    if grid.row_count:
        console.show(Padding(grid, (0, 0, 0, 4)))


def _meaning(cls: type[Method], field: dataclasses.Field[Any]) -> str:
    text = str(field.metadata.get("help", ""))
    return f"{text}; {_values(cls, field)}, default {'none' if field.default is None else field.default}"


def _values(cls: type[Method], field: dataclasses.Field[Any]) -> str:
    meta = field.metadata
    if meta.get("choices"):
        return " or ".join(meta["choices"])
    low, high = meta.get("low"), meta.get("high")
    bounds = f" from {low} to {high}" if low is not None and high is not None else ""
    if not bounds and (low is not None or high is not None):
        bounds = f", at least {low}" if low is not None else f", at most {high}"
    return type_text(typing.get_type_hints(cls)[field.name]) + bounds


def _entries(cls: type[Method]) -> dict[str, Any]:
    options = [
        {
            "name": f.name,
            "type": type_text(typing.get_type_hints(cls)[f.name]),
            "default": f.default,
            "help": f.metadata.get("help", ""),
            "choices": list(f.metadata.get("choices", ())),
            "low": f.metadata.get("low"),
            "high": f.metadata.get("high"),
        }
        for f in cls.options()
    ]
    return {
        "name": cls.name,
        "class": cls.__name__,
        "title": cls.title,
        "returns": cls.returns.__name__,
        "family": cls.family,
        "phase": cls.phase,
        "needs": sorted(cls.needs),
        "source": cls.source,
        "options": options,
    }
