"""A graph of a network in the formats of other programs. All names are data there, never markup or commands."""

from fluoroscope.render.exports.dot import dot_text
from fluoroscope.render.exports.graphml import graphml_text
from fluoroscope.render.exports.mermaid import mermaid_text
from fluoroscope.render.exports.multigraph import networkx_graph
from fluoroscope.render.exports.rows import json_text
from fluoroscope.render.exports.svg import svg_of
from fluoroscope.render.exports.tikz import tikz_text
from fluoroscope.render.exports.write import FORMATS, exported, write_graph

__all__ = [
    "FORMATS",
    "dot_text",
    "exported",
    "graphml_text",
    "json_text",
    "mermaid_text",
    "networkx_graph",
    "svg_of",
    "tikz_text",
    "write_graph",
]
