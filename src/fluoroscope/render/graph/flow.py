"""The nested flow diagram: boxes in open modules, wires with shapes, folded blocks with a badge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fluoroscope.render.figures.label import shortened
from fluoroscope.render.graph.leaving_out import without_saved
from fluoroscope.render.graph.legend import add_legend
from fluoroscope.render.graph.opening import opened
from fluoroscope.render.graph.placing import Gaps
from fluoroscope.render.graph.scene import Box, Direction, Room, Scene, Thread, scene
from fluoroscope.render.graph.sheet import Path, Rect, Sheet, Text, mixed, text_width
from fluoroscope.render.graph.tints import ColorBy, Tints
from fluoroscope.render.graph.tree import Tree
from fluoroscope.render.graph.wording import (
    badge,
    costs,
    details,
    heading_of,
    label_of,
    shape_of,
    short_name,
    trained,
    written,
)

if TYPE_CHECKING:
    from fluoroscope.render.design import Theme
    from fluoroscope.results import GraphEdge, GraphNode, ModelGraph

__all__ = ["FlowOptions", "flow_sheet"]

HEAD, SMALL = 9.5, 7.5  # points
LINE = 11.5
HEAD_ROOM = 19.0
MARGIN = 10.0
STACK = 3.0  # how far the sheets of a folded module stand out

Shapes = Literal["changes", "all", "none"]


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """What a flow diagram shows: how many levels are open, the colours, shapes on wires, costs, names, hub edges."""

    depth: int | None = None
    color_by: ColorBy = "class"
    direction: Direction = "down"
    shapes: Shapes = "changes"
    dtypes: bool = False
    costs: bool = True
    names: bool = True
    attributes: bool = False
    attribute_length: int = 42
    trainable: bool = False
    saved: bool = True
    hubs: bool = False
    legend: bool = True


def flow_sheet(graph: ModelGraph, theme: Theme, options: FlowOptions | None = None) -> Sheet:
    """The diagram of ``graph``, in points. Raises OptionError and FluoroscopeError as its parts do."""
    options = options or FlowOptions()
    return _Flow(graph if options.saved else without_saved(graph), theme, options).sheet()


@dataclass
class _Flow:
    graph: ModelGraph
    theme: Theme
    options: FlowOptions
    tints: Tints = field(init=False)
    _marks: dict[str, set[int]] = field(default_factory=dict)
    _hubs: dict[int, list[str]] | None = None
    _sides: dict[int, set[int]] | None = None
    _into: dict[int, set[tuple[int, ...]]] | None = None

    def __post_init__(self) -> None:
        self.tints = Tints(self.graph, self.options.color_by, self.theme)
        self.tree = Tree.of(self.graph)
        self.open = opened(self.graph, self.tree, self.options.depth)
        self.scene: Scene = scene(
            self.graph,
            self.open,
            self._size,
            self._room,
            direction=self.options.direction,
            gaps=self._gaps(),
            hubs=self.options.hubs,
        )

    def sheet(self) -> Sheet:
        """All marks, containers lowest, then wires, then boxes."""
        picture = self.scene
        sheet = Sheet(picture.width + 2 * MARGIN, picture.height + 2 * MARGIN, self.graph.title or "Model graph")
        sheet.caption = self.graph.caption
        boxes = [self._moved(b) for b in picture.boxes]
        for box in boxes:
            if box.is_open:
                self._container(sheet, box)
        for thread in picture.threads:
            self._thread(sheet, thread)
        said: set[int] = set()
        for thread in picture.threads:
            self._shape(sheet, thread, said)
        for box in boxes:
            if not box.is_open:
                self._closed(sheet, box)
            else:
                self._title(sheet, box)
        if self.options.legend:
            shown = [self.graph.nodes[b.node] for b in boxes if not b.is_open]
            add_legend(sheet, self.tints.legend(shown), self.theme)
        return sheet

    def _moved(self, box: Box) -> Box:
        return Box(box.node, box.x + MARGIN, box.y + MARGIN, box.width, box.height, box.is_open, box.level)

    # sizes

    def _lines(self, node: GraphNode) -> list[tuple[str, float, bool]]:
        """The lines on a closed box: text, size, bold."""
        bold = node.role != "operation"
        lines = [(heading_of(self.graph, node) or "—", HEAD if bold else HEAD - 1, bold)]
        if self.options.names and (text := label_of(self.graph, node)):
            lines.append((text, SMALL, False))
        if self.options.costs and node.role in ("module", "operation") and (text := costs(node)):
            lines.append((text, SMALL, False))
        if self.options.trainable and node.parameters:
            lines.append((trained(node), SMALL, False))
        lines += [
            (text, SMALL, False)
            for text in (written(node, self.options.attribute_length) if self.options.attributes else ())
        ]
        if names := self._hubs_into().get(node.id):
            lines.append((shortened("⊕ " + ", ".join(names), 34), SMALL, False))
        if node.id in self._marked("error"):
            lines.append(("stopped here", SMALL, True))
        return lines

    def _size(self, number: int) -> tuple[float, float]:
        node = self.graph.nodes[number]
        lines = self._lines(node)
        width = max(text_width(text, size, bold) for text, size, bold in lines)
        if mark := badge(node):
            width = max(width, text_width(lines[0][0], HEAD, True) + text_width(mark, SMALL, True) + 24)
        plain = len(lines) == 1
        return max(width + 18, 44.0), (20.0 if plain else LINE * len(lines) + 9)

    def _room(self, number: int) -> Room:
        node = self.graph.nodes[number]
        wide = text_width(self._head(node), HEAD, True) + text_width(badge(node), SMALL, True) + 36
        return Room(head=HEAD_ROOM, pad=11.0, least=wide)

    def _head(self, node: GraphNode) -> str:
        label = label_of(self.graph, node) if self.options.names else ""
        return f"{heading_of(self.graph, node)}  {label}" if label else heading_of(self.graph, node)

    # marks

    def _container(self, sheet: Sheet, box: Box) -> None:
        node = self.graph.nodes[box.node]
        ground = self.theme.raised if box.level % 2 == 0 else self.theme.surface
        fill = mixed(self.theme.surface, ground, 0.55)
        base = self.tints.base(node)
        frame = self.tints.frame(node) if base else mixed(self.theme.line, self.theme.muted, 0.25)
        if base and self.options.color_by == "class":
            fill = mixed(fill, base, 0.06)
        self._sheets(sheet, box, fill, frame, node)
        sheet.marks.append(Rect(box.x, box.y, box.width, box.height, 8, fill, frame, 0.9, details(node)))
        if self.options.direction == "down":
            band = mixed(fill, base or self.theme.muted, 0.16)
            sheet.marks.append(Rect(box.x + 0.45, box.y + 0.45, box.width - 0.9, HEAD_ROOM - 0.9, 7.5, band))

    def _title(self, sheet: Sheet, box: Box) -> None:
        node = self.graph.nodes[box.node]
        at, y = box.x + 10, box.y + HEAD_ROOM / 2
        head, label = heading_of(self.graph, node), label_of(self.graph, node) if self.options.names else ""
        sheet.marks.append(Text(at, y, head, HEAD, self.theme.text, True, "left"))
        at += text_width(head, HEAD, True) + 6
        if label:
            sheet.marks.append(Text(at, y, label, SMALL, self.theme.muted, False, "left"))
        if mark := badge(node):
            self._badge(sheet, mark, box.x + box.width - 8, y)

    def _badge(self, sheet: Sheet, mark: str, right: float, y: float) -> None:
        width = text_width(mark, SMALL, True) + 9
        sheet.marks.append(Rect(right - width, y - 6.5, width, 13, 6.5, self.theme.accent, "", 0))
        sheet.marks.append(Text(right - width / 2, y, mark, SMALL, self.theme.accent_text, True))

    def _sheets(self, sheet: Sheet, box: Box, fill: str, frame: str, node: GraphNode) -> None:
        """Further sheets behind a module that stands for several."""
        for i in (2, 1) if node.times > 1 else ():
            off = STACK * i
            sheet.marks.append(
                Rect(box.x + off, box.y + off, box.width, box.height, 8 if box.is_open else 6, fill, frame, 0.8)
            )

    def _closed(self, sheet: Sheet, box: Box) -> None:
        node = self.graph.nodes[box.node]
        fill, frame = self.tints.fill(node), self.tints.frame(node)
        frame = self.theme.bad if node.id in self._marked("error") else frame
        self._sheets(sheet, box, fill, frame, node)
        tensor = node.role not in ("module", "operation", "function")
        radius = box.height / 2 if tensor or node.role == "operation" else 5.0
        radius = min(radius, 12.0)
        sheet.marks.append(
            Rect(
                box.x,
                box.y,
                box.width,
                box.height,
                radius,
                fill,
                frame,
                1.6 if node.id in self._marked("error") else 0.9,
                details(node),
                node.id in self._marked("assumed"),
            )
        )
        self._words(sheet, box, node, fill)

    def _words(self, sheet: Sheet, box: Box, node: GraphNode, fill: str) -> None:
        from fluoroscope.render.design import contrast, readable_on

        lines = self._lines(node)
        mark, failed = badge(node), node.id in self._marked("error")
        shift = (text_width(mark, SMALL, True) + 12) / 2 if mark else 0.0
        text = self.theme.text if contrast(self.theme.text, fill) >= 4.5 else readable_on(fill)
        muted = self.theme.muted if contrast(self.theme.muted, fill) >= 4.5 else text
        middle, top = box.x + box.width / 2, box.y + box.height / 2 - LINE * (len(lines) - 1) / 2
        for i, (words, size, bold) in enumerate(lines):
            color = self.theme.bad if failed and i == len(lines) - 1 else text if i == 0 else muted
            sheet.marks.append(Text(middle - (shift if i == 0 else 0), top + LINE * i, words, size, color, bold))
        if mark:
            self._badge(sheet, mark, box.x + box.width - 6, top)

    def _thread(self, sheet: Sheet, thread: Thread) -> None:
        color = mixed(self.theme.surface, self.theme.muted, 0.8)
        pieces = tuple(tuple((x + MARGIN, y + MARGIN) for x, y in p.points) for p in thread.pieces)
        hub = self.graph.edges[thread.edge].hub
        if pieces:
            sheet.marks.append(Path(pieces, color, 0.9, thread.ends, hub or thread.back, 0.55 if hub else 1.0))

    def _shape(self, sheet: Sheet, thread: Thread, said: set[int]) -> None:
        """The shape beside a wire, once for each source, where it is not what came in."""
        edge = self.graph.edges[thread.edge]
        if self.options.shapes == "none" or edge.tensor is None or thread.source in said or thread.source < 0:
            return
        if not thread.pieces or thread.source in self.open:
            return
        said.add(thread.source)
        source = self.graph.nodes[thread.source]
        if self.options.shapes == "changes" and (
            edge.tensor.shape in self._given(thread.source) or source.role in ("input", "saved", "leaf")
        ):
            return
        x, y = thread.pieces[0].points[0]
        down = self.options.direction == "down"
        left = down and self._turns(thread.source) == {1}
        place = (x - 4 if left else x + 4, y + 8) if down else (x + 4, y - 6)
        align: Literal["left", "right"] = "right" if left else "left"
        size, color = SMALL - 0.5, self.theme.muted
        sheet.marks.append(Text(place[0] + MARGIN, place[1] + MARGIN, self._shown(edge), size, color, False, align))

    def _shown(self, edge: GraphEdge) -> str:
        dtype = f" {edge.tensor.dtype}" if self.options.dtypes and edge.tensor is not None else ""
        return shape_of(edge.tensor) + dtype

    def _turns(self, node: int) -> set[int]:
        """To which sides wires turn that leave ``node``: -1, 1 or both; the shape stands on the other."""
        if self._sides is None:
            self._sides = {}
            for thread in self.scene.threads:
                for piece in thread.pieces[:2]:
                    if (aside := piece.points[-1][0] - piece.points[0][0]) and thread.source >= 0:
                        self._sides.setdefault(thread.source, set()).add(1 if aside > 0 else -1)
                        break
        return self._sides.get(node, set())

    def _gaps(self) -> Gaps:
        """Room between rows for the shapes that stand there: across the flow as wide as the longest is."""
        plain = self.options.shapes == "none"
        if self.options.direction == "down":
            return Gaps(across=22, along=20 if plain else 26)
        longest = max((text_width(self._shown(e), SMALL - 0.5) for e in self.graph.edges if e.tensor), default=0.0)
        return Gaps(across=16, along=26 if plain else min(max(34.0, longest + 14), 120.0))

    def _given(self, node: int) -> set[tuple[int, ...]]:
        """The shapes of what goes into ``node``."""
        if self._into is None:
            self._into = {}
            for thread in self.scene.threads:
                tensor = self.graph.edges[thread.edge].tensor
                if tensor is not None and thread.target >= 0:
                    self._into.setdefault(thread.target, set()).add(tensor.shape)
        return self._into.get(node, set())

    def _marked(self, what: str) -> set[int]:
        """The visible boxes that have an error or an assumption, or hide one."""
        if what not in self._marks:
            visible = self.tree.visible(self.open)
            self._marks[what] = {visible[n.id] for n in self.graph.nodes if getattr(n, what)}
        return self._marks[what]

    def _hubs_into(self) -> dict[int, list[str]]:
        """The names of the hubs that feed each visible box, where their edges are set aside."""
        if self._hubs is None:
            self._hubs = {}
            visible = self.tree.visible(self.open)
            for edge in self.graph.edges if not self.options.hubs else ():
                seen, source = visible[edge.target], visible[edge.source]
                name = short_name(self.graph, self.graph.nodes[edge.source])
                if edge.hub and seen != source and name not in self._hubs.setdefault(seen, []):
                    self._hubs[seen].append(name)
        return self._hubs
