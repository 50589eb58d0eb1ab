"""Records: frozen dataclasses of arrays and plain values, the material that results are made of.

A field is declared with :func:`array` or :func:`value`; the declaration says which axes it has and how the parts that
batches give are put together again. Saving, loading, joining and checking read those declarations and nothing else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, dataclass_transform

import numpy as np
import numpy.typing as npt

from fluoroscope.errors import OptionError

Array = npt.NDArray[Any]
Join = Literal["concat", "sum", "same"]

REGISTRY: dict[str, type[Record]] = {}
"""Every record class by name: the only classes that loading a file can make."""

R = TypeVar("R", bound="type[Record]")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Record:
    """Base of everything that is saved: immutable, made of arrays, text, numbers, tuples, dicts and other records."""

    kind: ClassVar[str] = "record"

    def __post_init__(self) -> None:
        for f in fields(self):
            axes = f.metadata.get("axes")
            data = getattr(self, f.name)
            if axes and isinstance(data, np.ndarray) and data.ndim not in {len(a) for a in axes}:
                raise OptionError(
                    f"{type(self).__name__}.{f.name} has the wrong number of axes",
                    got=f"shape {data.shape}",
                    expected=" or ".join(f"({', '.join(a)})" for a in axes),
                )

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        shown = (f"{f.name}={_brief(getattr(self, f.name))}" for f in fields(self) if f.repr)
        return f"{type(self).__name__}({', '.join(shown)})"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {'x'.join(map(str, value.shape)) or 'scalar'}>"
    if isinstance(value, (tuple, list, dict)) and len(value) > 4:
        return f"<{type(value).__name__} of {len(value)}>"
    return repr(value)


def array(*axes: tuple[str, ...], join: Join = "concat", **options: Any) -> Any:
    """A field holding an array with one of the given tuples of axis names; ``join`` says what batches do with it."""
    return field(metadata={"axes": axes, "join": join}, **options)


def value(join: Join = "same", **options: Any) -> Any:
    """A field holding plain values or records; ``join="concat"`` strings tuples together."""
    return field(metadata={"join": join}, **options)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, array, value))
def record(cls: R) -> R:
    """Class decorator: a frozen keyword-only dataclass that files may hold."""
    made = dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
    REGISTRY[made.__name__] = made
    return cast(R, made)


def joined(parts: list[Any]) -> Any:
    """One record out of the records of consecutive batches, field by field as declared."""
    first = parts[0]
    if len(parts) == 1:
        return first
    changes: dict[str, Any] = {}
    for f in fields(first):
        values = [getattr(p, f.name) for p in parts]
        changes[f.name] = _join_values(values, f.metadata.get("join", "same"))
    return first.replace(**changes)


def _join_values(values: list[Any], how: Join) -> Any:
    first = values[0]
    if isinstance(first, Record):
        return joined(values)
    if isinstance(first, dict) and how != "same":
        return {key: _join_values([v[key] for v in values], how) for key in first}
    if how == "same" or first is None:
        return first
    if how == "sum":
        return sum(values[1:], start=first)
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    return tuple(item for part in values for item in part)
