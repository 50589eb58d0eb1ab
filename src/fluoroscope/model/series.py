"""Series: which axis of an input (N, ., .) has the channels and which the time, by what the network does with it.

The forward of one example is followed from its inputs through whatever leaves an axis what it is (transposing, slicing,
adding, normalizing) to the first operation that needs to know: a convolution takes (N, C, T), a recurrent layer or an
attention (N, T, C), and a dense layer the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from fluoroscope import axes as ax
from fluoroscope.errors import InputError
from fluoroscope.model.positions import usual_axes

__all__ = ["AxisWatch", "Reading", "check_reading", "in_doubt", "is_series", "series_axes"]

Axes = tuple[int | None, ...]
"""For each axis of a tensor the axis of the input that it is; None for one that is not."""


@dataclass(frozen=True)
class Reading:
    """Which axis of an input has the ``channels`` and which the ``examples``, and the ``operation`` that says so.

    ``sure`` is False where the operation may as well mix times: a dense layer takes whatever is last.
    """

    channels: int | None
    examples: int | None
    operation: str
    sure: bool


@dataclass(frozen=True)
class _Taker:
    """An operation that knows its axes: which one of its first tensor has the channels, which the examples."""

    channels: int
    examples: int = 0
    sure: bool = True


RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "_pack_padded_sequence")
"""Their last argument says whether examples come first; time is the other one of the first two axes."""

TAKERS = {
    **dict.fromkeys(("conv1d", "conv_transpose1d", "avg_pool1d", "adaptive_avg_pool1d"), _Taker(1)),
    **dict.fromkeys(("max_pool1d", "adaptive_max_pool1d"), _Taker(1)),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "avg_pool2d", "adaptive_avg_pool2d"), _Taker(1)),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _Taker(-1)),
    "multi_head_attention_forward": _Taker(-1, examples=1),
    "scaled_dot_product_attention": _Taker(-1),
    **dict.fromkeys(("linear", "matmul", "__matmul__"), _Taker(-1, sure=False)),
}

SERIES = {1: (ax.N, ax.C, ax.T), 2: (ax.N, ax.T, ax.C)}
PICTURES = {1: (ax.N, ax.C, ax.H, ax.W)}
"""By the axis of the channels; pictures with channels last are read so by their shape."""

FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AttributeError)
"""What a function may raise that is tried on a tensor of other sizes."""


@dataclass
class _Followed:
    """A tensor that is still the input: number of the input, the axes, and the tensor, kept so that its id is its."""

    number: int
    axes: Axes
    tensor: torch.Tensor


@dataclass
class AxisWatch(TorchFunctionMode):
    """Follows the ``inputs`` whose axes are in doubt through a forward; ``found`` has what was learnt, by number."""

    inputs: Sequence[torch.Tensor]
    found: dict[int, Reading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._followed: dict[int, _Followed] = {}
        for number, tensor in enumerate(self.inputs):
            if in_doubt(tensor):
                self._follow(number, tuple(range(tensor.ndim)), tensor)

    def _follow(self, number: int, axes: Axes, tensor: torch.Tensor) -> None:
        self._followed[id(tensor)] = _Followed(number, axes, tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._followed:
            return result
        given = next((f for t in _tensors(args) if (f := self._followed.get(id(t))) is not None), None)
        if given is not None and not self._sure(given.number):
            self._look(func, args, kwargs or {}, given, result)
        return result

    def _sure(self, number: int) -> bool:
        return number in self.found and self.found[number].sure

    def _look(self, func: Any, args: Any, kwargs: Any, given: _Followed, result: Any) -> None:
        """Learn from an operation that knows its axes; follow what any other one gives."""
        name = getattr(func, "__name__", "")
        taker = _Taker(-1, examples=0 if args[-1] else 1) if name in RECURRENT else TAKERS.get(name)
        if taker is None:
            for axes, tensor in _handed_on(func, args, kwargs, given, result):
                self._follow(given.number, axes, tensor)
        elif given.tensor is next(_tensors(args), None):
            rank = len(given.axes)
            examples = given.axes[taker.examples] if rank > taker.examples + 1 else None
            reading = Reading(given.axes[taker.channels], examples, name, taker.sure)
            if reading.sure or given.number not in self.found:
                self.found[given.number] = reading


def is_series(tensor: torch.Tensor) -> bool:
    """Whether a tensor is real numbers (N, ., .)."""
    return tensor.ndim == 3 and tensor.is_floating_point()


def in_doubt(tensor: torch.Tensor) -> bool:
    """Whether the shape does not say where an input has its channels: of series, and of what looks like pictures with
    channels last, but may as well be 1, 3 or 4 positions wide.
    """
    return is_series(tensor) or (tensor.is_floating_point() and usual_axes(tensor)[-1] == ax.C)


def series_axes(
    tensors: Sequence[torch.Tensor], found: Mapping[int, Reading], layout: str | None
) -> tuple[tuple[str, ...], ...]:
    """The axes of each input: as told by ``layout`` where it has as many, of those in doubt as ``found``, else
    ``()``.
    """
    made: list[tuple[str, ...]] = []
    for number, tensor in enumerate(tensors):
        if layout is not None and tensor.is_floating_point() and tensor.ndim == len(layout):
            made.append(tuple(layout))
        else:
            reading = found.get(number)
            channels = reading.channels if reading is not None else None
            known = PICTURES if tensor.ndim == 4 else SERIES
            made.append(known.get(channels or 0, ()))
    return tuple(made)


def check_reading(reading: Reading | None, series: torch.Tensor, note: Callable[[str], None]) -> None:
    """Note how a series was read where nothing sure says it.

    Raises:
        InputError: the network takes its examples along another axis than the first.
    """
    shape = f"the input of shape {tuple(series.shape)}"
    if reading is not None and reading.examples in (1, 2):
        raise InputError(
            "the network takes its examples along another axis than the first",
            got=f"{shape}; {reading.operation} takes axis {reading.examples} as its examples",
            expected="examples first, as in batch_first=True",
            remedy="wrap the network: def forward(self, x): return self.network(x.transpose(0, 1))",
        )
    if reading is not None and reading.sure and reading.channels in (1, 2):
        return
    known = reading.channels if reading is not None else None
    axes, other = (
        ("(N, T, C), times before channels", "NCT") if known == 2 else ("(N, C, T), channels before times", "NTC")
    )
    why = "a dense layer mixes its channels first" if known else "the first operations of the network leave it open"
    note(f"{shape} was read as {axes}: {why}; where that is wrong, fs.Subject(model, layout={other!r})")


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _handed_on(
    func: Callable[..., Any], args: Any, kwargs: Any, given: _Followed, result: Any
) -> Iterator[tuple[Axes, torch.Tensor]]:
    """The tensors of a result that are still the input, and their axes.

    A function of one tensor is tried on one without numbers whose sizes all differ, so that sizes tell axes; of others
    a result of the same size, or with one axis longer or shorter, keeps its axes.
    """
    made = list(_tensors([result]))
    tried = _on_shapes(func, args, kwargs, given)
    for i, tensor in enumerate(made):
        axes = tried[i] if i < len(tried) else None
        if axes is None and tensor.ndim == len(given.axes):
            apart = sum(a != b for a, b in zip(tensor.shape, given.tensor.shape, strict=True))
            axes = given.axes if apart <= 1 else None
        if axes is not None and tensor.is_floating_point():
            yield axes, tensor


def _on_shapes(func: Callable[..., Any], args: Any, kwargs: Any, given: _Followed) -> list[Axes]:
    """The axes of each tensor that a function of one tensor gives; nothing where it takes more, or can't be tried."""
    if sum(1 for _ in _tensors([*args, *kwargs.values()])) != 1:
        return []
    sizes: list[int] = []
    for size in given.tensor.shape:
        sizes.append(next(s for s in range(max(size, 2), size + 9) if s not in sizes))
    blank = torch.empty(sizes, device="meta", dtype=given.tensor.dtype)
    try:
        with torch.no_grad():
            made = func(*_with(args, given.tensor, blank), **_with(kwargs, given.tensor, blank))
    except FAILURES:
        return []
    of = dict(zip(sizes, given.axes, strict=True))
    return [tuple(of.get(size) for size in tensor.shape) for tensor in _tensors([made])]


def _with(values: Any, old: torch.Tensor, new: torch.Tensor) -> Any:
    """Arguments with one tensor in place of another."""
    if isinstance(values, dict):
        return {k: _with(v, old, new) for k, v in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(_with(v, old, new) for v in values)
    return new if values is old else values
