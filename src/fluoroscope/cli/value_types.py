"""Types of option values that click does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # no generic class before click 8.2

__all__ = ["Numbers", "Target"]


class Numbers(ParamType):
    """Numbers between commas: ``3,224,224``."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The numbers as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).replace("x", ",").split(","))
        except ValueError:
            kind = "whole numbers" if self.kind is int else "numbers"
            return self.fail(f"{value!r} are no {kind} between commas.", param, ctx)


class Target(ParamType):
    """A class number, a class name, ``predicted`` or ``topK``."""

    name = "target"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """A number where it is one, else the text."""
        text = str(value).strip()
        return int(text) if text.lstrip("-").isdecimal() and text.isascii() else text
