"""Emitting: a tree of steps, folded or not, as a ModelGraph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from fluoroscope.model.graph.folding import Run, runs
from fluoroscope.model.graph.steps import ENTRY, Ref, Step
from fluoroscope.results.graph_names import renamed, shortened
from fluoroscope.results.model_graph import GraphEdge, GraphNode, ModelGraph

__all__ = ["HUB", "emitted"]

HUB = 10
"""A tensor that feeds at least so many places, folded ones counted as often as they stand for, is a hub."""

Fold = Literal["", "each", "carried"]
_Passage = tuple["_Frame", Ref, Fold]


@dataclass(eq=False)
class _Frame:
    """An open module while its children are emitted: where they went, and which of them repeat."""

    step: Step
    parent: _Frame | None
    place: int
    level: int
    runs: list[Run]
    renamed: tuple[tuple[str, str], ...] = ()
    home: dict[int, Run] = field(default_factory=dict)
    frames: dict[int, _Frame] = field(default_factory=dict)
    leaves: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for run in self.runs:
            for place in range(run.start, run.stop):
                self.home[place] = run

    def name(self, name: str) -> str:
        """The own name of something that is written down under the name of another instance."""
        return renamed(name, self.renamed)

    def canonical(self, place: int) -> int:
        """The place of the child that stands for the one at ``place``."""
        run = self.home[place]
        return run.start + (place - run.start) % run.period


@dataclass(eq=False)
class _Sheet:
    """What is emitted so far."""

    fold: bool
    depth: int | None
    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: dict[tuple[int, int, int, str], tuple[Any, Fold]] = field(default_factory=dict)
    alike: dict[int, int] = field(default_factory=dict)
    weight: dict[tuple[int, int], int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    folds: dict[int, list[Run]] = field(default_factory=dict)
    waiting: list[tuple[_Frame, int, int, Step | None, int]] = field(default_factory=list)


def emitted(root: Step, *, fold: bool = True, depth: int | None = None, **fields: Any) -> ModelGraph:
    """The graph of a finished trace. Modules at level ``depth`` are leaves (None: as deep as it goes). ``fields`` go to
    the ModelGraph (totals, title, reading).
    """
    sheet = _Sheet(fold, depth)
    _emit(sheet, _frame(sheet, root, None, -1), -1, 1)
    for waiting in sheet.waiting:  # what is carried from one instance to the next comes from nodes that stand later
        _wire(sheet, *waiting)
    nodes = tuple(GraphNode(**n) for n in sheet.nodes)
    edges = tuple(
        GraphEdge(
            source=source,
            target=target,
            output=output,
            argument=argument,
            tensor=tensor,
            fold=kind,
            hub=sheet.weight[source, output] >= HUB,
        )
        for (source, target, output, argument), (tensor, kind) in sheet.edges.items()
    )
    return ModelGraph(nodes=nodes, edges=edges, **fields)


def _frame(sheet: _Sheet, step: Step, parent: _Frame | None, place: int) -> _Frame:
    key = id(step.children)
    if key not in sheet.folds:
        sheet.folds[key] = runs(step.children, sheet.fold)
    renamed = parent.renamed if parent is not None else ()
    kept = step.children[0].scope if step.children else None
    if kept is not None and kept is not step:  # a call taken from memory: what is inside bears the names of the first
        renamed = ((kept.name, step.name), *renamed)
    return _Frame(step, parent, place, 0 if parent is None else parent.level + 1, sheet.folds[key], renamed)


def _emit(sheet: _Sheet, frame: _Frame, parent: int, times: int) -> None:
    for run in frame.runs:
        if run.times == 1:
            _emit_step(sheet, frame, run.start, parent, times, run)
            continue
        if run.period == 1:
            _emit_step(sheet, frame, run.start, parent, times * run.times, run)
            continue
        group = _group(sheet, frame, run, parent, times)
        for place in range(run.start, run.start + run.period):
            _emit_step(sheet, frame, place, group, times * run.times, run)


def _members(frame: _Frame, run: Run, place: int) -> tuple[str, ...]:
    children = frame.step.children
    names = [frame.name(children[p].name) for p in range(place, run.stop, run.period)]
    return shortened(names) if run.times > 1 and children[place].role == "module" else ()


def _group(sheet: _Sheet, frame: _Frame, run: Run, parent: int, times: int) -> int:
    """A node for a group of steps that repeat together."""
    children = frame.step.children[run.start : run.start + run.period]
    modules = [p for p in range(run.start, run.start + run.period) if frame.step.children[p].role == "module"]
    members = _members(frame, run, modules[0]) if modules else ()
    node = {
        "role": "module",
        "type": "Repeat",
        "name": frame.name(frame.step.children[modules[0]].name).rpartition(".")[0] if modules else "loop",
        "times": run.times,
        "repeat": run.repeat,
        "members": members,
        "attributes": {"group": True},
        **_costs(children),
    }
    return _node(sheet, node, parent, times * run.times, ("group", *(c.structure for c in children)))


def _costs(children: list[Step]) -> dict[str, int]:
    names = ("parameters", "trainable", "parameter_bytes", "flops", "activation_bytes", "operations")
    return {name: sum(getattr(c, name) for c in children) for name in names}


def _node(sheet: _Sheet, node: dict[str, Any], parent: int, times: int, structure: Any) -> int:
    number = len(sheet.nodes)
    first = sheet.alike.setdefault(structure, number)
    sheet.nodes.append({"id": number, "parent": parent, "alike": first, **node})
    sheet.times.append(times)
    return number


def _emit_step(sheet: _Sheet, frame: _Frame, place: int, parent: int, times: int, run: Run) -> None:
    step = frame.step.children[place]
    only = _only_operation(step)
    shown = only or step
    alone = run.period == 1 and run.times > 1
    attributes = dict(step.attributes)
    if only is not None:
        attributes["operation"] = only.name
    if shown.calls:
        attributes["aten"] = tuple(name for name, _ in shown.calls)
    node = {
        "role": step.role,
        "name": (frame.name(step.name) if step.role == "module" else step.name) or step.type,
        "type": step.type,
        "code": step.code or shown.code,
        "times": run.times if alone else 1,
        "repeat": run.repeat if alone else "",
        "members": _members(frame, run, place),
        "outputs": step.outputs,
        **_costs([step]),
        "shares": step.shares,
        "assumed": tuple(dict.fromkeys([*step.assumed, *(only.assumed if only else ())])),
        "error": step.error or shown.error,
        "attributes": attributes,
    }
    origins = _origins(sheet, frame, shown, parent, times)
    number = _node(sheet, node, parent, times, step.structure)
    for argument, source, tensor in origins:
        _edge(sheet, source, number, 0, argument, tensor, "", times)
    closed = sheet.depth is not None and frame.level + 1 >= sheet.depth
    if step.role == "module" and step.children and only is None and not closed:
        inner = _frame(sheet, step, frame, place)
        frame.frames[place] = inner
        _emit(sheet, inner, number, times)
        return
    frame.leaves[place] = number
    sheet.waiting.append((frame, place, number, only, times))


def _only_operation(step: Step) -> Step | None:
    """The operation of a module that is nothing but one: the module is then drawn as a leaf."""
    if step.role != "module" or len(step.children) != 1 or step.children[0].role != "operation":
        return None
    return step.children[0]


def _origins(sheet: _Sheet, frame: _Frame, step: Step, parent: int, times: int) -> list[tuple[str, int, Any]]:
    """Parameters, buffers and constants that are used beside modules get nodes of their own; a layer's are its own."""
    beside = frame.parent is None or any(c.role == "module" for c in frame.step.children)
    beside = step.role == "function" or (beside and step.role == "operation")
    if not beside or frame.step.children[step.place] is not step:
        return []
    made = []
    for argument, origin in step.origins:
        node = {"role": origin.role, "name": frame.name(origin.name), "outputs": (origin.tensor,)}
        source = _node(sheet, node, parent, times, (origin.role, origin.tensor.shape, origin.tensor.dtype))
        made.append((argument, source, origin.tensor))
    return made


