"""Surroundings: what a network's forward reads besides its input, and whether all of it is still the same object.

From every module its attributes, with what containers hold; from every class the methods that ``forward`` reaches by
name; from every function its code, defaults, closure and the globals that it names; from every other class that is come
upon what any of this code may name. Code of torch, NumPy and the standard library is trusted. Objects that may change
inside without being replaced make it impossible to tell: :class:`Unseen`.
"""

from __future__ import annotations

import dis
import enum
import functools
import sys
import weakref
from collections import OrderedDict, deque, namedtuple
from collections.abc import Iterable, Iterator, MutableMapping
from operator import is_
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Surroundings", "Unseen"]

TRUSTED = {"torch", "numpy", *sys.stdlib_module_names} - {"__main__", "test"}
PLAIN = (
    type(None), bool, int, float, complex, str, bytes, range, slice, enum.Enum, np.generic, torch.dtype,
    torch.device, torch.memory_format, torch.layout, torch.Size, type(Ellipsis), torch._ops.OpOverload,
    torch._ops.OpOverloadPacket, type(torch.ops), type(vars(namedtuple("Field", "of"))["of"]),
)  # fmt: skip
CONTAINERS = (dict, OrderedDict, list, set, deque)
BOOKKEEPING = ("_state_dict", "_load_state_dict", "_non_persistent_buffers_set")
"""Attributes of modules that no forward reads."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
MAKING = ("__init__", "__new__", "__post_init__", "__call__", "forward", "backward", "setup_context")
"""Names that calling a class, or a function of autograd, reaches without saying so."""
MISSING = object()


class Unseen(Exception):
    """Why changes of a network could go unnoticed."""


class Surroundings:
    """Everything that ``module``'s forward reads, by identity, and the ``tensors`` among it.

    Raises:
        Unseen: something may change inside without being replaced, or there are hooks.
    """

    def __init__(self, module: nn.Module) -> None:
        self.tensors: list[torch.Tensor] = []
        self._attributes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._containers: list[tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = []
        self._empty: list[Any] = []
        self._names: list[tuple[Any, str, Any]] = []
        self._cells: list[tuple[Any, Any]] = []
        self._kinds: list[tuple[weakref.ref[nn.Module], type]] = []
        self._seen: dict[int, Any] = {}
        self._root = module
        self._named: set[str] = set()
        self._members: dict[type, set[str]] = {}
        self._others: dict[type, None] = {}
        self._module(module)
        self._other_classes()
        del self._root
        self._seen.clear()

    def same(self) -> bool:
        """Whether all of it is as it was."""
        return (
            not any(self._empty)
            and all(type(module()) is kind for module, kind in self._kinds)
            and all(
                len(now) == len(kept) and all(map(is_, now.values(), kept.values())) for now, kept in self._attributes
            )
            and all(_holds(c, keys, values) for c, keys, values in self._containers)
            and all(where.get(name, MISSING) is value for where, name, value in self._names)
            and all(_content(cell) is value for cell, value in self._cells)
        )

    # ------------------------------------------------------------------ looking around

    def _new(self, thing: Any) -> bool:
        if id(thing) in self._seen:
            return False
        self._seen[id(thing)] = thing
        return True

    def _module(self, module: nn.Module) -> None:
        if not self._new(module):
            return
        if any(module.__dict__.get(name) for name in HOOKS):
            raise Unseen(f"{type(module).__name__} has hooks")
        self._kinds.append((weakref.ref(module), type(module)))
        kept = {k: v for k, v in module.__dict__.items() if not k.startswith(BOOKKEEPING)}
        self._attributes.append((module.__dict__, module.__dict__.copy()))
        for name, value in kept.items():
            self._value(value, f"{type(module).__name__}.{name}")
        self._class(type(module), ["forward", "__call__"])

    def _other_classes(self) -> None:
        """What the code names of classes that are no modules' own: settings kept as a class, helpers, outputs. Looking
        at one may bring up further names and classes.
        """
        before = -1
        while before != (before := len(self._named) + len(self._others)):
            for kind in list(self._others):
                self._class(kind, self._named if issubclass(kind, nn.Module) else self._named.union(MAKING))

    def _class(self, kind: type, names: Iterable[str]) -> None:
        """The members of these names, and those that their code names, in the classes that torch does not bring."""
        left, known = list(names), self._members.setdefault(kind, set())
        while left:
            name = left.pop()
            if name in known:
                continue
            known.add(name)
            for part in kind.__mro__:
                if name in vars(part):
                    self._name(_Attributes(part), name)
                    value = vars(part)[name]
                    if not _trusted(part):
                        left += self._member(value, f"{part.__name__}.{name}")

    def _member(self, value: Any, where: str) -> list[str]:
        """Look into something that a class defines; the names that its code uses."""
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            functions = [value.fget] if isinstance(value.fget, FunctionType) else []
        else:
            functions = [value] if isinstance(value, FunctionType) else []
        if not functions:
            self._value(value, where)
        return [name for f in functions for name in self._function(f)]

    def _function(self, function: FunctionType) -> list[str]:
        """Its code, defaults, attributes, closure, and the globals that it names; the names that its code uses."""
        names = list(_names_in(function.__code__))
        self._named.update(names)
        if not self._new(function) or _trusted(function):
            return names
        self._name(_Attributes(function), "__code__")
        self._value((function.__defaults__, tuple((function.__kwdefaults__ or {}).items())), function.__qualname__)
        self._container(function.__dict__, function.__qualname__)
        for cell in function.__closure__ or ():
            self._cells.append((cell, _content(cell)))
            self._value(_content(cell), function.__qualname__)
        for name in _globals_in(function.__code__):
            if name in function.__globals__:
                self._name(function.__globals__, name)
                self._global(function.__globals__[name], names, f"{function.__module__}.{name}")
        return names

    def _global(self, value: Any, names: list[str], where: str) -> None:
        if isinstance(value, ModuleType) and not _trusted(value):
            for name in names:
                if name in vars(value):
                    self._name(vars(value), name)
                    self._global(vars(value)[name], names, f"{value.__name__}.{name}")
        else:
            self._value(value, where)

    def _name(self, where: Any, name: str) -> None:
        self._names.append((where, name, where.get(name, MISSING)))

    def _value(self, value: Any, where: str) -> None:
        if isinstance(value, torch.Tensor):
            if self._new(value):
                self._tensor(value, where)
        elif isinstance(value, nn.Module):
            if value is self._root:  # what is kept would keep the network alive
                raise Unseen(f"{where} is the network itself")
            self._module(value)
        elif isinstance(value, type):
            if not (_trusted(value) or issubclass(value, enum.Enum)):
                self._others[value] = None
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, MethodType):
            self._function(value.__func__) if isinstance(value.__func__, FunctionType) else None
            self._value(value.__self__, where)
        elif isinstance(value, BuiltinFunctionType):
            if not isinstance(value.__self__, ModuleType):
                self._value(value.__self__, where)
        elif isinstance(value, functools.partial):
            self._value((value.func, value.args, tuple(value.keywords.items())), where)
        elif type(value) in CONTAINERS:
            self._container(value, where)
        elif isinstance(value, (tuple, frozenset)) and not isinstance(value, torch.Size):
            for member in value:
                self._value(member, where)
        elif not (isinstance(value, PLAIN) or (isinstance(value, ModuleType) and _trusted(value)) or value is MISSING):
            raise Unseen(f"{where} is {type(value).__name__}, whose changes can't be seen")

    def _container(self, value: Any, where: str) -> None:
        if not self._new(value):
            return
        if not value:
            self._empty.append(value)
            return
        members = tuple(value.values()) if isinstance(value, dict) else ()
        self._containers.append((value, tuple(value), members))
        for member in (*members, *value):
            self._value(member, where)

    def _tensor(self, value: torch.Tensor, where: str) -> None:
        if type(value) not in (torch.Tensor, nn.Parameter, nn.Buffer) or value.layout is not torch.strided:
            raise Unseen(f"{where} is a {type(value).__name__} of layout {value.layout}")
        if value.device.type != "cpu" or value.is_inference():
            raise Unseen(f"{where} is on {value.device} or was made in inference mode")
        self.tensors.append(value)


class _Attributes:
    """Own attributes of a class or function, as a mapping."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def get(self, name: str, default: Any) -> Any:
        """The attribute as it is stored, not bound to anything."""
        held = vars(self.owner).get(name, default)
        return getattr(self.owner, name, default) if held is default else held


def _trusted(thing: Any) -> bool:
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return str(name or "").partition(".")[0] in TRUSTED


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _globals_in(code: CodeType) -> Iterator[str]:
    """The names that are looked up among the globals, and not as attributes."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_in(constant)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return MISSING


def _holds(container: Any, keys: tuple[Any, ...], values: tuple[Any, ...]) -> bool:
    if len(container) != len(keys) or not all(map(is_, container, keys)):
        return False
    return not isinstance(container, MutableMapping) or all(map(is_, container.values(), values))
