"""Inputs: one or several tensors for a network's forward, cut into batches along their first axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fluoroscope import axes as ax
from fluoroscope.errors import InputError, NumericalError
from fluoroscope.model.images import SUFFIXES, read_images, to_batch
from fluoroscope.model.positions import usual_axes
from fluoroscope.model.preprocess import displayable
from fluoroscope.model.subject import Subject
from fluoroscope.model.tables import Table, as_table
from fluoroscope.results import Array, Samples
from fluoroscope.results.envelope import ranges

__all__ = ["Inputs", "check_texts", "prepare_inputs"]

COLUMNS = 4096
"""Columns of a table up to which its numbers are kept for drawing."""
SERIES = 2**18
"""Numbers of an example's series that are kept for drawing."""


@dataclass(frozen=True)
class Inputs:
    """Arguments of ``forward``: ``args`` and ``kwargs``. Tensors with ``count`` rows are batched, the rest is passed
    on.

    ``features`` names what each example is made of: columns of a table, tokens of a text, channels of a series.
    ``axes`` has those of each of :attr:`tensors` where they were told or found, ``()`` where the shape says them.
    ``real`` (N, L) says which positions of texts or series are no padding; None where nothing is padded.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    count: int
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    features: tuple[tuple[str, ...], ...] = ()
    axes: tuple[tuple[str, ...], ...] = ()
    real: torch.Tensor | None = None

    @property
    def main(self) -> torch.Tensor:
        """The tensor that attributions are about: the first floating one, else the first."""
        tensors = self.tensors
        return next((t for t in tensors if t.is_floating_point()), tensors[0])

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors, positional ones first."""
        return [v for v in (*self.args, *self.kwargs.values()) if isinstance(v, torch.Tensor)]

    def axes_of(self, tensor: torch.Tensor) -> tuple[str, ...]:
        """The axes of one of :attr:`tensors`: as told or found, else as its shape says."""
        number = next((i for i, t in enumerate(self.tensors) if t is tensor), len(self.axes))
        told = self.axes[number] if number < len(self.axes) else ()
        return told or usual_axes(tensor)

    @property
    def unseen(self) -> torch.Tensor | None:
        """(N, L) True where a position is padding that the network is told of by a mask; None where there is none."""
        return None if self.real is None or mask_of(self) is None else ~self.real

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
        """The same arguments with every tensor changed."""

        def one(value: Any) -> Any:
            return change(value) if isinstance(value, torch.Tensor) else value

        args = tuple(one(v) for v in self.args)
        kwargs = {k: one(v) for k, v in self.kwargs.items()}
        return replace(self, args=args, kwargs=kwargs, count=self._count(args, kwargs), real=one(self.real))

    def _count(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        return next((len(v) for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor) and v.ndim), self.count)

    def with_main(self, tensor: torch.Tensor) -> Inputs:
        """The same arguments with :attr:`main` replaced."""
        main = self.main
        return self.map(lambda t: tensor if t is main else t)

    def alone(self, tensor: torch.Tensor) -> Inputs:
        """The examples with one of :attr:`tensors` only: what a map of it is about."""
        if tensor is self.main:
            return self
        real = self.real if self.real is not None and self.real.shape == tensor.shape[:2] else None
        return Inputs((tensor,), {}, self.count, self.names, axes=(self.axes_of(tensor),), real=real)

    def part(self, start: int, stop: int) -> Inputs:
        """Rows ``start`` to ``stop``."""
        cut = self.map(lambda t: t[start:stop] if t.ndim and len(t) == self.count else t)
        count, features = min(stop, self.count) - start, self.features[start:stop]
        return replace(cut, count=count, names=self.names[start:stop], features=features)

    def taken(self, rows: torch.Tensor) -> Inputs:
        """Rows by number, which may repeat; without the names of examples."""
        made = self.map(lambda t: t[rows.to(t.device)] if t.ndim and len(t) == self.count else t)
        return replace(made, count=len(rows), names=(), features=())

    def repeated(self, times: int) -> Inputs:
        """Every row ``times`` times (a view where there is one row)."""
        return self.map(lambda t: repeat_rows(t, times) if t.ndim and len(t) == self.count else t)

    def batches(self, size: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of consecutive batches."""
        for start in range(0, self.count, size):
            yield start, min(start + size, self.count)


def repeat_rows(tensor: torch.Tensor, times: int) -> torch.Tensor:
    """Rows repeated one after the other; a single row is expanded without a copy."""
    if len(tensor) == 1:
        return tensor.expand(times, *tensor.shape[1:])
    return tensor.repeat_interleave(times, dim=0)


def prepare_inputs(inputs: Any, subject: Subject) -> Inputs:
    """Whatever the user gave as :class:`Inputs` on the network's device.

    Tensors and arrays are taken as they are (floats in the network's dtype), tables of pandas by their columns, a tuple
    as several arguments, a dict as keyword arguments; paths, folders and PIL images go through ``subject.preprocess``,
    and texts, where the network has one, through ``subject.tokenizer``.

    Raises:
        InputError: nothing to read, no batch axis, rows that do not agree, or columns of a table that hold no numbers.
        NumericalError: NaN or infinity in an input, or missing values in a table.
    """
    from fluoroscope.model.texts import are_texts, tokenized  # which makes Inputs

    if isinstance(inputs, Inputs):
        return inputs
    check_texts(inputs, subject)
    if subject.tokenizer is not None and are_texts(inputs):
        made = tokenized(inputs, subject)
    elif _is_files(inputs):
        files = read_images(inputs)
        batch = to_batch(files, subject.preprocess)
        made = Inputs((batch,), {}, len(batch), tuple(files.names), tuple(files.notes))
    else:
        made = _given(inputs, subject.module)
    moved = made.map(lambda t: _moved(t, subject))
    _check(moved, subject.module)
    return replace(moved, real=real_positions(moved, subject.tokenizer))


def _given(inputs: Any, module: nn.Module) -> Inputs:
    """Tensors, arrays and tables; of a table the columns and rows have names."""
    tables: list[Table] = []

    def one(value: Any) -> Any:
        table = as_table(value, module)
        if table is None:
            return _tensor(value)
        tables.append(table)
        return table.values

    if isinstance(inputs, Mapping):
        made = _counted((), {str(k): one(v) for k, v in inputs.items()})
    else:
        made = _counted(tuple(one(v) for v in (inputs if isinstance(inputs, tuple) else (inputs,))), {})
    main = next((t for t in tables if t.values is made.main), None)
    return made if main is None else replace(made, names=main.rows, features=(main.columns,) * made.count)


def check_texts(inputs: Any, subject: Subject) -> None:
    """Refuse texts for a network without a tokenizer, where they can't be meant as paths. Raises InputError."""
    from fluoroscope.model.texts import are_texts

    if subject.tokenizer is not None or not are_texts(inputs):
        return
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    if not any(_may_be_file(text) for text in texts):
        raise InputError(
            "texts were given to a network without a tokenizer, and no file has such a name",
            got=repr(texts[0][:60]),
            expected="tensors, paths of pictures, or a tokenizer for texts",
            remedy="fs.Subject(model, tokenizer=...), or load it with hf:NAME-or-folder",
        )


def _may_be_file(text: str) -> bool:
    """Whether a text can be meant as a path: it is there, ends like a picture, or has no blank in it."""
    path = Path(text).expanduser()
    try:
        return " " not in text or path.suffix.lower() in SUFFIXES or path.exists()
    except OSError:  # longer than any name of a file
        return False


def _is_files(inputs: Any) -> bool:
    if isinstance(inputs, (list, Sequence)) and not isinstance(inputs, (str, tuple)):
        return len(inputs) > 0 and _is_files(inputs[0])
    return isinstance(inputs, (str, Path)) or type(inputs).__module__.startswith("PIL.")


def _tensor(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # Tensors made in inference mode can't be saved for a backward; a copy made outside of it can.
        return value.clone() if value.is_inference() else value.detach()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufc":
            raise InputError(
                "an array of inputs holds no numbers", got=f"dtype {value.dtype}", expected="numbers (N, ...)"
            )
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, list):
        if value and all(isinstance(v, torch.Tensor) for v in value):
            if len({v.shape for v in value}) == 1:
                return torch.stack(value)
            value = [v.detach().cpu().numpy() for v in value]
        try:
            return torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError) as error:
            raise InputError(
                "the list of inputs is ragged or no numbers", got=str(error).splitlines()[0], expected="equal shapes"
            ) from error
    return value


def _moved(tensor: torch.Tensor, subject: Subject) -> torch.Tensor:
    device = subject.device
    if device.type == "meta":
        raise InputError(
            "the network has no weights (it is on the meta device), so it can't be run",
            remedy="load its weights, or use a method that needs no data",
        )
    return tensor.to(device, subject.dtype if tensor.is_floating_point() else None)


def _counted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
    tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor)]
    if not tensors:
        got = ", ".join(type(v).__name__ for v in (*args, *kwargs.values())) or "nothing"
        raise InputError(
            "no input for the network",
            got=got,
            expected="a tensor or array (N, ...), a tuple or dict of them, images or paths",
            remedy="a table as numbers: table.to_numpy('float32')" if "Frame" in got or "Series" in got else None,
        )
    if any(t.ndim == 0 for t in tensors) or len(tensors[0]) == 0:
        raise InputError(
            "an input has no batch axis, or no rows",
            got=[tuple(t.shape) for t in tensors],
            expected="(N, ...) with N at least 1",
        )
    return Inputs(args, kwargs, len(tensors[0]))


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all values are finite: a finite sum says so at once; only where it overflows is each one looked at."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _check(inputs: Inputs, module: nn.Module) -> None:
    for tensor in inputs.tensors:
        if tensor.is_floating_point() and not _is_finite(tensor):
            bad = ~torch.isfinite(tensor).flatten(1).all(1)
            rows = torch.nonzero(bad).flatten().tolist()
            raise NumericalError(
                "an input holds NaN or infinity",
                got=f"example {rows[0]} and {len(rows) - 1} more" if len(rows) > 1 else f"example {rows[0]}",
                remedy="check how the data were loaded and scaled",
            )
    main = inputs.main
    dense = next((m for m in module.modules() if isinstance(m, nn.Linear)), None)
    if dense is not None and main.ndim == 1 and main.is_floating_point() and len(main) == dense.in_features > 1:
        raise InputError(
            "the input has no batch axis",
            got=f"shape {tuple(main.shape)}",
            expected=f"(N, {len(main)})",
            remedy="add one: x[None]",
        )
    conv = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and main.ndim == 3 and main.is_floating_point() and main.shape[0] == conv.in_channels:
        raise InputError(
            "the input has no batch axis",
            got=f"shape {tuple(main.shape)}",
            expected=f"(N, {', '.join(map(str, main.shape))})",
            remedy="add one: x[None]",
        )


