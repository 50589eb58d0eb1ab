"""The layer that is mapped where none is named: the last one with positions that the score depends on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import LayerError
from fluoroscope.model.capture import gradients, tape
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.probe import Call, Probe
from fluoroscope.model.study import LayerName, Study

__all__ = ["choose_layer"]

NEAR = 16
"""How many calls before the end are looked at: more than any branch is long."""


def choose_layer(study: Study, inputs: Inputs) -> LayerName:
    """The last layer with positions that the score depends on: where a class activation map sees most.

    Networks with a dense output (segmentation) take the last layer of lowest resolution. For token networks the last
    layers are passed over where only the token matters that the answer is read from (the class token of BERT and ViT,
    the last token of a decoder): the gradient at every other token is zero there. Texts take the output of a whole
    block, images also the norm before the last attention; neither takes a projection inside an attention. Where the
    score depends on what came before the layer also along a way around it, a note says so.

    Raises:
        LayerError: no layer has positions.
    """
    probe = study.probe(inputs)
    calls = probe.with_positions()
    if not calls:
        raise LayerError(
            "no layer of the network has positions to make a map of",
            got=f"an input {probe.input_shape} and {len(probe.calls)} layer outputs",
            remedy=f"use a method on the input itself, such as {'Occlusion' if study.quantized else 'Saliency'}",
        )
    dense = len(probe.output_shape) > 3
    if dense:
        smallest = min(_positions(c) for c in calls)
        calls = [c for c in calls if _positions(c) == smallest]
    best, around = calls[-1], False
    if not _of_tokens(best):
        if probe.onward is None:
            probe.onward = _onward(study, inputs, calls)
        best, around = probe.onward
    if _of_tokens(best):
        return _named(probe, _attended(study, inputs, probe, best) or best)
    if around and not dense:
        study.note(
            f"the layer found, {best.name!r}, is one branch of several: the score also depends on what came before it "
            "along a way around it, such as a sum that is written as a function; to map the sum, pass it through a "
            "module (nn.Identity), or name another layer"
        )
    return _named(probe, best)


def _of_tokens(call: Call) -> bool:
    return call.layout is not None and call.layout.kind == "tokens"


def _named(probe: Probe, call: Call) -> LayerName:
    """The name of a call: the module's for its last call, with the call's number for an earlier one."""
    return LayerName(call.name if call.index == probe.counts[call.name] - 1 else f"{call.name}@{call.index}")


def _exactly(call: Call) -> LayerName:
    """The name of a call with its number, so that none has to be assumed."""
    return LayerName(f"{call.name}@{call.index}")


def _positions(call: Call) -> int:
    return int(torch.Size(call.layout.grid).numel()) if call.layout is not None else 0


def _onward(study: Study, inputs: Inputs, calls: Sequence[Call]) -> tuple[Call, bool]:
    """The last call that the score depends on, by the recorded graph, and whether there is a way around it.

    A layer may be passed over: what it gave back is ignored (a rectifier that works in place), not used for the answer
    (an auxiliary head), or used before the layer had given it back (a backbone that gives features beside the vector).
    """
    near = list(calls[-NEAR:])
    taped = tape(study, inputs.part(0, 1), [_exactly(c) for c in near])
    if taped.scores.grad_fn is None:
        return near[-1], False
    first = next(t for t in taped.tensors.values() if t.is_leaf)
    used = _behind(taped.scores.grad_fn, None)
    for call in reversed(near):
        tensor = taped.tensors[_exactly(call)]
        if tensor.grad_fn is None:  # the first of them, or one that no other of them leads to
            if any(_is_leaf(n, tensor) for n in used):
                return call, False
        elif tensor.grad_fn in used:
            without = _behind(taped.scores.grad_fn, tensor.grad_fn)
            return call, any(_is_leaf(n, first) for n in without)
    return near[-1], False


def _behind(last: Any, barrier: Any) -> set[Any]:
    """Every recorded operation that leads to ``last``, without going on behind ``barrier``."""
    seen, left = set[Any](), [last]
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if node != barrier:
            left.extend(parent for parent, _ in node.next_functions if parent is not None)
    return seen


def _is_leaf(node: Any, tensor: torch.Tensor) -> bool:
    return getattr(node, "variable", None) is tensor


def _attended(study: Study, inputs: Inputs, probe: Probe, end: Call) -> Call | None:
    """The last call of the token stream's usual width at which more than the token that is read has a gradient of the
    predicted score; where there is none, the last one with a gradient. The stream is that of ``end``: earlier stages of
    a pyramid, with more tokens, are not looked at.
    """
    width = Counter(c.shape[-1] for c in probe.with_positions() if _alike(c, end)).most_common(1)[0][0]
    calls = [c for c in probe.with_positions(every_call=True) if c.shape[-1] == width and _alike(c, end)]
    taped = tape(study, inputs.part(0, 1), [_exactly(c) for c in calls])
    found = gradients(study, taped, taped.scores.flatten(1).amax(1))
    reached = {id(c): _reached(c, found[_exactly(c)]) for c in calls}
    wide = [c for c in calls if reached[id(c)] > 1]
    narrow = {c.name for c in calls if reached[id(c)] <= 1} | {c.name for c in probe.calls if c.shape == (1, 1, width)}
    modules = study.named
    fitting = [c for c in wide if not _projects(c.name, narrow, modules)]
    if fitting and fitting[-1].layout is not None and fitting[-1].layout.tokens:
        whole = [c for c in fitting if not _inside_a_block(c.name, narrow, modules)]
        outer = [c for c in whole if any(True for _ in modules[c.name].children())]
        fitting = outer or whole or fitting
    return next(reversed(fitting or wide or [c for c in calls if reached[id(c)]]), None)


def _alike(call: Call, end: Call) -> bool:
    """Whether both are tokens of the same places."""
    a, b = call.layout, end.layout
    return a is not None and b is not None and (a.axes, a.grid) == (b.axes, b.grid)


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
