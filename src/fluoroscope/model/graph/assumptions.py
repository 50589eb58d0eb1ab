"""What a trace on shapes has to assume: values that only real numbers would tell, each said in plain words.

Three kinds of question come up. A number read by Python (``.item()``, ``if mask.any()``): truth is assumed false, other
numbers 1. A number of elements (``nonzero``, boolean indexing): all of them, or, where the tensor comes from routing
(``topk``, ``one_hot``), as many as an even spread gives. A list of counts (``bincount().tolist()``): an even spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from fluoroscope.model.graph.tracer import Tracer

__all__ = ["QUESTIONS", "answered_list", "carry_mean", "mean_of"]

aten = torch.ops.aten
MEAN, RANGE = "_fluoroscope_mean", "_fluoroscope_range"


def _scalar(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tensor = args[0]
    if tensor.dtype is torch.bool:
        tracer.assume("a truth value that depends on numbers: taken as false")
        return False
    tracer.assume("a number that depends on values: taken as 1")
    return 1.0 if tensor.is_floating_point() else 1


def _equal(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tracer.assume("whether two tensors are equal: taken as false")
    return False


def _count(tracer: Tracer, tensor: torch.Tensor) -> int:
    """How many elements are taken as true."""
    mean = mean_of(tensor)
    mean = tracer.hint if mean is None else mean
    if mean is None or mean >= 1:
        tracer.assume("how many elements are true depends on values: all of them")
        return tensor.numel()
    count = max(1, round(mean * tensor.numel()))
    tracer.assume(f"how many elements are true depends on values: {count} of {tensor.numel()}, an even spread")
    return count


def _nonzero(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tensor = args[0]
    count = _count(tracer, tensor)
    if count == tensor.numel() and count <= tracer.small:  # all of them: then even the places are known
        places = torch.arange(count)
        parts = torch.unravel_index(places, tensor.shape) if tensor.ndim else ()
        return torch.stack(list(parts), 1) if parts else torch.zeros(count, 0, dtype=torch.long)
    return torch.empty(count, tensor.ndim, dtype=torch.long, device="meta")


def _masked_select(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tensor, mask = args[:2]
    return torch.empty(_count(tracer, mask), dtype=tensor.dtype, device="meta")


def _index(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tensor, indices = args[:2]
    if not any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return func(*args, **kwargs)
    places: list[Any] = []
    for index in indices:
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            places.append(index)
            continue
        count = _count(tracer, index)
        places += [torch.empty(count, dtype=torch.long, device="meta") for _ in range(index.ndim)]
    return func(tensor, places, **kwargs)


def _bincount(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tensor = args[0]
    bins = kwargs.get("minlength", args[2] if len(args) > 2 else 0) or getattr(tensor, RANGE, 0) or 1
    tracer.assume(f"counts that depend on values: {tensor.numel()} spread evenly over {bins}")
    return torch.tensor(_even(tensor.numel(), bins))


def _repeat(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    repeats = args[0]
    size = kwargs.get("output_size")
    if size is None:
        tracer.assume("how often elements are repeated depends on values: once each")
        size = repeats.numel()
    return torch.empty(size, dtype=torch.long, device="meta")


def _unique(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    tensor = args[0]
    bound = getattr(tensor, RANGE, None)
    count = tensor.numel() if bound is None else min(tensor.numel(), bound)
    tracer.assume(f"how many elements are different depends on values: {count}")
    made = [torch.empty(count, dtype=tensor.dtype, device="meta")]
    made += [torch.empty(tensor.shape, dtype=torch.long, device="meta")]
    made += [torch.empty(count, dtype=torch.long, device="meta")]
    return tuple(made[: len(func._schema.returns)])


def _grouped(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Products of groups of rows with a matrix each; torch works out its shape for bfloat16 only."""
    rows, matrices = args[:2]
    if rows.ndim != 2 or matrices.ndim != 3:
        return func(*args, **kwargs)
    dtype = kwargs.get("out_dtype") or rows.dtype
    return torch.empty(rows.shape[0], matrices.shape[2], dtype=dtype, device="meta")


