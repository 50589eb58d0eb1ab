"""The slabs of a CNN: blocks in perspective whose size shows channels and resolution, with arcs for skips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from fluoroscope.errors import OptionError
from fluoroscope.render.graph.opening import opened
from fluoroscope.render.graph.sheet import Path, Polygon, Sheet, Text, mixed, text_width
from fluoroscope.render.graph.tints import ColorBy, Tints, family
from fluoroscope.render.graph.tree import Tree
from fluoroscope.render.graph.wording import badge, details, heading_of, short_name

if TYPE_CHECKING:
    from fluoroscope.render.design import Theme
    from fluoroscope.results import GraphNode, GraphTensor, ModelGraph

__all__ = ["slab_sheet"]

TALLEST, LOWEST = 120.0, 7.0  # points, of the largest map and of the smallest
THIN, THICK = 4.0, 64.0
DEPTH = 0.42  # how far a slab goes back, as a share of its height
RISE = 0.62  # how steeply
GAP = 13.0
FOOT = 34.0
SMALL = 7.0
IMAGE_LAYERS = frozenset({"convolution", "pooling"})
JOINED = frozenset({"activation", "normalization"})
"""Layers that change no shape are a coloured face on the slab before them."""


@dataclass
class _Slab:
    """One tensor of the way: its layer, the layers that only act on it, and its place."""

    node: GraphNode
    tensor: GraphTensor
    skins: list[GraphNode]
    x: float = 0.0
    width: float = 0.0
    height: float = 0.0
    depth: float = 0.0
    lift: float = 0.0


def slab_sheet(graph: ModelGraph, theme: Theme, color_by: ColorBy = "class", depth: int | None = None) -> Sheet:
    """The slab view of ``graph``: a slab for each layer that changes the shape, in the order of execution.

    Height and depth of a slab grow with the square root of its resolution, thickness with the logarithm of its
    channels; vectors are thin columns. Arcs above show wires that pass slabs.

    Raises:
        OptionError: nothing in the graph has channels and a resolution.
    """
    tree = Tree.of(graph)
    slabs, owner = _slabs(graph, tree, depth)
    images = any(family(n) in IMAGE_LAYERS and len(t.shape) == 4 for n in graph.nodes for t in n.outputs)
    if not images or not any(len(s.tensor.shape) >= 4 for s in slabs):
        raise OptionError(
            "the slab view is for networks of images",
            got="no convolution or pooling with an output (N, C, H, W)",
            expected="a CNN, traced with an input",
            remedy="style='flow' draws every network",
        )
    width = _place(slabs)
    skips = _skips(graph, slabs, owner)
    top = 14.0 + _arcs_height(skips)
    tints = Tints(graph, color_by, theme)
    tallest = max(s.height + s.depth * RISE for s in slabs)
    base = top + tallest
    for slab in slabs:
        slab.lift = (tallest - slab.height - slab.depth * RISE) / 2
    sheet = Sheet(width, base + FOOT + 16, graph.title or "Model graph", graph.caption)
    for one, other in pairwise(slabs):
        _between(sheet, one, other, base, theme)
    for level, (i, j) in enumerate(skips):
        _arc(sheet, slabs[i], slabs[j], base, level, theme)
    for slab in slabs:
        _draw(sheet, slab, base, tints, theme)
    _words(sheet, slabs, base, graph, theme)
    _kinds(sheet, slabs, tints, theme)
    return sheet


def _slabs(graph: ModelGraph, tree: Tree, depth: int | None) -> tuple[list[_Slab], dict[int, int]]:
    """The slabs in order, and the slab that each visible node belongs to."""
    shut = opened(graph, tree, depth, limit=60)
    visible = tree.visible(shut)
    slabs: list[_Slab] = []
    owner: dict[int, int] = {}
    for node in graph.nodes:
        if visible[node.id] != node.id or node.id in shut or node.role in ("parameter", "buffer", "constant"):
            continue
        tensor = next((t for t in node.outputs if t.shape), None)
        if tensor is None or node.role == "output":
            continue
        same = bool(slabs) and slabs[-1].tensor.shape == tensor.shape and family(node) in JOINED
        if same:
            slabs[-1].skins.append(node)
        else:
            slabs.append(_Slab(node, tensor, []))
        owner[node.id] = len(slabs) - 1
    return slabs, {number: owner[seen] for number, seen in enumerate(visible) if seen in owner}


def _sizes(slab: _Slab, largest: float, most: float) -> None:
    shape = slab.tensor.shape
    if len(shape) >= 4:
        high, wide, channels = shape[-2], shape[-1], shape[1]
        slab.height = max(LOWEST, TALLEST * math.sqrt(high / largest))
        slab.depth = DEPTH * max(LOWEST, TALLEST * math.sqrt(wide / largest))
        slab.width = THIN + (THICK - THIN) * (math.log2(1 + channels) / math.log2(1 + most)) ** 2
    else:
        length = shape[-1]
        slab.height = TALLEST * (0.25 + 0.65 * math.log2(1 + length) / math.log2(1 + max(length, 4096)))
        slab.depth, slab.width = 5.0, 6.0


def _place(slabs: list[_Slab]) -> float:
    images = [s.tensor.shape for s in slabs if len(s.tensor.shape) >= 4]
    largest, most = max(max(s[-2:]) for s in images), max(s[1] for s in images)
    at = GAP
    for slab in slabs:
        _sizes(slab, largest, most)
        slab.x = at
        needed = max(slab.width + slab.depth * 0.8 + 4, *(text_width(t, SMALL) * 0.8 for t in _labels(slab)))
        at += needed + GAP
    return at + max(slabs[-1].depth, 20.0)


def _labels(slab: _Slab) -> list[str]:
    shape = slab.tensor.shape
    return [f"{shape[1]}", f"{'×'.join(map(str, shape[2:]))}"] if len(shape) >= 3 else [f"{shape[-1]}"]


def _skips(graph: ModelGraph, slabs: list[_Slab], owner: dict[int, int]) -> list[tuple[int, int]]:
    """Pairs of slabs with an edge that passes at least one other, short ones first."""
    pairs = {
        (owner[e.source], owner[e.target])
        for e in graph.edges
        if not e.hub and e.fold != "carried" and e.source in owner and e.target in owner
    }
    return sorted(((i, j) for i, j in pairs if j - i > 1), key=lambda p: (p[1] - p[0], p))[:40]


def _arcs_height(skips: list[tuple[int, int]]) -> float:
    return min(90.0, max((10.0 + 5.0 * (j - i) for i, j in skips), default=0.0))


def _top(slab: _Slab, base: float) -> tuple[float, float]:
    """The middle of the slab's upper face."""
    return slab.x + slab.width / 2 + slab.depth * 0.4, base - slab.lift - slab.height - slab.depth * RISE * 0.5


