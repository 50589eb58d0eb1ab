"""Every export is read back by a real parser, hostile names included."""

from __future__ import annotations

import html
import json
import re
import sys
import xml.etree.ElementTree as ET

import networkx as nx
import pydot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import MissingExtra, OptionError, ResultFileError
from fluoroscope.render.exports import FORMATS, write_graph
from fluoroscope.render.exports.dot import quoted
from fluoroscope.render.exports.tikz import latex
from fluoroscope.render.graph.lifted import lifted
from fluoroscope.results import open_result
from tests.render.graphs import Builder, lenet, resnet50, transformer

HOSTILE = (
    '"];}digraph{a->b',
    'quote" back\\slash \\n \\N \\',
    "<b onload='x()'>&amp;</b>",
    "]]> <!-- --> <![CDATA[",
    "[brackets] {braces} (parens) |pipe|",
    "emoji \U0001f40b naïve 中文 \u202eRTL",
    "line\nbreak\r\ttab",
    "control \x00 \x07 \x1b[31m \ud800",
    "%comment $math$ #hash ~ ^ _ \\input{/etc/passwd} \\end{tikzpicture}",
    "end",
    "graph",
    "`**markdown**`",
    "#35;quot; -->|x| n1",
    "",
    "<html>",
)


def hostile():
    b = Builder()
    outer = b.node(HOSTILE[0], HOSTILE[2])
    nodes = [b.node(name, HOSTILE[i - 1], outer if i % 2 else -1, shape=(1, i)) for i, name in enumerate(HOSTILE)]
    b.chain(*nodes)
    b.edge(nodes[-1], nodes[0], fold="carried", argument=HOSTILE[1])
    b.nodes[3] = b.nodes[3].replace(
        times=5, repeat="repetition", members=HOSTILE[:4], error=HOSTILE[7], attributes={HOSTILE[2]: HOSTILE[7]}
    )
    return b.graph(title=HOSTILE[1] + HOSTILE[7], caption=HOSTILE[2])


GRAPHS = {"lenet": lenet, "resnet50": resnet50, "transformer": transformer, "hostile": hostile}


@pytest.fixture(params=GRAPHS, scope="module")
def graph(request):
    return GRAPHS[request.param]()


def clusters(dot):
    found = [dot]
    for sub in dot.get_subgraphs():
        found += clusters(sub)
    return found


def test_dot_is_read_by_pydot_with_every_node_edge_and_cluster(graph):
    (dot,) = pydot.graph_from_dot_data(graph.to_dot())
    parts = clusters(dot)
    names = {n.get_name() for part in parts for n in part.get_nodes() if re.fullmatch(r"n\d+", n.get_name())}
    inner = {n.parent for n in graph.nodes if n.parent >= 0}
    assert names >= {f"n{n.id}" for n in graph.nodes if n.id not in inner}
    assert {p.get_name() for p in parts[1:]} == {f"cluster_{i}" for i in inner}
    kept = {(f"n{e.source}", f"n{e.target}") for e in graph.edges}
    assert {(e.get_source(), e.get_destination()) for e in dot.get_edges()} == kept
    for part in parts[1:]:
        number = int(part.get_name().removeprefix("cluster_"))
        held = {n.get_name() for n in part.get_nodes()} | {s.get_name() for s in part.get_subgraphs()}
        for child in graph.children(number):
            assert {f"n{child.id}", f"cluster_{child.id}"} & held


@given(st.text(st.characters(), max_size=40))
def test_a_dot_string_ends_where_it_should(text):
    written = quoted(text)
    body = written[1:-1]
    assert not re.search(r'(?<!\\)(\\\\)*"', body)
    assert not (len(body) - len(body.rstrip("\\"))) % 2
    assert "\n" not in written


def test_graphml_is_read_by_networkx_with_typed_attributes(graph):
    read = nx.parse_graphml(graph.to_graphml(), force_multigraph=True)
    assert read.number_of_nodes() == len(graph.nodes) and read.number_of_edges() == len(graph.edges)
    for node in graph.nodes:
        held = read.nodes[f"n{node.id}"]
        assert held["parameters"] == node.parameters and isinstance(held["parameters"], int)
        assert held["parent"] == node.parent
        if all(c.isprintable() for c in node.name) and node.name:
            assert held["name"] == node.name
    for edge in graph.edges:
        held = [d for _, d in read.get_edge_data(f"n{edge.source}", f"n{edge.target}").items()]
        assert any(isinstance(d["hub"], bool) and d["hub"] == edge.hub for d in held)


