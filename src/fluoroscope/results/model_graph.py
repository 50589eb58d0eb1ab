"""ModelGraph: what flows where in a network, in which shape, what repeats and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from fluoroscope.results.graph_names import expanded, renamed
from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["GraphEdge", "GraphNode", "GraphTensor", "ModelGraph", "NodeKind"]

NodeKind = Literal[
    "module", "operation", "input", "output", "parameter", "buffer", "constant", "leaf", "function", "saved"
]
"""The forward flow has the first seven kinds; the autograd graph has leaf, function, saved and output."""


@record
class GraphTensor(Record):
    """A tensor as a drawing needs it: shape, dtype (``float32``) and size in bytes."""

    kind: ClassVar[str] = "graph-tensor"
    shape: tuple[int, ...] = value()
    dtype: str = value(default="")
    bytes: int = value(default=0)


@record
class GraphNode(Record):
    """One box: a module (a container of others, or a leaf), an operation, an input or output, a tensor.

    ``id`` is its place in ``ModelGraph.nodes``, ``parent`` the module that it is inside of, -1 at the top. A node that
    stands for ``times`` > 1 identical ones is folded, in one of three ways: ``"repetition"`` (different modules in a
    row, each fed by the one before), ``"parallel"`` (different modules side by side, such as experts), ``"recurrence"``
    (the same module called again and again, its weights counted once). ``members`` names the instances, long runs in
    short: ``layers.0 … layers.79``.

    Where several steps repeat together, a node of type ``Repeat`` with ``attributes["group"]`` stands around them and
    has the ``times``; the modules inside have times 1, and as ``members`` their own instances.

    A module that is nothing but one operation is a leaf, with that operation's name in ``attributes["operation"]``;
    ``attributes["aten"]`` are the ATen operations that a leaf is made of, ``operations`` their number. A parameter that
    is used beside modules (a class token) is a node; those of a layer belong to the layer.

    ``parameters``, ``parameter_bytes``, ``flops``, ``activation_bytes`` and ``operations`` are those of *one* of the
    ``times`` instances with all that is inside it; a tied tensor counts where it is met first. ``alike`` is the id of
    the first node with the same structure, its own where there is none: each distinct structure is laid out once.
    ``assumed`` says in plain words what the trace had to assume here, ``error`` why it ended here.
    """

    kind: ClassVar[str] = "graph-node"
    id: int = value()
    parent: int = value(default=-1)
    role: NodeKind = value()
    name: str = value()
    type: str = value(default="")
    code: str = value(default="")
    times: int = value(default=1)
    repeat: Literal["", "repetition", "parallel", "recurrence"] = value(default="")
    members: tuple[str, ...] = value(default=())
    alike: int = value(default=-1)
    outputs: tuple[GraphTensor, ...] = value(default=())
    parameters: int = value(default=0)
    trainable: int = value(default=0)
    parameter_bytes: int = value(default=0)
    flops: int = value(default=0)
    activation_bytes: int = value(default=0)
    operations: int = value(default=0)
    shares: tuple[str, ...] = value(default=())
    assumed: tuple[str, ...] = value(default=())
    error: str = value(default="")
    attributes: dict[str, Any] = value(default_factory=dict)


@record
class GraphEdge(Record):
    """A tensor that flows from output ``output`` of node ``source`` to argument ``argument`` of node ``target``.

    Edges join leaves of the tree; a drawing with closed modules lifts them to what is visible. Where an end lies inside
    a folded node, ``fold`` says which instances are meant: ``""`` enters the first and leaves the last, ``"each"``
    enters or leaves every one of them, ``"carried"`` goes from each instance to the next. ``hub`` marks an edge of a
    tensor that feeds so many places that drawings set it aside (a mask, a rotary table).
    """

    kind: ClassVar[str] = "graph-edge"
    source: int = value()
    target: int = value()
    output: int = value(default=0)
    argument: str = value(default="")
    tensor: GraphTensor | None = value(default=None)
    fold: Literal["", "each", "carried"] = value(default="")
    hub: bool = value(default=False)


@record
class ModelGraph(Result):
    """A network as a graph. ``nodes`` stand in the order of execution, every node after its parent.

    ``reading`` is ``"forward"`` (what flows where) or ``"autograd"`` (what the backward needs). Totals are those of the
    whole network, folded nodes counted as often as they stand for, tied tensors once: ``operations`` is the number of
    operations of the full, unfolded trace. ``complete`` is false where the trace ended early; the failing node has the
    ``error``.
    """

    kind: ClassVar[str] = "model-graph"
    nodes: tuple[GraphNode, ...] = value()
    edges: tuple[GraphEdge, ...] = value()
    reading: Literal["forward", "autograd"] = value(default="forward")
    parameters: int = value(default=0)
    trainable: int = value(default=0)
    parameter_bytes: int = value(default=0)
    flops: int = value(default=0)
    activation_bytes: int = value(default=0)
    operations: int = value(default=0)
    modules: int = value(default=0)
    complete: bool = value(default=True)

    @property
    def values(self) -> Array:
        """Integers (nodes, 4): parameters, FLOPs, activation bytes, times."""
        rows = [[n.parameters, n.flops, n.activation_bytes, n.times] for n in self.nodes]
        return np.array(rows, dtype=np.float64 if self.parameters > 2**62 else np.int64).reshape(-1, 4)

    def node(self, name: str) -> GraphNode:
        """The first node of that name. Raises KeyError."""
        for n in self.nodes:
            if n.name == name:
                return n
        raise KeyError(name)

    def unfolded(self) -> Iterator[tuple[str, GraphNode]]:
        """Every node as often as it stands for, in the order of the full trace: (name, node).

        The name is that of the instance: of the module, or of the module that an operation is in. Groups of steps that
        repeat together (``attributes["group"]``) are not given themselves, what is inside of them is.
        """
        inside: dict[int, list[GraphNode]] = {}
        for n in self.nodes:
            inside.setdefault(n.parent, []).append(n)
        stack: list[Any] = [(n, "", (), -1) for n in reversed(inside.get(-1, []))]
        while stack:
            node, path, changes, instance = stack.pop()
            if node.attributes.get("group"):
                for i in reversed(range(node.times)):
                    stack += [(c, path, changes, i) for c in reversed(inside.get(node.id, []))]
                continue
            if node.times > 1 and instance < 0:
                stack += [(node, path, changes, i) for i in reversed(range(node.times))]
                continue
            own = changes
            if instance >= 0 and node.members:
                names = expanded(node.members)
                own = ((node.name, names[instance] if len(names) > instance else names[0]), *changes)
            name = renamed(node.name, own) if node.role == "module" else path
            yield name, node
            stack += [(c, name, own, -1) for c in reversed(inside.get(node.id, []))]

    def children(self, parent: int = -1) -> tuple[GraphNode, ...]:
        """The nodes directly inside ``parent``, in the order of execution."""
        return tuple(n for n in self.nodes if n.parent == parent)

    def with_values(self, title: str, numbers: dict[str, float]) -> ModelGraph:
        """A copy that carries numbers of your own, by name of node, for ``color_by=title`` and for the page."""
        return self.with_meta(values={**self.meta.get("values", {}), title: dict(numbers)})

    def to_svg(self, path: str | Path | None = None, **options: Any) -> str:
        """The drawing as an SVG of its own, text as text; ``options`` are those of :meth:`plot`.

        Also written to ``path`` where one is given, as by all these exports. Raises OptionError and ResultFileError.
        """
        return self._exported("svg", path, options)

    def to_dot(self, path: str | Path | None = None, **options: Any) -> str:
        """Graphviz DOT with modules as clusters. Options: ``depth`` (levels that are open; -1: all, the default; None:
        as many as are readable), ``direction`` (``"down"`` or ``"right"``), ``color_by``, ``shapes``, ``hubs``.
        """
        return self._exported("dot", path, options)

    def to_graphml(self, path: str | Path | None = None) -> str:
        """GraphML with typed attributes of every node and edge; ``parent`` says who is inside of what."""
        return self._exported("graphml", path, {})

    def to_mermaid(self, path: str | Path | None = None, **options: Any) -> str:
        """A Mermaid flowchart with modules as subgraphs. Options: ``depth`` (None: as many levels as are readable; -1:
        all), ``direction``, ``shapes``, ``hubs``.
        """
        return self._exported("mmd", path, options)

    def to_tikz(self, path: str | Path | None = None, **options: Any) -> str:
        """The drawing as TikZ. Options: ``standalone`` (a document of its own, or the picture only), and those of the
        flow diagram: ``depth``, ``color_by``, ``direction``, ``shapes``, ``costs``, ``names``, ``hubs``, ``legend``.
        """
        return self._exported("tex", path, options)

    def to_json(self, path: str | Path | None = None, **options: Any) -> str:
        """All of it as JSON, a row for each node and edge. Option: ``indent``."""
        return self._exported("json", path, options)

    def to_networkx(self) -> Any:
        """A ``networkx.MultiDiGraph`` with all attributes. Raises MissingExtra where networkx is not installed."""
        from fluoroscope.render.exports import networkx_graph  # the upward door, like Result.plot

        return networkx_graph(self)

    def _exported(self, suffix: str, path: str | Path | None, options: dict[str, Any]) -> str:
        from fluoroscope.render.exports import exported

        return exported(self, suffix, path, options)
