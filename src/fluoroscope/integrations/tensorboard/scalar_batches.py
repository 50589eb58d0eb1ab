"""Events that hold nothing but numbers, many at once.

Equally long events of one tag differ only in their time, step and numbers. So one of them is parsed, which says where
these lie, all with the same other bytes are cut out of the file as columns, and no message is looked at by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fluoroscope.integrations.tensorboard.event import read_event
from fluoroscope.integrations.tensorboard.tensors import scalar_slot
from fluoroscope.integrations.tensorboard.wire import Malformed
from fluoroscope.results import Array

__all__ = ["Points", "ScalarBatches", "Slot"]

STEP = 10  # where the step's digits begin, after one byte and the time and one byte
LONGEST_STEP = 5  # bytes of a step that are read here; a step beyond 2^35 is read by itself
HASH = 0x9E3779B97F4A7C15


class Slot(NamedTuple):
    """One number of an event: its place in the message, its type, its tag, and whether it stands in a tensor."""

    offset: int
    dtype: str
    tag: str
    tensor: bool


class Points(NamedTuple):
    """Numbers found in a block: ``tags`` (P,) are identities of :attr:`ScalarBatches.tags`."""

    tags: Array
    places: Array
    steps: Array
    values: Array
    times: Array


class ScalarBatches:
    """Reads blocks of equally long events; remembers every layout it has seen, and every tag's plugin."""

    def __init__(self, plugins: dict[str, str]) -> None:
        self.tags: dict[tuple[str, bool], int] = {}
        self.plugins = plugins
        self._layouts: dict[object, tuple[Slot, ...] | None] = {}

    def identity(self, tag: str, tensor: bool) -> int:
        """The number that stands for a tag."""
        return self.tags.setdefault((tag, tensor), len(self.tags))

    def read(self, rows: Array, places: Array) -> tuple[list[Points], Array]:
        """Numbers in the events ``rows`` (N, L) that begin at ``places`` (N,), and which rows hold anything else."""
        found: list[Points] = []
        rest: list[Array] = []
        digits = _digits(rows)
        for count in np.unique(digits).tolist():
            which = np.flatnonzero(digits == count)
            if count < 0:
                rest.append(which)
                continue
            whole = len(which) == len(rows)
            points, left = self._equal_steps(rows if whole else rows[which], places[which], count)
            found += points
            rest.append(which[left])
        return found, np.concatenate(rest) if rest else np.zeros(0, np.int64)

    def _equal_steps(self, rows: Array, places: Array, digits: int) -> tuple[list[Points], Array]:
        """Events whose steps have equally many ``digits``; the second answer are the rows that are left over."""
        found: list[Points] = []
        rest: list[int] = []
        waiting = np.arange(len(rows))
        while len(waiting):
            part = rows[waiting] if len(waiting) < len(rows) else rows
            slots = self._layout(part[0], digits)
            if slots is None:
                rest.append(int(waiting[0]))
                waiting = waiting[1:]
                if len(rest) > 32 and len(rest) > len(rows) // 8:
                    return found, np.concatenate([rest, waiting]).astype(np.int64)
                continue
            points, taken = self._columns(part, places[waiting], digits, slots)
            found += points
            if not taken[0]:  # two layouts with one hash: read by itself, so that the loop always ends
                rest.append(int(waiting[0]))
                taken[0] = True
            waiting = waiting[~taken]
        return found, np.array(rest, np.int64)

    def _columns(self, rows: Array, places: Array, digits: int, slots: tuple[Slot, ...]) -> tuple[list[Points], Array]:
        """The rows whose numbers lie where those of ``slots`` do, and which rows those are."""
        fixed = _fixed(rows, digits, slots)
        _, first, group = np.unique(_hashes(fixed), return_index=True, return_inverse=True)
        alike = (fixed == fixed[first[group]]).all(axis=1)
        kind = (rows.shape[1], digits, *((s.offset, s.dtype) for s in slots))
        layouts = [self._layout(rows[i], digits, (kind, fixed[i].tobytes())) for i in first.tolist()]
        same = np.array([_same_places(layout, slots) for layout in layouts])
        taken = alike & same[group]
        chosen = slice(None) if taken.all() else taken
        rows, places, group = rows[chosen], places[chosen], group[chosen]
        steps, times = _steps(rows, digits), np.ascontiguousarray(rows[:, 1:9]).view("<f8")[:, 0]
        points = []
        for i, slot in enumerate(slots):
            kinds = [a[i] if ok and a else slot for a, ok in zip(layouts, same, strict=True)]
            names = [self.identity(kind.tag, kind.tensor) for kind in kinds]
            width = np.dtype(slot.dtype).itemsize
            raw = np.ascontiguousarray(rows[:, slot.offset : slot.offset + width]).view(slot.dtype)[:, 0]
            points.append(Points(np.array(names)[group], places, steps, raw.astype(np.float64), times))
        return points, taken

    def _layout(self, row: Array, digits: int, key: object = None) -> tuple[Slot, ...] | None:
        """Where the numbers of an event are; None where it holds anything else."""
        if key is None:
            return self._parsed(row, digits)
        if key not in self._layouts:
            self._layouts[key] = self._parsed(row, digits)
        return self._layouts[key]

    def _parsed(self, row: Array, digits: int) -> tuple[Slot, ...] | None:
        data = row.tobytes()
        try:
            event = read_event(data)
            slots = []
            for value in event.values:
                if value.kind == "simple":
                    slots.append(Slot(value.start, "<f4", value.tag, False))
                    continue
                place = scalar_slot(data, value.start, value.end) if value.kind == "tensor" else None
                if place is None or self.plugins.get(value.tag, value.plugin) == "hparams":
                    return None
                slots.append(Slot(place[0], place[1], value.tag, True))
        except Malformed:
            return None
        head = STEP + digits if digits else STEP - 1
        if event.kind != "summary" or not slots or min(s.offset for s in slots) < head:
            return None
        for value in event.values:
            if value.plugin is not None:
                self.plugins.setdefault(value.tag, value.plugin)
        return tuple(slots)