def _arc(sheet: Sheet, one: _Slab, other: _Slab, base: float, _level: int, theme: Theme) -> None:
    (x, y), (u, v) = _top(one, base), _top(other, base)
    span = min(90.0, 10.0 + 5.0 * max(1, round((u - x) / 50)))
    roof = min(y - one.depth * RISE * 0.5, v - other.depth * RISE * 0.5) - span
    roof = max(roof, 6.0)
    sheet.marks.append(Path((((x, y), (x, roof), (u, roof), (u, v)),), theme.accent, 1.2, True, opacity=0.75))


def _between(sheet: Sheet, one: _Slab, other: _Slab, base: float, theme: Theme) -> None:
    """Faint lines from the front of a slab to the next: the way of the data."""
    x, u = one.x + one.width + one.depth * 0.8, other.x
    y = base - one.lift - (one.height + one.depth * RISE) / 2
    v = base - other.lift - (other.height + other.depth * RISE) / 2
    if u - x > 3:
        sheet.marks.append(Path((((x, y), (u, v)),), mixed(theme.surface, theme.muted, 0.45), 0.8, True))


def _draw(sheet: Sheet, slab: _Slab, base: float, tints: Tints, theme: Theme) -> None:
    color = tints.base(slab.node) or mixed(theme.muted, theme.surface, 0.3)
    frame = mixed(color, theme.text, 0.35)
    light = theme.name == "light"
    fill = mixed(theme.surface, color, 0.62 if light else 0.7)
    _cuboid(sheet, slab.x, slab.width, slab, base, fill, frame, theme, details(slab.node))
    skin = min(5.0, slab.width / 3)
    for i, node in enumerate(reversed(slab.skins[-3:])):
        shade = tints.base(node)
        if shade:
            tint = mixed(theme.surface, shade, 0.75)
            right = slab.x + slab.width - skin * i
            _cuboid(sheet, right - skin, skin, slab, base, tint, mixed(shade, theme.text, 0.3), theme, details(node))


