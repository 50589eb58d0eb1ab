"""The network under study, with what a bare module does not know about itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.arguments import checked
from fluoroscope.errors import ModelError, OptionError, nearest
from fluoroscope.model.walk import each_module, every_module

__all__ = ["Subject", "as_subject", "fingerprint"]

LAYOUTS = ("NTC", "NCT", "NHWC", "NCHW", "NZHWC", "NCZHW")
CALLED = {
    "preprocess": "a function of one PIL image that gives the network's input",
    "invert": "a function of a batch of inputs that gives uint8 pictures (N, H, W, 3)",
}
FINGERPRINT_SAMPLE = 64
SPOTS = 8


@checked
@dataclass(frozen=True, eq=False)
class Subject:
    """A network and how people read it.

    ``preprocess`` turns a PIL image into the network's input, (C, H, W) or (1, C, H, W); ``invert`` turns an input
    batch back into ``uint8`` pictures (N, H, W, 3); ``classes`` names the outputs; ``input_shape`` is an example's
    shape without the batch axis; ``tokenizer`` turns texts into token numbers (one of transformers, or a function from
    one text to its numbers, or to a mapping with ``input_ids`` and what else ``forward`` takes for each token; where it
    has ``decode`` or ``convert_ids_to_tokens``, results name tokens by them). ``layout`` says which axis of its input
    is which, examples first: ``"NTC"`` for series whose channels come last, ``"NCT"``, ``"NHWC"``, ...; without it the
    network's first operations say so. ``channels`` names the channels of series. Wrappers (``torch.compile``,
    ``DataParallel``) are taken off: ``module`` is the network itself.

    Raises:
        ModelError: not an eager network, or a layout that is none.
        OptionError: names, a shape or functions that are none.
    """

    model: nn.Module
    preprocess: Callable[[Any], Any] | None = None
    classes: Sequence[str] | None = None
    invert: Callable[[torch.Tensor], Any] | None = None
    name: str = ""
    input_shape: tuple[int, ...] | None = None
    tokenizer: Callable[..., Any] | None = None
    notes: tuple[str, ...] = field(default=())
    layout: str | None = None
    channels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None:
            object.__setattr__(self, "classes", _names(self.classes))  # a frozen record
        shape: Any = self.input_shape
        if shape is not None and not (isinstance(shape, (tuple, list)) and all(isinstance(s, int) for s in shape)):
            raise OptionError(
                "fs.Subject: input_shape is the shape of one example", got=repr(shape), expected="such as (3, 224, 224)"
            )
        for name in ("preprocess", "invert"):
            made = getattr(self, name)
            if made is not None and not callable(made):
                got = f"{made!r}, of type {type(made).__name__}"
                raise OptionError(f"fs.Subject: {name} is a function", got=got, expected=CALLED[name])
        given: Any = self.model
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ModelError(
                "there is no such layout of an input",
                got=repr(self.layout),
                expected=", ".join(LAYOUTS),
                nearest=nearest(str(self.layout), LAYOUTS),
            )
        if not isinstance(given, nn.Module):
            of_class = isinstance(given, type)
            raise ModelError(
                "not a network",
                got=f"the class {given.__name__}" if of_class else type(given).__name__,
                expected="a torch.nn.Module",
                remedy=f"make one of it: {given.__name__}(...)" if of_class else None,
            )
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
        while not isinstance(module, torch.jit.ScriptModule):
            inner = module._modules.get("_orig_mod")
            if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
                inner = module.module
            if inner is None:
                break
            module = inner
        return module  # type: ignore[no-any-return]

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


def _names(classes: Any) -> Sequence[str]:
    """Names of classes as a sequence. Raises OptionError where they are none."""
    if isinstance(classes, (list, tuple)):
        return classes
    if isinstance(classes, (str, bytes, Mapping)) or not isinstance(classes, Iterable):
        raise OptionError(
            "fs.Subject: classes are names, one for each output",
            got=f"{classes!r}, of type {type(classes).__name__}",
            expected="a list such as ['cat', 'dog'], in the order of the outputs",
        )
    return tuple(classes)


def _first_tensor(module: nn.Module) -> torch.Tensor:
    for table in ("_parameters", "_buffers"):
        for part in each_module(module):
            for tensor in getattr(part, table).values():
                if tensor is not None and tensor.is_floating_point() and not is_lazy(tensor):
                    return tensor  # type: ignore[no-any-return]
    return torch.empty(0)


def fingerprint(module: nn.Module) -> str:
    """Twelve hexadecimal digits that tell networks apart: names, shapes, dtypes and a strided sample of the weights.

    It reads at most 64 entries of each tensor, so that it costs the same for any size; meta tensors count by shape
    only. The last answer is kept with the network and given again while nothing shows a change: the same tensors, no
    in-place change counted, and the same values in a few of them (writing through ``.data`` is not counted).
    """
    state = _state(module)
    known = _KNOWN.get(module)
    if known is None or state is None or known[0] != state:
        known = _KNOWN[module] = (state, _digest(module))
    return known[1]


_KNOWN: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()


def _state(module: nn.Module) -> Any:
    """What differs after the weights were changed or replaced; None where that can't be told."""
    parts = every_module(module)
    tensors = [t for m in parts for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
    spots = [t for t in tensors[:: max(1, len(tensors) // SPOTS)] if not is_lazy(t) and t.device.type != "meta"]
    try:
        counted = tuple([(id(t), t._version, t.data_ptr()) for t in tensors])
        with torch.no_grad():
            values = [_sample(t, SPOTS).tolist() for t in spots if t.numel() and t.layout == torch.strided]
    except (RuntimeError, NotImplementedError, ValueError):  # inference tensors, lazy ones, and ones without storage
        return None
    return counted, values


def _digest(module: nn.Module) -> str:
    names: list[Any] = [type(module).__qualname__]
    samples: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    with torch.no_grad():
        for name, tensor in _named_tensors(module):
            if is_lazy(tensor):
                names.append((name, "uninitialized"))
                continue
            names.append((name, tensor.shape, tensor.dtype))
            if tensor.device.type != "meta" and tensor.numel() and not tensor.is_sparse and not tensor.is_quantized:
                sample = _sample(tensor, FINGERPRINT_SAMPLE)
                samples.setdefault((sample.device, sample.dtype), []).append(sample)
        digest = hashlib.sha256(repr(names).encode())
        for found in samples.values():
            joined = torch.cat(found).cpu()  # one step for all of a kind, and on an accelerator one wait
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


def _sample(tensor: torch.Tensor, most: int) -> torch.Tensor:
    """Up to ``most`` entries at even steps through the logical order, whatever the layout in memory."""
    step = max(1, tensor.numel() // most)
    count = min(most, -(-tensor.numel() // step))
    if tensor.is_contiguous() and type(tensor) in (torch.Tensor, nn.Parameter):
        sample = tensor.as_strided((count,), (step,))
    elif type(tensor) in (torch.Tensor, nn.Parameter):
        places = np.unravel_index(np.arange(count) * step, tuple(tensor.shape))  # flattening would copy the whole
        sample = tensor[tuple(torch.as_tensor(p, device=tensor.device) for p in places)]
    else:
        sample = tensor.flatten()[::step][:most]
    return sample if sample.dtype.itemsize > 1 else sample.to(torch.float64)  # the smallest formats can't be joined
