"""GraphML: a flat graph with typed attributes, ``parent`` among them, as networkx, Gephi and yEd read it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from fluoroscope.render.exports.attributes import edge_attributes, node_attributes
from fluoroscope.render.graph.svg import xml_text

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["graphml_text"]

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">"""
LONG = 2**63
TOTALS = ("parameters", "trainable", "parameter_bytes", "flops", "activation_bytes", "operations", "modules")


def graphml_text(graph: ModelGraph) -> str:
    """``graph`` as GraphML, every node and edge with all its attributes; totals belong to the graph."""
    nodes = [node_attributes(n) for n in graph.nodes]
    edges = [edge_attributes(e) for e in graph.edges]
    whole = {"title": graph.title, "reading": graph.reading, "complete": graph.complete}
    whole |= {name: getattr(graph, name) for name in TOTALS}
    lines = [HEAD, *_keys("graph", [whole]), *_keys("node", nodes), *_keys("edge", edges)]
    lines += ['<graph id="G" edgedefault="directed">', *_data("graph", whole)]
    for number, attributes in enumerate(nodes):
        lines += [f'<node id="n{number}">', *_data("node", attributes), "</node>"]
    for number, (edge, attributes) in enumerate(zip(graph.edges, edges, strict=True)):
        lines.append(f'<edge id="e{number}" source="n{edge.source}" target="n{edge.target}">')
        lines += [*_data("edge", attributes), "</edge>"]
    return "\n".join([*lines, "</graph>", "</graphml>"]) + "\n"


def _keys(domain: str, rows: list[dict[str, object]] | list[dict[str, str | int | bool]]) -> list[str]:
    """The declarations of attributes: name and type."""
    made = []
    for name in rows[0] if rows else ():
        kind = _type([row[name] for row in rows])
        made.append(f'<key id="{domain}-{name}" for="{domain}" attr.name={quoteattr(name)} attr.type="{kind}"/>')
    return made


def _type(values: list[object] | list[str | int | bool]) -> str:
    if isinstance(values[0], bool):
        return "boolean"
    if isinstance(values[0], int):
        fits = all(isinstance(v, int) and -LONG <= v < LONG for v in values)
        return "long" if fits else "double"
    return "string"


def _data(domain: str, attributes: dict[str, object] | dict[str, str | int | bool]) -> list[str]:
    """Entries that say something; an empty text is left out."""
    return [f'<data key="{domain}-{name}">{_value(value)}</data>' for name, value in attributes.items() if value != ""]


def _value(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return escape(xml_text(text), {"\r": "&#13;"})
