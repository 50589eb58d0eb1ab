"""Pictures and texts out of a run's files: an index at once, each picture when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.results import ImageSeries, Media, TextSeries
from fluoroscope.training.store.media_rows import IMAGE, TEXT
from fluoroscope.training.store.reader import opened

__all__ = ["StoredImages", "media_of"]

Place = tuple[Path, int]


class StoredImages(ImageSeries):
    """Pictures that stay in the run's files until one is asked for; :meth:`loaded` has them all in memory."""

    places: tuple[Place, ...] = ()

    def picture(self, index: int) -> bytes:
        """The file of one picture; empty where the run has given it up since."""
        file, number = self.places[index]
        with opened(file) as reader:
            return reader.content(number) or b""

    def loaded(self) -> ImageSeries:
        """The series with all pictures, as it can be saved."""
        found = [self.picture(i) for i in range(len(self))]
        kept = [i for i, data in enumerate(found) if data]
        steps, times, parts = (axis[kept].tolist() for axis in (self.steps, self.times, self.parts))
        return ImageSeries.of(steps, [found[i] for i in kept], times, parts)


class StoredMedia(Media):
    """Media whose pictures are still in the run's files."""

    def save(self, path: str | Path) -> Path:
        """Write to a ``.fluo`` file, see :meth:`Result.save`."""
        return self.loaded().save(path)

    def loaded(self) -> Media:
        """The same with all pictures in memory."""
        images = {n: s.loaded() if isinstance(s, StoredImages) else s for n, s in self.images.items()}
        return Media(title=self.title, caption=self.caption, meta=self.meta, images=images, texts=self.texts)


def media_of(files: Sequence[tuple[Path, str]], title: str, names: Iterable[str] | None) -> Media:
    """Pictures and texts of a run's ``files``, each with what the names of its series begin with."""
    wanted = None if names is None else set(names)
    rows: dict[str, dict[str, list[tuple[Path, Any]]]] = {IMAGE: {}, TEXT: {}}
    thinned = 0
    texts: dict[Place, str] = {}
    for file, prefix in files:
        with opened(file) as reader:
            thinned += reader.thinned()
            for kind, found in rows.items():
                for row in reader.media(kind):
                    name = prefix + row[1]
                    if wanted is None or name in wanted:
                        found.setdefault(name, []).append((file, row))
                        if kind == TEXT:
                            texts[file, row[0]] = (reader.content(row[0]) or b"").decode("utf-8", "replace")
    images = {name: _images(found) for name, found in rows[IMAGE].items()}
    said = {name: _texts(found, texts) for name, found in rows[TEXT].items()}
    given_up = f"{thinned:,} moments of pictures and texts were given up for room, evenly over the run"
    return StoredMedia(title=title, images=images, texts=said, meta={"run": title, "notes": [given_up] * bool(thinned)})


def _axis(found: Sequence[tuple[Path, Any]], place: int, dtype: Any) -> Any:
    return np.array([row[place] for _, row in found], dtype)


def _images(found: Sequence[tuple[Path, Any]]) -> ImageSeries:
    made = StoredImages(
        steps=_axis(found, 2, np.int64),
        times=_axis(found, 3, np.float64),
        parts=_axis(found, 4, np.int64),
        mimes=tuple(row[5] for _, row in found),
        widths=_axis(found, 6, np.int64),
        heights=_axis(found, 7, np.int64),
        data=np.zeros(0, np.uint8),
        ends=np.cumsum(_axis(found, 8, np.int64)),
    )
    object.__setattr__(made, "places", tuple((file, row[0]) for file, row in found))
    return made


def _texts(found: Sequence[tuple[Path, Any]], texts: dict[Place, str]) -> TextSeries:
    return TextSeries(
        steps=_axis(found, 2, np.int64),
        times=_axis(found, 3, np.float64),
        parts=_axis(found, 4, np.int64),
        texts=tuple(texts[file, row[0]] for file, row in found),
    )
