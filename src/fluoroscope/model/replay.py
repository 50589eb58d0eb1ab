"""Replay: what follows a layer, run again with another output of it.

The first run remembers the output of every module that ended before the layer began. A replay gives those outputs back
without computing them; only what follows the layer, and the few lines between modules, run again. Rows can be repeated,
so that many variants of one example go through the tail in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import LayerError
from fluoroscope.model.inputs import Inputs, repeat_rows
from fluoroscope.model.outputs import first_tensor, map_first_tensor
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.walk import followed

__all__ = ["Replay"]


class Replay:
    """The tail of a network after ``layer``, for one batch of inputs.

    ``activation`` is the layer's own output. ``replay(new, times)`` gives the scores for ``new`` (N x times, ...), rows
    of one example next to each other; it costs the tail only. ``skipped`` tells how many module calls a replay
    does not compute, ``tails`` how many examples went through the tail.
    """

    def __init__(self, study: Study, inputs: Inputs, layer: LayerName) -> None:
        self.study, self.inputs, self.layer = study, inputs, layer
        self.tails = 0
        self._call = self._expected_call()
        self.activation, self._whole, self._before = self._record()

    def _record(self) -> tuple[torch.Tensor, Any, dict[nn.Module, list[Any]]]:
        """One forward: the layer's output, and the outputs of modules that ended before it began, outermost only. Where
        the layer ran more or less often than expected, and its last call is meant, once more.
        """
        result, ended, calls = self._run_once()
        if self.layer.call is None and calls not in (0, self._call + 1):
            self._call = calls - 1
            result, ended, _ = self._run_once()
        self.study.note_calls(self.layer, calls)
        tensor = first_tensor(result[0]) if result else None
        if tensor is None:
            raise LayerError(
                f"layer {self.layer!r} did not run for this input, or gave no tensor",
                remedy="list the layers that run: fs.layers(model, inputs)",
            )
        before: dict[nn.Module, list[Any]] = {}
        for module, output in ended:
            before.setdefault(module, []).append(_detached(output))
        return tensor.detach().clone(), _detached(result[0]), before

    def _run_once(self) -> tuple[list[Any], list[tuple[nn.Module, Any]], int]:
        """The output of the layer's call that is meant, what ended before it, and how often the layer ran."""
        study, target = self.study, self.study.submodule(self.layer)
        calls = 0
        ended: list[tuple[nn.Module, Any]] = []
        result: list[Any] = []
        depth_marks: dict[nn.Module, list[int]] = {}
        parts = [part for _, part in followed(study.module)]

        def enter(module: nn.Module, args: Any) -> None:
            depth_marks.setdefault(module, []).append(len(ended))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal calls
            start = depth_marks[module].pop()
            calls += module is target
            if result:
                return
            del ended[start:]  # what ran inside is covered by the module itself
            if module is target and calls == self._call + 1:
                result.append(output)
                return
            ended.append((module, output))

        pre = [m.register_forward_pre_hook(enter) for m in parts]
        try:
            with torch.no_grad(), study.hooked([(m, leave) for m in parts]):
                study.run(self.inputs)
        finally:
            for handle in pre:
                handle.remove()
        return result, ended, calls

    def _expected_call(self) -> int:
        if self.layer.call is not None:
            return self.layer.call
        return max(self.study.probe(self.inputs).counts.get(self.layer.module, 1) - 1, 0)

    @property
    def skipped(self) -> int:
        """How many module calls a replay does not compute."""
        return sum(len(outputs) for outputs in self._before.values())

    def __call__(self, new: torch.Tensor, times: int = 1) -> tuple[Any, torch.Tensor]:
        """(whole output, scores) of the network with the layer's output replaced by ``new`` (N x times, ...)."""
        inputs = self.inputs.repeated(times)
        rows = self.inputs.count
        patched: list[tuple[nn.Module, Any]] = []
        target = self.study.submodule(self.layer)
        calls = dict.fromkeys([*self._before, target], 0)

        def answer(module: nn.Module, usual: Callable[..., Any]) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                index = calls[module]
                calls[module] = index + 1
                known = self._before.get(module, [])
                if index < len(known):
                    return _repeated(known[index], times, rows)
                if module is target and index == self._call:
                    return map_first_tensor(_repeated(self._whole, times, rows), lambda _: new.clone())
                return usual(*args, **kwargs)

            return forward

        spent = self.study.forwards
        try:
            for module in calls:
                patched.append((module, module.__dict__.get("forward")))
                module.forward = answer(module, module.forward)  # on the instance: shadows the class's method
            return self.study.scored(inputs)
        finally:
            self.study.forwards = spent  # a tail is no forward
            self.tails += inputs.count
            for module, own in patched:
                del module.forward
                if own is not None:
                    module.forward = own


def _tensors(output: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(output, torch.Tensor):
        return change(output)
    if isinstance(output, (tuple, list)):
        values = [_tensors(v, change) for v in output]
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    if isinstance(output, dict):
        return (
            {k: _tensors(v, change) for k, v in output.items()}
            if type(output) is dict
            else type(output)(**{k: _tensors(v, change) for k, v in output.items()})
        )
    return output


def _detached(output: Any) -> Any:
    # Cloned because a later layer may change the remembered tensor in place.
    return _tensors(output, lambda t: t.detach().clone())


def _repeated(output: Any, times: int, rows: int) -> Any:
    # Expanded rows share memory; a copy is given where a layer could write into them.
    return _tensors(output, lambda t: repeat_rows(t, times).clone() if t.ndim and len(t) == rows else t.clone())