def test_totals_beyond_64_bits_are_still_read():
    graph = lenet().replace(flops=2**70)
    assert ET.fromstring(graph.to_graphml()) is not None
    kinds = {
        k.get("id"): k.get("attr.type") for k in ET.fromstring(graph.to_graphml()).iter() if k.tag.endswith("}key")
    }
    assert kinds["graph-flops"] == "double" and kinds["node-flops"] == "long" and kinds["edge-hub"] == "boolean"


def test_networkx_has_everything(graph):
    made = graph.to_networkx()
    assert isinstance(made, nx.MultiDiGraph)
    assert [made.nodes[n.id]["name"] for n in graph.nodes] == [n.name for n in graph.nodes]
    assert sum(d["parameters"] for _, d in made.nodes(data=True)) == sum(n.parameters for n in graph.nodes)
    assert sorted((a, b) for a, b in made.edges()) == sorted((e.source, e.target) for e in graph.edges)


def test_networkx_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtra, match=r"fluoroscope\[graph\]"):
        lenet().to_networkx()


def test_json_has_every_field(graph):
    data = json.loads(graph.to_json())
    assert data["kind"] == "model-graph" and len(data["nodes"]) == len(graph.nodes)
    for row, node in zip(data["nodes"], graph.nodes, strict=True):
        assert row["name"] == node.name
        assert row["flops"] == node.flops
        assert [t["shape"] for t in row["outputs"]] == [list(t.shape) for t in node.outputs]
    assert [(r["source"], r["target"], r["hub"]) for r in data["edges"]] == [
        (e.source, e.target, e.hub) for e in graph.edges
    ]


LABEL = r'"(?:[^"\\<>`&\n]|#\d+;|<br/>)*"'
MERMAID = [
    r"flowchart (?:TD|LR)",
    rf" +n\d+(?:\[{LABEL}\]|\(\[{LABEL}\]\))",
    rf" +subgraph n\d+ \[{LABEL}\]",
    r" +end",
    rf" +n\d+ (?:-->|-\.->)(?:\|{LABEL}\|)? n\d+",
    r" +classDef [a-z]+ fill:#[0-9a-f]{8},stroke:#[0-9a-f]{6}",
    r" +class n\d+(?:,n\d+)* [a-z]+",
]


def test_mermaid_keeps_to_its_grammar(graph):
    for depth in (None, -1, 1):
        lines = graph.to_mermaid(depth=depth).splitlines()
        assert re.fullmatch(MERMAID[0], lines[0])
        for line in lines[1:]:
            assert any(re.fullmatch(rule, line) for rule in MERMAID[1:]), line
        level = 0
        for line in lines:
            level += line.strip().startswith("subgraph ") - (line.strip() == "end")
            assert level >= 0
        assert level == 0
        kept = lifted(graph, depth, hubs=False)
        edges = {tuple(map(int, re.findall(r"\bn(\d+)", re.sub(LABEL, "", line)))) for line in lines if "->" in line}
        assert edges == {(e.source, e.target) for e in kept.edges}


def test_mermaid_labels_read_as_the_names():
    text = hostile().to_mermaid(depth=-1)
    shown = html.unescape(re.sub(r"#(\d+);", r"&#\1;", text))
    assert "[brackets] {" in shown and "<b onload=" in shown and '"];}digraph{a->b' in shown


def braces(text):
    """How deep the groups of TeX go at each character; a comment or an unescaped special fails."""
    level, i = 0, 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            i += 2
            continue
        level += (c == "{") - (c == "}")
        assert level >= 0
        i += 1
    assert level == 0


STATEMENT = re.compile(
    r"(?:\\path\[[^\]]*\] \(.*\) rectangle \(.*\);|\\draw\[[^\]]*\] \(.*\);|\\fill\[[^\]]*\] .* -- cycle;"
    r"|\\node\[anchor=[a-z]+, inner sep=0, text=fs\d+, font=[^\]]*\] at \([-\d., ]+\) \{(?P<text>.*)\};)"
)


def test_tikz_keeps_to_its_grammar(graph):
    text = graph.to_tikz(depth=9)
    braces(text)
    body = text.split("\\begin{tikzpicture}")[1].split("\\end{tikzpicture}")
    assert len(body) == 2 and text.count("\\begin{document}") == text.count("\\end{document}") == 1
    for line in body[0].splitlines()[1:]:
        match = STATEMENT.fullmatch(line)
        assert match, line
        if match["text"] is not None:
            literal = re.sub(
                r"\\text[a-z]+\{\}|\\[{}$&#%_]|\\dots\{\}|\\ensuremath\{[^}]*\}|\{\[\}|\{\]\}", "", match["text"]
            )
            assert not set(literal) & set("\\{}$&#%_^~")


