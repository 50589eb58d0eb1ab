from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import FluoroscopeError
from fluoroscope.render.graph import BORDER, ROOT, Tree, laid_out, layouts, opened, wires_of
from fluoroscope.render.graph.columns import columns
from fluoroscope.render.graph.order import crossings, ordered
from fluoroscope.results import GraphEdge
from tests.render.graphs import Builder, lenet, resnet50, transformer


@st.composite
def containers(draw):
    """Children in the order of execution, and wires among them and over the border; a few against the order."""
    count = draw(st.integers(1, 24))
    end = st.integers(0, count - 1)
    wires = draw(st.lists(st.tuples(end, end), max_size=60))
    forward = {(min(w), max(w)) for w in wires}
    back = set(draw(st.lists(st.tuples(end, end), max_size=3)))
    entries = {(BORDER, i) for i in draw(st.lists(end, max_size=4))}
    exits = {(i, BORDER) for i in draw(st.lists(end, max_size=4))}
    return count, forward | back | entries | exits


@given(containers())
def test_every_child_stands_once_and_every_wire_goes_down(container):
    count, wires = container
    layout = laid_out(count, wires)
    assert sorted(i for row in layout.rows for i in row if i >= 0) == list(range(count))
    assert all(layout.rows)
    upward = {(a, b) for a, b, _ in layout.back}
    for a, b in layout.wires:
        if BORDER not in (a, b):
            assert (layout.rank[a] < layout.rank[b]) != ((a, b) in upward)
            assert a > b or (a, b) not in upward


@given(containers())
def test_a_wire_that_passes_rows_has_a_way_through_each(container):
    count, wires = container
    layout = laid_out(count, wires)
    for a, b in layout.wires:
        first = layout.rank.get(a, -1) + 1
        last = layout.rank.get(b, len(layout.rows)) - 1
        if first <= last:
            k = layout.trunk_of[a]
            trunk = layout.trunks[k]
            assert trunk.first == first
            assert trunk.last >= last
            passing = [r for r, row in enumerate(layout.rows) if -1 - k in row]
            assert passing == ([] if trunk.column else list(range(trunk.first, trunk.last + 1)))


@given(containers())
def test_the_same_structure_is_laid_out_the_same(container):
    count, wires = container
    assert laid_out(count, wires) == laid_out(count, sorted(wires, reverse=True))


@st.composite
def levels(draw):
    rows, first = [], 0
    for width in draw(st.lists(st.integers(1, 7), min_size=2, max_size=5)):
        rows.append(list(range(first, first + width)))
        first += width
    links = [
        sorted(draw(st.sets(st.tuples(st.sampled_from(upper), st.sampled_from(lower)), max_size=12)))
        for upper, lower in pairwise(rows)
    ]
    return rows, links


def crossing_pairs(rows, links):
    """Every pair of links compared: the plain definition."""
    total = 0
    for upper, lower, between in zip(rows, rows[1:], links, strict=False):
        ends = [(upper.index(a), lower.index(b)) for a, b in between]
        total += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])
    return total


@given(levels())
def test_orders_never_cross_more_than_before(level):
    rows, links = level
    better = ordered(rows, links)
    assert [sorted(row) for row in better] == [sorted(row) for row in rows]
    assert crossings(rows, links) == crossing_pairs(rows, links)
    assert crossing_pairs(better, links) <= crossing_pairs(rows, links)


def test_two_crossed_wires_are_untangled():
    assert crossings(laid_out(4, [(0, 3), (1, 2)]).rows, [[(0, 3), (1, 2)]]) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda p: (p[0], p[0] + p[1])), max_size=25))
def test_columns_hold_spans_apart_and_are_as_few_as_possible(spans):
    given_columns = columns(spans)
    for i, (a, b) in enumerate(spans):
        for j, (c, d) in enumerate(spans[:i]):
            assert a > d or c > b or given_columns[i] != given_columns[j]
    together = max((sum(a <= r <= b for a, b in spans) for r in range(50)), default=0)
    assert max(given_columns, default=0) == together


def test_nested_skips_run_the_further_out_the_longer_they_are():
    assert columns([(0, 9), (1, 8), (2, 7), (20, 21), (3, 6)]) == [4, 3, 2, 1, 1]


def test_a_hub_is_set_aside_and_comes_when_asked_for():
    graph = transformer()
    tree = Tree.of(graph)
    mask = graph.node("attention_mask")
    aside, shown = wires_of(graph, tree), wires_of(graph, tree, hubs=True)
    place = tree.place[mask.id]
    assert not any(place in wire for wire in aside.of(ROOT))
    assert any(wire[0] == place for wire in shown.of(ROOT))
    assert aside.carried == {graph.node("transformer.h.0").id}


