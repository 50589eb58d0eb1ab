"""Settings of a run, as the HParams plugin of TensorBoard keeps them in the metadata of a summary.

Source: tensorboard/plugins/hparams/plugin_data.proto and api.proto; google/protobuf/struct.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from fluoroscope.integrations.tensorboard.wire import BYTES, EIGHT, VARINT, chunk, double, fields, number

__all__ = ["EXPERIMENT", "PLUGIN", "SESSION_END", "SESSION_START", "experiment", "read_hparams", "session_end"]
__all__ += ["session_start"]

PLUGIN = "hparams"
EXPERIMENT = "_hparams_/experiment"
SESSION_START = "_hparams_/session_start_info"
SESSION_END = "_hparams_/session_end_info"
STRING_TYPE, BOOL_TYPE, NUMBER_TYPE = 1, 2, 3
SUCCESS = 1
EXACT = 2**53  # up to here every whole number is a double
Setting = str | float | bool | None | list[Any] | dict[str, Any]


def read_hparams(data: bytes, start: int, end: int) -> dict[str, Any]:
    """The settings in a ``session_start_info``; empty for the other messages of the plugin. Raises Malformed."""
    found: dict[str, Any] = {}
    for field in fields(data, start, end):
        if field.number == 3 and field.wire == BYTES:
            for entry in fields(data, field.start, field.end):
                if entry.number == 1 and entry.wire == BYTES:
                    found.update([_entry(data, entry.start, entry.end)])
    return found


def _entry(data: bytes, start: int, end: int) -> tuple[str, Setting]:
    key, value = "", None
    for field in fields(data, start, end):
        if field.number == 1 and field.wire == BYTES:
            key = data[field.start : field.end].decode("utf-8", "replace")
        elif field.number == 2 and field.wire == BYTES:
            value = _value(data, field.start, field.end)
    return key, value


def _value(data: bytes, start: int, end: int) -> Setting:
    for field in fields(data, start, end):
        if field.number == 2 and field.wire == EIGHT:
            return _number(float(struct.unpack_from("<d", data, field.start)[0]))
        if field.number == 3 and field.wire == BYTES:
            return data[field.start : field.end].decode("utf-8", "replace")
        if field.number == 4 and field.wire == VARINT:
            return bool(field.value)
        if field.number == 5 and field.wire == BYTES:
            inner = fields(data, field.start, field.end)
            return dict(_entry(data, f.start, f.end) for f in inner if f.number == 1)
        if field.number == 6 and field.wire == BYTES:
            return [_value(data, f.start, f.end) for f in fields(data, field.start, field.end) if f.number == 1]
    return None


def _number(value: float) -> float:
    """A number as it was most likely given: the format has doubles only, so that whole ones are taken for integers."""
    return int(value) if value.is_integer() and abs(value) <= EXACT else value


def _written(value: Any) -> tuple[int, bytes]:
    """The type of a setting and its value; what is no number, truth value or text is told as text."""
    if isinstance(value, bool):
        return BOOL_TYPE, number(4, int(value))
    if isinstance(value, (int, float)):
        return NUMBER_TYPE, double(2, float(value))
    return STRING_TYPE, chunk(3, "" if value is None else str(value))


def session_start(config: Mapping[str, Any], time: float) -> bytes:
    """The plugin's content that begins a run with the settings ``config``."""
    inner = b"".join(chunk(1, chunk(1, key) + chunk(2, _written(value)[1])) for key, value in config.items())
    return chunk(3, inner + double(5, time))


def session_end(time: float) -> bytes:
    """The plugin's content that ends it."""
    return chunk(4, number(1, SUCCESS) + double(2, time))


def experiment(config: Mapping[str, Any], metrics: tuple[str, ...]) -> bytes:
    """The plugin's content that names settings and the series they are judged by."""
    infos = b"".join(chunk(4, chunk(1, key) + number(4, _written(value)[0])) for key, value in config.items())
    return chunk(2, infos + b"".join(chunk(5, chunk(1, chunk(2, tag))) for tag in metrics))
