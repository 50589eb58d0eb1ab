"""The register of drawings: which class draws which kind of result, and with which options.

A drawing is a frozen dataclass; its fields are its options. It is found by the kind of result, never by method, and its
module (named after the kind) is imported when a result of that kind is first drawn.
"""

from __future__ import annotations

import importlib
import importlib.util
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from fluoroscope.errors import FluoroscopeError, OptionError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.render.figures.canvas import Picture

__all__ = ["DRAWINGS", "Drawing", "drawing", "drawing_for", "prepared"]

DRAWINGS: dict[str, type[Drawing]] = {}
"""Every drawing that is loaded, by kind of result."""

D = TypeVar("D", bound="type[Drawing]")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Base of all drawings. ``dark`` is for dark surroundings; None follows the given Axes, light without them."""

    kind: ClassVar[str] = ""
    dark: bool | None = None

    def on(self, result: Any, ax: Axes, theme: Theme) -> None:
        """Draw exactly one thing on ``ax`` and touch nothing else of its figure."""
        raise NotImplementedError

    def figure(self, result: Any, theme: Theme) -> Picture:
        """A new figure with everything that belongs together, on shared scales."""
        raise NotImplementedError


def drawing(kind: str) -> Callable[[D], D]:
    """Class decorator: this drawing is the one for results of ``kind``."""

    def register(cls: D) -> D:
        made: Any = dataclass(frozen=True, kw_only=True)(cls)
        made.kind = kind
        DRAWINGS[kind] = made
        return typing.cast("D", made)

    return register


def drawing_for(kind: str) -> type[Drawing]:
    """The drawing for results of ``kind``. Raises FluoroscopeError for a kind that nothing draws."""
    if kind not in DRAWINGS and kind.replace("-", "_").isidentifier():
        name = f"{__package__}.{kind.replace('-', '_')}"
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    if kind not in DRAWINGS:
        raise FluoroscopeError(
            "there is no drawing for this kind of result",
            got=kind,
            expected=f"one of {', '.join(sorted(DRAWINGS))}" if DRAWINGS else "a kind with a drawing",
            remedy="use .values with matplotlib directly, or register one with @drawing(kind)",
        )
    return DRAWINGS[kind]


def prepared(kind: str, options: dict[str, Any]) -> Drawing:
    """The drawing for ``kind`` with ``options`` set. Raises OptionError for options that it does not have."""
    cls = drawing_for(kind)
    hints = typing.get_type_hints(cls)
    known = [f.name for f in fields(cls)]
    for name, value in options.items():
        if name not in known:
            raise OptionError(
                f"the drawing of {kind} has no option {name!r}",
                expected=", ".join(known),
                nearest=nearest(name, known),
            )
        _check(kind, name, value, hints[name])
    return cls(**options)


def _check(kind: str, name: str, value: Any, hint: Any) -> None:
    """Options with a fixed set of choices have one of them; numbers and flags are what they should be."""
    if type(None) in get_args(hint):
        if value is None:
            return
        rest = [h for h in get_args(hint) if h is not type(None)]
        hint = rest[0] if len(rest) == 1 else None  # where two types will do, the drawing itself looks closer
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    if choices and value not in choices:
        raise OptionError(f"{name} of the drawing of {kind}", got=value, expected=" or ".join(map(repr, choices)))
    if hint is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise OptionError(f"{name} of the drawing of {kind}", got=value, expected="a whole number, 0 or more")
    if hint is float and not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise OptionError(f"{name} of the drawing of {kind}", got=value, expected="a number from 0 to 1")
    if hint is str and not isinstance(value, str):
        raise OptionError(f"{name} of the drawing of {kind}", got=repr(value), expected="a name, as text")
    if hint is bool and not isinstance(value, bool):
        raise OptionError(f"{name} of the drawing of {kind}", got=value, expected="True or False")
