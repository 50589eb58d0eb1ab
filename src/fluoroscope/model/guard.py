"""The guard: whatever a method does, the network and the random generators are afterwards, bit for bit, as before."""

from __future__ import annotations

import random
from collections import deque
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import ModelError

__all__ = ["Guard", "RandomState"]

CONTAINERS = (dict, list, set, deque)


class RandomState:
    """Snapshot of every global random generator: Python's, NumPy's, torch's on each device in use."""

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy = np.random.get_state()  # noqa: NPY002 (the global one is the user's)
        self.torch = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
        self.mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def restore(self) -> None:
        """Put every generator back."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)


class _ModuleState:
    """Attributes of one module: which objects they are, and what their containers held."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(module.__dict__)
        self.contents = {k: _copy(v) for k, v in self.attributes.items() if type(v) in _COPY}

    def restore(self) -> None:
        current = self.module.__dict__
        for name in [n for n in current if n not in self.attributes]:
            del current[name]
        for name, value in self.attributes.items():
            if current.get(name, _MISSING) is not value:
                current[name] = value
            held = self.contents.get(name)
            if held is not None and not _same(value, held):
                _refill(value, held)


_MISSING = object()
_COPY = {dict, list, set, deque, type(nn.Module()._forward_hooks)}


def _copy(container: Any) -> Any:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _same(container: Any, held: list[Any]) -> bool:
    now = _copy(container)
    if len(now) != len(held):
        return False
    if isinstance(container, dict):
        return all(a[0] is b[0] and a[1] is b[1] for a, b in zip(now, held, strict=True))
    return all(a is b for a, b in zip(now, held, strict=True))


def _refill(container: Any, held: list[Any]) -> None:
    container.clear()
    if isinstance(container, list | deque):
        container.extend(held)
    else:
        container.update(held)


class Guard:
    """Context manager that keeps a network as it is.

    Kept: train/eval mode and every attribute of every module (hooks, caches, counters, lists), ``requires_grad`` and
    ``.grad`` of every parameter, the values of every buffer, the random generators. Parameters themselves are not copied
    (they may be large): a network whose forward changes them in place is refused with a ModelError.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> Self:
        self._random = RandomState()
        self._modules = [_ModuleState(m) for m in self.module.modules()]
        self._parameters = [(p, p.requires_grad, p.grad, _version(p)) for p in self.module.parameters()]
        self._buffers = [(b, _version(b), b.detach().clone()) for b in self.module.buffers() if b.device.type != "meta"]
        return self

    def prepare(self, training: bool = False) -> None:
        """Eval mode (unless ``training``), and no parameter that asks for a gradient."""
        for state in self._modules:
            state.module.training = training
        for parameter, wanted, _, _ in self._parameters:
            if wanted and parameter.is_leaf:
                parameter.requires_grad_(False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for state in self._modules:
            state.restore()
        for buffer, version, value in self._buffers:
            if version is None or _version(buffer) != version:
                with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                    buffer.copy_(value)
        changed = [p for p, _, _, version in self._parameters if version is not None and _version(p) != version]
        for parameter, wanted, gradient, _ in self._parameters:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            if parameter.grad is not gradient:
                parameter.grad = gradient
        self._random.restore()
        if changed and error is None:
            raise ModelError(
                "the network changes its own parameters while it runs, so it can't be kept as it was",
                got=f"{len(changed)} changed parameters",
                remedy="take the update out of forward(), or give a copy: copy.deepcopy(model)",
            )


def _version(tensor: torch.Tensor) -> int | None:
    """Counter of in-place changes; inference tensors have none."""
    return None if tensor.is_inference() else tensor._version