def _digits(rows: Array) -> Array:
    """Bytes of each event's step (N,): 0 where it has none, -1 where the event is laid out otherwise."""
    count = np.full(len(rows), -1)
    if rows.shape[1] < STEP + LONGEST_STEP + 1:
        return count
    timed = rows[:, 0] == 0x09
    count[timed & (rows[:, STEP - 1] == 0x2A)] = 0
    going = timed & (rows[:, STEP - 1] == 0x10)
    for i in range(LONGEST_STEP):
        last = going & (rows[:, STEP + i] < 0x80)
        count[last] = i + 1
        going &= ~last
    return count


def _steps(rows: Array, digits: int) -> Array:
    steps = np.zeros(len(rows), np.int64)
    for i in range(digits):
        steps |= (rows[:, STEP + i].astype(np.int64) & 0x7F) << (7 * i)
    return steps


def _fixed(rows: Array, digits: int, slots: tuple[Slot, ...]) -> Array:
    """The events with time, step and numbers blanked, filled up to whole words (N, W) of eight bytes."""
    length = rows.shape[1]
    out = np.zeros((len(rows), -(-length // 8) * 8), np.uint8)
    out[:, :length] = rows
    out[:, 1:9] = 0
    out[:, STEP : STEP + digits] = 0
    for slot in slots:
        out[:, slot.offset : slot.offset + np.dtype(slot.dtype).itemsize] = 0
    return out.view(np.uint64)


def _hashes(words: Array) -> Array:
    """A number for each row of words; equal rows have equal ones. What differs is compared afterwards."""
    state = np.zeros(len(words), np.uint64)
    for i in range(words.shape[1]):
        state = (state ^ words[:, i]) * np.uint64(HASH)
        state ^= state >> np.uint64(29)
    return state


def _same_places(layout: tuple[Slot, ...] | None, slots: tuple[Slot, ...]) -> bool:
    if layout is None or len(layout) != len(slots):
        return False
    return all(a.offset == b.offset and a.dtype == b.dtype for a, b in zip(layout, slots, strict=True))
