"""Kept tapes: from the second forward of the same network on, the part before a layer runs as a program.

The first call with a network, a layer and a shape of inputs runs the network. So does the second one; from it a program
is made, and kept only if it gave the same activations, scores and gradients. Later calls run the program, each after
proof that the network is the same to the bit (:class:`~fluoroscope.model.program.unchanged.Unchanged`). A size of batch
that was not compared before is compared first. Set ``FLUOROSCOPE_PROGRAMS=0`` to run the network every time.

Memory: a packed copy of the weights before the layer, and one of all weights to compare with; for the two networks that
were used last, none of them larger than 256 MB. It is freed with the network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.outputs import first_tensor
from fluoroscope.model.program.compiling import Unsupported
from fluoroscope.model.program.operations import Operations, recorded
from fluoroscope.model.program.tail import Tailed, TailedProgram
from fluoroscope.model.program.unchanged import Unchanged, Unseen, undisturbed
from fluoroscope.model.study import LayerName, Study, out_of_memory

__all__ = ["KeptTape", "forget_tapes", "kept_tape"]

MOST_KEPT = 2
MOST_BYTES = 256e6
WORTH = 2e8
"""Floating-point operations before the layer from which on a program is worth the comparison of all weights."""
WORTH_SHARE = 0.5
SAME_VALUES, SAME_GRADIENTS = 1e-4, 1e-3


@dataclass
class KeptTape:
    """What is known of one network, layers and shape: how often it was asked for, and the program once there is one."""

    layers: tuple[LayerName, ...]
    versions: Any = None
    refused: str | None = None
    program: TailedProgram | None = None
    unchanged: Unchanged | None = None
    numbers: dict[LayerName, int] = field(default_factory=dict)
    batches: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def ready(self, inputs: Inputs) -> bool:
        """Whether the program may answer for these inputs, which proves that the network is unchanged."""
        if self.program is None or self.unchanged is None or inputs.count not in self.batches:
            return False
        if self.unchanged.holds():
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Forget the program; it may be made anew."""
        self.program = self.unchanged = self.versions = None
        self.batches.clear()

    def run(self, study: Study, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """(output, scores, tensors of the layers) as a tape has them."""
        assert self.program is not None
        study.forwards += inputs.count
        found = self.program.run(inputs.main)
        for note in self.notes:
            study.note(note)
        study.check_finite(found.scores.detach(), inputs)
        return found.output, found.scores, self._named(found)

    def _named(self, found: Tailed) -> dict[str, torch.Tensor]:
        return {layer: found.tensors[self.numbers[layer]] for layer in self.layers}

    def learn(self, study: Study, inputs: Inputs, output: Any, scores: torch.Tensor, tensors: Any, notes: Any) -> None:
        """Look at the network's own tape: make a program where that is worth it, or compare it with the program."""
        if self.refused is not None:
            return
        versions = _versions(study.module)
        seen, self.versions = self.versions == versions and versions is not None, versions
        if self.program is None and seen:
            self._make(study, inputs, output)
            self.notes = list(notes)
        if self.program is not None and self.refused is None:
            self._compare(inputs, output, scores, tensors)

    def _make(self, study: Study, inputs: Inputs, output: Any) -> None:
        try:
            if not isinstance(output, torch.Tensor):
                raise Unsupported("the output is no tensor")
            if sum(t.numel() * t.element_size() for t in study.module.parameters()) > MOST_BYTES:
                raise Unsupported("the network is too large for a second copy of it")
            self.program, self.numbers = _program(study, inputs, self.layers)
            if self.program.cost < WORTH or self.program.share < WORTH_SHARE:
                raise Unsupported("there is too little before the layer")
            self.unchanged = Unchanged(study.module)
        except (Unsupported, Unseen) as reason:
            self._refuse(str(reason))
        except (FluoroscopeError, RuntimeError, MemoryError, TypeError, ValueError, LookupError) as error:
            self._refuse("memory ran out" if out_of_memory(error) else f"{type(error).__name__}: {error}")

    def _compare(self, inputs: Inputs, output: Any, scores: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
        """Activations, scores and gradients of the program, against the network's own."""
        assert self.program is not None
        found = self.program.run(inputs.main)
        made = self._named(found)
        own = [tensors[layer] for layer in self.layers]
        values = [(made[n], t) for n, t in tensors.items()] + [(found.output, output), (found.scores, scores)]
        pairs = list(zip(_slopes(found.scores, list(made.values())), _slopes(scores, own), strict=True))
        if all(_near(a, b, SAME_VALUES) for a, b in values) and all(_near(a, b, SAME_GRADIENTS) for a, b in pairs):
            self.batches.add(inputs.count)
        else:
            self._refuse("the program did not give the network's answers")

    def _refuse(self, reason: str) -> None:
        self.drop()
        self.refused = reason


_KEPT: WeakKeyDictionary[nn.Module, dict[Any, KeptTape]] = WeakKeyDictionary()
_ORDER: list[KeptTape] = []


def kept_tape(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> KeptTape | None:
    """What is known of such a tape; None where programs do not apply: other devices, formats, inputs, modes."""
    main = inputs.args[0] if len(inputs.args) == 1 and not inputs.kwargs else None
    if not isinstance(main, torch.Tensor) or main.ndim != 4 or main.dtype != torch.float32 or main.requires_grad:
        return None
    if main.device.type != "cpu" or os.environ.get("FLUOROSCOPE_PROGRAMS") == "0" or not undisturbed():
        return None
    key = tuple(layers), tuple(main.shape[1:])
    found = _KEPT.setdefault(study.module, {}).setdefault(key, KeptTape(tuple(layers)))
    _use(found)
    return found


def forget_tapes() -> None:
    """Free all programs."""
    for kept in _ORDER:
        kept.drop()
    _ORDER.clear()
    _KEPT.clear()


def _use(found: KeptTape) -> None:
    """The ones used last keep their programs."""
    if found in _ORDER:
        _ORDER.remove(found)
    _ORDER.append(found)
    while len(_ORDER) > MOST_KEPT:
        _ORDER.pop(0).drop()


def _program(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> tuple[TailedProgram, dict[LayerName, int]]:
    """The program of a forward of one picture that was recorded, and the numbers that the layers' outputs have on it.

    Another picture than the examples is recorded, so that what the record took for constants shows when they are
    compared.
    """
    one = inputs.part(0, 1).with_main(inputs.main[:1].flip(-1) * 0.75)
    record, numbers, calls = Operations(), dict[LayerName, int](), dict.fromkeys((x.module for x in layers), 0)

    def look(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            index, calls[name] = calls[name], calls[name] + 1
            number = record.number(first_tensor(output))
            for layer in layers:
                if layer.module == name and layer.call in (None, index) and number is not None:
                    numbers[layer] = number

        return hook

    spent, notes, study.notes = study.forwards, study.notes, []
    try:
        with torch.no_grad(), study.hooked([(study.module.get_submodule(n), look(n)) for n in calls]):
            (output, scores), _ = recorded(lambda: study.scored(one), one.main, record)
    finally:
        study.forwards, study.notes = spent, notes
    ends = record.number(output), record.number(scores)
    if len(numbers) < len(layers) or ends[0] is None or ends[1] is None:
        raise Unsupported(record.reason or "the record does not show the layer or the scores")
    return TailedProgram(record, ends[0], ends[1], numbers.values()), numbers


def _slopes(scores: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients of each example's largest score; the tape stays."""
    if not scores.requires_grad:
        return [torch.zeros_like(t) for t in tensors]
    best = scores.flatten(1).amax(1).sum() if scores.ndim > 1 else scores.sum()
    return list(torch.autograd.grad(best, tensors, retain_graph=True, materialize_grads=True))


def _near(found: torch.Tensor, expected: torch.Tensor, share: float) -> bool:
    """Whether two tensors differ by no more than a share of the largest value."""
    if found.shape != expected.shape:
        return False
    gap = (found.detach() - expected.detach()).abs().max()
    return bool(gap <= share * expected.detach().abs().max())


def _versions(module: nn.Module) -> Any:
    """Identity and counted changes of all parameters and buffers; None where they can't be told."""
    try:
        return tuple((id(t), t._version) for t in (*module.parameters(), *module.buffers()))
    except RuntimeError:
        return None
