"""Taps: the modes through which a tracer sees functions of torch and the ATen operations below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from fluoroscope.model.graph.tracer import Tracer

__all__ = ["Functions", "Kernels"]


class Functions(TorchFunctionMode):
    """Every function of torch that the network's code calls goes to the tracer."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.tracer.function(func, args, kwargs or {})


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call] # the class is untyped in torch
    """Every ATen operation below goes to the tracer."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracer = tracer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.tracer.kernel(func, args, kwargs or {})
