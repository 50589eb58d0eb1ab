"""The guard: whatever a method does, the network and the random generators are afterwards, bit for bit, as before."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from operator import is_
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import ModelError
from fluoroscope.model.walk import every_module

__all__ = ["Guard", "RandomState", "seed_all"]


class RandomState:
    """Snapshot of every global random generator: Python's, NumPy's, torch's on each device in use."""

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy = np.random.get_state()  # noqa: NPY002 (the global one is the user's)
        self.torch = torch.get_rng_state()
        # Asking torch.cuda for anything would start it; a generator that was never started has no state to keep.
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda._initialized else []
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


def seed_all(seed: int) -> None:
    """Seed torch's generators that a :class:`RandomState` keeps.

    ``torch.manual_seed`` would also leave a seed behind for an accelerator that is not in use yet, to be applied when
    the user starts it: nothing could put that back.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


class _ModuleStates:
    """Attributes of all modules: which objects they are, and what their containers held.

    Most of a module's dozen containers are empty tables of hooks, and hardly ever does a forward change anything: both
    are told by comparisons that run in C, since a network has hundreds of modules and is looked at in milliseconds.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        self.attributes = [(m.__dict__, m.__dict__.copy()) for m in modules]
        containers = [v for _, kept in self.attributes for v in kept.values() if type(v) in _COPY]
        self.filled = [(c, _copy(c)) for c in containers if c]
        self.empty = [c for c in containers if not c]

    def restore(self) -> None:
        """Put back every attribute and every container's members."""
        for current, kept in self.attributes:
            if not (all(map(is_, current.values(), kept.values())) and list(current) == list(kept)):
                for name in current.keys() - kept.keys():
                    del current[name]
                for name, value in kept.items():
                    if current.get(name, _MISSING) is not value:
                        current[name] = value
        for container in filter(None, self.empty):
            container.clear()
        for container, held in self.filled:
            if not _same(container, held):
                _refill(container, held)


Held = tuple[tuple[Any, ...], tuple[Any, ...]]
_MISSING = object()
_COPY = {dict, list, set, deque, type(nn.Module()._forward_hooks)}


def _copy(container: Any) -> Held:
    """What a container holds: (keys, values) of a mapping, (members, nothing) of others."""
    return tuple(container), tuple(container.values()) if isinstance(container, dict) else ()


def _same(container: Any, held: Held) -> bool:
    """Whether it still holds the very same objects in the same order."""
    members, values = held
    if len(container) != len(members) or not all(map(is_, container, members)):
        return False
    return not isinstance(container, dict) or all(map(is_, container.values(), values))


def _refill(container: Any, held: Held) -> None:
    members, values = held
    container.clear()
    if isinstance(container, list | deque):
        container.extend(members)
    else:
        container.update(zip(members, values, strict=True) if isinstance(container, dict) else members)


class Guard:
    """Context manager that keeps a network as it is.

    Kept: train/eval mode and every attribute of every module (hooks, caches, counters, lists), ``requires_grad`` and
    ``.grad`` of every parameter, the values of every buffer, the random generators. Parameters themselves are not
    copied (they may be large): a network whose forward changes them in place is refused with a ModelError.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> Self:
        self._random = RandomState()
        modules = self.modules = every_module(self.module)
        parameters = _unique(p for m in modules for p in m._parameters.values())
        buffers = _unique(b for m in modules for b in m._buffers.values())
        self._states = _ModuleStates(modules)
        self._parameters = [(p, p.requires_grad, p.grad, _version(p)) for p in parameters]
        with torch.no_grad():
            self._buffers = [(b, _version(b), b.clone()) for b in buffers if b.device.type != "meta"]
        return self

    def prepare(self, training: bool = False) -> None:
        """Eval mode (unless ``training``), and no parameter that asks for a gradient."""
        for module in self.modules:
            if module.training is not training:
                module.training = training
        for parameter, wanted, _, _ in self._parameters:
            if wanted and parameter.is_leaf:
                parameter.requires_grad_(False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._states.restore()
        for buffer, value in _changed(self._buffers):
            with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                buffer.copy_(value)
        changed = 0
        for parameter, wanted, gradient, version in self._parameters:
            changed += version is not None and _version(parameter) != version
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            if parameter.grad is not gradient:
                parameter.grad = gradient
        self._random.restore()
        if changed and error is None:
            raise ModelError(
                "the network changes its own parameters while it runs, so it can't be kept as it was",
                got=f"{changed} changed parameters",
                remedy="take the update out of forward(), or give a copy: copy.deepcopy(model)",
            )


def _unique(tensors: Iterable[torch.Tensor | None]) -> list[torch.Tensor]:
    """Each tensor once, in order; modules share some and leave others out."""
    return list({id(t): t for t in tensors if t is not None}.values())


def _changed(buffers: list[tuple[torch.Tensor, int | None, torch.Tensor]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Buffers that are no longer as they were, with what they held. Batch norm moves its statistics, and ``.data`` and
    NumPy write, without counting a change, so that what counted none is compared by value.
    """
    found, waiting = [], []
    with torch.no_grad():
        for buffer, version, value in buffers:
            if version is None or _version(buffer) != version:
                found.append((buffer, value))
            elif buffer.layout != torch.strided:
                continue
            elif buffer.device.type != "cpu":
                waiting.append((buffer, value, (buffer != value).any()))  # one wait for all of an accelerator's
            elif not torch.equal(buffer, value):
                found.append((buffer.data, value))  # nor is this counted: a backward may be waiting for the buffer
        for device in {flag.device for *_, flag in waiting}:
            here = [(b, v, flag) for b, v, flag in waiting if flag.device == device]
            said = torch.stack([flag for *_, flag in here]).tolist()
            found += [(b.data, v) for (b, v, _), changed in zip(here, said, strict=True) if changed]
    return found


def _version(tensor: torch.Tensor) -> int | None:
    """Counter of in-place changes; inference tensors have none."""
    try:
        return tensor._version
    except RuntimeError:
        return None