def _cuboid(
    sheet: Sheet, x: float, width: float, slab: _Slab, base: float, fill: str, frame: str, theme: Theme, said: str
) -> None:
    """Front, top and right face; light comes from above."""
    dx, dy = slab.depth * 0.8, slab.depth * RISE
    base -= slab.lift
    top = base - slab.height
    lit, dark = mixed(fill, "#ffffff", 0.35), mixed(fill, "#000000", 0.16)
    front = ((x, base), (x, top), (x + width, top), (x + width, base))
    roof = ((x, top), (x + dx, top - dy), (x + width + dx, top - dy), (x + width, top))
    side = ((x + width, base), (x + width, top), (x + width + dx, top - dy), (x + width + dx, base - dy))
    for points, color in ((side, dark), (roof, lit), (front, fill)):
        sheet.marks.append(Polygon(points, color, frame, 0.6, title=said))


def _words(sheet: Sheet, slabs: list[_Slab], base: float, graph: ModelGraph, theme: Theme) -> None:
    """Below each slab its channels and resolution, and its layer, turned where it is long."""
    for slab in slabs:
        middle = slab.x + slab.width / 2
        labels = _labels(slab)
        sheet.marks.append(Text(middle, base + 8, labels[0], SMALL + 0.5, theme.text, True))
        if len(labels) > 1:
            sheet.marks.append(Text(middle, base + 17, labels[1], SMALL - 0.5, theme.muted))
        name = short_name(graph, slab.node) if slab.node.role == "input" else heading_of(graph, slab.node)
        name = f"{name} {badge(slab.node)}".strip()
        sheet.marks.append(Text(middle + 3, base + 25, name, SMALL, theme.muted, False, "right", angle=45.0))
        sheet.height = max(sheet.height, base + 34 + text_width(name, SMALL) * 0.71)
    lowest = min(m.x - text_width(m.text, m.size) * 0.71 for m in sheet.marks if isinstance(m, Text) and m.angle)
    if lowest < 2:
        _shift(sheet, 2 - lowest)


def _shift(sheet: Sheet, by: float) -> None:
    """Everything to the right, where names would stand out at the left."""
    moved = []
    for mark in sheet.marks:
        if isinstance(mark, Polygon):
            mark = Polygon(
                tuple((x + by, y) for x, y in mark.points), mark.fill, mark.stroke, mark.line, title=mark.title
            )
        elif isinstance(mark, Path):
            pieces = tuple(tuple((x + by, y) for x, y in piece) for piece in mark.pieces)
            mark = Path(pieces, mark.stroke, mark.line, mark.arrow, mark.dashed, mark.opacity)
        elif isinstance(mark, Text):
            mark = Text(mark.x + by, mark.y, mark.text, mark.size, mark.color, mark.bold, mark.align, angle=mark.angle)
        moved.append(mark)
    sheet.marks = moved
    sheet.width += by


def _kinds(sheet: Sheet, slabs: list[_Slab], tints: Tints, theme: Theme) -> None:
    from fluoroscope.render.graph.legend import add_legend

    shown = [node for s in slabs for node in (s.node, *s.skins)]
    add_legend(sheet, tints.legend(shown), theme)