def _wire(sheet: _Sheet, frame: _Frame, place: int, number: int, only: Step | None, times: int) -> None:
    step = frame.step.children[place]
    if only is None:
        count = len(step.entries) if step.role == "module" else len(step.inputs)
        wanted = [("" if step.role == "module" else step.inputs[k][0], k) for k in range(count)]
    else:
        wanted = [(argument, ref[1]) for argument, ref in only.inputs]
    for argument, k in wanted:
        for source, output, kind in _sources(_entered(frame, place, k)):
            _edge(sheet, source, number, output, argument, _tensor(sheet, source, output), kind, times)


def _tensor(sheet: _Sheet, source: int, output: int) -> Any:
    outputs = sheet.nodes[source]["outputs"]
    return outputs[output] if output < len(outputs) else None


def _edge(
    sheet: _Sheet, source: int, target: int, output: int, argument: str, tensor: Any, kind: Fold, times: int
) -> None:
    key = (source, target, output, argument)
    known = sheet.edges.get(key)
    sheet.edges[key] = (tensor, known[1] if known and known[1] == "each" else kind)
    inner, outer = sheet.times[target], sheet.times[source]
    weight = max(1, inner // max(1, outer)) if kind == "each" else 1
    if known is None:
        sheet.weight[source, output] = sheet.weight.get((source, output), 0) + weight


def _input_ref(step: Step, k: int) -> Ref:
    return step.entries[k] if step.role == "module" else step.inputs[k][1]


def _entered(frame: _Frame, place: int, k: int) -> list[_Passage]:
    """What input ``k`` of a child is, over all the instances that it stands for."""
    run = frame.home[place]
    children = frame.step.children
    if run.times == 1:
        return [_passage(frame, _input_ref(children[place], k))]
    found: dict[Ref, Fold] = {}
    inside: set[Ref] = set()
    for number in range(run.times):
        child, output = _input_ref(children[place + number * run.period], k)
        begin = run.start + number * run.period
        if child != ENTRY and child >= run.start:
            ref = (frame.canonical(child), output)
            inside.add(ref)
            found[ref] = "" if child >= begin else "carried"
        elif number == 0:
            found[child, output] = ""
        else:
            found[child, output] = "each"
    return [
        (frame, ref, kind) if ref in inside else (frame, ref, kind or _passage(frame, ref)[2])
        for ref, kind in found.items()
    ]


def _passage(frame: _Frame, ref: Ref) -> _Passage:
    """A ref from outside of a run: to its last instance, or to every one of them."""
    child = ref[0]
    if child == ENTRY or frame.home[child].times == 1:
        return frame, ref, ""
    run = frame.home[child]
    return frame, ref, "" if child >= run.stop - run.period else "each"


def _sources(passages: list[_Passage]) -> Iterator[tuple[int, int, Fold]]:
    """The leaves (node, output) that refs lead to, through modules that end and modules around."""
    stack = passages[::-1]
    seen: set[tuple[int, Ref]] = set()
    while stack:
        at, (child, output), kind = stack.pop()
        if (id(at), (child, output)) in seen:
            continue
        seen.add((id(at), (child, output)))
        if child == ENTRY:
            if at.parent is not None:
                stack += [(f, r, kind or k) for f, r, k in reversed(_entered(at.parent, at.place, output))]
            continue
        place = at.canonical(child)
        if place in at.leaves:
            yield at.leaves[place], _leaf_output(at.step.children[place], output), kind
        elif place in at.frames:
            results = at.step.children[child].results
            if output < len(results):
                frame, ref, inner = _passage(at.frames[place], results[output])
                stack.append((frame, ref, kind or inner))


def _leaf_output(step: Step, output: int) -> int:
    """An output of a module that is drawn as a leaf, by its number among those that its forward gives back."""
    if step.role != "module":
        return output
    return step.returned.index(output) if output in step.returned else output
