"""Tracing: a network and example inputs in, a ModelGraph out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.model.graph.collecting import collection_paused
from fluoroscope.model.graph.emitting import emitted
from fluoroscope.model.graph.gradients import GradientTracer
from fluoroscope.model.graph.memory import Mistaken
from fluoroscope.model.graph.nested import mapped, tensors_in
from fluoroscope.model.graph.reading_calls import SMALL, on_meta
from fluoroscope.model.graph.steps import Origin, Step
from fluoroscope.model.graph.taps import Functions, Kernels
from fluoroscope.model.graph.tracer import Tracer
from fluoroscope.model.graph.world import watched
from fluoroscope.model.guard import RandomState
from fluoroscope.results.model_graph import ModelGraph

__all__ = ["Trace", "parts_of", "trace"]


LONGEST = 600
Parts = list[tuple[str, nn.Module]]


@dataclass(eq=False)
class Trace:
    """A finished trace: the tree of steps, and whether it went through."""

    root: Step
    complete: bool
    assumptions: int
    totals: dict[str, int]
    error: BaseException | None = None

    def graph(self, *, fold: bool = True, **fields: Any) -> ModelGraph:
        """The ModelGraph, with the totals of the whole network."""
        root = self.root
        return emitted(
            root,
            fold=fold,
            flops=root.flops,
            activation_bytes=root.activation_bytes,
            operations=root.operations,
            complete=self.complete,
            **self.totals,
            **fields,
        )


def trace(
    module: nn.Module,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    real: bool,
    share: bool,
    gradients: bool = False,
) -> Trace:
    """One forward of ``module`` in eval mode, written down. ``real`` computes; else only shapes are worked out.
    ``share`` takes repeated calls from memory. ``gradients`` runs in training mode and writes down what autograd does.
    """
    try:
        return _traced(module, args, dict(kwargs or {}), real, share, gradients)
    except Mistaken:
        return _traced(module, args, dict(kwargs or {}), real, False, gradients)


def _traced(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], real: bool, share: bool, gradients: bool
) -> Trace:
    parts = list(parts_of(module))
    device = _device(parts)
    tracer = (
        GradientTracer(module, device=device) if gradients else Tracer(module, real=real, share=share, device=device)
    )
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.callback(RandomState().restore)
        stack.enter_context(collection_paused())
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        _in_mode(parts, gradients, stack)
        _names(tracer, parts)
        args, kwargs = _inputs(tracer, module, args, kwargs)
        error: BaseException | None = None
        with watched(tracer), Functions(tracer), Kernels(tracer):
            try:
                result = module(*args, **kwargs)
            except Mistaken:
                raise
            except Exception as failure:  # noqa: BLE001 (whatever the network raises: the graph so far is the answer)
                error = failure
        labelled = list(_labelled(result, "")) if error is None else []
        tracer.finish(labelled)
    root = tracer.builder.root
    if error is not None:
        _failed(tracer, root, error)
    tracer.builder.total(root)
    return Trace(root, error is None, tracer.assumptions, _totals(parts), error)


def parts_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of a network in the order of definition, each module once, however deep."""
    seen, left = set[int](), [("", module)]
    while left:
        name, part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield name, part
        children = _children(part)
        if children:
            prefix = f"{name}." if name else ""
            if len(prefix) > LONGEST:  # names of modules nested thousands deep would fill the memory
                prefix = f"…{len(seen)}."
            left += [(prefix + key, child) for key, child in reversed(children) if child is not None]


def _children(part: nn.Module) -> list[tuple[str, Any]]:
    """The modules directly inside; of Keras its layers, which it does not register with torch."""
    if not hasattr(type(part), "_flatten_layers"):
        return list(part._modules.items())
    layers: Any = getattr(part, "layers", None) or getattr(part, "_layers", ())
    found = [(key, child) for key, child in part._modules.items() if not isinstance(child, nn.ParameterList)]
    return found + [(str(layer.name), layer) for layer in layers if isinstance(layer, nn.Module) and layer is not part]


