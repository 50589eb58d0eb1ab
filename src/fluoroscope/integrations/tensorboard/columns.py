"""From events to columns by tag."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np

from fluoroscope.integrations.tensorboard import hparams
from fluoroscope.integrations.tensorboard.event import Event, Value, read_event
from fluoroscope.integrations.tensorboard.records import EventLog, Histograms, Images, Problem, Scalars, Texts
from fluoroscope.integrations.tensorboard.scalar_batches import Points, ScalarBatches
from fluoroscope.integrations.tensorboard.tensors import (
    bucket_histogram,
    encoded_image,
    read_tensor,
    triple_histogram,
)
from fluoroscope.results import Array

__all__ = ["ColumnBuilder"]


class ColumnBuilder:
    """Collects what one reading of a file finds, and hands it over in the order of the file."""

    def __init__(self, path: str, plugins: dict[str, str]) -> None:
        self._path = path
        self._plugins = plugins
        self._batches = ScalarBatches(plugins)
        self._block: list[Points] = []
        self._blocks: list[Points] = []
        self._singles: list[tuple[int, int, int, float, float]] = []
        self._histograms: dict[str, list[tuple[int, float, Array, Array]]] = {}
        self._images: dict[str, list[tuple[int, float, tuple[bytes, ...]]]] = {}
        self._texts: dict[str, list[tuple[int, float, tuple[str, ...]]]] = {}
        self._hparams: dict[str, Any] = {}
        self._left_out: Counter[str] = Counter()
        self._restarts: list[int] = []
        self._problems: list[Problem] = []

    def trouble(self, start: int, what: str) -> None:
        """Remember that the record whose content begins at ``start`` could not be read."""
        self._problems.append(Problem(self._path, start - 12, what))

    def rows(self, rows: Array, places: Array) -> Array:
        """Read equally long events together; the answer are those that hold more than numbers."""
        points, rest = self._batches.read(rows, places)
        self._block += points
        return rest

    def event(self, data: bytes, place: int) -> None:
        """Read one event. Raises Malformed."""
        event = read_event(data)
        if event.kind == "start":
            self._restarts.append(event.step)
        elif event.kind not in ("summary", "version", "session", "empty"):
            self._left_out[event.kind] += 1
        for value in event.values:
            if value.plugin is not None:
                self._plugins.setdefault(value.tag, value.plugin)
            self._value(data, place, event, value)

    def _value(self, data: bytes, place: int, event: Event, value: Value) -> None:
        plugin = self._plugins.get(value.tag, "")
        at = (event.step, event.time)
        if plugin == hparams.PLUGIN:
            self._hparams.update(hparams.read_hparams(data, *value.content))
        elif value.kind == "simple":
            number = float(np.frombuffer(data[value.start : value.end], "<f4")[0])
            self._singles.append((self._batches.identity(value.tag, False), place, event.step, number, event.time))
        elif value.kind == "histogram":
            buckets = bucket_histogram(data, value.start, value.end)
            self._histograms.setdefault(value.tag, []).append((*at, *buckets))
        elif value.kind == "image":
            picture = encoded_image(data, value.start, value.end)
            self._images.setdefault(value.tag, []).append((*at, (picture,)))
        elif value.kind == "tensor" and plugin in ("", "scalars", "histograms", "images", "text"):
            self._tensor(data, place, event, value, plugin)
        else:
            self._left_out[plugin or value.kind or "empty value"] += 1

    def _tensor(self, data: bytes, place: int, event: Event, value: Value, plugin: str) -> None:
        tensor = read_tensor(data, value.start, value.end)
        at = (event.step, event.time)
        if plugin == "text" and tensor.strings is not None:
            texts = tuple(s.decode("utf-8", "replace") for s in tensor.strings)
            self._texts.setdefault(value.tag, []).append((*at, texts))
        elif plugin == "images" and tensor.strings is not None:
            self._images.setdefault(value.tag, []).append((*at, tensor.strings[2:]))  # after width and height
        elif plugin == "histograms" and tensor.strings is None:
            triples = triple_histogram(tensor.values)
            self._histograms.setdefault(value.tag, []).append((*at, *triples))
        elif plugin in ("", "scalars") and tensor.strings is None and tensor.values.size == 1:
            # without a plugin yet, the metadata may still come; :meth:`into` decides
            identity = self._batches.identity(value.tag, True)
            self._singles.append((identity, place, event.step, float(tensor.values.reshape(-1)[0]), event.time))
        else:
            self._left_out[plugin or "tensor"] += 1

    def end_block(self) -> None:
        """Put the numbers of a block of records into the order of the file."""
        if self._singles:
            columns = list(zip(*self._singles, strict=True))
            tags, places, steps = (np.array(c, np.int64) for c in columns[:3])
            self._block.append(Points(tags, places, steps, np.array(columns[3], float), np.array(columns[4], float)))
            self._singles = []
        if self._block:
            self._blocks.append(_sorted(self._block, 1))
            self._block = []

    def into(self, log: EventLog) -> None:
        """Hand everything over to ``log``."""
        self._numbers(log)
        for tag, rows in self._histograms.items():
            steps, times, edges, counts = zip(*rows, strict=True)
            log.histograms[tag] = Histograms(np.array(steps, np.int64), np.array(times, float), edges, counts)
        for tag, pictures in self._images.items():
            steps, times, found = zip(*pictures, strict=True)
            log.images[tag] = Images(np.array(steps, np.int64), np.array(times, float), found)
        for tag, texts in self._texts.items():
            steps, times, said = zip(*texts, strict=True)
            log.texts[tag] = Texts(np.array(steps, np.int64), np.array(times, float), said)
        log.hparams.update(self._hparams)
        log.left_out.update(self._left_out)
        log.restarts += self._restarts
        log.problems += sorted(self._problems, key=lambda p: p.offset)

    def _numbers(self, log: EventLog) -> None:
        if not self._blocks:
            return
        points = _sorted(self._blocks, 0)
        names = {identity: key for key, identity in self._batches.tags.items()}
        cuts = np.flatnonzero(np.diff(points.tags)) + 1
        for a, b in pairwise([0, *cuts.tolist(), len(points.tags)]):
            tag, tensor = names[int(points.tags[a])]
            column = Scalars(points.steps[a:b], points.values[a:b], points.times[a:b])
            if tensor and self._plugins.get(tag, "") != "scalars":
                self._left_out[self._plugins.get(tag, "") or "tensor"] += b - a
            elif tag in log.scalars:  # one tag in both formats
                log.scalars[tag] = Scalars(*(np.concatenate(c) for c in zip(log.scalars[tag], column, strict=True)))
            else:
                log.scalars[tag] = column


def _sorted(parts: list[Points], by: int) -> Points:
    joined = Points(*(np.concatenate(c) if len(parts) > 1 else c[0] for c in zip(*parts, strict=True)))
    key = joined[by]
    if len(key) < 2 or (np.diff(key) >= 0).all():
        return joined
    order = np.argsort(key, kind="stable")
    return Points(*(column[order] for column in joined))
