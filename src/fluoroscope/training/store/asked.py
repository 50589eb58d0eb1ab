"""What is asked of a run: names of series or quantities, and a rank."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal

from fluoroscope.errors import InputError

__all__ = ["asked_names", "asked_rank"]


def asked_names(names: Iterable[str] | None, example: str) -> list[str] | None:
    """Names, each once and in their order; None for all. A text is one name.

    Raises:
        InputError: these are no names.
    """
    if names is None:
        return None
    given: Any = [names] if isinstance(names, str) else names
    found = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(name, str) for name in found):
        raise InputError("these are no names of what a run holds", got=repr(names), expected=f"texts: {example}")
    return list(dict.fromkeys(found))


def asked_rank(rank: Any, known: Collection[int]) -> int | Literal["all"]:
    """The rank asked for, or all of them. Raises InputError where no process of that rank wrote."""
    if isinstance(rank, str) and rank == "all":
        return "all"
    if isinstance(rank, bool) or not isinstance(rank, int) or rank not in known:
        raise InputError(
            "no process of that rank wrote tensors of this run",
            got=repr(rank),
            expected=f"one of {', '.join(map(str, sorted(known)))}, or 'all'",
            remedy=None if len(known) > 1 else "fs.record(..., ranks='all') has all processes write",
        )
    return int(rank)
