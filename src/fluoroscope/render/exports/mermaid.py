"""Mermaid: a flowchart with subgraphs, for Markdown pages that draw it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluoroscope.render.figures.label import clean
from fluoroscope.render.graph.lifted import Lifted, lifted
from fluoroscope.render.graph.tints import FAMILIES, family
from fluoroscope.render.graph.wording import badge, costs, heading_of, label_of, shape_of

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["entities", "mermaid_text"]

SPECIAL = frozenset("\"#&<>\\`'%{}[]()|;:@$*_~/")
BREAK = "<br/>"


def entities(text: str) -> str:
    """``text`` with every character that Mermaid, its Markdown or HTML might read as its numeric entity."""
    return "".join(f"#{ord(c)};" if c in SPECIAL else c for c in clean(text))


def mermaid_text(
    graph: ModelGraph, *, depth: int | None = None, direction: str = "down", shapes: bool = True, hubs: bool = False
) -> str:
    """``graph`` as a Mermaid flowchart; ``depth`` as in :meth:`ModelGraph.to_dot`.

    By default no more is open than is readable: Mermaid gives up beyond 500 edges or 50,000 characters.
    """
    kept = lifted(graph, depth, hubs)
    lines = [f"flowchart {'TD' if direction == 'down' else 'LR'}", *_inside(kept)]
    for line in kept.edges:
        arrow = "-.->" if line.edge.hub or line.edge.fold == "carried" else "-->"
        shape = entities(shape_of(line.edge.tensor)) if shapes else ""
        label = f'|"{shape}"|' if shape else ""
        lines.append(f"    n{line.source} {arrow}{label} n{line.target}")
    return "\n".join([*lines, *_classes(kept)]) + "\n"


def _inside(kept: Lifted) -> Iterator[str]:
    for node, depth in kept.walk():
        pad = "    " * depth
        if node is None:
            yield f"{pad}end"
            continue
        head = f"{heading_of(kept.graph, node)} {badge(node)}".strip()
        if node.id in kept.inside:
            yield f'{pad}subgraph n{node.id} ["{_lines(head, label_of(kept.graph, node))}"]'
        else:
            text = _lines(head, label_of(kept.graph, node), costs(node))
            left, right = ("[", "]") if node.role in ("module", "function") else ("([", "])")
            yield f'{pad}n{node.id}{left}"{text}"{right}'


def _lines(*lines: str) -> str:
    return BREAK.join(entities(line) for line in lines if line) or "#8212;"


def _classes(kept: Lifted) -> Iterator[str]:
    """Colours by kind of layer."""
    by_kind: dict[str, list[str]] = {}
    for nodes in kept.inside.values():
        for node in nodes:
            if node.id not in kept.inside and (kind := family(node)):
                by_kind.setdefault(kind, []).append(f"n{node.id}")
    for known in FAMILIES:
        if known.name in by_kind:
            yield f"    classDef {known.name} fill:{known.color}33,stroke:{known.color}"
            yield f"    class {','.join(by_kind[known.name])} {known.name}"
