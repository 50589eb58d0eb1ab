"""Statistics of activations during one ordinary forward of a training: of modules and of functions called in between.

Hooks are there only while armed. What is looked at are samples of about a thousand entries of each output; no output is
kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from fluoroscope.model.memory import dense, stride_of
from fluoroscope.model.outputs import first_tensor
from fluoroscope.model.plain_copies import PlainCopies
from fluoroscope.model.walk import followed

__all__ = ["QUANTITIES", "ActivationWatch", "compiled"]

QUANTITIES = ("mean", "std", "min", "max", "zero_share", "dead", "saturated")
NEVER = 0x7FC0F15C  # the bits of the NaN that says "not recorded"
NEAR_ZERO = 1e-3
ENTRIES = 1024
"""Entries of an output that mean, spread, extremes and shares are taken from."""
POSITIONS, UNITS, READ = 512, 64, 1 << 15
"""Where units are looked for that say nothing: at so many positions if there are, of at least so many units, and no
more entries than one thread reads while others would still be woken.
"""
RUN = 32
"""The longest axis that is read as a whole where entries lie next to each other: memory comes in lines of 16."""
CHANNELS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
WHOLE = (nn.MultiheadAttention, nn.RNNBase)
IDLE = (nn.Dropout, nn.modules.dropout._DropoutNd, nn.Identity, nn.Flatten, nn.Unflatten)

Test = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Kind:
    """What to ask of an activation function's output: where a unit counts as dead, which entries as saturated."""

    zero: float | None = None
    saturated: Test | None = None
    positive: bool = False
    """Whether it puts out nothing below zero."""


_RECTIFIER, _SMOOTH = _Kind(0.0, positive=True), _Kind(NEAR_ZERO)
KINDS: dict[str, _Kind] = {
    "relu": _RECTIFIER,
    "relu_": _RECTIFIER,
    "threshold": _Kind(0.0),
    "relu6": _Kind(0.0, lambda y: y >= 6, positive=True),
    "gelu": _SMOOTH,
    "silu": _SMOOTH,
    "mish": _SMOOTH,
    "softplus": _SMOOTH,
    "hardswish": _SMOOTH,
    "leaky_relu": _Kind(),
    "elu": _Kind(None, lambda y: y < -0.99),
    "selu": _Kind(None, lambda y: y < -0.99 * 1.7580993408473766),
    "sigmoid": _Kind(None, lambda y: (y < 0.01) | (y > 0.99)),
    "hardsigmoid": _Kind(None, lambda y: (y <= 0) | (y >= 1)),
    "tanh": _Kind(None, lambda y: y.abs() > 0.99),
    "hardtanh": _Kind(None, lambda y: (y <= -1) | (y >= 1)),
    "softsign": _Kind(None, lambda y: y.abs() > 0.99),
}
"""By the name of the function; the module of a function is its name without underscores (``LeakyReLU``)."""
_BY_MODULE = {name.replace("_", ""): name for name in KINDS}


def compiled(module: nn.Module) -> bool:
    """Whether a network or a part of it runs compiled, where hooks are not called."""
    return any(
        "_orig_mod" in m._modules or getattr(m, "_compiled_call_impl", None) is not None for m in module.modules()
    )


