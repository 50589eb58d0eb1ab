"""Options: the fields of methods, checks and recordings, and which values they take."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fluoroscope.errors import OptionError, nearest

__all__ = ["alternatives", "check_number", "check_options", "option", "plain", "type_text"]


def option(
    default: Any,
    text: str,
    *,
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    check: Callable[[str, Any], None] | None = None,
) -> Any:
    """A field that is an option: its default, what it means, and which values it accepts; ``check`` refuses others that
    its type alone does not tell, given the option's name and the value.
    """
    meta = {"help": text, "choices": tuple(choices), "low": low, "high": high, "check": check}
    return dataclasses.field(default=default, metadata=meta)


def check_options(owner: Any) -> None:
    """Refuse values that the declarations of the fields of ``owner``, a method or a check, do not accept.

    Raises:
        OptionError: no such choice, another type, a number out of range, NaN or infinity.
    """
    kind: Any = type(owner)
    hints = _hints(kind)
    for f in dataclasses.fields(owner):
        value, hint = getattr(owner, f.name), hints[f.name]
        _check(f"{owner.title}: option {f.name!r}", value, hint, f.metadata)
        if isinstance(value, list) and Any not in alternatives(hint):
            object.__setattr__(owner, f.name, tuple(value))  # the options are kept in a frozen record


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _check(name: str, value: Any, hint: Any, meta: Any) -> None:
    choices, low, high = meta.get("choices"), meta.get("low"), meta.get("high")
    if choices:
        if not isinstance(value, str) or value not in choices:
            raise OptionError(
                f"{name} has no such choice",
                got=value,
                expected="one of " + ", ".join(map(repr, choices)),
                nearest=nearest(str(value), choices),
            )
        return
    kinds = alternatives(hint)
    if not _is(value, hint):
        bounds = _bounds(low, high)
        many = isinstance(value, (tuple, list)) and len(value) > 0 and all(_is(v, hint) for v in value)
        raise OptionError(
            f"{name} has a value of the wrong type",
            got=f"{_short(value)}, {_kind(value)}",
            expected=type_text(hint) + (f", {bounds}" if bounds else ""),
            remedy="give one of them; for several make a method for each" if many else None,
        )
    if low is not None and isinstance(value, (tuple, list)) and not value:
        raise OptionError(f"{name} is empty", got=value, expected=f"one or several numbers, {_bounds(low, high)}")
    for number in () if Any in kinds else value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float, Real)):
            continue
        check_number(name, number, low, high)
    if meta.get("check") is not None:
        meta["check"](name, value)


def check_number(name: str, number: Any, low: float | None = None, high: float | None = None) -> None:
    """Refuse NaN, infinity and what is out of range. Raises OptionError."""
    if not math.isfinite(number):
        raise OptionError(f"{name} is not finite", got=number, expected=_bounds(low, high) or "a finite number")
    if (low is not None and number < low) or (high is not None and number > high):
        raise OptionError(f"{name} is out of range", got=number, expected=_bounds(low, high))


def plain(value: Any) -> Any:
    """The value of an option as a plain value, for the provenance; arrays by their shape."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {tuple(value.shape)}"
    return getattr(value, "__qualname__", None) or _short(value)


def _short(value: Any) -> str:
    """A value as it is written; of what takes several lines, such as a module, its type."""
    if type(value) in (list, tuple):
        inner = ", ".join(map(_short, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    text = repr(value)
    return text if "\n" not in text else type(value).__name__


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


def _kind(value: Any) -> str:
    return "none" if value is None else f"of type {type(value).__name__}"


def _is(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of the type ``kind``; a list passes for a tuple, a whole number for a number."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in get_args(kind))
    if origin is Any:
        return True
    if origin is NoneType:
        return value is None
    if origin is Literal:
        return value in get_args(kind)
    if origin is bool:
        return isinstance(value, bool)
    if origin in (int, float):
        return isinstance(value, Integral if origin is int else Real) and not isinstance(value, bool)
    if origin in (tuple, list):
        inner = [a for a in get_args(kind) if a is not Ellipsis] or [Any]
        kinds = inner if len(inner) > 1 else inner * len(value) if isinstance(value, (tuple, list)) else inner
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(kinds)
            and all(_is(v, one) for v, one in zip(value, kinds, strict=True))
        )
    return isinstance(value, origin)


def alternatives(hint: Any) -> list[Any]:
    """The types of a union; None first, text last, so that ``none`` and ``3`` are not taken as text."""
    members = list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]
    return sorted(members, key=lambda kind: {NoneType: 0, str: 2}.get(kind, 1))


def type_text(hint: Any) -> str:
    """A type in a person's words, for messages and lists of options."""
    words = {
        NoneType: "none",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        Any: "a value",
    }
    texts = []
    for kind in sorted(alternatives(hint), key=lambda k: k is NoneType):
        origin = get_origin(kind) or kind
        if origin in (tuple, list):
            inner = next((a for a in get_args(kind) if a is not Ellipsis), Any)
            texts.append("names between commas" if str in alternatives(inner) else "numbers between commas")
        elif origin is Literal:
            texts += [str(choice) for choice in get_args(kind)]
        else:
            texts.append(words.get(kind, getattr(kind, "__name__", "a value")))
    return " or ".join(dict.fromkeys(texts))
