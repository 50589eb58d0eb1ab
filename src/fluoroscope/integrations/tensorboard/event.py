"""One event: wall time, step, and the places of its values within the message.

Source: event.proto and summary.proto of TensorFlow; the numbers below are their field numbers.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from fluoroscope.integrations.tensorboard.wire import BYTES, EIGHT, FOUR, VARINT, Malformed, fields, signed

__all__ = ["Event", "Value", "read_event"]

KINDS = {2: "simple", 3: "obsolete", 4: "image", 5: "histogram", 6: "audio", 8: "tensor"}
OTHERS = {4: "graph", 6: "log message", 8: "run metadata", 9: "graph"}
SESSION_START = 1


class Value(NamedTuple):
    """One value of a summary: its tag, what it is, where its content lies, and what its metadata says."""

    tag: str
    kind: str
    start: int
    end: int
    plugin: str | None
    content: tuple[int, int]


class Event(NamedTuple):
    """``kind`` is ``summary``, ``version``, ``start`` (of a session), or the name of what is left out."""

    time: float
    step: int
    kind: str
    values: tuple[Value, ...]


def read_event(data: bytes) -> Event:
    """The event that ``data`` is. Raises Malformed."""
    time, step, kind = 0.0, 0, "empty"
    values: list[Value] = []
    for field in fields(data):
        if field.number == 1 and field.wire == EIGHT:
            (time,) = struct.unpack_from("<d", data, field.start)
        elif field.number == 2 and field.wire == VARINT:
            step = signed(field.value)
        elif field.number == 3:
            kind = "version"
        elif field.number == 5 and field.wire == BYTES:
            kind = "summary"
            values += [_value(data, f.start, f.end) for f in fields(data, field.start, field.end) if f.number == 1]
        elif field.number == 7 and field.wire == BYTES:
            kind = _session(data, field.start, field.end)
        elif field.number in OTHERS:
            kind = OTHERS[field.number]
    return Event(time, step, kind, tuple(values))


def _session(data: bytes, start: int, end: int) -> str:
    status = next((f.value for f in fields(data, start, end) if f.number == 1 and f.wire == VARINT), 0)
    return "start" if status == SESSION_START else "session"


def _value(data: bytes, start: int, end: int) -> Value:
    tag, kind, begin, stop = "", "", start, start
    plugin: str | None = None
    content = (0, 0)
    for field in fields(data, start, end):
        if field.number == 1 and field.wire == BYTES:
            tag = data[field.start : field.end].decode("utf-8", "replace")
        elif field.number == 9 and field.wire == BYTES:
            plugin, content = _metadata(data, field.start, field.end)
        elif field.number in KINDS:
            kind, begin, stop = KINDS[field.number], field.start, field.end
            if (kind == "simple") != (field.wire == FOUR):
                raise Malformed("a value has the wrong wire type")
    return Value(tag, kind, begin, stop, plugin, content)


def _metadata(data: bytes, start: int, end: int) -> tuple[str, tuple[int, int]]:
    name, content = "", (0, 0)
    for outer in fields(data, start, end):
        if outer.number == 1 and outer.wire == BYTES:
            for inner in fields(data, outer.start, outer.end):
                if inner.number == 1 and inner.wire == BYTES:
                    name = data[inner.start : inner.end].decode("utf-8", "replace")
                elif inner.number == 2 and inner.wire == BYTES:
                    content = (inner.start, inner.end)
    return name, content
