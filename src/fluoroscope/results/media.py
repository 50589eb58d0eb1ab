"""Media: pictures and texts that were logged over the steps of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.results.picture_file import LARGEST, MOST_PIXELS, PictureFile, picture_file
from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["ImageSeries", "Media", "TextSeries"]


@record
class TextSeries(Record):
    """Texts of one name in order of writing: text ``i`` was logged at ``steps[i]``, ``times[i]`` (seconds since 1970),
    as number ``parts[i]`` of that moment; each (I,). Always hostile text, never markup.
    """

    kind: ClassVar[str] = "text-series"
    steps: Array = value()
    times: Array = value()
    parts: Array = value()
    texts: tuple[str, ...] = value(default=())

    def __len__(self) -> int:
        return len(self.steps)


@record
class ImageSeries(Record):
    """Encoded pictures of one name in order of writing: picture ``i`` was logged at ``steps[i]``, ``times[i]`` (seconds
    since 1970), as number ``parts[i]`` of that moment, and has the type ``mimes[i]`` and the size ``widths[i]`` x
    ``heights[i]``; each (I,). The files lie one after another in ``data`` (B,) uint8 and end at ``ends`` (I,).
    """

    kind: ClassVar[str] = "image-series"
    steps: Array = value()
    times: Array = value()
    parts: Array = value()
    widths: Array = value()
    heights: Array = value()
    mimes: tuple[str, ...] = value(default=())
    data: Array = value()
    ends: Array = value()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def sizes(self) -> Array:
        """Bytes of each picture (I,)."""
        return np.diff(self.ends, prepend=0)

    def picture(self, index: int) -> bytes:
        """The file of one picture."""
        start = int(self.ends[index - 1]) if index else 0
        return bytes(np.asarray(self.data[start : int(self.ends[index])], np.uint8))

    @classmethod
    def of(
        cls, steps: Sequence[int], pictures: Sequence[bytes], times: Sequence[float] = (), parts: Sequence[int] = ()
    ) -> Self:
        """A series out of encoded pictures.

        Raises:
            InputError: a picture is no PNG, JPEG, GIF or WebP file, or too large.
        """
        found = [_checked(data) for data in pictures]
        return cls(
            steps=np.asarray(steps, np.int64),
            times=np.asarray(times, float) if len(times) else np.zeros(len(steps)),
            parts=np.asarray(parts, np.int64) if len(parts) else np.zeros(len(steps), np.int64),
            widths=np.array([f.width for f in found], np.int64),
            heights=np.array([f.height for f in found], np.int64),
            mimes=tuple(f.mime for f in found),
            data=np.frombuffer(b"".join(pictures), np.uint8),
            ends=np.cumsum([len(p) for p in pictures], dtype=np.int64),
        )


@record
class Media(Result):
    """Pictures and texts of a run by name."""

    kind: ClassVar[str] = "media"
    images: dict[str, ImageSeries] = value(default_factory=dict)
    texts: dict[str, TextSeries] = value(default_factory=dict)

    @property
    def values(self) -> Array:
        """How many there are of each series, those of pictures first (S,)."""
        steps = [*(s.steps for s in self.images.values()), *(s.steps for s in self.texts.values())]
        return np.array([len(s) for s in steps], np.int64)


def _checked(data: bytes) -> PictureFile:
    found = picture_file(data)
    if found is None:
        raise InputError(
            "a picture can't be kept",
            got=f"{len(data):,} bytes that begin with {bytes(data[:8])!r}",
            expected=f"a PNG, JPEG, GIF or WebP file of at most {LARGEST >> 20} MiB and {MOST_PIXELS:,} pixels",
        )
    return found
