"""Fast copy: a private copy of a network for many forwards, with batch norms folded into convolutions and channels
last.

The user's network is not touched. A batch norm is folded where a probe shows that it is given exactly what one
convolution put out, each of them running once; then the whole copy has to give the network's own answers. Where it
does not, a plainer copy is tried, at last the network itself is used, and ``note`` says so.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.modes import ForwardTap
from fluoroscope.model.outputs import last_real, main_output
from fluoroscope.model.study import Study

__all__ = ["FastCopy", "close"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TOLERANCE = 1e-4
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def close(scores: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors of scores differ by no more than 1e-4 of the range that the scores have."""
    if scores.shape != expected.shape or not bool(torch.isfinite(scores).all()):
        return False
    expected = expected.double()
    largest = float(expected.abs().max())
    span = float(expected.max() - expected.min()) if expected[0].numel() > 1 else largest
    floor = 50 * torch.finfo(scores.dtype).eps * largest if scores.dtype in (torch.float32, torch.float64) else 0.0
    return float((scores.double() - expected).abs().max()) <= max(TOLERANCE * span, floor)


class FastCopy:
    """``scored(inputs)`` as a study's, for inputs like ``probe``. ``folded`` counts the batch norms that are gone.

    Runs in the study's block and counts its forwards. ``note`` says why the copy is not all that it could be, or None.
    """

    def __init__(self, study: Study, probe: Inputs) -> None:
        self.study, self.module, self.folded = study, study.module, 0
        self.note: str | None = None
        self.channels_last = probe.main.ndim == 4
        with torch.no_grad():
            self._choose(probe)

    def _choose(self, probe: Inputs) -> None:
        study = self.study
        _, expected = study.scored(probe)
        for fold in (True, False):
            try:
                self.module = copy.deepcopy(study.module)
                self.folded = _fold(self.module, probe) if fold else 0
                if self.channels_last:
                    self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                if close(self.scored(probe)[1], expected):
                    return
                self.note = "a copy with folded batch norms did not give the network's answers; they were not folded"
            except Exception as error:
                if out_of_memory(error):
                    raise
                self.note = f"the network has no faster copy ({type(error).__name__}); it ran as it is"
        self.module, self.folded, self.channels_last = study.module, 0, False
        self.note = (
            self.note
            if self.note and "as it is" in self.note
            else "no copy gave the network's answers; it ran as it is"
        )

    def scored(self, inputs: Inputs) -> tuple[Any, torch.Tensor]:
        """(whole output, scores), logits where the network ends in a softmax or sigmoid."""
        if self.module is self.study.module:
            return self.study.scored(inputs)
        self.study.forwards += inputs.count
        if self.channels_last:
            inputs = inputs.map(lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t)
        with ForwardTap() as tap:
            output = self.module(*inputs.args, **inputs.kwargs)
        scores = main_output(output)
        logits = tap.logits(scores)
        return output, last_real(scores if logits is None else logits, inputs.real)


def _fold(module: nn.Module, probe: Inputs) -> int:
    """Fold batch norms of a copy into the convolutions before them; how many."""
    pairs = _pairs(module, probe)
    for convolution, norm in pairs:
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        bias = torch.zeros_like(scale) if convolution.bias is None else convolution.bias
        shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
        shape = (-1,) + (1,) * (convolution.weight.ndim - 1)
        convolution.weight = nn.Parameter(convolution.weight * scale.view(shape), requires_grad=False)
        convolution.bias = nn.Parameter((bias - norm.running_mean) * scale + shift, requires_grad=False)
    _replace(module, {id(norm) for _, norm in pairs})
    return len(pairs)


def _pairs(module: nn.Module, probe: Inputs) -> list[tuple[Any, Any]]:
    """(convolution, batch norm) where the second ran once, on exactly what the first gave when it ran once."""
    outputs: dict[int, tuple[nn.Module, torch.Tensor, int]] = {}
    calls: dict[nn.Module, int] = {}
    found: list[tuple[Any, Any]] = []

    def look(part: nn.Module, args: Any, output: Any) -> None:
        calls[part] = calls.get(part, 0) + 1
        if isinstance(part, CONVOLUTIONS):
            outputs[id(output)] = (part, output, output._version)
        elif args and id(args[0]) in outputs:
            convolution, tensor, version = outputs[id(args[0])]
            if tensor._version == version:
                found.append((convolution, part))

    # Read before hooks are set: a part with hooks of its own is left alone, for they may change what it gives.
    parts = [
        m for m in module.modules() if type(m) in (*CONVOLUTIONS, *NORMS) and not any(getattr(m, h) for h in HOOKS)
    ]
    handles = [m.register_forward_hook(look) for m in parts]
    try:
        module(*probe.args, **probe.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    weights = [id(p) for m in calls for p in m.parameters(recurse=False)]
    return [
        (c, n) for c, n in found
        if calls[c] == calls[n] == 1 and n.running_var is not None and not n.training and weights.count(id(c.weight))
        == 1
    ]  # fmt: skip


def _replace(module: nn.Module, gone: set[int]) -> None:
    for part in list(module.modules()):
        for name, child in part._modules.items():
            if id(child) in gone:
                part._modules[name] = nn.Identity()
