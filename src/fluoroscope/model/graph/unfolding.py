"""Unfolding a trace: every ATen operation in its order, with the module it ran in, as if nothing had been shared."""

from __future__ import annotations

from collections.abc import Iterator

from fluoroscope.model.graph.steps import AtenCall, Step
from fluoroscope.results.graph_names import renamed

__all__ = ["executed"]


def executed(root: Step) -> Iterator[tuple[str, str, AtenCall]]:
    """(module path, function of torch, ATen call) of all that ran; calls taken from memory under their own names."""
    stack: list[tuple[Step, str, tuple[tuple[str, str], ...]]] = [(root, "", ())]
    while stack:
        step, path, changes = stack.pop()
        if step.role != "module":
            yield from ((path, step.type, call) for call in step.calls)
            continue
        name = renamed(step.name, changes) if step is not root else path
        kept = step.children[0].scope if step.children else None
        if kept is not None and kept is not step:
            changes = ((kept.name, step.name), *changes)
        stack += [(child, name, changes) for child in reversed(step.children)]
