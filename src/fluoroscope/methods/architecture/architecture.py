"""The architecture: what flows where in a network, in which shape, what repeats and what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from fluoroscope.errors import ModelError
from fluoroscope.methods.base import Method, method, option, provenance, versions
from fluoroscope.methods.progress import progress
from fluoroscope.model.graph.collecting import collection_paused
from fluoroscope.model.graph.deep import with_room
from fluoroscope.model.graph.examples import Example, examples
from fluoroscope.model.graph.files.reading import graph_of_file, is_graph_file
from fluoroscope.model.graph.tracing import Trace, parts_of, trace
from fluoroscope.model.inputs import Inputs, prepare_inputs
from fluoroscope.model.spec import load
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject, as_subject
from fluoroscope.model.targets import TargetLike
from fluoroscope.results import ModelGraph

__all__ = ["Architecture"]

REAL_LIMIT = 50_000_000_000
"""FLOPs up to which a network is run for real where shapes alone leave a question open."""


@method
class Architecture(Method):
    """Architecture: the network as a graph of modules and operations, with shapes and costs, repeated blocks folded.

    One forward in eval mode is written down as it runs: calls of modules, functions of torch inside them, and the
    tensors between. It runs on shapes alone (the meta device): no weight is read or allocated, so that a network of any
    size is drawn in seconds. Where the way through the network depends on numbers, a small network that has weights is
    run for real; for all others something is assumed, and the node says so in ``assumed``.

    Blocks that are built alike and follow one another become one node with ``times`` and ``repeat``. Folding is exact:
    unfolded, the graph has the operations of the full trace in their order. Parameters, bytes and FLOPs are those of
    :class:`LayerTable`: 2 x multiply-adds, a tied tensor counted once. ``activation_bytes`` are those of all results
    that are new memory, for one forward.

    ``inputs`` is what the network takes: a tensor, a tuple of arguments, or a dict of keyword arguments. Without, one
    example of a likely shape is made up, and a note says so. ``model`` may also be a file:
    ``.onnx``, ``.pt2`` and files of weights are read without running anything in them.

    A forward that fails gives the graph up to there, with the ``error`` on the node where it failed and ``complete``
    false.

    Returns a :class:`~fluoroscope.results.ModelGraph`.

    Raises:
        InputError: the inputs can't be read.
        ModelError: the network was never run, so that shapes of lazy layers are unknown.
    """

    name: ClassVar[str] = "architecture"
    title: ClassVar[str] = "Architecture"
    family: ClassVar[str] = "architecture"
    phase: ClassVar[Any] = "before"
    returns: ClassVar[type[ModelGraph]] = ModelGraph
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False
    in_report: ClassVar[bool] = True

    device: Literal["auto", "meta", "as is"] = option(
        "auto",
        "meta: shapes only; as is: the network runs where it is; auto: meta, and as is where numbers decide the way",
        choices=("auto", "meta", "as is"),
    )
    reading: Literal["forward", "autograd"] = option(
        "forward",
        "forward: what flows where; autograd: what the backward runs and keeps, in training mode, on shapes alone",
        choices=("forward", "autograd"),
    )
    fold: bool = option(True, "blocks that repeat become one node")
    input_shape: tuple[int, ...] | None = option(
        None, "shape of one example, without the batch axis; guessed when there is no input"
    )
    depth: int | None = option(None, "levels of modules that are written down; deeper ones are leaves", low=1)

    def __call__(
        self,
        model: nn.Module | Subject | str | Path,
        inputs: Any = None,
        loss: Any = None,
        *,
        target: TargetLike = "predicted",
    ) -> ModelGraph:
        """The graph of ``model``; ``loss`` and ``target`` do not matter."""
        if isinstance(model, (str, Path)):
            return self._of_file(str(model))
        subject = as_subject(model)
        study = Study(subject, seed=self.seed)
        study.started = time.perf_counter()
        with collection_paused(), progress(self.title, 1):
            graph, shapes, error = self._made(study, inputs)
            if isinstance(error, RecursionError):
                graph, shapes, error = with_room(lambda: self._made(study, inputs))
            if graph is None:
                raise ModelError("the network is nested too deep", got=str(error)) from error
            graph = graph.replace(caption=f"{subject.title}: {_caption(graph)}")
            if not graph.complete:
                study.note(f"the trace ended early: {' '.join(str(error).split()) or type(error).__name__}")
            return graph.with_meta(**provenance(self, study, {"input_shapes": shapes}))

    def _of_file(self, path: str) -> ModelGraph:
        """The graph that a file tells of, or of the network that a name stands for."""
        if not is_graph_file(path):
            return self(load(path))
        started = time.perf_counter()
        graph = graph_of_file(path, fold=self.fold)
        facts = {"method": self.name, "options": self.settings(), "model": graph.title, "versions": versions()}
        return graph.with_meta(**facts, seconds=round(time.perf_counter() - started, 4))

    def _made(self, study: Study, inputs: Any) -> tuple[ModelGraph | None, list[list[int]], BaseException | None]:
        """The graph, the shapes of the inputs, and what ended the trace."""
        try:
            found, shapes = self._traced(study, inputs)
            graph = found.graph(fold=self.fold, depth=self.depth, title=self.title, reading=self.reading)
        except RecursionError as error:
            return None, [], error
        return graph, shapes, found.error

    def _traced(self, study: Study, inputs: Any) -> tuple[Trace, list[list[int]]]:
        """The trace, and the shapes of the inputs that it was made with."""
        subject = study.subject
        _check_ready(subject.module)
        if inputs is not None:
            given = _given(inputs, subject)
            return self._best(study, given), _shapes(given)
        shape = self.input_shape or subject.input_shape
        first: tuple[Trace, Example] | None = None
        for example in examples(subject.module, shape):
            found = self._best(study, example)
            if found.complete:
                first = found, example
                break
            first = first or (found, example)
        if first is None:
            raise ModelError("no input is known for this network", remedy="give example inputs, or input_shape")
        shapes = _shapes(first[1])
        which = "the shape that was given" if self.input_shape else "a likely shape, since none was given"
        study.note(f"shapes and costs are for a made-up input of {which}: {_text(shapes)}")
        return first[0], shapes

    def _best(self, study: Study, example: Example) -> Trace:
        """On shapes, and for real where that is asked for, or needed and cheap."""
        module = study.subject.module
        args, kwargs = example
        if self.reading == "autograd":
            return trace(module, args, kwargs, real=False, share=False, gradients=True)
        if self.device != "as is":
            found = trace(module, args, kwargs, real=False, share=self.fold)
            if self.device == "meta" or not found.assumptions or not _has_weights(module):
                return found
            if found.root.flops > REAL_LIMIT:
                study.note("numbers decide the way through this network; device='as is' runs it to see")
                return found
        real = _real(args, kwargs, study.subject)
        if real is None:
            return trace(module, args, kwargs, real=False, share=self.fold)
        with Study(study.subject, seed=self.seed) as running:
            made = trace(module, *real, real=True, share=False)
            running.forwards += 1
        study.forwards += 1
        return made


def _caption(graph: ModelGraph) -> str:
    if graph.reading == "autograd":
        return f"{graph.operations:,} functions of autograd keep {graph.activation_bytes:,} bytes for the backward"
    return (
        f"{graph.parameters:,} parameters, {graph.flops:,} FLOPs, "
        f"{graph.operations:,} operations in {graph.modules:,} modules"
    )


def _check_ready(module: nn.Module) -> None:
    lazy = [
        n for n, m in parts_of(module) if any(isinstance(p, UninitializedParameter) for p in m._parameters.values())
    ]
    if lazy:
        raise ModelError(
            "the network has layers that were never run, so their shapes are unknown",
            got=", ".join(lazy[:3]),
            remedy="run it once on an example: model(x)",
        )


def _given(inputs: Any, subject: Subject) -> Example:
    """Arguments and keyword arguments. Tensors and nestings of them are taken as they are."""
    if isinstance(inputs, torch.Tensor):
        return (inputs,), {}
    if isinstance(inputs, tuple):
        return inputs, {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    prepared = inputs.part(0, 1) if isinstance(inputs, Inputs) else prepare_inputs(inputs, subject)
    return prepared.args, prepared.kwargs


def _shapes(example: Example) -> list[list[int]]:
    from fluoroscope.model.graph.nested import tensors_in

    return [list(t.shape) for t in tensors_in(example)]


def _text(shapes: list[list[int]]) -> str:
    return ", ".join(str(tuple(s)) for s in shapes)


def _has_weights(module: nn.Module) -> bool:
    tensors = (t for _, m in parts_of(module) for t in (*m._parameters.values(), *m._buffers.values()))
    return all(t is None or t.device.type != "meta" for t in tensors)


def _real(args: Any, kwargs: Any, subject: Subject) -> Any:
    """Arguments with numbers, on the network's device; None where the network has no weights."""
    from fluoroscope.model.graph.nested import mapped

    if not _has_weights(subject.module):
        return None

    def one(tensor: torch.Tensor) -> torch.Tensor:
        made = torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor
        return made.to(subject.device, subject.dtype if made.is_floating_point() else None)

    return mapped((args, kwargs), one)
