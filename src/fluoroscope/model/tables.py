"""Tables of pandas as inputs: columns become features, rows examples. pandas is not imported: who has one, has it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import InputError, NumericalError
from fluoroscope.results import Array

__all__ = ["Table", "as_table", "numbers_of"]

NUMBERS = "biuf"
SHOWN = 5  # columns that a message names


@dataclass(frozen=True)
class Table:
    """A table as numbers (N, D), with the names of its columns and rows."""

    values: torch.Tensor
    columns: tuple[str, ...]
    rows: tuple[str, ...]


def as_table(value: Any, module: nn.Module | None = None) -> Table | None:
    """A pandas DataFrame as numbers, a Series as one row of it, a list of frames as series (N, T, C) with a channel for
    each column; None for everything else.

    Whole numbers become real ones, as columns are numbers to a network, unless all columns are whole and the network
    looks them up in an ``nn.Embedding``.

    Raises:
        InputError: a column holds no numbers (categories, texts, dates), or the frames of a list differ.
        NumericalError: values are missing.
    """
    if isinstance(value, list) and value and all(_frame(v) is not None for v in value):
        return _stacked([as_table(v, module) for v in value])
    frame = _frame(value)
    if frame is None:
        return None
    columns = tuple(".".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in frame.columns)
    _check_numbers(columns, list(frame.dtypes))
    rows = tuple(f"row {label}" if isinstance(label, (int, np.integer)) else str(label) for label in frame.index)
    _check_missing(columns, rows, np.asarray(frame.isna().to_numpy(), bool))
    kinds = {dtype.kind for dtype in frame.dtypes}
    whole = bool(kinds) and kinds <= {"i", "u"} and module is not None and _looks_up(module)
    return Table(torch.from_numpy(np.array(frame.to_numpy("int64" if whole else "float64"))), columns, rows)


def _stacked(tables: list[Any]) -> Table:
    """Tables of several series as one, (N, T, C)."""
    first = tables[0]
    odd = next((t for t in tables if t.columns != first.columns or t.values.shape != first.values.shape), None)
    if odd is not None:
        raise InputError(
            "tables of several series differ",
            got=f"{tuple(odd.values.shape)} with columns {_some(list(odd.columns))}",
            expected=f"{tuple(first.values.shape)} with columns {_some(list(first.columns))}, steps down",
        )
    return Table(torch.stack([t.values for t in tables]), first.columns, ())


def numbers_of(value: Any) -> Any:
    """The numbers of a table as a tensor; anything else as it is. Raises InputError, NumericalError."""
    table = as_table(value)
    return value if table is None else table.values


def _frame(value: Any) -> Any:
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.DataFrame, pandas.Series)):
        return None
    return value if isinstance(value, pandas.DataFrame) else value.to_frame().T.infer_objects()


def _looks_up(module: nn.Module) -> bool:
    return any(isinstance(m, (nn.Embedding, nn.EmbeddingBag)) for m in module.modules())


def _check_numbers(columns: tuple[str, ...], dtypes: list[Any]) -> None:
    wrong = [f"{name!r} ({dtype})" for name, dtype in zip(columns, dtypes, strict=True) if dtype.kind not in NUMBERS]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(columns)} columns of the table hold no numbers",
            got=_some(wrong),
            expected="numbers, coded and scaled as those that the network was trained on",
            remedy="code them as in training: pandas.get_dummies(table), column.astype('category').cat.codes, "
            "(dates - start).dt.days",
        )


def _check_missing(columns: tuple[str, ...], rows: tuple[str, ...], missing: Array) -> None:
    if not missing.any():
        return
    counts = missing.sum(0)
    raise NumericalError(
        "values of the table are missing",
        got=_some([f"{columns[i]!r} in {counts[i]} of {len(rows)} rows" for i in np.flatnonzero(counts)])
        + f"; the first is {rows[int(missing.any(1).argmax())]}",
        remedy="fill them as in training, table.fillna(...), or leave these rows out, table.dropna()",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
