"""Kept programs: what was made of a network once, and is used again after proof that the network is the same.

The first call with a network and a shape of inputs runs the network. So does the second one; from it a program is made,
and kept only if it gave the same answers. Later calls run the program, each after proof that the network is the same to
the bit (:class:`~fluoroscope.model.program.unchanged.Unchanged`). A size of batch that was not compared before is
compared first. Set ``FLUOROSCOPE_PROGRAMS=0`` to run the network every time.

Memory: a packed copy of the weights, for gradients a second one, and one of all weights to compare with; for the two
programs that were used last, no network larger than 256 MB. It is freed with the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.program.compiling import Unsupported
from fluoroscope.model.program.operations import Operations, recorded
from fluoroscope.model.program.surroundings import HOOKS
from fluoroscope.model.program.unchanged import Unchanged, Unseen, undisturbed
from fluoroscope.model.study import Study

__all__ = ["Kept", "forget_programs", "kept", "near", "recorded_ends"]

MOST_KEPT = 2
MOST_BYTES = 256e6
WORTH = 2e8
"""Floating-point operations from which on a program is worth the comparison of all weights."""
SAME_VALUES = 1e-4


@dataclass
class Kept:
    """What is known of one network and shape: the weights' versions when it was last seen, and the program.

    Subclasses write :meth:`make` and :meth:`same`.
    """

    versions: Any = None
    refused: str | None = None
    program: Any = None
    unchanged: Unchanged | None = None
    batches: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def make(self, study: Study, inputs: Inputs) -> Any:
        """The program. Raises Unsupported where there is none, or it is not worth it."""
        raise NotImplementedError

    def same(self, inputs: Inputs, own: Any) -> bool:
        """Whether the program gives what the network itself gave."""
        raise NotImplementedError

    def ready(self, study: Study, inputs: Inputs) -> Any:
        """The program where it may answer for these inputs, else None: the network has to be unchanged, proved once a
        study. It is handed out, since a thread that studies another network may put an end to its being kept.
        """
        program, unchanged = self.program, self.unchanged
        if program is None or unchanged is None or inputs.count not in self.batches:
            return None
        if unchanged.holds(numbers=unchanged not in study.proofs):
            study.proofs.append(unchanged)
            return program
        self.drop()
        return None

    def drop(self) -> None:
        """Forget the program; it may be made anew."""
        self.program = self.unchanged = self.versions = None
        self.batches.clear()

    def counted(self, study: Study, inputs: Inputs) -> None:
        """A run of the program, told as the network's own is."""
        study.forwards += inputs.count
        for note in self.notes:
            study.note(note)

    def learn(self, study: Study, inputs: Inputs, own: Any, notes: list[str]) -> None:
        """Look at what the network itself gave: make a program where that is worth it, or compare it with the
        program.
        """
        if self.refused is not None:
            return
        versions = _versions(study.module)
        seen, self.versions = self.versions == versions and versions is not None, versions
        if self.program is None and not seen:
            return
        try:
            if self.program is None:
                self._made(study, inputs)
                self.notes = notes
            if self.same(inputs, own):
                self.batches.add(inputs.count)
            else:
                self._refuse("the program did not give the network's answers")
        except (Unsupported, Unseen) as reason:
            self._refuse(str(reason))
        except (FluoroscopeError, RuntimeError, MemoryError, TypeError, ValueError, LookupError) as error:
            self._refuse("memory ran out" if out_of_memory(error) else f"{type(error).__name__}: {error}")

    def _made(self, study: Study, inputs: Inputs) -> None:
        if sum(t.numel() * t.element_size() for t in study.module.parameters()) > MOST_BYTES:
            raise Unsupported("the network is too large for a second copy of it")
        self.program = self.make(study, inputs)
        if self.program.cost < WORTH:
            raise Unsupported("there is too little to compute")
        self.unchanged = Unchanged(study.module)

    def _refuse(self, reason: str) -> None:
        self.drop()
        self.refused = reason


_KEPT: WeakKeyDictionary[nn.Module, dict[Any, Kept]] = WeakKeyDictionary()
_ORDER: list[ref[Kept]] = []
"""The ones used last come last; they live as long as their network."""


def kept(study: Study, inputs: Inputs, key: Any, new: Callable[[], Kept]) -> Any:
    """What is kept for these inputs under ``key``; None where programs do not apply: other devices, formats, inputs,
    modes, hooks.
    """
    main = inputs.args[0] if len(inputs.args) == 1 and not inputs.kwargs else None
    if not isinstance(main, torch.Tensor) or main.ndim != 4 or main.dtype != torch.float32:
        return None
    if main.device.type != "cpu" or os.environ.get("FLUOROSCOPE_PROGRAMS") == "0" or not undisturbed():
        return None
    if any(m.__dict__[name] for m in study.modules for name in HOOKS):
        return None
    known = _KEPT.setdefault(study.module, {})
    place = key, tuple(main.shape[1:])
    if place not in known:
        known[place] = new()
    return _used(known[place])


def forget_programs() -> None:
    """Free all programs."""
    for one in filter(None, (known() for known in _ORDER)):
        one.drop()
    _ORDER.clear()
    _KEPT.clear()


def _used(found: Kept) -> Kept:
    """The ones used last keep their programs."""
    others = [one for one in (known() for known in _ORDER) if one is not None and one is not found]
    spare = max(0, len(others) + 1 - MOST_KEPT)
    for one in others[:spare]:
        one.drop()
    _ORDER[:] = [ref(one) for one in (*others[spare:], found)]
    return found


def recorded_ends(study: Study, inputs: Inputs, record: Operations) -> tuple[int, int]:
    """The numbers of output and scores in the record of a forward of one picture.

    Another picture than the examples is recorded, so that what the record took for constants shows when answers are
    compared.

    Raises:
        Unsupported: the record does not show them.
    """
    one = inputs.part(0, 1).with_main(inputs.main[:1].detach().flip(-1) * 0.75)
    spent, notes, study.notes = study.forwards, study.notes, []
    try:
        with torch.no_grad():
            (output, scores), _ = recorded(lambda: study.scored(one), one.main, record)
    finally:
        study.forwards, study.notes = spent, notes
    ends = record.number(output), record.number(scores)
    if ends[0] is None or ends[1] is None:
        raise Unsupported(record.reason or "the output is no tensor that depends on the input")
    return ends[0], ends[1]


def near(found: torch.Tensor, expected: torch.Tensor, share: float = SAME_VALUES) -> bool:
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
