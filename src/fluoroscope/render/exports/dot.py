"""Graphviz DOT: modules as clusters, folded ones with their count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluoroscope.render import design
from fluoroscope.render.figures.label import clean
from fluoroscope.render.graph.lifted import ALL, Lifted, lifted
from fluoroscope.render.graph.tints import ColorBy, Tints
from fluoroscope.render.graph.wording import badge, costs, heading_of, label_of, shape_of

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["dot_text", "quoted"]


def quoted(*lines: str) -> str:
    r"""A DOT string of ``lines``: quotes and backslashes escaped, control characters shown, never an HTML label.

    A backslash is doubled, because a label would read ``\n`` or ``\N`` as more than text. What is between the quotes
    is nothing but text then.
    """
    escaped = (clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines if line)
    return '"' + "\\n".join(escaped) + '"'


def dot_text(
    graph: ModelGraph,
    *,
    depth: int | None = ALL,
    direction: str = "down",
    color_by: ColorBy = "class",
    shapes: bool = True,
    hubs: bool = True,
) -> str:
    """``graph`` in the DOT language; ``depth`` levels of modules are open (-1: all, None: as many as are readable)."""
    kept = lifted(graph, depth, hubs)
    tints = Tints(graph, color_by, design.theme())
    lines = [
        f"digraph {quoted(graph.title or 'model')} {{",
        f"  rankdir={'TB' if direction == 'down' else 'LR'};",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#5c5f66"];',
        *_inside(kept, tints, {end for e in kept.edges for end in (e.source, e.target)}),
    ]
    for line in kept.edges:
        shown = [quoted(shape_of(line.edge.tensor))] if shapes and line.edge.tensor is not None else []
        extra = [f"label={shown[0]}"] if shown else []
        extra += ["style=dashed", "constraint=false"] if line.edge.hub or line.edge.fold == "carried" else []
        lines.append(f"  n{line.source} -> n{line.target}" + (f" [{', '.join(extra)}];" if extra else ";"))
    return "\n".join([*lines, "}"]) + "\n"


def _inside(kept: Lifted, tints: Tints, ends: set[int]) -> Iterator[str]:
    """Clusters and nodes."""
    for node, depth in kept.walk():
        pad = "  " * depth
        if node is None:
            yield f"{pad}}}"
        elif node.id in kept.inside:
            title = f"{heading_of(kept.graph, node)} {badge(node)}".strip()
            yield f"{pad}subgraph cluster_{node.id} {{"
            yield f"{pad}  label={quoted(title, label_of(kept.graph, node))};"
            yield f'{pad}  style="rounded,filled"; color="{tints.frame(node)}"; fillcolor="#f6f6f4";'
            if node.id in ends:  # a point, for edges of the module itself
                yield f'{pad}  n{node.id} [shape=point, label=""];'
        else:
            head = f"{heading_of(kept.graph, node)} {badge(node)}".strip()
            text = quoted(head, label_of(kept.graph, node), costs(node))
            yield f'{pad}n{node.id} [label={text}, fillcolor="{tints.fill(node)}", color="{tints.frame(node)}"];'
