"""Names of many instances, in short and in full again."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["expanded", "renamed", "shortened"]

LEAST = 4
BETWEEN = " … "


def shortened(names: Sequence[str]) -> tuple[str, ...]:
    """One name where all are the same; ``layers.0 … layers.79`` where only one number counts up; else all of them."""
    if len(set(names)) == 1:
        return (names[0],)
    if len(names) >= LEAST and list(expanded((f"{names[0]}{BETWEEN}{names[-1]}",))) == list(names):
        return (f"{names[0]}{BETWEEN}{names[-1]}",)
    return tuple(names)


def renamed(name: str, changes: Sequence[tuple[str, str]]) -> str:
    """A name with beginnings changed, old to new, one after the other: of the module itself and of all inside it."""
    for old, new in changes:
        if name == old or name.startswith(old + "."):
            name = new + name[len(old) :]
    return name


def expanded(members: Sequence[str]) -> tuple[str, ...]:
    """The names that :func:`shortened` put together."""
    if len(members) != 1 or BETWEEN not in members[0]:
        return tuple(members)
    first, _, last = members[0].partition(BETWEEN)
    a, b = re.split(r"(\d+)", first), re.split(r"(\d+)", last)
    differing = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    if len(a) != len(b) or len(differing) != 1 or not a[differing[0]].isdecimal():
        return tuple(members)
    at = differing[0]
    low, high = int(a[at]), int(b[at])
    if low >= high or str(low) != a[at] or str(high) != b[at]:
        return tuple(members)
    return tuple("".join([*a[:at], str(n), *a[at + 1 :]]) for n in range(low, high + 1))