def plain_wires(graph):
    """Each edge followed up one parent at a time: slow, and clear."""
    found = {}

    def chain(node):
        line = [node]
        while graph.nodes[line[-1]].parent != -1:
            line.append(graph.nodes[line[-1]].parent)
        return [*line, -1]

    def place(node):
        return [n.id for n in graph.children(graph.nodes[node].parent)].index(node)

    for edge in graph.edges:
        if edge.hub or edge.fold == "carried":
            continue
        up, down = chain(edge.source), chain(edge.target)
        common = next(c for c in up if c in down)
        if common in (edge.source, edge.target):
            continue
        for node in up[: up.index(common) - 1]:
            found.setdefault(graph.nodes[node].parent, set()).add((place(node), BORDER))
        for node in down[: down.index(common) - 1]:
            found.setdefault(graph.nodes[node].parent, set()).add((BORDER, place(node)))
        one, other = up[up.index(common) - 1], down[down.index(common) - 1]
        found.setdefault(common, set()).add((place(one), place(other)))
    return found


@st.composite
def nested(draw):
    b = Builder()
    count = draw(st.integers(2, 25))
    for i in range(count):
        b.node(f"n{i}", parent=draw(st.integers(-1, i - 1)))
    end = st.integers(0, count - 1)
    for source, target in draw(st.lists(st.tuples(end, end), max_size=40)):
        b.edge(source, target, hub=draw(st.booleans()) and draw(st.booleans()))
    return b.graph()


@given(nested())
@settings(max_examples=200)
def test_edges_are_lifted_as_by_hand(graph):
    tree = Tree.of(graph)
    wires = wires_of(graph, tree)
    assert {c: set(w) for c, w in wires.inside.items()} == plain_wires(graph)


@given(nested(), st.integers(0, 6))
def test_closed_modules_stand_for_what_is_inside(graph, depth):
    tree = Tree.of(graph)
    shut = opened(graph, tree, depth)
    for node, seen in enumerate(tree.visible(shut)):
        line = [node]
        while graph.nodes[line[-1]].parent != -1:
            line.append(graph.nodes[line[-1]].parent)
        assert seen == next(n for n in reversed(line) if n not in shut or n == node)


def test_modules_built_alike_share_one_layout():
    found = layouts(resnet50())
    graph = resnet50()
    blocks = [found[n.id] for n in graph.nodes if n.type == "Bottleneck" and n.times > 1]
    assert len(blocks) == 4 and len({id(layout) for layout in blocks}) == 1


def test_networks_open_as_far_as_is_readable():
    assert opened(lenet()) == set()
    graph = resnet50()
    assert {graph.nodes[i].name for i in opened(graph)} == {"layer1", "layer2", "layer3", "layer4"}
    graph = transformer()
    assert "transformer.h.0" in {graph.nodes[i].name for i in opened(graph)}


def test_weights_without_flow_fill_a_block():
    layout = laid_out(48, [])
    assert [len(row) for row in layout.rows] == [4] * 12
    assert [i for row in layout.rows for i in row] == list(range(48))


def test_constants_stand_just_above_where_they_are_used():
    layout = laid_out(5, [(0, 2), (2, 3), (1, 4), (3, 4)])
    assert layout.rank[1] == layout.rank[4] - 1


def test_a_state_that_goes_round_goes_up_at_the_side():
    layout = laid_out(3, [(0, 1), (1, 2), (2, 0), (1, 1)])
    assert layout.back == ((2, 0, 1),)
    assert layout.rows == ((0,), (1,), (2,))


def test_ten_thousand_children_take_well_under_a_second():
    chain = [(i, i + 1) for i in range(9_999)]
    skips = [(i, i + 5) for i in range(0, 9_990, 3)] + [(i, i + 700) for i in range(0, 9_000, 90)]
    hub = [(0, i) for i in range(2, 10_000)]
    for wires in (chain + skips, chain + hub):
        start = time.process_time()
        laid_out(10_000, wires)
        assert time.process_time() - start < 2  # 0.1 s on a quiet machine; a square algorithm takes minutes


def test_ten_thousand_levels_of_nesting():
    b = Builder()
    source = b.node("x", role="input")
    for i in range(10_000):
        b.node(f"m{i}", parent=i if i else -1)
    for i in range(1, 10_001, 7):
        b.edge(source, i)
    leaf = len(b.nodes) - 1
    b.edge(leaf, source)
    start = time.process_time()
    graph = b.graph()
    found = layouts(graph)
    assert len(found) == 10_000 and time.process_time() - start < 5
    assert found[5].wires == ((BORDER, 0), (0, BORDER))


@pytest.mark.parametrize(("parent", "edge"), [(5, None), (-2, None), (0, (0, 9)), (0, (-1, 0))])
def test_graphs_that_contradict_themselves_are_refused(parent, edge):
    b = Builder()
    b.node("a")
    b.node("b", parent=parent)
    if edge:
        b.edges.append(GraphEdge(source=edge[0], target=edge[1]))
    with pytest.raises(FluoroscopeError):
        layouts(b.graph())
