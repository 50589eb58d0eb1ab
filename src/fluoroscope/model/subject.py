"""The network under study, with what a bare module does not know about itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.errors import ModelError

__all__ = ["Subject", "as_subject", "fingerprint"]

FINGERPRINT_SAMPLE = 16


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and how people read it.

    ``preprocess`` turns a PIL image into the network's input, (C, H, W) or (1, C, H, W); ``invert`` turns an input
    batch back into ``uint8`` pictures (N, H, W, 3); ``classes`` names the outputs; ``input_shape`` is an example's
    shape without the batch axis. Wrappers (``torch.compile``, ``DataParallel``) are taken off: ``module`` is the
    network itself.
    """

    model: nn.Module
    preprocess: Callable[[Any], Any] | None = None
    classes: Sequence[str] | None = None
    invert: Callable[[torch.Tensor], Any] | None = None
    name: str = ""
    input_shape: tuple[int, ...] | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ModelError("not a network", got=type(self.model).__name__, expected="a torch.nn.Module")
        if isinstance(self.module, torch.jit.ScriptModule):
            raise ModelError(
                "a TorchScript network hides its layers from Python",
                got=type(self.model).__name__,
                expected="an eager torch.nn.Module",
                remedy="load the Python class the script was made from and its state_dict",
            )

    @property
    def module(self) -> nn.Module:
        """The network without the wrappers of torch.compile and DataParallel."""
        module: Any = self.model
        while True:
            inner = module._modules.get("_orig_mod")
            if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
                inner = module.module
            if inner is None:
                return module  # type: ignore[no-any-return]
            module = inner

    @property
    def title(self) -> str:
        """Name for people: the given one, else the class."""
        return self.name or type(self.module).__name__

    @property
    def device(self) -> torch.device:
        """Where the network computes: the device of its first parameter or buffer."""
        return _first_tensor(self.module).device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of its first floating parameter or buffer."""
        return _first_tensor(self.module).dtype

    def class_name(self, index: int) -> str:
        """Name of output ``index``; its number where no names are known."""
        if self.classes is not None and 0 <= index < len(self.classes):
            return str(self.classes[index])
        return str(index)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own answer."""
        return self.model(*args, **kwargs)


def as_subject(model: nn.Module | Subject) -> Subject:
    """``model`` itself where it is a Subject, else wrapped."""
    return model if isinstance(model, Subject) else Subject(model)


def _first_tensor(module: nn.Module) -> torch.Tensor:
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            if tensor.is_floating_point() and not is_lazy(tensor):
                return tensor
    return torch.empty(0)


def fingerprint(module: nn.Module) -> str:
    """Twelve hexadecimal digits that tell networks apart: names, shapes, dtypes and a strided sample of the weights.

    It reads at most 16 entries of each tensor, so that it costs the same for any size; meta tensors count by shape
    only. Samples of one kind are put together before they are read: one step for all, and on an accelerator one wait.
    """
    names: list[Any] = [type(module).__qualname__]
    samples: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    with torch.no_grad():
        for name, tensor in _named_tensors(module):
            if is_lazy(tensor):
                names.append((name, "uninitialized"))
                continue
            names.append((name, tensor.shape, tensor.dtype))
            if tensor.device.type != "meta" and tensor.numel() and not tensor.is_sparse and not tensor.is_quantized:
                sample = _sample(tensor)
                samples.setdefault((sample.device, sample.dtype), []).append(sample)
        digest = hashlib.sha256(repr(names).encode())
        for found in samples.values():
            joined = torch.cat(found).cpu()
            digest.update(joined.to(torch.complex128 if joined.is_complex() else torch.float64).numpy().tobytes())
    return digest.hexdigest()[:12]


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name, shared ones once."""
    seen, left = set[int](), [("", module)]
    while left:
        prefix, part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield prefix + name, tensor
        left.extend((f"{prefix}{name}.", child) for name, child in part._modules.items() if child is not None)


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """Up to 16 entries at even steps through the logical order, whatever the layout in memory."""
    step = max(1, tensor.numel() // FINGERPRINT_SAMPLE)
    count = min(FINGERPRINT_SAMPLE, -(-tensor.numel() // step))
    if tensor.is_contiguous() and type(tensor) in (torch.Tensor, nn.Parameter):
        sample = tensor.as_strided((count,), (step,))
    elif type(tensor) in (torch.Tensor, nn.Parameter):
        places = np.unravel_index(np.arange(count) * step, tuple(tensor.shape))  # flattening would copy the whole
        sample = tensor[tuple(torch.as_tensor(p, device=tensor.device) for p in places)]
    else:
        sample = tensor.flatten()[::step][:FINGERPRINT_SAMPLE]
    return sample if sample.dtype.itemsize > 1 else sample.to(torch.float64)  # the smallest formats can't be joined
