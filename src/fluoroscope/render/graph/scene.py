"""The whole picture: every visible box and wire with its place, for any set of open modules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from fluoroscope.render.graph.layout import BORDER, Layout, layouts
from fluoroscope.render.graph.placing import Gaps, Placing, Reach, placed
from fluoroscope.render.graph.tree import ROOT, Tree
from fluoroscope.render.graph.wires import wires_of

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["Box", "Direction", "Piece", "Room", "Scene", "Thread", "scene"]

Direction = Literal["down", "right"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Room:
    """What an open container needs inside of its border: a head for its name, and padding; its least width."""

    head: float = 20.0
    pad: float = 12.0
    least: float = 60.0


@dataclass(frozen=True)
class Box:
    """A visible node: its corner, width and height (y grows downwards), and whether it is an open container."""

    node: int
    x: float
    y: float
    width: float
    height: float
    is_open: bool
    level: int


@dataclass(frozen=True)
class Piece:
    """A straight line (two points) or a cubic Bézier curve (four)."""

    points: tuple[Point, ...]


@dataclass(frozen=True)
class Thread:
    """A wire of ``container`` between two of its children's nodes, or a node and the border (``BORDER``).

    ``edge`` is the place in ``graph.edges`` of an edge on it, ``back`` says that it goes against the flow. ``ends``:
    whether it ends at a box, where an arrow head belongs.
    """

    container: int
    source: int
    target: int
    edge: int
    pieces: tuple[Piece, ...]
    ends: bool
    back: bool = False


@dataclass(frozen=True)
class Scene:
    """All that is visible, open containers before what is inside of them."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    threads: tuple[Thread, ...]
    direction: Direction


def scene(
    graph: ModelGraph,
    opened: Collection[int],
    size: Callable[[int], tuple[float, float]],
    room: Callable[[int], Room],
    *,
    direction: Direction = "down",
    gaps: Gaps | None = None,
    hubs: bool = False,
) -> Scene:
    """The picture of ``graph`` with ``opened`` containers open.

    ``size(node)`` is the width and height of a closed box, ``room(node)`` what an open one needs beside its inside.
    ``hubs`` shows the edges of hubs, too. Raises FluoroscopeError for a graph that contradicts itself.
    """
    return _Drawing(graph, opened, size, room, direction, gaps or Gaps(), hubs).made()


