"""Walking through a file's operations: modules are entered and left as operations tell where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fluoroscope.model.graph.builder import Builder, Source
from fluoroscope.model.graph.emitting import emitted
from fluoroscope.model.graph.steps import Step
from fluoroscope.results.model_graph import GraphTensor, ModelGraph

__all__ = ["ModuleWalk", "Scope"]

Scope = tuple[str, str]
"""Name and class of a module."""


class ModuleWalk:
    """Keeps the open modules, and which weights were met."""

    def __init__(self, title: str) -> None:
        self.builder = Builder(title)
        self.scopes: list[Scope] = []
        self.modules = 0
        self._met: dict[str, str] = {}
        self._owners: dict[Any, object] = {}

    def owner(self, key: Any) -> object:
        """The same object for the same key: what tells one module called twice from two modules."""
        return self._owners.setdefault(key, object())

    def move_to(self, wanted: Sequence[Scope], **fields: Any) -> None:
        """Leave and enter modules until exactly ``wanted`` are open, outermost first."""
        shared = 0
        while shared < min(len(wanted), len(self.scopes)) and wanted[shared] == self.scopes[shared]:
            shared += 1
        for _ in self.scopes[shared:]:
            self.leave([])
        for name, kind in wanted[shared:]:
            self.enter(name, kind, **fields)
        self.scopes = list(wanted)

    def enter(self, name: str, kind: str, **fields: Any) -> Step:
        """Open a module."""
        self.modules += 1
        return self.builder.enter(name, kind, **fields)

    def leave(self, returned: Sequence[Source], tensors: Sequence[GraphTensor] = ()) -> None:
        """Close the innermost module."""
        _add_parameters(self.builder.scope)
        self.builder.leave(returned, tensors)

    def weigh(self, step: Step, weights: Sequence[tuple[str, GraphTensor, bool]], name: str) -> None:
        """Count weights (name, tensor, trainable) with a module, those that were met before left out."""
        shared = list(step.shares)
        for weight, tensor, trainable in dict.fromkeys(weights):
            if weight in self._met:
                shared.append(self._met[weight])
                continue
            self._met[weight] = name
            count = math.prod(tensor.shape)
            step.parameters += count
            step.trainable += count if trainable else 0
            step.parameter_bytes += tensor.bytes
        step.shares = tuple(dict.fromkeys(s for s in shared if s != name))

    def finished(self, *, fold: bool, caption: str, notes: Sequence[str]) -> ModelGraph:
        """The graph of all that was walked."""
        root = self.builder.root
        _add_parameters(root)
        self.builder.total(root)
        return emitted(
            root,
            fold=fold,
            title=root.name,
            caption=caption,
            meta={"notes": list(notes)},
            parameters=root.parameters,
            trainable=root.trainable,
            parameter_bytes=root.parameter_bytes,
            flops=root.flops,
            activation_bytes=root.activation_bytes,
            operations=root.operations,
            modules=self.modules,
        )


def _add_parameters(step: Step) -> None:
    """Parameters of a module: its own, noted before, and those of all inside."""
    for child in step.children:
        step.parameters += child.parameters
        step.trainable += child.trainable
        step.parameter_bytes += child.parameter_bytes
