"""The layers of a network: names, classes, shapes, parameters, costs, and what can be done with each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError
from fluoroscope.model.flops import CostMeter
from fluoroscope.model.inputs import Inputs, prepare_inputs
from fluoroscope.model.probe import Probe
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from fluoroscope.results import LayerRow, LayerSummary

__all__ = ["assumed_input", "summarize"]

SIZES = (224, 32, 28, 64, 96, 128, 256, 299, 384)
TOKENS = 16


def summarize(study: Study, inputs: Inputs | None) -> LayerSummary:
    """The table of modules. With an input, one example of it is run; without, shapes and costs stay unknown."""
    meter, probe = CostMeter(study.module), None
    if inputs is not None:
        probe = study.probe(inputs)
        with torch.no_grad(), meter.active():
            study.run(inputs.part(0, 1))
    parameters = _unique(study.module)
    rows = tuple(_rows(study, probe, meter))
    return LayerSummary(
        rows=rows,
        input_shapes=tuple((1, *t.shape[1:]) for t in inputs.tensors) if inputs is not None else (),
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p in study.trainable),
        parameter_bytes=sum(p.numel() * p.element_size() for p in parameters),
        buffer_bytes=sum(b.numel() * b.element_size() for b in study.module.buffers()),
        flops=meter.flops.get("", 0),
    )


def _unique(module: nn.Module) -> list[nn.Parameter]:
    return list(dict.fromkeys(module.parameters()))


def _rows(study: Study, probe: Probe | None, meter: CostMeter) -> Iterator[LayerRow]:
    modules = list(study.module.named_modules(remove_duplicate=False))
    parameters, trainable = _inclusive(modules, study.trainable)
    seen: dict[nn.Module, str] = {}
    for name, module in modules:
        if name:
            row = _row(name, module, seen.get(module, ""), probe, meter)
            yield row.replace(parameters=parameters[name], trainable=trainable[name])
            seen.setdefault(module, name)


def _inclusive(
    modules: list[tuple[str, nn.Module]], wanted: set[nn.Parameter]
) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters, and those of them that are trained, of each module and all inside; a tied tensor where it is met
    first.
    """
    counted: set[torch.Tensor] = set()
    total, trained = dict.fromkeys((n for n, _ in modules), 0), dict.fromkeys((n for n, _ in modules), 0)
    for name, module in modules:
        fresh = {p for p in module.parameters(recurse=False) if p not in counted}
        counted |= fresh
        size, part = sum(p.numel() for p in fresh), sum(p.numel() for p in fresh & wanted)
        while size:
            total[name] += size
            trained[name] += part
            if not name:
                break
            name = name.rpartition(".")[0]
    return total, trained


def _row(name: str, module: nn.Module, shares: str, probe: Probe | None, meter: CostMeter) -> LayerRow:
    call = probe.called(shares or name) if probe is not None else None
    own = list(module.parameters(recurse=False))
    uses = [call.layout.kind] if call is not None and call.layout is not None else []
    uses += ["weights"] if any(p.ndim >= 2 for p in own) else []
    uses += ["attention"] if isinstance(module, nn.MultiheadAttention) or name in meter.attention else []
    size = torch.Size(call.shape).numel() * call.dtype.itemsize if call is not None else 0
    return LayerRow(
        name=name,
        type=type(module).__name__,
        depth=name.count("."),
        leaf=not any(True for _ in module.children()),
        output_shape=call.shape if call is not None else None,
        dtype=str(call.dtype).removeprefix("torch.") if call is not None else "",
        own=sum(p.numel() for p in own),
        flops=0 if shares else meter.flops.get(name, 0),
        bytes=size,
        calls=probe.counts.get(shares or name, 0) if probe is not None else 0,
        uses=tuple(uses),
        shares=shares,
    )


def assumed_input(subject: Subject, shape: tuple[int, ...] | None = None) -> Inputs | None:
    """A made-up example of a shape that the network accepts, for shapes and costs only; None where no shape works.

    ``shape`` or ``subject.input_shape`` where one is known; else by the first layer: images of common sizes for a
    convolution, a vector for a dense layer, token numbers for an embedding.

    Raises:
        InputError: the network fails on the ``shape`` that was given.
    """
    given, failed = shape, None
    shape = shape or subject.input_shape
    for example in _of_shape(shape) if shape else _guesses(subject):
        try:
            inputs = prepare_inputs(example, subject)
            with Study(subject) as study, torch.no_grad():
                study.run(inputs)
        except (FluoroscopeError, RuntimeError) as error:
            failed = failed or error
            continue
        return inputs
    if given is not None and failed is not None:
        raise failed
    return None


def _of_shape(shape: tuple[int, ...]) -> Iterator[torch.Tensor]:
    """Zeros of that shape: real numbers, and token numbers."""
    yield torch.zeros(1, *shape)
    yield torch.zeros(1, *shape, dtype=torch.long)


def _guesses(subject: Subject) -> Any:
    for module in subject.module.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            rank = len(module.kernel_size)
            for size in SIZES if rank < 3 else (32, 64):
                yield torch.zeros(1, module.in_channels, *[size] * rank)
            return
        if isinstance(module, nn.Embedding):
            yield torch.zeros(1, TOKENS, dtype=torch.long)
            return
        if isinstance(module, nn.Linear):
            yield torch.zeros(1, module.in_features)
            return
        if isinstance(module, nn.RNNBase):
            yield torch.zeros(1, TOKENS, module.input_size)
            return
