"""Types of option values that click does not know."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # no generic class before click 8.2

__all__ = ["Numbers", "Target"]


class Numbers(ParamType):
    """Numbers between commas: ``3,224,224``; none below ``low``."""

    def __init__(self, kind: type[int] | type[float], low: float | None = None) -> None:
        self.kind, self.low = kind, low
        self.name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The numbers as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(self.kind(part) for part in str(value).replace("x", ",").split(","))
        except ValueError:
            kind = "whole numbers" if self.kind is int else "numbers"
            return self.fail(f"{value!r} are no {kind} between commas.", param, ctx)
        if any(not math.isfinite(number) for number in found):
            return self.fail(f"{value!r}: every number has to be finite.", param, ctx)
        if self.low is not None and min(found) < self.low:
            return self.fail(f"{value!r}: no number may be below {self.low}.", param, ctx)
        return found


class Target(ParamType):
    """A class number, a class name, ``predicted`` or ``topK``."""

    name = "target"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """A number where it is one, else the text."""
        text = str(value).strip()
        return int(text) if text.lstrip("-").isdecimal() and text.isascii() else text
