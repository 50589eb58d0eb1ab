"""Steps: the tree that a trace is, with every reference relative to the module it stands in.

A module call is a step with children; an operation is a step without. What a step takes from outside of its module is
written as *entry number k of the module*, what it takes from a sibling as *child i, output j*. So two calls of equal
blocks are the same tree, wherever they stand, and one tree can serve for both.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from fluoroscope.results.model_graph import GraphTensor, NodeKind

__all__ = ["ENTRY", "AtenCall", "Origin", "Ref", "Step", "Value", "structure_of"]

ENTRY = -1
_CLOCK = itertools.count()

Ref = tuple[int, int]
"""(child, output), or (ENTRY, k) for entry k of the module around."""

AtenCall = tuple[str, tuple[tuple[int, ...], ...]]
"""Name of an ATen operation, and the shapes that it gives."""


@dataclass(slots=True, eq=False)
class Origin:
    """A tensor that no operation made: a parameter, a buffer, or a constant from elsewhere."""

    role: NodeKind
    name: str
    tensor: GraphTensor
    trainable: bool = False
    alias: str = ""


@dataclass(slots=True, eq=False)
class Step:
    """One call. ``entries`` of a module are refs in the scope around it, ``inputs`` of an operation are (argument,
    ref); ``results`` are what leaves a module, as refs in its own scope, and ``returned`` the numbers of those that its
    forward gives back, in order.
    """

    role: NodeKind
    name: str
    type: str = ""
    code: str = ""
    scope: Step | None = None
    place: int = 0
    children: list[Step] = field(default_factory=list)
    inputs: list[tuple[str, Ref]] = field(default_factory=list)
    origins: list[tuple[str, Origin]] = field(default_factory=list)
    entries: list[Ref] = field(default_factory=list)
    results: list[Ref] = field(default_factory=list)
    outputs: tuple[GraphTensor, ...] = ()
    calls: tuple[AtenCall, ...] = ()
    flops: int = 0
    activation_bytes: int = 0
    operations: int = 0
    parameters: int = 0
    trainable: int = 0
    parameter_bytes: int = 0
    owner: Any = None
    shallow: Any = ()
    structure: int = -1
    closed: bool = False
    assumed: list[str] = field(default_factory=list)
    error: str = ""
    shares: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    imports: dict[Any, int] = field(default_factory=dict)
    exports: dict[Any, int] = field(default_factory=dict)
    returned: tuple[int, ...] = ()

    def entry(self, key: Any, outer: Ref) -> int:
        """The number of the entry for a value from outside, made where there is none yet."""
        if key not in self.imports:
            self.imports[key] = len(self.entries)
            self.entries.append(outer)
        return self.imports[key]

    def export(self, inner: Ref) -> int:
        """The number of the output for a value from inside, made where there is none yet."""
        if inner not in self.exports:
            self.exports[inner] = len(self.results)
            self.results.append(inner)
        return self.exports[inner]


@dataclass(slots=True, eq=False)
class Value:
    """A tensor of this trace: output ``output`` of ``step``. Values are numbered as they come to be."""

    step: Step
    output: int
    time: int = field(default_factory=_CLOCK.__next__)


def structure_of(step: Step, known: dict[Any, int]) -> int:
    """A number that two steps share exactly when they are built alike: class, options, parameters, operations, shapes
    and wiring inside; names and places do not count.
    """
    shapes = tuple((o.shape, o.dtype) for o in step.outputs)
    origins = tuple((a, o.role, o.tensor.shape, o.tensor.dtype, o.trainable) for a, o in step.origins)
    if step.role == "module":
        inner = tuple((c.structure, tuple(c.entries), tuple(c.inputs)) for c in step.children)
        key: Any = ("module", step.type, step.shallow, inner, tuple(step.results), len(step.entries), shapes)
    else:
        key = (step.role, step.type, step.shallow, step.calls, origins, shapes, len(step.inputs))
    return known.setdefault((*key, tuple(step.assumed), step.error), len(known))