class _Drawing:
    """Sizes from the inside out, then places from the outside in."""

    def __init__(
        self,
        graph: ModelGraph,
        opened: Collection[int],
        size: Callable[[int], tuple[float, float]],
        room: Callable[[int], Room],
        direction: Direction,
        gaps: Gaps,
        hubs: bool,
    ) -> None:
        self.tree = Tree.of(graph)
        self.wires = wires_of(graph, self.tree, hubs)
        self.layouts = layouts(graph, self.tree, self.wires)
        self.size, self.room, self.gaps = size, room, gaps
        self.down = direction == "down"
        self.direction: Direction = direction
        visible = self.tree.visible(opened)
        self.shown = [n for n in range(len(graph.nodes)) if visible[n] == n]
        self.open = {n for n in self.shown if n in opened and self.tree.children(n)}
        self.reach: dict[int, Reach] = {}
        self.placing: dict[int, Placing] = {}
        self.boxes: list[Box] = []
        self.threads: list[Thread] = []

    def made(self) -> Scene:
        for node in reversed(self.shown):
            self.reach[node] = self._open(node) if node in self.open else self._closed(node)
        inside = self._placed(ROOT)
        at = {ROOT: (inside.reach.before, 0.0)}
        for container in [ROOT, *self.shown]:
            if container == ROOT or container in self.open:
                self._children(container, at)
        across, along = inside.reach.before + inside.reach.after, inside.reach.along
        width, height = (across, along) if self.down else (along, across)
        return Scene(width, height, tuple(self.boxes), tuple(self.threads), self.direction)

    def _closed(self, node: int) -> Reach:
        width, height = self.size(node)
        across, along = (width, height) if self.down else (height, width)
        return Reach(across / 2, across / 2, along)

    def _placed(self, container: int) -> Placing:
        children = self.tree.children(container)
        made = placed(self.layouts[container], [self.reach[c] for c in children], self.gaps)
        self.placing[container] = made
        return made

    def _open(self, node: int) -> Reach:
        """The head lies at the start of the flow where it runs down, before the axis where it runs to the right."""
        inner, room = self._placed(node).reach, self.room(node)
        if self.down:
            wide = max(0.0, room.least - inner.before - inner.after - 2 * room.pad)
            before, after = inner.before + room.pad + wide / 2, inner.after + room.pad + wide / 2
            return Reach(before, after, inner.along + room.head + 2 * room.pad)
        long = max(inner.along + 2 * room.pad, room.least)
        return Reach(inner.before + room.pad + room.head, inner.after + room.pad, long)

    def _origin(self, container: int, at: dict[int, Point]) -> Point:
        """Where the first row of ``container`` begins on its axis: (across, along)."""
        axis, start = at[container]
        if container == ROOT:
            return axis, start
        room = self.room(container)
        if self.down:
            return axis, start + room.head + room.pad
        slack = self.reach[container].along - self.placing[container].reach.along
        return axis, start + slack / 2

    def _children(self, container: int, at: dict[int, Point]) -> None:
        """Boxes and wires inside of ``container``; ``at`` has the (axis, beginning) of each node that is placed."""
        axis, start = self._origin(container, at)
        placing, layout = self.placing[container], self.layouts[container]
        children = self.tree.children(container)
        for r, row in enumerate(layout.rows):
            for item in row:
                if item >= 0:
                    node = children[item]
                    reach = self.reach[node]
                    begin = start + (placing.start[r] + placing.end[r] - reach.along) / 2
                    at[node] = (axis + placing.axis[r][item], begin)
                    self._box(node, at[node], reach)
        for (a, b), edge in sorted(self.wires.of(container).items()):
            if a != b:
                self._thread(container, children, (a, b), edge, at, (axis, start))

    def _box(self, node: int, place: Point, reach: Reach) -> None:
        x, y = self._point((place[0] - reach.before, place[1]))
        across, along = reach.before + reach.after, reach.along
        width, height = (across, along) if self.down else (along, across)
        self.boxes.append(Box(node, x, y, width, height, node in self.open, self.tree.depth[node] - 1))

    def _point(self, place: Point) -> Point:
        return place if self.down else (place[1], place[0])

    def _thread(
        self,
        container: int,
        children: list[int],
        wire: Point | tuple[int, int],
        edge: int,
        at: dict[int, Point],
        origin: Point,
    ) -> None:
        a, b = int(wire[0]), int(wire[1])
        source = children[a] if a != BORDER else BORDER
        target = children[b] if b != BORDER else BORDER
        layout, placing = self.layouts[container], self.placing[container]
        back = any((a, b) == (s, t) for s, t, _ in layout.back) if layout.back else False
        stops = _back(layout, placing, a, b) if back else _stops(layout, placing, a, b)
        stops = [(origin[0] + x, origin[1] + y) for x, y in stops]
        first = (
            (at[source][0], at[source][1] + self.reach[source].along) if a != BORDER else self._port(container, at, 0)
        )
        last = at[target] if b != BORDER else self._port(container, at, 1)
        pieces = tuple(Piece(tuple(map(self._point, p))) for p in _curve([first, *stops, last], back))
        self.threads.append(Thread(container, source, target, edge, pieces, b != BORDER, back))

    def _port(self, container: int, at: dict[int, Point], end: int) -> Point:
        """Where wires enter (0), below the head, or leave (1) a container."""
        head = self.room(container).head if self.down else 0.0
        return at[container][0], at[container][1] + (self.reach[container].along if end else head)


def _stops(layout: Layout, placing: Placing, a: int, b: int) -> list[Point]:
    """Where the wire passes row ends and beginnings, from the source's row through those between to the target's."""
    first, last = layout.rank.get(a, -1), layout.rank.get(b, len(layout.rows))
    stops = [(placing.axis[first][a], placing.end[first])] if a != BORDER else []
    if last > first + 1:
        k = layout.trunk_of[a]
        column = layout.trunks[k].column
        for r in range(first + 1, last):
            x = placing.side[column] if column else placing.axis[r][-1 - k]
            stops += [(x, placing.start[r]), (x, placing.end[r])]
    return [*stops, (placing.axis[last][b], placing.start[last])] if b != BORDER else stops


def _back(layout: Layout, placing: Placing, a: int, b: int) -> list[Point]:
    column = next(c for s, t, c in layout.back if (s, t) == (a, b))
    low, high = layout.rank[a], layout.rank[b]
    x = placing.up[column]
    bottom, top = placing.end[low], placing.start[high]
    return [(placing.axis[low][a], bottom), (x, bottom), (x, top), (placing.axis[high][b], top)]


def _curve(points: list[Point], back: bool) -> list[tuple[Point, ...]]:
    """Upright pieces as lines, others as curves with upright ends; a wire that goes back turns round at both."""
    pieces: list[tuple[Point, ...]] = []
    for (x, y), (u, v) in pairwise(points):
        if back and y == v and x != u:
            bend = 14.0 if len(pieces) < 2 else -14.0
            pieces.append(((x, y), (x, y + bend), (u, v + bend), (u, v)))
        elif x == u or y == v:
            if (x, y) != (u, v):
                pieces.append(((x, y), (u, v)))
        else:
            middle = (y + v) / 2
            pieces.append(((x, y), (x, middle), (u, middle), (u, v)))
    return _joined(pieces)


def _joined(pieces: list[tuple[Point, ...]]) -> list[tuple[Point, ...]]:
    """Consecutive upright lines in one."""
    made: list[tuple[Point, ...]] = []
    for piece in pieces:
        straight = len(piece) == 2 and made and len(made[-1]) == 2
        if straight and made[-1][0][0] == piece[1][0]:
            made[-1] = (made[-1][0], piece[1])
        else:
            made.append(piece)
    return made