@given(st.text(st.characters(), max_size=40))
def test_latex_text_has_no_commands_but_ours(text):
    literal = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#%_]|\\dots\{\}|\\ensuremath\{[^}]*\}|\{\[\}|\{\]\}", "", latex(text))
    assert not set(literal) & set("\\{}$&#%_^~[]")
    assert all(ord(c) < 0x180 for c in literal)


def texts(root):
    return [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_svg_stands_alone_and_its_text_is_text(graph):
    root = ET.fromstring(graph.to_svg())
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("role") == "img"
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None and title.text and title.get("id") in root.get("aria-labelledby").split()
    tags = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert tags <= {"svg", "title", "desc", "rect", "path", "polygon", "text"}
    assert not any("href" in name or name.startswith("on") for e in root.iter() for name in e.attrib)
    shown = texts(root)
    for node in graph.children():
        if node.type.isidentifier() and node.role == "module":
            assert any(node.type in text for text in shown)


def test_svg_says_shapes_costs_and_how_often():
    shown = texts(ET.fromstring(resnet50().to_svg()))
    assert "1×64×112×112" in shown and "× 5" in shown and any("params" in t for t in shown)
    assert not any("×112" in t for t in texts(ET.fromstring(resnet50().to_svg(shapes="none"))))
    assert not any("params" in t for t in texts(ET.fromstring(resnet50().to_svg(costs=False))))


@given(st.lists(st.text(max_size=12), min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_names_at_all(names):
    b = Builder()
    b.chain(*(b.node(name, name, shape=(1, 2)) for name in names))
    graph = b.graph(title=names[0])
    ET.fromstring(graph.to_svg())
    ET.fromstring(graph.to_graphml())
    (dot,) = pydot.graph_from_dot_data(graph.to_dot())
    assert len(dot.get_edges()) == len(names) - 1
    assert [n["name"] for n in json.loads(graph.to_json())["nodes"]] == names
    braces(graph.to_tikz())
    for line in graph.to_mermaid(depth=-1).splitlines():
        assert any(re.fullmatch(rule, line) for rule in MERMAID), line


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_has_the_format_of_its_ending(suffix, tmp_path):
    if suffix == ".html":
        pytest.importorskip("fluoroscope.render.template").template()
    graph = lenet()
    path = write_graph(graph, tmp_path / f"graph{suffix}")
    content = path.read_bytes()
    starts = {
        ".pdf": b"%PDF",
        ".png": b"\x89PNG",
        ".svg": b"<svg",
        ".graphml": b"<?xml",
        ".dot": b"digraph",
        ".gv": b"digraph",
    }
    starts |= {".mmd": b"flowchart", ".tex": b"\\documentclass", ".json": b"{", ".html": b"<!"}
    if suffix == ".fluo":
        assert open_result(path).parameters == graph.parameters
    else:
        assert content.lower().startswith(starts[suffix].lower())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_mistakes_are_told(tmp_path):
    with pytest.raises(OptionError, match=r"\.svg"):
        write_graph(lenet(), tmp_path / "graph.svgz")
    with pytest.raises(OptionError, match="no option 'dept'"):
        lenet().to_dot(dept=1)
    with pytest.raises(OptionError, match="no option 'dept'"):
        lenet().to_tikz(dept=1)
    with pytest.raises(OptionError, match="no option 'dept'"):
        lenet().to_svg(dept=1)
    with pytest.raises(ResultFileError):
        lenet().to_dot(tmp_path)
    with pytest.raises(OptionError, match="color_by"):
        lenet().to_svg(color_by="clas")
    with pytest.raises(OptionError, match="names no node"):
        lenet().to_svg(color_by={"convv1": 1.0})
    with pytest.raises(OptionError, match="networks of images"):
        transformer().to_svg(style="slab")


def test_closed_modules_take_their_edges():
    graph = resnet50()
    closed = lifted(graph, 0)
    assert set(closed.inside) == {-1}
    names = [n.name for n in closed.inside[-1]]
    assert names[:6] == ["x", "conv1", "bn1", "relu", "maxpool", "layer1"]
    pairs = {(graph.nodes[e.source].name, graph.nodes[e.target].name) for e in closed.edges if e.edge.fold != "carried"}
    assert ("layer1", "layer2") in pairs and len(pairs) == len(names) - 1
