"""Coordinates: nothing overlaps, wires cross no box, and a folded or nested graph keeps its way straight."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.render.graph import Tree
from fluoroscope.render.graph.placing import Gaps, spread
from fluoroscope.render.graph.scene import Room, scene
from tests.render.graphs import Builder, resnet50, transformer

SLACK = 1e-6


def drawn(graph, opened=None, direction="down", hubs=False):
    tree = Tree.of(graph)
    opened = set(tree.containers()) if opened is None else opened
    sizes = {n.id: (30 + 7 * (n.id * 37 % 11), 14 + 5 * (n.id * 53 % 5)) for n in graph.nodes}
    return scene(graph, opened, sizes.__getitem__, lambda _: Room(), direction=direction, hubs=hubs)


def points(piece, steps=24):
    """Points along a line or a cubic Bézier curve, by its definition."""
    p = piece.points
    for i in range(steps + 1):
        t = i / steps
        weights = (1 - t, t) if len(p) == 2 else ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        yield tuple(sum(w * q[axis] for w, q in zip(weights, p, strict=True)) for axis in (0, 1))


@st.composite
def nested(draw):
    b = Builder()
    count = draw(st.integers(2, 22))
    for i in range(count):
        b.node(f"n{i}", parent=draw(st.integers(-1, i - 1)))
    end = st.integers(0, count - 1)
    for source, target in draw(st.lists(st.tuples(end, end), max_size=35)):
        b.edge(source, target)
    return b.graph()


def inside(tree, node, container):
    while node not in (-1, container):
        node = tree.parent[node]
    return node == container


@given(nested(), st.sampled_from(["down", "right"]))
@settings(max_examples=150, deadline=None)
def test_boxes_never_overlap_and_children_lie_inside(graph, direction):
    picture, tree = drawn(graph, direction=direction), Tree.of(graph)
    boxes = {b.node: b for b in picture.boxes}
    assert sorted(boxes) == [n.id for n in graph.nodes]
    for box in picture.boxes:
        assert box.x >= -SLACK and box.x + box.width <= picture.width + SLACK
        assert box.y >= -SLACK and box.y + box.height <= picture.height + SLACK
        parent = boxes.get(tree.parent[box.node])
        if parent:
            assert parent.x <= box.x + SLACK and box.x + box.width <= parent.x + parent.width + SLACK
            assert parent.y <= box.y + SLACK and box.y + box.height <= parent.y + parent.height + SLACK
        for other in picture.boxes:
            if other.node < box.node and tree.parent[other.node] == tree.parent[box.node]:
                apart = box.x >= other.x + other.width - SLACK or other.x >= box.x + box.width - SLACK
                assert apart or box.y >= other.y + other.height - SLACK or other.y >= box.y + box.height - SLACK


@given(nested(), st.sampled_from(["down", "right"]))
@settings(max_examples=150, deadline=None)
def test_wires_cross_no_box(graph, direction):
    picture, tree = drawn(graph, direction=direction), Tree.of(graph)
    for thread in picture.threads:
        siblings = set(tree.children(thread.container)) - {thread.source, thread.target}
        for box in picture.boxes:
            if box.node in siblings:
                for piece in thread.pieces:
                    for x, y in points(piece):
                        within_x = box.x + 1e-3 < x < box.x + box.width - 1e-3
                        assert not (within_x and box.y + 1e-3 < y < box.y + box.height - 1e-3)


@given(nested())
@settings(max_examples=100, deadline=None)
def test_wires_hang_together_and_go_down(graph):
    picture = drawn(graph)
    boxes = {b.node: b for b in picture.boxes}
    for thread in picture.threads:
        for one, other in pairwise(thread.pieces):
            assert one.points[-1] == pytest.approx(other.points[0])
        if not thread.back and thread.pieces:
            heights = [y for piece in thread.pieces for _, y in piece.points]
            assert all(v >= y - SLACK for y, v in pairwise(heights))
        if thread.source >= 0 and thread.target >= 0 and not thread.back:
            low, high = boxes[thread.source], boxes[thread.target]
            assert low.y + low.height <= high.y + SLACK


def test_spreading_is_least_squares():
    wishes, apart, weights = [3.0, 1.0, 2.5, 9.0, 8.0], [1.0, 2.0, 1.5, 0.5], [1.0, 3.0, 0.5, 1.0, 2.0]
    found = spread(wishes, apart, weights)
    cost = sum(w * (x - d) ** 2 for x, d, w in zip(found, wishes, weights, strict=True))
    assert all(b - a >= gap - SLACK for (a, b), gap in zip(pairwise(found), apart, strict=True))
    tries = [x / 4 for x in range(-4, 56)]
    best = min(
        sum(w * (x - d) ** 2 for x, d, w in zip(line, wishes, weights, strict=True)) for line in lines(tries, apart)
    )
    assert cost <= best + SLACK


def lines(grid, apart):
    """Every placement on a grid that keeps the distances."""

    def more(line):
        if len(line) == len(apart) + 1:
            yield line
            return
        for x in grid:
            if not line or 0 <= x - line[-1] - apart[len(line) - 1] <= 3:
                yield from more([*line, x])

    yield from more([])


def test_the_main_way_is_straight_through_all_levels():
    graph = resnet50()
    picture = drawn(graph)
    boxes = {b.node: b for b in picture.boxes}
    ends = [t for t in picture.threads if t.container == -1]
    xs = {round(t.pieces[0].points[0][0], 3) for t in ends} | {round(t.pieces[-1].points[-1][0], 3) for t in ends}
    assert len(xs) == 1
    assert boxes[graph.node("layer1").id].is_open


def test_closed_modules_hide_what_is_inside():
    graph = transformer()
    picture = drawn(graph, opened=set())
    assert [b.node for b in picture.boxes] == [n.id for n in graph.children()]
    assert not any(b.is_open for b in picture.boxes)


def test_hubs_are_drawn_when_asked_for():
    graph = transformer()
    mask = graph.node("attention_mask").id
    assert not any(t.source == mask for t in drawn(graph).threads)
    assert any(t.source == mask for t in drawn(graph, hubs=True).threads)


def test_ten_thousand_boxes_are_placed_quickly():
    b = Builder()
    for i in range(100):
        outer = b.node(f"m{i}")
        for j in range(99):
            node = b.node(f"m{i}.{j}", parent=outer)
            if j:
                b.edge(node - 1, node)
            if j > 5 and j % 3 == 0:
                b.edge(node - 5, node)
        if i:
            b.edge(outer - 1, outer + 1)
    graph = b.graph()
    start = time.process_time()
    picture = drawn(graph)
    assert len(picture.boxes) == 10_000 and time.process_time() - start < 3  # 0.4 s on a quiet machine


def test_gaps_are_kept():
    b = Builder()
    a = b.node("a")
    for i in range(3):
        b.edge(a, b.node(f"b{i}"))
    picture = scene(b.graph(), set(), lambda _: (50, 20), lambda _: Room(), gaps=Gaps(across=10, along=30))
    row = sorted(box.x for box in picture.boxes if box.node)
    assert [u - x for x, u in pairwise(row)] == pytest.approx([60, 60])
    first = next(box for box in picture.boxes if box.node == 0)
    assert first.x + 25 == pytest.approx(row[1] + 25)
