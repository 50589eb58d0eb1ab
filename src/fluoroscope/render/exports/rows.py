"""JSON: all of a graph, row by row, for programs of one's own."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from fluoroscope.render.plain import plain

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["json_text"]

FORMAT = 1


def json_text(graph: ModelGraph, *, indent: int | None = None) -> str:
    """``{"format": 1, "kind": "model-graph", totals…, "nodes": […], "edges": […]}``, fields as in the records.

    Numbers that are not finite are ``"nan"``, ``"inf"``, ``"-inf"``; only ASCII, so that it goes through anything.
    """
    whole: dict[str, Any] = {"format": FORMAT, "kind": graph.kind}
    for field in dataclasses.fields(graph):
        if field.name not in ("nodes", "edges"):
            whole[field.name] = getattr(graph, field.name)
    whole["nodes"] = [_row(n) for n in graph.nodes]
    whole["edges"] = [_row(e) for e in graph.edges]
    return json.dumps(plain(whole), allow_nan=False, indent=indent) + "\n"


def _row(record: Any) -> dict[str, Any]:
    return {f.name: _entry(getattr(record, f.name)) for f in dataclasses.fields(record)}


def _entry(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_entry(v) for v in value]
    return _row(value) if dataclasses.is_dataclass(value) else value