@dataclass
class ActivationWatch:
    """Watches the next forward of ``module`` (the network itself, without wrappers).

    :meth:`arm` installs hooks, :meth:`disarm` removes them. In between, the first forward with gradients switched on is
    looked at; :meth:`table` then has the layers in the order of execution. Functions called in the forward of a module
    are named after both, ``block.1:relu``; the second
    call of the same ``block.1:relu@1``.
    """

    module: nn.Module
    clean: Callable[[str], str] = str
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._handles: list[RemovableHandle | PlainCopies] = []
        self._found: dict[str, _Taken] = {}
        self._stack: list[tuple[str, nn.Module]] = []
        self._mode: _Functions | None = None
        self._calls: dict[str, int] = {}
        self._inside = self._done = False
        self._axis: tuple[torch.Size, int] | None = None

    @property
    def armed(self) -> bool:
        """Whether hooks are installed."""
        return bool(self._handles)

    def arm(self) -> None:
        """Install the hooks; what was found before is forgotten."""
        self.disarm()
        self._found, self.order, self._calls, self._done = {}, [], {}, False
        for name, module in followed(self.module):
            clean = self.clean(name)
            before = module.register_forward_pre_hook(self._entering(clean, module))
            hook = self._leaving(clean, module)
            after = module.register_forward_hook(hook, with_kwargs=False, always_call=True)
            self._handles += [PlainCopies(module, (before.id, after.id)), before, after]

    def disarm(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._leave_mode()
        self._stack.clear()
        self._inside = False

    def table(self) -> tuple[list[str], torch.Tensor]:
        """Names of the layers, and (layers, 7) float32 on the network's device for each of :data:`QUANTITIES`."""
        return list(self._found), _statistics(list(self._found.values()))

    # ------------------------------------------------------------------ hooks

    def _entering(self, name: str, module: nn.Module) -> Callable[..., None]:
        root = module is self.module

        def enter(called: nn.Module, *_: Any) -> None:
            if self._done or called is not module or not torch.is_grad_enabled():
                return
            if root and not self._inside:
                self._inside = True
                self._mode = _Functions(self)
                self._mode.__enter__()  # type: ignore[no-untyped-call]
            self._stack.append((name, module))
            self.order.append(name)

        return enter

    def _leaving(self, name: str, module: nn.Module) -> Callable[..., None]:
        root = module is self.module
        watched = _watched(module)

        def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if self._done or not self._stack or self._stack[-1][1] is not module:
                return
            self._stack.pop()
            if root and self._inside and not self._stack:
                self._leave_mode()
                self._inside, self._done = False, True
            if watched and output is not None:
                kind = KINDS[_BY_MODULE[k]] if (k := type(module).__name__.lower()) in _BY_MODULE else None
                self._see(name, first_tensor(output), kind, module)

        return leave

    def _leave_mode(self) -> None:
        if self._mode is not None:
            mode, self._mode = self._mode, None
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def called(self, function: str, output: Any) -> None:
        """A function of :data:`KINDS` was called inside the forward."""
        if self._done or not self._stack:
            return
        name, module = self._stack[-1]
        if type(module).__name__.lower() not in _BY_MODULE:
            self._see(f"{name}:{function.rstrip('_')}", first_tensor(output), KINDS[function], None)

    # ------------------------------------------------------------------ statistics

    def _see(self, name: str, output: torch.Tensor | None, kind: _Kind | None, module: nn.Module | None) -> None:
        if output is None or not output.is_floating_point() or output.ndim < 2 or not output.numel():
            return
        call = self._calls[name] = self._calls.get(name, -1) + 1
        if call and not self._inside:
            return  # without a forward of the whole, a second call may be another batch
        key = f"{name}@{call}" if call else name
        with torch.no_grad(), torch._C.DisableTorchFunction():
            self._found[key] = _take(output.detach(), self._units(output, module), kind)
        self.order.append(key)

    def _units(self, output: torch.Tensor, module: nn.Module | None) -> int:
        """The axis of units: channels after a convolution and what keeps its shape, features elsewhere."""
        if module is not None and isinstance(module, CHANNELS):
            axis = 1
        elif self._axis is not None and self._axis[0] == output.shape:
            axis = self._axis[1]
        else:
            axis = 1 if output.ndim >= 4 and module is None else output.ndim - 1
        self._axis = (output.shape, axis)
        return axis


class _Functions(TorchFunctionMode):
    """Sees activation functions that are called without a module."""

    def __init__(self, watch: ActivationWatch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function; look at what it gives."""
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in KINDS:
            self.watch.called(name, output)
        return output


def _watched(module: nn.Module) -> bool:
    return isinstance(module, WHOLE) or not (module._modules or isinstance(module, IDLE))


@dataclass(frozen=True)
class _Taken:
    """Samples of one output: ``entries`` (n,) float32, and shares of dead units and of saturated entries."""

    entries: torch.Tensor
    dead: torch.Tensor | None
    saturated: torch.Tensor | None


def _take(output: torch.Tensor, axis: int, kind: _Kind | None) -> _Taken:
    entries = _entries(output)
    dead = saturated = None
    if kind is not None and kind.zero is not None:
        dead = _dead(output, axis, kind.zero, kind.positive)
    if kind is not None and kind.saturated is not None:
        saturated = kind.saturated(entries).to(torch.float32).mean()
    return _Taken(entries, dead, saturated)


def _statistics(taken: Sequence[_Taken]) -> torch.Tensor:
    """All of :data:`QUANTITIES` (layers, 7); outputs of which equally many entries were taken are done together."""
    if not taken:
        return torch.zeros(0, len(QUANTITIES))
    device = taken[0].entries.device
    table = torch.full((len(taken), len(QUANTITIES)), NEVER, dtype=torch.int32, device=device).view(torch.float32)
    for size in {len(t.entries) for t in taken}:
        where = [i for i, t in enumerate(taken) if len(t.entries) == size]
        several = [taken[i].entries for i in where]
        table[where, :5] = _moments(several) if device.type == "cpu" else _moments_there(several, device)
    for column, shares in ((5, [t.dead for t in taken]), (6, [t.saturated for t in taken])):
        there = [i for i, share in enumerate(shares) if share is not None]
        if there:
            table[there, column] = torch.stack([share.to(device) for share in shares if share is not None])
    return table


def _moments(entries: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean, spread, extremes and share of zeros (L, 5) of samples of equal size; by NumPy, which wakes no thread."""
    values = np.stack([e.cpu().numpy() for e in entries])
    with np.errstate(invalid="ignore", over="ignore"):
        wide = values.astype(np.float64)
        mean = wide.mean(1)
        spread = np.sqrt(np.square(np.subtract(wide, mean[:, None], out=wide), out=wide).mean(1))
        zero = (values == 0).mean(1)
        columns = np.stack([mean, spread, values.min(1), values.max(1), zero], axis=1).astype(np.float32)
    return torch.from_numpy(columns)


def _moments_there(entries: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """The same on an accelerator, without waiting for it."""
    values = torch.stack([e.to(device) for e in entries])
    std, mean = torch.std_mean(values, dim=1, correction=0)
    low, high = values.aminmax(dim=1)
    zero = 1 - torch.count_nonzero(values, dim=1) / values.shape[1]
    return torch.stack([mean, std, low, high, zero], dim=1)


def _entries(output: torch.Tensor) -> torch.Tensor:
    """About :data:`ENTRIES` entries (n,) float32 of an output, evenly out of all of it."""
    stride = _stride(output.shape)
    take = -(-output.numel() // stride)
    if dense(output):
        return output.as_strided((take,), (stride,), output.storage_offset()).to(torch.float32, copy=True)
    return output.reshape(-1)[::stride].to(torch.float32)


@cache
def _stride(shape: torch.Size) -> int:
    return stride_of(shape, ENTRIES)


def _dead(output: torch.Tensor, axis: int, most: float, positive: bool) -> torch.Tensor:
    """The share of units whose magnitude is nowhere above ``most``, at the positions looked at."""
    part = output[_looked_at(output.shape, output.stride(), axis)]
    part = part if part.dtype in (torch.float32, torch.float64) else part.to(torch.float32)
    largest = (part if positive else part.abs()).amax([i for i in range(output.ndim) if i != axis])
    return (largest <= most).to(torch.float32).mean()


@cache
def _looked_at(shape: torch.Size, strides: tuple[int, ...], axis: int) -> tuple[slice, ...]:
    """Which units and positions of an output: about :data:`POSITIONS`, evenly out of all of it."""
    steps = [1] * len(shape)
    positions = min(POSITIONS, _left(shape, steps, axis))
    steps[axis] = -(-shape[axis] // max(UNITS, READ // positions))
    positions = max(positions, READ // -(-shape[axis] // steps[axis]))
    others = [i for i in range(len(shape)) if i != axis]
    near = min(others, key=lambda i: strides[i])
    free = [i for i in others if not (i == near and shape[i] <= RUN)]
    while free and (over := _left(shape, steps, axis) / positions) > 1:
        longest = max(free, key=lambda i: shape[i] / steps[i])
        if steps[longest] >= shape[longest]:
            break
        steps[longest] += max(1, min(int(steps[longest] * (over - 1) / 4), shape[longest] - steps[longest]))
    return tuple(slice(None, None, k) for k in steps)


def _left(shape: Sequence[int], steps: Sequence[int], axis: int) -> int:
    """Positions that are left of ``shape`` with those steps."""
    return math.prod(-(-n // k) for i, (n, k) in enumerate(zip(shape, steps, strict=True)) if i != axis)
