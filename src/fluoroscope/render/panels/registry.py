"""Which builder makes the panel of which kind of result, and what happens when one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fluoroscope.render.blobs import Blobs
from fluoroscope.results import Result

__all__ = ["Panel", "PanelError", "builder", "head", "kinds", "panels_of"]

Panel = dict[str, Any]
Build = Callable[[list[Any], Blobs], Panel]
Together = Callable[[Any, Any], bool]
B = TypeVar("B", bound=Build)


@dataclass(frozen=True)
class PanelError:
    """Stands in a page for a result that could not be made: what it was to be, and why it is not there."""

    title: str
    error_text: str


@dataclass(frozen=True)
class _Builder:
    build: Build
    together: Together | None


_BUILDERS: dict[str, _Builder] = {}


def builder(kind: str, together: Together | None = None) -> Callable[[B], B]:
    """Register a builder for results of ``kind``; ``together(a, b)`` says whether neighbours share one panel."""

    def register(build: B) -> B:
        _BUILDERS[kind] = _Builder(build, together)
        return build

    return register


def kinds() -> tuple[str, ...]:
    """The kinds of result that have a panel."""
    return tuple(_BUILDERS)


def head(result: Result) -> Panel:
    """What every panel says about its result."""
    return {
        "kind": result.kind,
        "title": result.title or result.kind.replace("-", " ").capitalize(),
        "caption": result.caption,
        "notes": list(result.notes),
        "meta": {key: value for key, value in result.meta.items() if key != "notes"},
    }


def panels_of(results: Sequence[Result | PanelError], blobs: Blobs) -> list[Panel]:
    """A panel for each result, in order; neighbours that belong together share one."""
    return [_panel(group, blobs) for group in _groups(results)]


def _groups(results: Sequence[Result | PanelError]) -> list[list[Result | PanelError]]:
    groups: list[list[Result | PanelError]] = []
    for result in results:
        if groups and _belong_together(groups[-1][-1], result):
            groups[-1].append(result)
        else:
            groups.append([result])
    return groups


def _belong_together(first: Result | PanelError, second: Result | PanelError) -> bool:
    if isinstance(first, PanelError) or isinstance(second, PanelError) or first.kind != second.kind:
        return False
    known = _BUILDERS.get(first.kind)
    return bool(known and known.together and known.together(first, second))


def _panel(group: list[Result | PanelError], blobs: Blobs) -> Panel:
    first = group[0]
    if isinstance(first, PanelError):
        empty: Panel = {"kind": "error", "caption": "", "notes": [], "meta": {}}
        return {**empty, "title": first.title, "error": first.error_text}
    known = _BUILDERS.get(first.kind)
    if known is None:
        text = f"A page has no drawing yet for results of the kind {first.kind!r}; save it as a file."
        return {**head(first), "error": text}
    try:
        return known.build(group, blobs)
    except Exception as error:  # noqa: BLE001 (one result that can't be drawn must not cost the whole page)
        return {**head(first), "error": f"This result could not be drawn. {type(error).__name__}: {error}"}
