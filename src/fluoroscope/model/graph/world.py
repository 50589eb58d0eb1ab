"""The world that a network is traced in: modes, calls of modules, and everything put back afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from fluoroscope.model.graph.signature import own_containers

if TYPE_CHECKING:
    from fluoroscope.model.graph.tracer import Tracer

__all__ = ["watched"]

_LOCK = threading.RLock()
_MISSING = object()


@contextmanager
def watched(tracer: Tracer) -> Iterator[None]:
    """Within the block, every module call, function and operation of this thread goes through ``tracer``.

    Attributes that the forward sets on modules, lists that it fills and the hidden ones are put back at the end. Other
    threads are not watched; two traces of one process wait for each other.
    """
    with _LOCK, ExitStack() as stack:
        changes = _Changes(tracer)
        stack.callback(tracer.hidden.restore)
        stack.callback(changes.restore)
        stack.enter_context(_patched(tracer, changes))
        yield


class _Changes:
    """What a forward has done to attributes and containers of modules."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.attributes: dict[tuple[int, str, str], tuple[nn.Module, dict[str, Any], Any, list[str]]] = {}
        self.containers: dict[int, tuple[Any, Any]] = {}

    def setting(self, module: nn.Module, name: str) -> None:
        """An attribute is about to be set or deleted."""
        if self.tracer.memory is not None:
            self.tracer.memory.changed()
        for table in ("_parameters", "_buffers", "_modules", "__dict__"):
            held = getattr(module, table)
            if (id(module), table, name) not in self.attributes:
                self.attributes[id(module), table, name] = (module, held, held.get(name, _MISSING), list(held))

    def entering(self, module: nn.Module) -> None:
        """A module is about to run: remember what its own containers hold."""
        for value in own_containers(module):
            if id(value) not in self.containers:
                self.containers[id(value)] = (value, type(value)(value))

    def restore(self) -> None:
        """Put everything back, in the order in which it was."""
        for (_, _, name), (_, held, value, order) in reversed(self.attributes.items()):
            if value is _MISSING:
                held.pop(name, None)
            elif held.get(name, _MISSING) is not value:
                held[name] = value
            if len(held) == len(order) and list(held) != order:
                kept = {n: held[n] for n in order if n in held}
                held.clear()
                held.update(kept)
        for container, kept in self.containers.values():
            if isinstance(container, list):
                container[:] = kept
            elif len(container) != len(kept) or list(map(id, _all(container))) != list(map(id, _all(kept))):
                container.clear()
                container.update(kept)


def _all(container: Any) -> Any:
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


@contextmanager
def _patched(tracer: Tracer, changes: _Changes) -> Iterator[None]:
    thread = threading.get_ident()
    call, get, put, drop = (
        nn.Module.__call__,
        nn.Module.__getattr__,
        nn.Module.__setattr__,
        nn.Module.__delattr__,
    )

    def watched_call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread or tracer.muted:
            return call(module, *args, **kwargs)
        changes.entering(module)
        return tracer.call(module, args, kwargs)

    def watched_get(module: nn.Module, name: str) -> Any:
        try:
            return get(module, name)
        except AttributeError:
            kept = tracer.hidden.kept.get(id(module))
            if kept is None or name not in kept[2]:
                raise
            if tracer.memory is not None:
                tracer.memory.read(module)
            return kept[2][name]

    def watched_put(module: nn.Module, name: str, value: Any) -> None:
        if threading.get_ident() == thread:
            changes.setting(module, name)
        put(module, name, value)

    def watched_drop(module: nn.Module, name: str) -> None:
        if threading.get_ident() == thread:
            changes.setting(module, name)
        drop(module, name)

    cls: Any = nn.Module
    cls.__call__, cls.__getattr__, cls.__setattr__, cls.__delattr__ = (
        watched_call,
        watched_get,
        watched_put,
        watched_drop,
    )
    try:
        yield
    finally:
        cls.__call__, cls.__getattr__, cls.__setattr__, cls.__delattr__ = call, get, put, drop
