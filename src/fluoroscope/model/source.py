"""Source: the tensor that a score is differentiated with respect to, an input or what an embedding makes of it.

Token numbers have no gradient; the output of the embedding that looks them up has one, and takes their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fluoroscope import axes as ax
from fluoroscope.errors import InputError, NumericalError
from fluoroscope.model.capture import Tape, activations, first_call
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.kept_inputs import KeptInput, kept_input
from fluoroscope.model.outputs import map_first_tensor
from fluoroscope.model.positions import usual_axes
from fluoroscope.model.study import LayerName, Study

__all__ = ["Source"]


class Source:
    """What is explained of ``inputs``: one of their tensors, or the output of layer ``at``.

    ``value`` (N, ...) is what the tensor holds for these inputs; :meth:`run` runs the network with another one in its
    place. ``layer`` is None for an input. Where the chosen input is whole numbers and ``at`` is None, the first
    embedding that ran is found and noted.

    Raises:
        InputError: there is no such input.
        LayerError: layer ``at`` does not exist or did not run.
        NumericalError: whole numbers, and no embedding that looks them up.
    """

    def __init__(
        self, study: Study, inputs: Inputs, at: str | nn.Module | None = None, which: int | str | None = None
    ) -> None:
        self.study, self.inputs = study, inputs
        self.chosen = inputs.main if which is None else chosen_input(inputs, which)
        self.layer = study.layer(at) if at is not None else None
        if self.layer is None and not self.chosen.is_floating_point():
            self.layer = self._embedding()
            study.note(
                f"the input is whole numbers; the output of embedding {str(self.layer)!r} is explained in its place"
            )
        if self.layer is None:
            self.value = self.chosen.detach()
            return
        self._call = self._call_number(self.layer)
        name = LayerName(f"{self.layer.module}@{self._call}")
        self.value = activations(study, inputs, [name])[name]

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the value."""
        if self.layer is None:
            return self.inputs.axes_of(self.chosen)
        layout = self.study.layout(self.inputs, self.layer, tuple(self.value.shape))
        return usual_axes(self.value) if layout is None or len(layout.axes) != 3 else layout.axes

    @property
    def seen(self) -> torch.Tensor | None:
        """(N, L) True where a position of the value is none that the network is told to leave out; None where all are,
        or where positions are not the first axis of an example.
        """
        unseen = self.inputs.unseen
        return None if unseen is None or unseen.shape != self.value.shape[:2] else ~unseen

    @property
    def tokens(self) -> bool:
        """Whether the value is (N, L, D): a vector for each token."""
        if self.layer is None or self.value.ndim != 3:
            return False
        return not self.chosen.is_floating_point() or ax.L in self.axes

    def _embedding(self) -> LayerName:
        """The call of an embedding that looks the whole numbers up: of those whose output has a vector for each of
        them (positions have, too) the first that is given them, else the first.
        """
        modules = self.study.named
        probe, shape = self.study.probe(self.inputs), tuple(self.chosen.shape[1:])
        fitting = [c for c in probe.calls if isinstance(modules[c.name], nn.Embedding) and c.shape[1:-1] == shape]
        if len(fitting) > 1:
            names = list(dict.fromkeys(c.name for c in fitting))
            found = first_call(self.study, self.inputs, names, self.chosen)
            fitting.sort(key=lambda c: found != f"{c.name}@{c.index}")
        for call in fitting:
            return LayerName(call.name if probe.counts[call.name] == 1 else f"{call.name}@{call.index}")
        raise NumericalError(
            "whole numbers have no gradient",
            got=f"an input of {self.chosen.dtype}, and no nn.Embedding that looks them up",
            remedy="name the layer whose output is to be explained: at='layer', or use a method without gradients",
        )

    def _call_number(self, layer: LayerName) -> int:
        if layer.call is not None:
            return layer.call
        runs = self.study.probe(self.inputs).counts.get(layer.module, 0)
        self.study.note_calls(layer, runs)
        return max(runs - 1, 0)

    def other(self, chosen: torch.Tensor) -> torch.Tensor:
        """The value for another input in place of the chosen one, such as other token numbers."""
        inputs = self.inputs.map(lambda t: chosen if t is self.chosen else t)
        if self.layer is None:
            return chosen
        name = LayerName(f"{self.layer.module}@{self._call}")
        return activations(self.study, inputs, [name])[name]

    def rows(self, rows: Sequence[int] | None) -> Inputs:
        """The inputs of the examples ``rows``, which may repeat."""
        if rows is None:
            return self.inputs
        return self.inputs.taken(torch.as_tensor(rows, device=self.value.device))

    def run(self, values: torch.Tensor, rows: Sequence[int] | None = None) -> Tape:
        """One forward that is differentiable with respect to ``values``, in place of the value of ``rows``."""
        leaf = values.detach().clone().requires_grad_()
        kept = self._kept(leaf, rows)
        if kept is None:
            return Tape(*self.forward(leaf, rows), {self.layer or "input": leaf})
        known, inputs = kept
        program = known.ready(self.study, inputs)
        if program is not None:
            return Tape(*known.run(self.study, inputs, leaf, program), {"input": leaf})
        with self.study.noting() as notes:
            output, scores = self.forward(leaf, rows)
        known.learn(self.study, inputs, (output, scores, leaf), notes)
        return Tape(output, scores, {"input": leaf})

    def _kept(self, leaf: torch.Tensor, rows: Sequence[int] | None) -> tuple[KeptInput, Inputs] | None:
        """A program of the network, or what will become one, and the inputs that it is about."""
        if self.layer is not None or len(self.inputs.tensors) != 1:
            return None
        inputs = self._with_values(rows, leaf)
        known = kept_input(self.study, inputs)
        return (known, inputs) if known is not None else None

    def forward(self, values: torch.Tensor, rows: Sequence[int] | None = None) -> tuple[Any, torch.Tensor]:
        """(whole output, scores) with ``values`` as they are, on whatever tape they are on."""
        study, inputs = self.study, self.inputs
        if self.layer is None:
            inputs = self._with_values(rows, values)
            output, scores = study.scored(inputs)
        else:
            inputs = self.rows(rows)
            with study.hooked([(study.submodule(self.layer), self._replacing(values))]):
                output, scores = study.scored(inputs)
        study.check_finite(scores.detach(), inputs)
        return output, scores

    def _with_values(self, rows: Sequence[int] | None, values: torch.Tensor) -> Inputs:
        index, count = None if rows is None else torch.as_tensor(rows, device=self.value.device), self.inputs.count

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor is self.chosen:
                return values.clone()  # the network may work in place on its input
            return tensor if index is None or not tensor.ndim or len(tensor) != count else tensor[index]

        return replace(self.inputs.map(change), count=len(values), names=(), features=())

    def _replacing(self, values: torch.Tensor) -> Callable[..., Any]:
        """A hook that gives ``values`` as the output of the call that is explained."""
        calls = 0

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal calls
            calls += 1
            # A clone, because the next layer may work in place.
            return map_first_tensor(output, lambda _: values.clone()) if calls - 1 == self._call else None

        return hook


def chosen_input(inputs: Inputs, which: int | str) -> torch.Tensor:
    """One of several inputs by number or name. Raises InputError."""
    named = {k: v for k, v in inputs.kwargs.items() if isinstance(v, torch.Tensor)}
    if isinstance(which, str) and which in named:
        return named[which]
    if isinstance(which, int) and not isinstance(which, bool) and 0 <= which < len(inputs.tensors):
        return inputs.tensors[which]
    if isinstance(which, str) and not named:
        raise InputError("the inputs have no names", got=which, expected=f"a number, 0 to {len(inputs.tensors) - 1}")
    raise InputError(
        "there is no such input",
        got=which,
        expected=f"0 to {len(inputs.tensors) - 1}" + (f", or one of {', '.join(named)}" if named else ""),
    )
