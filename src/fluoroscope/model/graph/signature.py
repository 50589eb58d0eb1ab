"""Signatures: which modules are built alike, whatever their names and numbers are.

The signature of a module is its class, its options, the shapes of its tensors and the signatures of its children.
Options that count instances (``layer_idx``) or grow with depth (``drop_prob``) do not take part; they are hidden while
the trace runs, so that it is noticed when a forward reads one: then its module stands for no other.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

__all__ = ["Hidden", "Signatures", "own_containers", "own_state"]

COUNTING = re.compile(r"(^|_)(idx|index|id|number|layer|layer_num|block_num|depth|i)$")
GROWING = re.compile(r"drop(out)?_?(path|prob|rate|p)?$|^p$")
PLAIN = (int, float, str, bool, type(None), complex, bytes, torch.dtype, torch.device, torch.Size)
MACHINERY = frozenset(nn.Module().__dict__) | {"_is_hf_initialized", "_is_full_backward_hook", "_compiled_call_impl"}
SIMPLE = frozenset({int, float, str, bool, type(None), tuple, torch.Size, torch.dtype, torch.Tensor, FunctionType})
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def own_state(value: Any) -> dict[str, Any] | None:
    """The attributes of a plain object; None for tensors, modules, code, and whatever has none."""
    if isinstance(value, (torch.Tensor, nn.Module, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)):
        return None
    held = getattr(value, "__dict__", None)
    return held if type(held) is dict else None


def own_containers(module: nn.Module) -> list[Any]:
    """What a forward might fill or change besides tensors: a module's lists, dicts, sets, and attributes of objects."""
    found: list[Any] = []
    for name, value in module.__dict__.items():
        kind = type(value)
        if kind in SIMPLE or name in MACHINERY:
            continue
        if kind in (list, dict, set):
            found.append(value)
        elif (held := own_state(value)) is not None:
            found.append(held)
    return found


class Hidden:
    """Attributes taken out of their modules for a while; ``read`` is told of every one that is asked for."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[nn.Module, list[str], dict[str, Any]]] = {}

    def take(self, module: nn.Module, name: str) -> None:
        """Take ``module.name`` out."""
        if id(module) not in self.kept:
            self.kept[id(module)] = (module, list(module.__dict__), {})
        self.kept[id(module)][2][name] = module.__dict__.pop(name)

    def get(self, module: nn.Module, name: str) -> Any:
        """The hidden value. Raises KeyError where there is none."""
        return self.kept[id(module)][2][name]

    def restore(self) -> None:
        """Put all back, in the order in which they were."""
        for module, order, values in self.kept.values():
            now = dict(module.__dict__)
            now = {**values, **now}  # what the forward has set itself is dealt with elsewhere
            first = {name: now.pop(name) for name in order if name in now}
            module.__dict__.clear()
            module.__dict__.update({**first, **now})
        self.kept.clear()


class Signatures:
    """Signatures as small numbers, computed once for each module."""

    def __init__(self, hidden: Hidden | None = None) -> None:
        self.hidden = hidden
        self.known: dict[int, int] = {}
        self.shallow: dict[int, Any] = {}
        self._numbers: dict[Any, int] = {}
        self._alive: list[Any] = []
        self._objects: dict[int, Any] = {}
        self._depth = 0

    def of(self, module: nn.Module) -> int:
        """The signature of a module with all that is inside it."""
        found = self.known.get(id(module))
        return found if found is not None else self._computed(module)

    def own(self, module: nn.Module) -> Any:
        """Class, options and tensors of a module alone."""
        found = self.shallow.get(id(module))
        if found is None:
            found = self.shallow[id(module)] = self._numbered(self._shallow(module))
        return found

    def _numbered(self, key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _computed(self, module: nn.Module) -> int:
        """Children first, without recursion: networks may be nested as deep as they like."""
        todo: list[tuple[nn.Module, bool]] = [(module, False)]
        known = self.known
        while todo:
            part, ready = todo.pop()
            if id(part) in known:
                continue
            children = part._modules
            if ready or not children:
                inner = tuple([(n, -1 if c is None else known.get(id(c), -2)) for n, c in children.items()])
                known[id(part)] = self._numbered((self.own(part), inner))
                continue
            todo.append((part, True))
            todo += [(c, False) for c in children.values() if c is not None and id(c) not in known]
        return known[id(module)]

    def _shallow(self, module: nn.Module) -> Any:
        tensors = tuple([(n, _tensor(p)) for n, p in module._parameters.items()])
        buffers = tuple([(n, _tensor(b)) for n, b in module._buffers.items()])
        options: list[Any] = []
        for name, value in list(module.__dict__.items()):
            if name in MACHINERY:
                continue
            kind = type(value)
            if (kind is int and COUNTING.search(name)) or (kind is float and GROWING.search(name)):
                if self.hidden is not None and not type(module).__module__.startswith("torch.nn."):
                    self.hidden.take(module, name)
                continue
            options.append((name, self._plain(value)))
        hooks = tuple(id(getattr(module, h)) for h in HOOKS if getattr(module, h))
        return type(module), module.training, tensors, buffers, tuple(options), hooks

    def _plain(self, value: Any) -> Any:
        """Something that is equal exactly for values that a forward can't tell apart."""
        if isinstance(value, PLAIN):
            return type(value), value
        if isinstance(value, (tuple, list)):
            return type(value), tuple([self._plain(v) for v in value])
        if isinstance(value, dict) and len(value) < 64:
            return dict, tuple([(self._plain(k), self._plain(v)) for k, v in value.items()])
        if isinstance(value, partial):
            return partial, self._plain(value.func), self._plain(value.args), self._plain(value.keywords)
        if isinstance(value, Enum):
            return type(value), value.name
        if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
            return type(value), id(value)
        return self._object(value)

    def _object(self, value: Any) -> Any:
        """An object by what it holds, a level or two deep: configurations are often copied for every layer."""
        if id(value) not in self._objects:
            self._alive.append(value)
            self._objects[id(value)] = (type(value), id(value))  # also what it is where it holds itself
            held = own_state(value)
            if held is not None and len(held) < 256 and self._depth < 2:
                self._depth += 1
                self._objects[id(value)] = (type(value), self._numbered(self._plain(tuple(held.items()))))
                self._depth -= 1
        return self._objects[id(value)]


def _tensor(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.requires_grad)