def mask_of(inputs: Inputs) -> torch.Tensor | None:
    """(N, L) the mask by which the network is told which positions of its main input are no padding, if it is."""
    mask = inputs.kwargs.get("attention_mask")
    return mask if isinstance(mask, torch.Tensor) and mask.shape == inputs.main.shape[:2] else None


def real_positions(inputs: Inputs, tokenizer: Any) -> torch.Tensor | None:
    """(N, L) which positions are no padding: those of the attention mask; of texts without one all but the tokenizer's
    padding token at both ends, unless that is its end token, too. None where nothing is padded.
    """
    mask, main = mask_of(inputs), inputs.main
    filler = getattr(tokenizer, "pad_token_id", None)
    if mask is not None:
        real = mask != 0
    elif (
        main.ndim == 2
        and not main.is_floating_point()
        and filler not in (None, getattr(tokenizer, "eos_token_id", None))
    ):
        words = main != filler
        real = (words.cumsum(1) > 0) & (words.flip(1).cumsum(1) > 0).flip(1)
    else:
        return None
    return None if bool(real.all()) else real


def samples_of(inputs: Inputs, subject: Subject) -> tuple[Samples, str | None]:
    """The examples as people know them, and a note where their pictures had to be guessed."""
    from fluoroscope.model.texts import token_names

    names = inputs.names or tuple(f"input {i}" for i in range(inputs.count))
    main = inputs.main
    if main.ndim == 2 and not main.is_floating_point():
        features = inputs.features or tuple(tuple(token_names(row, subject.tokenizer)) for row in main.tolist())
        real = torch.ones_like(main) if inputs.real is None else inputs.real
        return Samples(names=names, features=features, real=real.bool().cpu().numpy()), None
    if main.ndim == 3 and main.is_floating_point():
        series = _shown_series(main.movedim(inputs.axes_of(main).index(ax.C), 1))
        return Samples(names=names, series=series, features=_channels(inputs, series.shape[1], subject)), None
    if main.ndim != 4 or not main.is_floating_point():
        rows = main.detach().cpu().double().numpy() if main.ndim == 2 and main.shape[1] <= COLUMNS else None
        return Samples(names=names, features=inputs.features if main.ndim == 2 else (), rows=rows), None
    if subject.invert is None and inputs.axes_of(main) != usual_axes(main):
        return Samples(names=names), f"an input of {main.shape[1]} channels can't be shown as a picture"
    images, note = displayable(main, subject.invert or getattr(subject.preprocess, "invert", None))
    return Samples(names=names, images=images), note


def _channels(inputs: Inputs, count: int, subject: Subject) -> tuple[tuple[str, ...], ...]:
    """The names of the channels of each series, where they are known."""
    told = tuple(map(str, subject.channels or ()))
    return inputs.features or ((told,) * inputs.count if len(told) == count else ())


def _shown_series(series: torch.Tensor) -> Array:
    """Series (N, C, T) as they are drawn, at most some hundred thousand numbers an example."""
    exact = series.detach().cpu()
    numbers = (exact if exact.dtype == torch.float64 else exact.float()).numpy()
    return ranges(numbers, min(max(SERIES // max(numbers.shape[1], 1), 512), 4096))
