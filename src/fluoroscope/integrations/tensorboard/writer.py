"""Event files that TensorBoard reads: scalars, histograms, pictures, texts and settings."""

from __future__ import annotations

import io
import itertools
import os
import socket
import time as clock
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from fluoroscope.errors import InputError, ResultFileError, write_remedy
from fluoroscope.integrations.tensorboard import hparams
from fluoroscope.integrations.tensorboard.framing import framed, framed_rows
from fluoroscope.integrations.tensorboard.wire import chunk, double, float32, number, varint
from fluoroscope.results import Array

__all__ = ["EventWriter"]

VERSION = "brain.Event:2"
FLOAT, STRING = 1, 7
ROWS = 1 << 16
_COUNTER = itertools.count()


class EventWriter:
    """Writes one event file into ``folder``, a run of TensorBoard. Use it in a ``with`` block, or call :meth:`close`.

    Numbers are kept in single precision, as every reader of the format expects them. Writing is appending: a file that
    was cut off is still read up to its last whole record.

    Raises:
        ResultFileError: the folder or the file can't be written.
    """

    def __init__(self, folder: str | Path) -> None:
        started = clock.time()
        name = f"events.out.tfevents.{int(started):010d}.{socket.gethostname()}.{os.getpid()}.{next(_COUNTER)}"
        self.path = Path(folder) / name
        self._described: set[str] = set()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("xb")
        except OSError as error:
            raise self._failed(error) from error
        self._put(framed(double(1, started) + chunk(3, VERSION)))

    def scalar(self, tag: str, step: int, value: float, time: float | None = None) -> None:
        """One number of a series."""
        self._summary(step, time, chunk(1, tag) + float32(2, float(_single(value))))

    def scalars(self, tag: str, steps: Array, values: Array, times: Array) -> None:
        """A whole series at once: steps, values and wall seconds, each (S,)."""
        numbers = np.asarray(steps, np.int64)
        for begin in range(0, len(numbers), ROWS):
            part = slice(begin, begin + ROWS)
            self._columns(tag, numbers[part], np.asarray(values)[part], np.asarray(times, "<f8")[part])

    def histogram(self, tag: str, step: int, edges: Array, counts: Array, time: float | None = None) -> None:
        """The histogram with ``edges`` (B + 1,) and ``counts`` (B,)."""
        lower, upper = np.asarray(edges[:-1], float), np.asarray(edges[1:], "<f8")
        seen = np.asarray(counts, "<f8")
        middle = (lower + upper) / 2
        sums = (float(seen.sum()), float((seen * middle).sum()), float((seen * middle**2).sum()))
        ends = (float(lower[0]), float(upper[-1])) if len(seen) else (0.0, 0.0)
        inner = b"".join(double(i + 1, v) for i, v in enumerate((*ends, *sums)))
        # a first bucket without entries carries the left edge, since the format has right ends only
        right = np.concatenate([lower[:1], upper]).astype("<f8").tobytes()
        inner += chunk(6, right) + chunk(7, np.concatenate([[0.0], seen]).astype("<f8").tobytes())
        self._summary(step, time, chunk(1, tag) + chunk(5, inner))

    def image(self, tag: str, step: int, pixels: Array, time: float | None = None) -> None:
        """A picture, ``uint8`` of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Raises InputError."""
        from PIL import Image

        picture = np.asarray(pixels)
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,), (4,)):
            raise InputError(
                "a picture can't be written",
                got=f"{picture.dtype} of shape {picture.shape}",
                expected="uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)",
            )
        file = io.BytesIO()
        flat = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
        Image.fromarray(flat).save(file, "PNG")
        channels = picture.shape[2] if picture.ndim == 3 else 1
        inner = number(1, picture.shape[0]) + number(2, picture.shape[1]) + number(3, channels)
        self._summary(step, time, chunk(1, tag) + chunk(4, inner + chunk(4, file.getvalue())))

    def encoded_images(
        self, tag: str, step: int, pictures: Sequence[bytes], size: tuple[int, int], time: float | None = None
    ) -> None:
        """Encoded pictures (PNG, JPEG, GIF) of ``size`` (W, H) as they are, all of one step."""
        if len(pictures) == 1 and tag not in self._described:
            inner = number(1, size[1]) + number(2, size[0]) + number(3, 3) + chunk(4, pictures[0])
            self._summary(step, time, chunk(1, tag) + chunk(4, inner))
            return
        strings = [str(size[0]).encode(), str(size[1]).encode(), *pictures]
        shape = chunk(2, chunk(2, number(1, len(strings))))
        tensor = number(1, STRING) + shape + b"".join(chunk(8, part) for part in strings)
        self._summary(step, time, chunk(1, tag) + chunk(8, tensor) + self._metadata(tag, "images"))

    def text(self, tag: str, step: int, text: str | Sequence[str], time: float | None = None) -> None:
        """A text, which TensorBoard shows as Markdown, or several as one row of a table."""
        parts = [text] if isinstance(text, str) else list(text)
        shape = chunk(2, chunk(2, number(1, len(parts))))
        tensor = number(1, STRING) + shape + b"".join(chunk(8, part) for part in parts)
        self._summary(step, time, chunk(1, tag) + chunk(8, tensor) + self._metadata(tag, "text"))

    def hparams(self, config: Mapping[str, Any], metrics: Sequence[str] = (), time: float | None = None) -> None:
        """The settings of the run, and the series that runs are compared by in the HParams tab."""
        when = clock.time() if time is None else time
        contents = {
            hparams.EXPERIMENT: hparams.experiment(config, tuple(metrics)),
            hparams.SESSION_START: hparams.session_start(config, when),
            hparams.SESSION_END: hparams.session_end(when),
        }
        null = number(1, FLOAT) + chunk(2, b"")
        for tag, content in contents.items():
            data = chunk(9, chunk(1, chunk(1, hparams.PLUGIN) + chunk(2, content)))
            self._summary(0, when, chunk(1, tag) + chunk(8, null) + data)

    def flush(self) -> None:
        """Hand everything to the system, so that readers see it. Raises ResultFileError."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Finish the file. Raises ResultFileError."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _columns(self, tag: str, steps: Array, values: Array, times: Array) -> None:
        """A part of a series: events with equally long steps are laid out together, in the order of the series."""
        summary = chunk(5, chunk(1, chunk(1, tag) + float32(2, 0.0)))
        single = _single(np.asarray(values, float)).astype("<f4").view(np.uint8).reshape(-1, 4)
        digits = np.array([len(varint(s)) for s in steps.tolist()], np.int64)
        cuts = [0, *(np.flatnonzero(np.diff(digits)) + 1).tolist(), len(digits)]
        for a, b in itertools.pairwise(cuts):
            if a == b:
                continue
            width = int(digits[a])
            rows = np.empty((b - a, 10 + width + len(summary)), np.uint8)
            rows[:, 0], rows[:, 9] = 0x09, 0x10
            rows[:, 1:9] = np.ascontiguousarray(times[a:b]).view(np.uint8).reshape(-1, 8)
            rows[:, 10 : 10 + width] = _varints(steps[a:b], width)
            rows[:, 10 + width :] = np.frombuffer(summary, np.uint8)
            rows[:, -4:] = single[a:b]
            self._put(framed_rows(rows).tobytes())

    def _summary(self, step: int, time: float | None, value: bytes) -> None:
        when = clock.time() if time is None else time
        self._put(framed(double(1, when) + number(2, step) + chunk(5, chunk(1, value))))

    def _metadata(self, tag: str, plugin: str) -> bytes:
        """The plugin of a tag; it is enough to say it once."""
        if tag in self._described:
            return b""
        self._described.add(tag)
        return chunk(9, chunk(1, chunk(1, plugin)))

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ResultFileError:
        return ResultFileError(
            f"{self.path} could not be written",
            got=error.strerror or str(error),
            remedy=write_remedy(error),
        )


def _single(values: Any) -> Any:
    """Numbers in single precision; what is beyond its range becomes infinite, which is what readers would see."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)


def _varints(steps: Array, width: int) -> Array:
    bits = steps.astype(np.uint64)
    out = np.empty((len(steps), width), np.uint8)
    for i in range(width):
        out[:, i] = ((bits >> np.uint64(7 * i)) & np.uint64(0x7F)).astype(np.uint8)
        if i < width - 1:
            out[:, i] |= 0x80
    return out