def _names(tracer: Tracer, parts: Parts) -> None:
    for name, part in parts:
        tracer.names[id(part)] = name
        prefix = f"{name}." if name else ""
        children = part._modules
        if len(children) > 2 and tracer.memory is not None and isinstance(part, (nn.ModuleList, nn.Sequential)):
            tracer.memory.last.add(id(next(reversed(children.values()))))
        for tables, role in ((part._parameters, "parameter"), (part._buffers, "buffer")):
            for key, tensor in tables.items():
                if tensor is None or id(tensor) in tracer.origins or is_lazy(tensor):
                    continue
                made = Origin(role, prefix + key, tracer.described(tensor), tensor.requires_grad)  # type: ignore[arg-type]
                tracer.origins[id(tensor)] = made
                tracer.weights.add(id(tensor))


def _device(parts: Parts) -> torch.device:
    for _, part in parts:
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                return tensor.device if tensor.device.type != "meta" else torch.device("cpu")
    return torch.device("cpu")


def _in_mode(parts: Parts, training: bool, stack: ExitStack) -> None:
    """Eval mode, or training mode."""
    tables = [part.__dict__ for _, part in parts if part.training is not training]  # setting attributes is slow

    def back() -> None:
        for table in tables:
            table["training"] = not training

    for table in tables:
        table["training"] = training
    stack.callback(back)


def _inputs(
    tracer: Tracer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs as the trace takes them: shapes only, but small whole numbers as they are; each one a node."""
    names = _argument_names(module, len(args))

    def taken(name: str, value: Any) -> Any:
        count = len(tensors_in(value))
        numbers = iter(range(count))

        def one(tensor: torch.Tensor) -> torch.Tensor:
            number = next(numbers)
            if tracer.real:
                made = tensor.detach().to(tracer.device).view_as(tensor)
            elif tensor.is_floating_point() or tensor.is_complex() or tensor.numel() > SMALL or tensor.is_meta:
                made = on_meta(tensor.detach())
            else:
                made = tensor.detach().cpu().clone()
            if isinstance(tracer, GradientTracer) and tensor.requires_grad:
                made.requires_grad_()
            label = name if count == 1 else f"{name}.{number}"
            tracer.take(label, made)
            return made

        return mapped(value, one)

    return (
        tuple(taken(n, v) for n, v in zip(names, args, strict=True)),
        {k: taken(k, v) for k, v in kwargs.items()},
    )


def _argument_names(module: nn.Module, count: int) -> list[str]:
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known += [f"input.{i}" if i else "input" for i in range(len(known), count)]
    return known[:count]


def _labelled(item: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of an output with their names: keys of dicts, places in tuples."""
    if isinstance(item, torch.Tensor):
        yield name, item
        return
    pairs: Any = ()
    if isinstance(item, Mapping):
        pairs = item.items()
    elif isinstance(item, (tuple, list)):
        pairs = zip(getattr(item, "_fields", range(len(item))), item, strict=True)
    elif hasattr(item, "__dataclass_fields__"):
        pairs = [(f, getattr(item, f)) for f in item.__dataclass_fields__]
    for key, value in pairs:
        yield from _labelled(value, f"{name}.{key}" if name else str(key))


def _failed(tracer: Tracer, root: Step, error: BaseException) -> None:
    """The failing module has the error; where the network's own forward failed, a node of its own says so."""
    step = tracer.failure[0] if tracer.failure is not None else root
    if step is root:
        root.error = ""
        made = Step("operation", type(error).__name__, type(error).__name__, scope=root, place=len(root.children))
        made.error = " ".join(f"{type(error).__name__}: {error}".split())
        root.children.append(made)


def _totals(parts: Parts) -> dict[str, int]:
    found = {id(p): p for _, part in parts for p in part._parameters.values() if p is not None}
    sizes = [(p.numel(), p.dtype.itemsize, p.requires_grad) for p in found.values()]
    return {
        "parameters": sum(n for n, _, _ in sizes),
        "trainable": sum(n for n, _, wanted in sizes if wanted),
        "parameter_bytes": sum(n * size for n, size, _ in sizes),
        "modules": len(parts),
    }
