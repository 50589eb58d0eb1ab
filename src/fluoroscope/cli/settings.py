"""Options of methods from text: ``--set option=value``, checked against the method's own fields."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from fluoroscope.cli.network import literal
from fluoroscope.errors import OptionError, nearest
from fluoroscope.options import alternatives, type_text

if TYPE_CHECKING:
    from fluoroscope.methods.base import Method

__all__ = ["Settings", "converted", "parsed"]

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Settings:
    """What the user set; each assignment goes to every chosen method that has the option, or to the one it names."""

    batch_size: int | None = None
    seed: int | None = None
    assignments: tuple[str, ...] = ()

    def methods(self, chosen: Iterable[type[Method]], **given: Any) -> list[Method]:
        """The chosen methods with their options set. ``given`` are options that the command has flags for.

        Raises:
            OptionError: no such option, or a value that it does not take.
        """
        classes = list(chosen)
        options: list[dict[str, Any]] = [{} for _ in classes]
        for name, value in {**given, "batch_size": self.batch_size, "seed": self.seed}.items():
            if value is not None:
                self._put(classes, options, "", name, value)
        for text in self.assignments:
            owner, name, value = parsed(text)
            self._put(classes, options, owner, name, value)
        return [cls(**own) for cls, own in zip(classes, options, strict=True)]

    def one(self, cls: type[Method], **given: Any) -> Method:
        """One method with its options set. Raises OptionError."""
        return self.methods([cls], **given)[0]

    def _put(
        self, classes: Sequence[type[Method]], options: list[dict[str, Any]], owner: str, name: str, value: Any
    ) -> None:
        meant = [i for i, cls in enumerate(classes) if not owner or owner in (cls.name, cls.__name__)]
        if not meant:
            names = [cls.name for cls in classes]
            raise OptionError(
                f"{owner!r} is not one of the methods that run",
                expected=", ".join(names),
                nearest=nearest(owner, names),
            )
        having = [i for i in meant if name in _names(classes[i])]
        if not having:
            known = sorted({n for i in meant for n in _names(classes[i])})
            raise OptionError(
                f"no option {name!r} for {' or '.join(classes[i].name for i in meant)}",
                expected=", ".join(known),
                nearest=nearest(name, known),
            )
        for i in having:
            hint = typing.get_type_hints(classes[i])[name]
            options[i][name] = converted(value, hint, f"{classes[i].name}.{name}") if isinstance(value, str) else value


def _names(cls: type[Method]) -> list[str]:
    return [f.name for f in cls.options()]


def parsed(text: str) -> tuple[str, str, str]:
    """Owner (empty where none is named), option and value of ``OWNER.OPTION=VALUE``. Raises OptionError."""
    key, equals, value = text.partition("=")
    owner, _, name = key.strip().rpartition(".")
    if not equals or not name:
        raise OptionError(
            "--set takes OPTION=VALUE", got=text, expected="reduce=norm, or saliency.reduce=norm for one method"
        )
    return owner, name.replace("-", "_"), value.strip()


def converted(text: str, hint: Any, name: str) -> Any:
    """``text`` as a value of the type ``hint``. Raises OptionError, naming the option."""
    for kind in alternatives(hint):
        found = _as(text, kind)
        if found is not _NOTHING:
            return found
    raise OptionError(f"option {name} does not take this value", got=text, expected=type_text(hint))


_NOTHING = object()


def _as(text: str, kind: Any) -> Any:
    """The value, or ``_NOTHING`` where ``text`` is none of this type."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return next((v for v in (_as(text, one) for one in alternatives(kind)) if v is not _NOTHING), _NOTHING)
    if origin is NoneType:
        return None if text.lower() == "none" else _NOTHING
    if origin is bool:
        return True if text.lower() in YES else False if text.lower() in NO else _NOTHING
    if origin in (int, float):
        try:
            return origin(text)
        except ValueError:
            return _NOTHING
    if origin is str:
        return text
    if origin is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), _NOTHING)
    if origin in (tuple, list):
        return _sequence(text, kind, origin)
    return _whatever(text) if kind is Any else _NOTHING


def _whatever(text: str) -> Any:
    return literal(text)


def _sequence(text: str, kind: Any, origin: Any) -> Any:
    """``3,224,224`` for a tuple or list; one name without a comma stays a name where the option also takes that."""
    inner = [a for a in get_args(kind) if a is not Ellipsis] or [Any]
    parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    if str in alternatives(inner[0]) and len(parts) < 2:
        return _NOTHING
    if origin is tuple and len(inner) > 1 and len(parts) != len(inner):
        return _NOTHING
    kinds = inner if len(inner) == len(parts) else inner[:1] * len(parts)
    values = [_as(part, one) for part, one in zip(parts, kinds, strict=True)]
    return _NOTHING if any(v is _NOTHING for v in values) else origin(values)
