"""Capture: the cheapest way to a layer's numbers.

* :func:`activations` stops the network once the last layer that is needed has run.
* :func:`tape` records for the backward only from the first layer that is needed on. Nothing before it is differentiable
  (parameters are frozen, the input asks for no gradient), so nothing before it is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from fluoroscope.model.probe import Call, Probe
from fluoroscope.model.study import LayerName, Study

__all__ = ["Tape", "activations", "choose_layer", "gradients", "tape"]


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
            if layer.call is None and self.calls[layer.module] > 1:
                runs = self.calls[layer.module]
                study.note(f"layer {layer!r} ran {runs} times; its last call is used (name another: '{layer}@0')")


def activations(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> dict[str, torch.Tensor]:
    """Outputs of ``layers`` (first tensor of each), without a tape; the network stops after the last one needed.

    Raises:
        LayerError: a layer did not run.
    """
    probe = study.probe(inputs)
    left = {layer: (probe.counts.get(layer.module, 0) if layer.call is None else layer.call + 1) for layer in layers}
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
    if kept is not None and kept.ready(study, inputs):
        return Tape(*kept.run(study, inputs))
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
        NumericalError: the scores do not depend on the tape differentiably.
    """
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


def choose_layer(study: Study, inputs: Inputs) -> LayerName:
    """The last layer with positions that the score depends on: where a class activation map sees most.

    Networks with a dense output (segmentation) take the last layer of lowest resolution. For token networks the last
    layers are passed over where only the token matters that the answer is read from (the class token of BERT and ViT,
    the last token of a decoder): the gradient at every other token is zero there. Texts take the output of a whole
    block, images also the norm before the last attention; neither takes a projection inside an attention.

    Raises:
        LayerError: no layer has positions.
    """
    probe = study.probe(inputs)
    calls = probe.with_positions()
    if not calls:
        raise LayerError(
            "no layer of the network has positions to make a map of",
            got=f"an input {probe.input_shape} and {len(probe.calls)} layer outputs",
            remedy="use a method on the input itself, such as Saliency",
        )
    if len(probe.output_shape) > 3:
        smallest = min(_positions(c.layout.grid) for c in calls if c.layout)
        calls = [c for c in calls if c.layout and _positions(c.layout.grid) == smallest]
    best = calls[-1]
    if best.layout is not None and best.layout.kind == "tokens":
        best = _attended(study, inputs, probe) or best
    elif best.in_place:
        best = next((c for c in reversed(calls) if not c.in_place or _matters(study, inputs, c)), best)
    return _named(probe, best)


def _named(probe: Probe, call: Call) -> LayerName:
    """The name of a call: the module's for its last call, with the call's number for an earlier one."""
    return LayerName(call.name if call.index == probe.counts[call.name] - 1 else f"{call.name}@{call.index}")


def _positions(grid: tuple[int, ...]) -> int:
    return int(torch.Size(grid).numel())


def _matters(study: Study, inputs: Inputs, call: Call) -> bool:
    """Whether the network goes on with what the call gave back, not with the tensor that it changed in place."""
    taped = tape(study, inputs.part(0, 1), [LayerName(call.name)])
    if not taped.scores.requires_grad:
        return False
    (found,) = torch.autograd.grad(taped.scores.sum(), list(taped.tensors.values()), allow_unused=True)
    return found is not None


def _attended(study: Study, inputs: Inputs, probe: Probe) -> Call | None:
    """The last call of the token stream's usual width at which more than the token that is read has a gradient of the
    predicted score; where there is none, the last one with a gradient.
    """
    width = Counter(c.shape[-1] for c in probe.with_positions()).most_common(1)[0][0]
    calls = [c for c in probe.with_positions(every_call=True) if c.shape[-1] == width]
    taped = tape(study, inputs.part(0, 1), [_named(probe, c) for c in calls])
    found = gradients(study, taped, taped.scores.flatten(1).amax(1))
    reached = {id(c): _reached(c, found[_named(probe, c)]) for c in calls}
    wide = [c for c in calls if reached[id(c)] > 1]
    narrow = {c.name for c in calls if reached[id(c)] <= 1}
    modules = dict(study.module.named_modules(remove_duplicate=False))
    fitting = [c for c in wide if not _projects(c.name, narrow, modules)]
    if fitting and fitting[-1].layout is not None and fitting[-1].layout.tokens:
        whole = [c for c in fitting if not _inside_a_block(c.name, narrow, modules)]
        outer = [c for c in whole if any(True for _ in modules[c.name].children())]
        fitting = outer or whole or fitting
    return next(reversed(fitting or wide or [c for c in calls if reached[id(c)]]), None)


def _reached(call: Call, gradient: torch.Tensor) -> int:
    """At how many positions (class and register tokens aside) there is a gradient."""
    return int((call.layout.to_maps(gradient) != 0).any(1).sum()) if call.layout is not None else 0


def _projects(name: str, narrow: set[str], modules: Mapping[str, nn.Module]) -> bool:
    """Whether it is one of three or more dense layers side by side (queries, keys, values) in a module whose own
    output no longer matters at more than one position.
    """
    parent = name.rpartition(".")[0]
    if parent not in narrow or not _dense(modules[name]):
        return False
    return sum(_dense(m) for m in modules[parent].children()) >= 3


def _dense(module: nn.Module) -> bool:
    """Whether it is a dense layer, also one with a low-rank addition, whose weight lies a level deeper."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)


def _inside_a_block(name: str, narrow: set[str], modules: Mapping[str, nn.Module]) -> bool:
    """Whether it lies in a block, one of several of a class side by side, whose output no longer matters at more than
    one position.
    """
    parts = name.split(".")
    for end in range(1, len(parts)):
        outer, parent = ".".join(parts[:end]), ".".join(parts[: end - 1])
        block = modules[outer]
        if outer in narrow and sum(type(m) is type(block) for m in modules[parent].children()) > 1:
            return True
    return False
