"""A run out of the store: as event files of TensorBoard, Parquet, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.errors import ResultFileError
from fluoroscope.integrations.tensorboard.log_folder import MARK
from fluoroscope.integrations.tensorboard.writer import EventWriter
from fluoroscope.results import Array, Media, atomic_write
from fluoroscope.training.store import Run
from fluoroscope.training.store.folder import safe_name

__all__ = ["export_csv", "export_tensorboard"]

METRICS = 100
"""Series that the HParams tab offers for comparing runs."""


def export_tensorboard(run: Run, folder: str | Path, *, tensors: bool = False) -> Path:
    """Write a run as an event file into ``folder/NAME``; returns the file.

    TensorBoard takes a folder for a run, and gives it the folder's name; runs called ``a/b`` lie in ``folder/a/b``.
    Characters of a name that are no letters or digits become dashes, with a digest that keeps two names apart.

    Every point of every series, with its step and wall time, in single precision as the format has it; pictures and
    texts as they are; the settings for the HParams tab. With ``tensors`` also the statistics of parameters, as series
    ``gradient/norm/<parameter>``, and their histograms.

    Raises:
        ResultFileError: the folder can't be written, or event files lie there already.
    """
    names = run.names()
    columns = run.columns()
    with EventWriter(_own_folder(run.name, Path(folder))) as writer:
        config = _flat(run.config)
        if config:
            writer.hparams(config, names[:METRICS], run.started)
        for name, column in columns.items():
            writer.scalars(name, column.steps, column.values, column.times)
        _media(run.media(), writer)
        if tensors:
            _tensors(run, writer)
    return writer.path


def _own_folder(name: str, folder: Path) -> Path:
    """The folder of the run of that name; every file of events in it would go on with the same series."""
    own = folder.joinpath(*(safe_name(part) for part in name.split("/") if part))
    there = sorted(file.name for file in own.glob(f"*{MARK}*")) if own.is_dir() else []
    if there:
        raise ResultFileError(
            f"{own} holds event files already; TensorBoard would join both to one run",
            got=f"{there[0]}" + (f" and {len(there) - 1} more" if len(there) > 1 else ""),
            expected="a folder without event files",
            remedy="choose another folder, or remove these files",
        )
    return own


def _media(media: Media, writer: EventWriter) -> None:
    for name, series in media.images.items():
        for moment in _moments(series.parts):
            first = moment[0]
            size = (int(series.widths[first]), int(series.heights[first]))
            pictures = [data for data in map(series.picture, moment) if data]
            writer.encoded_images(name, int(series.steps[first]), pictures, size, float(series.times[first]))
    for name, texts in media.texts.items():
        for moment in _moments(texts.parts):
            first = moment[0]
            said = [texts.texts[i] for i in moment]
            writer.text(name, int(texts.steps[first]), said, float(texts.times[first]))


def _moments(parts: Array) -> list[list[int]]:
    """What was logged at once: a moment begins with part 0."""
    starts = np.flatnonzero(parts == 0)
    return [part.tolist() for part in np.split(np.arange(len(parts)), starts[1:]) if len(part)]


def _tensors(run: Run, writer: EventWriter) -> None:
    history = run.tensor_history()
    for quantity, values in history.statistics.items():
        known = history.recorded[quantity]
        for i, name in enumerate(history.names):
            steps = history.steps[known[i]]
            times = np.full(len(steps), run.started) + np.arange(len(steps)) * 1e-6
            writer.scalars(f"{quantity}/{name}", steps, values[i, known[i]], times)
    for quantity, histograms in history.histograms.items():
        for i, name in enumerate(history.names):
            for j in np.flatnonzero(histograms.counts[i].any(axis=1)).tolist():
                filled = np.flatnonzero(histograms.counts[i, j])
                part = slice(int(filled[0]), int(filled[-1]) + 1)
                edges = histograms.edges[part.start : part.stop + 1]
                counts = histograms.counts[i, j, part]
                writer.histogram(f"{quantity}/{name}", int(histograms.steps[j]), edges, counts, run.started)


def export_csv(run: Run, path: str | Path) -> Path:
    """Write every point as a line ``series,step,value,time``; numbers read back exactly. Raises ResultFileError."""
    target = Path(path)
    with atomic_write(target) as handle:
        handle.write(_lines([("series", "step", "value", "time")]))
        for name, column in run.columns().items():
            rows = zip(column.steps.tolist(), column.values.tolist(), column.times.tolist(), strict=True)
            handle.write(_lines((name, step, repr(value), repr(time)) for step, value, time in rows))
    return target


def _lines(rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        inner = isinstance(value, Mapping) and bool(value)
        found.update(_flat(value, f"{before}{key}.") if inner else {f"{before}{key}": value})
    return found
