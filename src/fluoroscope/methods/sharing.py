"""Shared captures: methods that read one forward's tape, together or alone.

A method that reads a layer's activations and gradients costs one forward and one backward through the tail. Several
such methods on the same inputs, at one layer or at several, cost the same once: :func:`fluoroscope.explain` puts them
on one :class:`SharedTape`. Alone, a method opens a tape of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fluoroscope.methods.base import Batch, Method
from fluoroscope.model.capture import Tape, gradients, tape
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.targets import Picked

__all__ = ["SharedTape", "SharingMethod", "shared_tape"]


class SharedTape:
    """One batch's forward, its scores picked once, and its gradients at every layer of the tape computed once.

    ``keep`` leaves the tape open after the gradients, for methods that go back through it with a score of their own.
    ``gradient_cost`` counts the backwards of the shared gradients; whoever opened the tape adds them to the study's.
    """

    def __init__(self, study: Study, batch: Batch, taped: Tape, *, keep: bool = False) -> None:
        self.study, self.batch, self.tape, self.keep = study, batch, taped, keep
        self.gradient_used = False
        self.gradient_cost = 0.0

    @cached_property
    def picked(self) -> Picked:
        """The target's scores, on the tape."""
        return self.batch.target.pick(self.tape.scores, self.tape.output)

    @cached_property
    def _gradients(self) -> dict[str, torch.Tensor]:
        spent = self.study.backwards
        found = gradients(self.study, self.tape, self.picked.scores, keep=self.keep)
        self.gradient_cost, self.study.backwards = self.study.backwards - spent, spent
        return found

    def gradient(self, layer: LayerName) -> torch.Tensor:
        """D score / d output of ``layer``: shaped like it for one target, with K second for several."""
        found = self._gradients[layer]
        self.gradient_used = True
        return found


@dataclass(frozen=True, kw_only=True)
class SharingMethod(Method):
    """A method that reads one layer from a tape. Subclasses write :meth:`place` and :meth:`from_tape`."""

    goes_back: ClassVar[bool] = False
    """Whether the method runs backwards of its own through the tape."""
    twice_differentiable: ClassVar[bool] = False
    """Whether it needs second derivatives (fused attention has none, so it is taken apart)."""

    def place(self, study: Study, inputs: Inputs) -> LayerName:
        """The layer that is read."""
        raise NotImplementedError

    def from_tape(self, shared: SharedTape, layer: LayerName) -> Any:
        """The result from a capture that other methods may share."""
        raise NotImplementedError

    def compute(self, study: Study, batch: Batch) -> Any:
        """A tape for this method alone."""
        layer = self.place(study, batch.inputs)
        shared = shared_tape(study, batch, [layer], [self])
        found = self.from_tape(shared, layer)
        study.backwards += shared.gradient_cost
        return found


def shared_tape(
    study: Study, batch: Batch, layers: Iterable[LayerName], methods: Iterable[SharingMethod]
) -> SharedTape:
    """One forward that records ``layers`` as these methods need it. Raises LayerError where one of them did not run."""
    methods = list(methods)
    attention: AbstractContextManager[None] = nullcontext()
    if any(m.twice_differentiable for m in methods):
        attention = sdpa_kernel(SDPBackend.MATH)
    with attention:
        taped = tape(study, batch.inputs, list(dict.fromkeys(layers)))
    return SharedTape(study, batch, taped, keep=any(m.goes_back for m in methods))
