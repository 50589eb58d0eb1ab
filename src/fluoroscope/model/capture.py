"""Capture: the cheapest way to a layer's numbers.

* :func:`activations` stops the network once the last layer that is needed has run.
* :func:`tape` records for the backward only from the first layer that is needed on. Nothing before it is differentiable
  (parameters are frozen, the input asks for no gradient), so nothing before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import LayerError, NumericalError
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.kept_tapes import kept_tape
from fluoroscope.model.modes import ForwardTap, TailTap
from fluoroscope.model.outputs import first_tensor, map_first_tensor
from fluoroscope.model.study import LayerName, Study

__all__ = ["Tape", "activations", "first_call", "gradients", "tape"]


class _Enough(BaseException):
    """Raised to leave the forward early; a BaseException so that no ``except Exception`` in the network keeps it."""


@dataclass
class Tape:
    """One forward, differentiable from ``tensors`` on: by layer name, or by ``"input"``."""

    output: Any
    scores: torch.Tensor
    tensors: dict[str, torch.Tensor]


class _Counter:
    """Which call of each layer is the wanted one, and how often it has run so far."""

    def __init__(self, layers: Sequence[LayerName]) -> None:
        self.layers = layers
        self.calls: dict[str, int] = dict.fromkeys((layer.module for layer in layers), 0)

    def wanted(self, name: str) -> list[LayerName]:
        """Layers among the wanted that this call of module ``name`` is for (the last call counts, so every one is)."""
        index = self.calls[name]
        self.calls[name] = index + 1
        return [layer for layer in self.layers if layer.module == name and layer.call in (None, index)]

    def check(self, study: Study, taken: dict[str, torch.Tensor]) -> None:
        """Raise LayerError for a layer that did not run; note layers that ran more than once."""
        for layer in self.layers:
            if layer not in taken:
                runs = self.calls[layer.module]
                what = f"ran {runs} times" if runs else "did not run for this input"
                raise LayerError(
                    f"layer {layer!r} {what}, or gave no tensor",
                    expected="a layer on the path of this input",
                    remedy="list the layers that run: fs.layers(model, inputs)",
                )
            study.note_calls(layer, self.calls[layer.module])


def activations(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> dict[str, torch.Tensor]:
    """Outputs of ``layers`` (first tensor of each), without a tape; the network stops after the last one needed.

    Raises:
        LayerError: a layer did not run.
    """
    probe = study.probe(inputs)
    last = {} if probe.reads else probe.counts  # how often a layer runs is not known where it depends on the numbers
    left = {layer: (last.get(layer.module, 0) if layer.call is None else layer.call + 1) for layer in layers}
    counter, taken = _Counter(layers), dict[str, torch.Tensor]()

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensor = first_tensor(output)
            for layer in counter.wanted(name):
                if tensor is not None:
                    taken[layer] = tensor.detach().clone()  # the next layer may work in place
            if all(0 < left[layer] <= counter.calls[layer.module] for layer in layers):
                raise _Enough

        return hook

    hooks = [(study.module.get_submodule(n), look(n)) for n in counter.calls]
    with torch.no_grad(), study.hooked(hooks), suppress(_Enough):
        study.run(inputs)
    counter.check(study, taken)
    return {layer: taken[layer] for layer in layers}


def first_call(study: Study, inputs: Inputs, names: Sequence[str], given: torch.Tensor) -> LayerName | None:
    """The first call, among the modules ``names``, whose argument is ``given``, where the network stops; else the first
    whose argument holds the same numbers, None where there is none.
    """
    calls, alike = dict.fromkeys(names, 0), list[LayerName]()

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            index, calls[name] = calls[name], calls[name] + 1
            tensor = args[0] if args and isinstance(args[0], torch.Tensor) else None
            if tensor is None or tensor.shape != given.shape:
                return
            if tensor.data_ptr() == given.data_ptr():
                alike[:] = [LayerName(f"{name}@{index}")]
                raise _Enough
            if torch.equal(tensor.to(given.dtype), given):
                alike.append(LayerName(f"{name}@{index}"))

        return hook

    spent = study.forwards
    with torch.no_grad(), study.hooked([(study.module.get_submodule(n), look(n)) for n in names]), suppress(_Enough):
        study.run(inputs)
    study.forwards = spent
    return alike[0] if alike else None


def tape(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> Tape:
    """One forward that records from the first of ``layers`` on.

    The tensors of layers are what the next layer sees; a layer that works in place on them does not change them. On a
    CPU the part before the layers runs as a program from the third call on (:mod:`~fluoroscope.model.kept`).

    Raises:
        LayerError: a layer did not run.
    """
    if any(t.requires_grad for t in inputs.tensors):
        return _tape(study, inputs, layers, ForwardTap())  # the tape begins at the input
    kept = kept_tape(study, inputs, layers)
    program = kept.ready(study, inputs) if kept is not None else None
    if kept is not None and program is not None:
        return Tape(*kept.run(study, inputs, program))
    with study.noting() as notes:
        taped = _own_tape(study, inputs, layers)
    if kept is not None:
        kept.learn(study, inputs, (taped.output, taped.scores, taped.tensors), notes)
    return taped


def _own_tape(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> Tape:
    watch = TailTap()
    taped = _tape(study, inputs, layers, watch)
    return _tape(study, inputs, layers, ForwardTap()) if watch.missed else taped


def _tape(study: Study, inputs: Inputs, layers: Sequence[LayerName], watch: ForwardTap | TailTap) -> Tape:
    counter, taken = _Counter(layers), dict[str, torch.Tensor]()

    def look(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            names = counter.wanted(name)
            tensor = first_tensor(output)
            if not names or tensor is None:
                return None
            if isinstance(watch, TailTap):
                watch.begin()
            # A module may give a tensor that it has already used otherwise: what is asked is what its output does.
            kept = tensor.clone() if tensor.requires_grad else tensor.detach().requires_grad_()
            taken.update(dict.fromkeys(names, kept))
            return map_first_tensor(output, lambda _: kept.clone())

        return hook

    with torch.enable_grad(), study.hooked([(study.module.get_submodule(n), look(n)) for n in counter.calls]):
        output, scores = study.scored(inputs, watch)
    counter.check(study, taken)
    study.check_finite(scores.detach(), inputs)
    return Tape(output, scores, taken)


def gradients(study: Study, taped: Tape, scores: torch.Tensor, *, keep: bool = False) -> dict[str, torch.Tensor]:
    """D score / d tensor for each tensor of the tape; scores (N,) give their shape, scores (N, K) put K second.

    K targets cost K backwards through the recorded tail, one forward in all. ``keep`` leaves the tape for another go.

    Raises:
        NumericalError: the scores do not depend on the tape differentiably, or layers are quantized: the gradient would
            be of what goes around them.
    """
    if study.quantized is not None:
        raise NumericalError(
            "the network is quantized, and quantized layers have no gradient",
            got=study.quantized,
            remedy="explain the network it was made from, or use a method without gradients (Occlusion, LIME, RISE)",
        )
    columns = [scores] if scores.ndim == 1 else list(scores.unbind(1))
    if not scores.requires_grad:
        raise NumericalError(
            "the score has no gradient with respect to the layer or input",
            got="an output cut off by detach(), no_grad(), argmax or rounding",
            remedy="choose a later layer, or a method without gradients (occlusion, ablation)",
        )
    tensors = list(taped.tensors.values())
    found = []
    for k, column in enumerate(columns):
        study.backwards += len(column)
        found.append(
            torch.autograd.grad(column.sum(), tensors, retain_graph=keep or k + 1 < len(columns), allow_unused=True)
        )
    if all(g is None for g in found[0]):
        raise NumericalError(
            "the score does not depend on the layer",
            got=", ".join(taped.tensors),
            remedy="choose a layer on the path to the score",
        )
    per_tensor = [[torch.zeros_like(t) if g[i] is None else g[i] for g in found] for i, t in enumerate(tensors)]
    return {
        name: g[0] if scores.ndim == 1 else torch.stack(g, 1) for name, g in zip(taped.tensors, per_tensor, strict=True)
    }