QUESTIONS: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: _scalar,
    aten.equal.default: _equal,
    aten.nonzero.default: _nonzero,
    aten.masked_select.default: _masked_select,
    aten.index.Tensor: _index,
    aten.bincount.default: _bincount,
    aten.repeat_interleave.Tensor: _repeat,
    aten._unique2.default: _unique,
    aten._unique.default: _unique,
    aten.unique_consecutive.default: _unique,
    aten._grouped_mm.default: _grouped,
}


def answered_list(tracer: Tracer, tensor: torch.Tensor) -> Any:
    """``tensor.tolist()`` of a tensor whose numbers are not known."""
    mean = mean_of(tensor)
    if mean is not None and tensor.ndim == 1:
        tracer.assume("counts that depend on values: an even spread")
        return _even(round(mean * tensor.numel()), tensor.numel())
    tracer.assume("numbers that depend on values: all taken as 1")
    fill: Any = False if tensor.dtype is torch.bool else 1.0 if tensor.is_floating_point() else 1
    return torch.full(tuple(tensor.shape), fill).tolist()


def _even(total: int, parts: int) -> list[int]:
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


def mean_of(tensor: torch.Tensor) -> float | None:
    """The mean of a mask or of counts, where routing tells it."""
    return getattr(tensor, MEAN, None)


CARRIED = frozenset(
    {"view", "reshape", "permute", "transpose", "t", "flatten", "unsqueeze", "squeeze", "__getitem__", "select", "to"}
    | {"type", "bool", "int", "long", "float", "contiguous", "clone", "expand", "unbind", "detach", "movedim"}
    | {"swapaxes", "narrow", "chunk", "split"}
)
CHOICES = frozenset({"topk", "argmax", "argmin", "argsort", "sort", "max", "min", "multinomial"})


def carry_mean(name: str, args: Any, kwargs: Any, result: Any) -> None:
    """Keep what is known of the mean of a mask: from routing through views, sums and comparisons."""
    first = args[0] if args and isinstance(args[0], torch.Tensor) else kwargs.get("input")
    if not isinstance(first, torch.Tensor):
        return
    if name in CHOICES:
        _note_range(args, kwargs, first, result)
        return
    bound, mean = getattr(first, RANGE, None), getattr(first, MEAN, None)
    if name == "one_hot" and len(args) + len(kwargs) > 1:
        classes = kwargs.get("num_classes", args[1] if len(args) > 1 else -1)
        if isinstance(classes, int) and classes > 0:
            setattr(result, MEAN, 1 / classes)
    elif name in ("scatter_", "scatter") and len(args) > 2 and isinstance(args[2], torch.Tensor):
        if isinstance(args[1], int) and first.ndim == args[2].ndim and args[2].ndim:
            setattr(result, MEAN, args[2].shape[args[1]] / max(1, first.shape[args[1]]))
    elif bound is not None and name in ("eq", "__eq__"):
        setattr(result, MEAN, 1 / max(1, bound))
    elif bound is not None and name in CARRIED:
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                setattr(tensor, RANGE, bound)
    elif mean is not None:
        _carry(name, mean, first, result)


def _note_range(args: Any, kwargs: Any, first: torch.Tensor, result: Any) -> None:
    indices = result[1] if isinstance(result, (tuple, list)) and len(result) > 1 else result
    if not isinstance(indices, torch.Tensor) or indices.dtype is not torch.long or not first.ndim:
        return
    dims = [a for a in (kwargs.get("dim"), *args[1:]) if isinstance(a, int) and not isinstance(a, bool)]
    dim = kwargs.get("dim", dims[-1] if dims and len(dims) > 1 else -1)
    setattr(indices, RANGE, first.shape[dim if isinstance(dim, int) and -first.ndim <= dim < first.ndim else -1])


def _carry(name: str, mean: float, first: torch.Tensor, result: Any) -> None:
    for tensor in result if isinstance(result, (tuple, list)) else (result,):
        if not isinstance(tensor, torch.Tensor):
            continue
        if name in CARRIED:
            setattr(tensor, MEAN, mean)
        elif name == "sum" and tensor.numel():
            setattr(tensor, MEAN, mean * first.numel() / tensor.numel())
        elif name in ("gt", "__gt__", "greater", "ne", "__ne__"):
            setattr(tensor, MEAN, min(1.0, mean))
