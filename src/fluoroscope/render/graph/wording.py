"""What is written on boxes and wires, in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoroscope.render.figures.label import amount, shortened

if TYPE_CHECKING:
    from fluoroscope.results import GraphNode, GraphTensor, ModelGraph

__all__ = [
    "badge",
    "costs",
    "details",
    "heading_of",
    "in_bytes",
    "label_of",
    "shape_of",
    "short_name",
    "trained",
    "written",
]

LONGEST = 30
ATTRIBUTES = 8  # shown on one box


def shape_of(tensor: GraphTensor | None) -> str:
    """``1 × 64 × 56 × 56``; "scalar" without axes, "" where nothing is known."""
    if tensor is None:
        return ""
    return "×".join(map(str, tensor.shape)) or "scalar"


def in_bytes(count: float) -> str:
    """``512 B``, ``9.4 kB``, ``3.1 GB``."""
    return f"{amount(count)}B" if count >= 1000 else f"{amount(count)} B"


def short_name(graph: ModelGraph, node: GraphNode) -> str:
    """The name below that of the module that holds it: ``h.0`` in ``transformer``."""
    outer = graph.nodes[node.parent].name if 0 <= node.parent < len(graph.nodes) else ""
    first = _inside(node.name, outer)
    ends = [end.strip() for text in (node.members[:1] + node.members[-1:]) for end in text.split("…")]
    last = _inside(ends[-1], outer) if node.times > 1 and ends else first
    return shortened(first if last == first else f"{first} … {last}", LONGEST)


def _inside(name: str, outer: str) -> str:
    """``name`` as seen from inside of ``outer``; a bare number keeps what it counts: ``layer1.0``."""
    inside = name.removeprefix(outer + ".") if outer else name
    if not (outer and inside.isdigit()):
        return inside
    steps = outer.split(".")
    named = max((i for i, step in enumerate(steps) if not step.isdigit()), default=0)
    return ".".join([*steps[named:], inside])


def badge(node: GraphNode) -> str:
    """``× 12`` on a box that stands for several; ``⟳ 12`` where it is one module that is called again and again."""
    if node.times < 2:
        return ""
    return f"{'⟳' if node.repeat == 'recurrence' else '×'} {node.times:,}"


def heading_of(graph: ModelGraph, node: GraphNode) -> str:
    """What it is: the class or operation, or for tensors the name."""
    if node.role in ("module", "operation", "function"):
        return shortened(node.type or node.name, LONGEST)
    return short_name(graph, node)


def label_of(graph: ModelGraph, node: GraphNode) -> str:
    """The second line: which one it is; for tensors their shape."""
    if node.role in ("module", "operation", "function"):
        name = short_name(graph, node)
        return "" if name == heading_of(graph, node) or node.role == "operation" else name
    shapes = " ".join(shape_of(t) for t in node.outputs[:1])
    return f"{shapes} · {in_bytes(node.outputs[0].bytes)}" if node.role == "saved" and node.outputs else shapes


def costs(node: GraphNode) -> str:
    """``9.4 k params · 118 M FLOPs`` of one of the instances; "" where it costs neither."""
    parts = []
    if node.parameters:
        parts.append(f"{amount(node.parameters)} params")
    elif node.shares:
        parts.append("tied")
    if node.flops:
        parts.append(f"{amount(node.flops)} FLOPs")
    return " · ".join(parts)


def details(node: GraphNode) -> str:
    """All that a pointer on the box is told."""
    lines = [f"{node.name}: {node.type}" if node.type else node.name]
    lines += [f"{node.times:,} {node.repeat}: {', '.join(node.members[:3])}"] if node.times > 1 else []
    lines += [f"out: {shape_of(t)} {t.dtype}" for t in node.outputs[:4]]
    lines += [costs(node)] if costs(node) else []
    lines += [f"assumed: {text}" for text in node.assumed[:4]]
    lines += [f"error: {node.error}"] if node.error else []
    lines += [node.code] if node.code else []
    return "\n".join(shortened(line, 200) for line in lines)


def trained(node: GraphNode) -> str:
    """Whether its parameters are trained: ``trainable``, ``frozen``, or how many of them."""
    if node.trainable >= node.parameters:
        return "trainable"
    return f"{amount(node.trainable)} trainable" if node.trainable else "frozen"


def written(node: GraphNode, length: int) -> list[str]:
    """Its attributes, one to a line: ``kernel_size = (3, 3)``; long values are cut, and so is a long list."""
    lines = [
        shortened(f"{name} = {value}", max(8, length)) for name, value in list(node.attributes.items())[:ATTRIBUTES]
    ]
    return [*lines, "…"] if len(node.attributes) > ATTRIBUTES else lines
