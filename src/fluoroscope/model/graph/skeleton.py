"""Skeletons: networks built without a single weight, for their structure alone.

Inside :func:`weightless`, new tensors are on the meta device, and what initialises weights does nothing: filling a
tensor that has no memory takes only time. Python's search for cyclic garbage is paused, which otherwise goes through
all modules again and again while they are made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fluoroscope.model.graph.collecting import collection_paused

__all__ = ["weightless"]

FILLS = frozenset(
    {getattr(nn.init, n) for n in dir(nn.init) if n.endswith("_") and not n.startswith("_")}
    | {
        getattr(torch.Tensor, n)
        for n in ("normal_", "uniform_", "zero_", "fill_", "random_", "exponential_", "erfinv_", "clamp_", "copy_")
    }
)
_LOCK = threading.RLock()


class _OnMeta(TorchFunctionMode):
    """Tensors are made on the meta device, whatever device is asked for; filling one is passed over."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in FILLS and args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            return args[0]
        if func in _factories():
            kwargs = {**kwargs, "device": "meta"}
        elif func in (torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu) and args and args[0].is_meta:
            kinds = [a for a in (*args[1:], kwargs.get("dtype")) if isinstance(a, torch.dtype)]
            return args[0].type(kinds[0]) if kinds else args[0]
        return func(*args, **kwargs)


def _factories() -> frozenset[Any]:
    from torch.utils._device import _device_constructors

    constructors: Any = _device_constructors
    return frozenset(constructors())


@contextmanager
def weightless() -> Iterator[None]:
    """Networks built within the block have their structure and no weights."""
    with _LOCK, ExitStack() as stack:
        stack.enter_context(collection_paused())
        stack.enter_context(_idle())
        stack.enter_context(_OnMeta())
        yield


@contextmanager
def _idle() -> Iterator[None]:
    """``reset_parameters`` of torch's own layers does nothing in this thread."""
    thread = threading.get_ident()
    classes = [c for c in vars(nn.modules).values() if isinstance(c, type) and "reset_parameters" in vars(c)]
    kept = [(cls, vars(cls)["reset_parameters"]) for cls in classes]

    def idle(original: Any) -> Any:
        def reset_parameters(self: Any, *args: Any, **kwargs: Any) -> None:
            if threading.get_ident() != thread:
                original(self, *args, **kwargs)

        return reset_parameters

    for cls, original in kept:
        setattr(cls, "reset_parameters", idle(original))  # noqa: B010
    try:
        yield
    finally:
        for cls, original in kept:
            setattr(cls, "reset_parameters", original)  # noqa: B010
