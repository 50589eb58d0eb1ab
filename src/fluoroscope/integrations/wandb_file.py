"""Offline logs of Weights & Biases (``run-….wandb``), read without the wandb package: series, settings, the
summary, histograms, texts, pictures.

A file is a head of seven bytes and then blocks of 32 KiB as LevelDB's log has them: records in pieces of ``crc (4),
length (2), kind (1), content``, where the CRC-32 is over kind and content, without LevelDB's mask. The content is a
``Record`` of wandb_internal.proto; the numbers below are its field numbers. What is not imported (tables, audio,
artifacts, console output, system statistics) is counted by name.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.integrations.tensorboard.records import EventLog, Histograms, Images, Problem, Scalars, Texts
from fluoroscope.integrations.tensorboard.wire import BYTES, EIGHT, FOUR, VARINT, Malformed, fields, signed
from fluoroscope.results.picture_file import LARGEST

__all__ = ["WandbRun", "read_wandb_file"]

IDENT, MAGIC = b":W&B", 0xBEE1
HEAD, BLOCK, PIECE = 7, 32768, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, SUMMARY, CONFIG, RUN = 2, 3, 5, 17
LEFT_OUT = {4: "console output", 7: "system statistics", 8: "artifact", 9: "TensorBoard link", 10: "alert"}
LEFT_OUT |= {13: "console output", 25: "artifact"}


class WandbRun(NamedTuple):
    """A run: its id, the name it was given, and what was logged."""

    identity: str
    name: str
    log: EventLog


def read_wandb_file(path: str | Path) -> WandbRun:
    """The run in one ``.wandb`` file. A torn end is told among the problems; all before it is read.

    Raises:
        InputError: the file can't be read, or is none.
    """
    source = Path(path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"{source} can't be read", got=error.strerror or str(error)) from error
    if data[:4] != IDENT or len(data) < HEAD or struct.unpack_from("<H", data, 4)[0] != MAGIC:
        raise InputError(f"{source} is no log of Weights & Biases", got=f"a file that begins with {data[:4]!r}")
    collected = _Collected(str(source))
    for offset, content in _records(data, collected.log.problems, str(source)):
        try:
            collected.record(content)
        except (ValueError, TypeError, LookupError, ArithmeticError, struct.error, RecursionError) as error:
            collected.log.problems.append(Problem(str(source), offset, f"the record is left out: {error}"))
    return collected.run()


def _records(data: bytes, problems: list[Problem], path: str) -> Iterator[tuple[int, bytes]]:
    """Whole records with their places; damage ends its record, not the file."""
    at, began, parts = HEAD, 0, list[bytes]()
    while at + PIECE <= len(data):
        left = BLOCK - at % BLOCK
        if left < PIECE:
            at += left
            continue
        crc, length, kind = struct.unpack_from("<IHB", data, at)
        end = at + PIECE + length
        if end > len(data):
            break
        if PIECE + length > left or not WHOLE <= kind <= LAST or zlib.crc32(data[at + 6 : end]) != crc:
            what = "a piece disagrees with its checksum; reading goes on with the next block"
            problems.append(Problem(path, at, what))
            parts, at = [], at + left
            continue
        if kind in (WHOLE, FIRST):
            began, parts = at, []
        if kind in (WHOLE, FIRST) or parts:
            parts.append(data[at + PIECE : end])
        if kind in (WHOLE, LAST) and parts:
            yield began, b"".join(parts)
            parts = []
        at = end
    if at < len(data) or parts:
        problems.append(Problem(path, at, "the file ends within a record"))


class _Collected:
    """What the records of one file amount to."""

    def __init__(self, path: str) -> None:
        self.log = EventLog()
        self._path = path
        self._identity, self._name = "", ""
        self._series: dict[str, tuple[list[int], list[float], list[float]]] = {}
        self._histograms: dict[str, list[tuple[int, float, Any, Any]]] = {}
        self._texts: dict[str, list[tuple[int, float, tuple[str, ...]]]] = {}
        self._images: dict[str, list[tuple[int, float, tuple[bytes, ...]]]] = {}
        self._step = -1

    def record(self, data: bytes) -> None:
        """One record. Raises Malformed, ValueError."""
        self.log.records += 1
        for field in fields(data):
            if field.wire != BYTES:
                continue
            inside = (field.start, field.end)
            if field.number == HISTORY:
                self._history(data, *inside)
            elif field.number == SUMMARY:
                self._summary(data, *inside)
            elif field.number == CONFIG:
                self._config(data, *inside)
            elif field.number == RUN:
                self._run(data, *inside)
            elif field.number in LEFT_OUT:
                self._leave(LEFT_OUT[field.number])

    def run(self) -> WandbRun:
        """The run as columns."""
        for name, (steps, values, times) in self._series.items():
            self.log.scalars[name] = Scalars(np.array(steps, np.int64), np.array(values), np.array(times))
        for name, rows in self._histograms.items():
            columns = list(zip(*rows, strict=True))
            self.log.histograms[name] = Histograms(
                np.array(columns[0], np.int64), np.array(columns[1], float), columns[2], columns[3]
            )
        for name, said in self._texts.items():
            at, when, texts = zip(*said, strict=True)
            self.log.texts[name] = Texts(np.array(at, np.int64), np.array(when, float), texts)
        for name, shown in self._images.items():
            at, when, pictures = zip(*shown, strict=True)
            self.log.images[name] = Images(np.array(at, np.int64), np.array(when, float), pictures)
        name = self._name or self._identity or Path(self._path).stem
        return WandbRun(self._identity, name, self.log)

    def _leave(self, what: str) -> None:
        self.log.left_out[what] = self.log.left_out.get(what, 0) + 1

    def _history(self, data: bytes, start: int, end: int) -> None:
        """One step: its number, its time, and everything logged at it."""
        entries: dict[str, Any] = {}
        step: int | None = None
        for field in fields(data, start, end):
            if field.number == 1 and field.wire == BYTES:
                _put(entries, *_item(data, field.start, field.end))
            elif field.number == 2 and field.wire == BYTES:
                step = next((signed(f.value) for f in fields(data, field.start, field.end) if f.number == 1), 0)
        own = entries.pop("_step", None)
        step = step if step is not None else int(own) if isinstance(own, (int, float)) else self._step + 1
        self._step = step
        moment = entries.pop("_timestamp", 0.0)
        entries.pop("_runtime", None)
        for name, value in entries.items():
            self._value(name, step, float(moment), value)

    def _value(self, name: str, step: int, moment: float, value: Any) -> None:
        if isinstance(value, (int, float)):
            found = self._series.setdefault(name, ([], [], []))
            found[0].append(step)
            found[1].append(float(value))
            found[2].append(moment)
        elif value in ("NaN", "Infinity", "-Infinity"):
            self._value(name, step, moment, float(value))
        elif isinstance(value, dict) and value.get("_type") == "histogram":
            edges, counts = _bins(value), np.array(value["values"], float)
            if len(edges) != len(counts) + 1:
                raise Malformed(f"a histogram of {len(counts)} counts and {len(edges)} edges")
            self._histograms.setdefault(name, []).append((step, moment, edges, counts))
        elif isinstance(value, str):
            self._texts.setdefault(name, []).append((step, moment, (value,)))
        elif isinstance(value, dict) and value.get("_type") in ("image-file", "images/separated"):
            self._pictures(name, step, moment, value)
        elif isinstance(value, dict) and "_type" not in value:
            for key, inner in value.items():
                self._value(f"{name}.{key}", step, moment, inner)
        else:
            kind = type(value).__name__
            self._leave(str(value.get("_type")) if isinstance(value, dict) else kind)

    def _pictures(self, name: str, step: int, moment: float, value: dict[str, Any]) -> None:
        """Pictures that lie as files beside the log, in ``files/``; nowhere else is looked."""
        folder = (Path(self._path).parent / "files").resolve()
        found = []
        for inner in [value["path"]] if "path" in value else value.get("filenames", []):
            path = (folder / str(inner)).resolve()
            try:
                fits = path.is_relative_to(folder) and path.stat().st_size <= LARGEST
                found += [path.read_bytes()] if fits else []
            except (OSError, ValueError):
                fits = False
            if not fits:
                self._leave("image without its file")
        if found:
            self._images.setdefault(name, []).append((step, moment, tuple(found)))

    def _run(self, data: bytes, start: int, end: int) -> None:
        for field in fields(data, start, end):
            if field.wire != BYTES:
                continue
            if field.number == 1:
                self._identity = data[field.start : field.end].decode("utf-8", "replace")
            elif field.number == 8:
                self._name = data[field.start : field.end].decode("utf-8", "replace")
            elif field.number == 4:
                self._config(data, field.start, field.end)
            elif field.number == 5:
                self._summary(data, field.start, field.end)

    def _summary(self, data: bytes, start: int, end: int) -> None:
        """What is said of the run as a whole: later records add to earlier ones, replace, and take away."""
        for field in fields(data, start, end):
            if field.number not in (1, 2) or field.wire != BYTES:
                continue
            keys, value = _item(data, field.start, field.end)
            if not keys or keys[0].startswith("_"):
                continue
            if field.number == 1:
                _put(self.log.summary, keys, value)
            else:
                _take(self.log.summary, keys)

    def _config(self, data: bytes, start: int, end: int) -> None:
        for field in fields(data, start, end):
            if field.number == 1 and field.wire == BYTES:
                keys, value = _item(data, field.start, field.end)
                if keys[:1] != ["_wandb"]:
                    _put(self.log.hparams, keys, value)


def _bins(value: dict[str, Any]) -> Any:
    """The edges of a histogram, which may be told by their first, distance and number."""
    packed = value.get("packedBins")
    if packed is None:
        return np.array(value["bins"], float)
    return packed["min"] + packed["size"] * np.arange(packed["count"] + 1)


def _put(entries: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set an entry, in inner dicts where there are several keys."""
    if not keys:
        return
    for key in keys[:-1]:
        inner = entries.setdefault(key, {})
        if not isinstance(inner, dict):
            inner = entries[key] = {}
        entries = inner
    entries[keys[-1]] = value


def _take(entries: dict[str, Any], keys: list[str]) -> None:
    """Remove an entry, where it is there."""
    for key in keys[:-1]:
        inner = entries.get(key)
        if not isinstance(inner, dict):
            return
        entries = inner
    entries.pop(keys[-1], None)


def _item(data: bytes, start: int, end: int) -> tuple[list[str], Any]:
    """Path of keys and value."""
    keys: list[str] = []
    value: Any = None
    for field in fields(data, start, end):
        text = data[field.start : field.end]
        if field.number in (1, 2) and field.wire == BYTES:
            keys.append(text.decode("utf-8", "replace"))
        elif field.number in (8, 16) and field.wire == BYTES:
            value = json.loads(text)
        elif field.number == 7 and field.wire == BYTES:
            value = text.decode("utf-8", "replace")
        elif field.number == 6 and field.wire in (EIGHT, FOUR):
            value = struct.unpack("<d" if field.wire == EIGHT else "<f", text)[0]
        elif field.number in (4, 5) and field.wire == VARINT:
            value = signed(field.value)
    return keys, value
