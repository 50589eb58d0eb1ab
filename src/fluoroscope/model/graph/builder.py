"""The builder: writes steps down as they happen, whoever tells of them (a trace, a file), and keeps track of who made
what.

>>> builder = Builder()
>>> x = builder.input("x", GraphTensor(shape=(1, 4), dtype="float32", bytes=16))
>>> builder.enter("fc", "Linear")                                                           # doctest: +SKIP
>>> (y,) = builder.operation("linear", [("input", x)], [GraphTensor(shape=(1, 2))])
>>> builder.leave([y])                                                                      # doctest: +SKIP
>>> builder.output("output", y)
>>> graph = emitted(builder.root, fold=True)                                                # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fluoroscope.model.graph.steps import ENTRY, Origin, Ref, Step, Value, structure_of
from fluoroscope.results.model_graph import GraphTensor

__all__ = ["Builder", "Source"]

Source = Value | Origin
"""Where a tensor comes from."""


class Builder:
    """Modules are entered and left, operations noted in between; ``root`` is the step that holds all.

    ``structures`` numbers what is built alike; two graphs that are compared share it.
    """

    def __init__(self, title: str = "", structures: dict[Any, int] | None = None) -> None:
        self.root = Step("module", "", title)
        self.stack = [self.root]
        self.structures: dict[Any, int] = {} if structures is None else structures
        self._tensors: dict[tuple[tuple[int, ...], str], GraphTensor] = {}

    @property
    def scope(self) -> Step:
        """The module that is open."""
        return self.stack[-1]

    def tensor(self, shape: tuple[int, ...], dtype: str, itemsize: int) -> GraphTensor:
        """A GraphTensor; equal ones are one object."""
        found = self._tensors.get((shape, dtype))
        if found is None:
            size = itemsize
            for n in shape:
                size *= n
            found = self._tensors[shape, dtype] = GraphTensor(shape=shape, dtype=dtype, bytes=size)
        return found

    def input(self, name: str, tensor: GraphTensor) -> Value:
        """An input of the network."""
        return Value(self._add(Step("input", name, outputs=(tensor,))), 0)

    def output(self, name: str, source: Source, tensor: GraphTensor | None = None) -> Step:
        """An output of the network."""
        step = Step("output", name, outputs=(tensor,) if tensor is not None else ())
        self._wire(step, [("", source)])
        return self._add(step)

    def enter(self, name: str, type_name: str, **fields: Any) -> Step:
        """Open a module call; all that follows is inside of it."""
        step = Step("module", name, type_name, **fields)
        step.scope, step.place = self.scope, len(self.scope.children)
        self.scope.children.append(step)
        self.stack.append(step)
        return step

    def leave(self, returned: Iterable[Source] = (), tensors: Sequence[GraphTensor] = ()) -> Step:
        """Close the open module call; ``returned`` are the tensors that it gives back."""
        step = self.stack.pop()
        step.returned = tuple(self._result(step, source) for source in returned if isinstance(source, Value))
        step.outputs = tuple(tensors)
        step.closed = True
        self.total(step)
        step.structure = structure_of(step, self.structures)
        return step

    def total(self, step: Step) -> None:
        """Costs of a module: those of all inside. Parameters are whoever writes the step's own business."""
        for child in step.children:
            step.flops += child.flops
            step.activation_bytes += child.activation_bytes
            step.operations += child.operations

    def operation(
        self, name: str, inputs: Sequence[tuple[str, Source]], outputs: Sequence[GraphTensor], **fields: Any
    ) -> tuple[Value, ...]:
        """One operation inside the open module; gives its outputs."""
        step = Step(fields.pop("role", "operation"), name, name, outputs=tuple(outputs), **fields)
        step.operations = len(step.calls) or 1
        self._wire(step, inputs)
        self._add(step)
        return tuple(Value(step, i) for i in range(len(outputs)))

    def again(self, template: Step, name: str, entries: Sequence[Ref], **fields: Any) -> Step:
        """A call that is known to be like ``template``, without its operations being written down once more."""
        step = Step("module", name, template.type, template.code, **fields)
        step.children, step.results, step.exports = template.children, template.results, template.exports
        step.outputs, step.flops, step.operations = template.outputs, template.flops, template.operations
        step.activation_bytes, step.shallow = template.activation_bytes, template.shallow
        step.structure, step.closed, step.entries = template.structure, True, list(entries)
        step.returned = template.returned
        step.scope, step.place = self.scope, len(self.scope.children)
        self.scope.children.append(step)
        return step

    def ref(self, value: Value) -> Ref:
        """A value as the open module sees it; modules between become its passages."""
        return self._seen_from(len(self.stack) - 1, value)

    def _seen_from(self, depth: int, value: Value) -> Ref:
        home = value.step.scope
        level = depth
        while level >= 0 and self.stack[level] is not home:
            level -= 1
        if level < 0:  # made inside a module that is closed by now: let it out, and look again
            return self._seen_from(depth, self._let_out(value))
        ref: Ref = (value.step.place, value.output)
        for scope in self.stack[level + 1 : depth + 1]:
            ref = (ENTRY, scope.entry((id(value.step), value.output), ref))
        return ref

    def _let_out(self, value: Value) -> Value:
        home = value.step.scope
        if home is None:
            raise ValueError("a value of another trace")
        return Value(home, home.export((value.step.place, value.output)))

    def _result(self, step: Step, value: Value) -> int:
        """The number of the output for a value that a module gives back, whether it made it itself or was given it."""
        self.stack.append(step)
        try:
            return step.export(self.ref(value))
        finally:
            self.stack.pop()

    def _wire(self, step: Step, inputs: Sequence[tuple[str, Source]]) -> None:
        for argument, source in inputs:
            if isinstance(source, Origin):
                step.origins.append((argument, source))
            else:
                step.inputs.append((argument, self.ref(source)))

    def _add(self, step: Step) -> Step:
        step.scope, step.place = self.scope, len(self.scope.children)
        step.structure = structure_of(step, self.structures)
        self.scope.children.append(step)
        return step
