"""What of a file can be read: all at once where it is whole, else series by series, quantity by quantity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import ResultFileError
from fluoroscope.training.store.column import Column
from fluoroscope.training.store.reader import BROKEN, Reader, TensorTable

if TYPE_CHECKING:
    from fluoroscope.training.store.run import Run

__all__ = ["readable_columns", "readable_tensors", "told_lost"]

NAMED = 5


def readable_columns(run: Run, names: Iterable[str] | None) -> tuple[dict[str, Column], tuple[str, ...]]:
    """The series of ``run`` that can be read, of those named or of all, and the names of the others.

    Raises:
        ResultFileError: none can be read.
    """
    asked = list(run.names() if names is None else names)
    try:
        return run.columns(asked), ()
    except ResultFileError:
        pass
    found: dict[str, Column] = {}
    errors: dict[str, ResultFileError] = {}
    for name in asked:
        try:
            found[name] = run.column(name)
        except ResultFileError as error:
            errors[name] = error
    if errors and not found:
        raise next(iter(errors.values()))
    return found, tuple(errors)


def readable_tensors(
    reader: Reader, quantities: set[str] | None, counts: bool
) -> tuple[list[TensorTable], tuple[str, ...]]:
    """The statistics of one file that can be read, and the quantities that can't be."""
    try:
        return list(reader.tensors(quantities, counts)), ()
    except BROKEN:
        pass
    try:
        known = {
            q: None for layout in reader.tensor_layouts().values() for q in (*layout.quantities, *layout.histograms)
        }
    except BROKEN:
        return [], ("all",)
    tables: list[TensorTable] = []
    lost: list[str] = []
    for quantity in known:
        if quantities is None or quantity in quantities:
            try:
                tables += list(reader.tensors({quantity}, counts))
            except BROKEN:
                lost.append(quantity)
    return tables, tuple(lost)


def told_lost(what: str, names: Sequence[str], count: int) -> list[str]:
    """A note that says what can't be read; none where everything can."""
    if not names:
        return []
    some = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
    return [
        f"the record is damaged: {len(names):,} of {count:,} {what} can't be read and are left out: {some}. There are "
        "no checksums: single values of the others may be wrong too"
    ]
