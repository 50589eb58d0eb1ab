"""Reading pictures from files: every file is a picture in RGB, or an error that names it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from PIL import Image

from fluoroscope.errors import InputError
from fluoroscope.model.batch import to_batch
from fluoroscope.model.image_file import MAX_PIXELS, decoded, in_rgb, read_image

__all__ = ["MAX_PIXELS", "SUFFIXES", "ImageFiles", "read_image", "read_images", "to_batch"]

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)
Source = str | os.PathLike[str] | Image.Image


@dataclass(frozen=True)
class ImageFiles(Sequence[tuple[str, Image.Image]]):
    """(name, picture in RGB) pairs; ``paths`` say where they came from, ``notes`` what was skipped or assumed."""

    names: tuple[str, ...]
    images: tuple[Image.Image, ...]
    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> tuple[str, Image.Image]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, Image.Image]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, Image.Image] | Sequence[tuple[str, Image.Image]]:
        return list(zip(self.names, self.images, strict=True))[index]

    def __iter__(self) -> Iterator[tuple[str, Image.Image]]:
        return iter(zip(self.names, self.images, strict=True))


def read_images(source: Source | Iterable[Source], limit: int | None = None) -> ImageFiles:
    """Read a file, a folder, a PIL image, or a list of them, at most ``limit`` pictures.

    Of a folder the picture files that lie directly in it are read, sorted by name; hidden files, other files and
    subfolders are passed over. A file that is named must be readable; one that a folder merely holds is skipped with a
    note, unless none is left. Pictures are turned as their EXIF data says; transparency is laid on white; of an
    animation the first frame is taken; 16-bit greys keep their scale.

    Raises:
        InputError: nothing is there, a named file can't be read, or a folder holds no readable picture.
    """
    sources = [source] if isinstance(source, (str, os.PathLike, Image.Image)) else list(source)
    if not sources:
        raise InputError("no pictures were given", expected="files or a folder")
    if limit is not None and limit < 1:
        raise InputError("limit must be positive", got=limit)
    read = _Reading(limit)
    for item in sources:
        if isinstance(item, Image.Image):
            read.picture(item)
            continue
        path = Path(item).expanduser()
        read.folder(path) if path.is_dir() else read.file(path)
    return read.result()


class _Reading:
    """Pictures gathered so far."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.paths: list[Path] = []
        self.images: list[Image.Image] = []
        self.notes: list[str] = []

    @property
    def full(self) -> bool:
        return self.limit is not None and len(self.images) >= self.limit

    def file(self, path: Path) -> None:
        if self.full:
            return
        image, notes = decoded(path)
        self.paths.append(path)
        self.images.append(image)
        self.notes += [f"{path.name}: {note}" for note in notes]

    def picture(self, image: Image.Image) -> None:
        if self.full:
            return
        path = Path(getattr(image, "filename", "") or f"picture {len(self.images)}")
        converted, notes = in_rgb(image)
        self.paths.append(path)
        self.images.append(converted)
        self.notes += [f"{path.name}: {note}" for note in notes]

    def folder(self, path: Path) -> None:
        found, others = _listing(path)
        if not found:
            raise _no_images(path, others)
        before, bad = len(self.images), []
        for name in found:
            if self.full:
                break
            try:
                self.file(path / name)
            except InputError as error:
                bad.append(error)
        if bad and len(self.images) == before:
            raise InputError(
                f"none of the {len(bad)} pictures in {path} can be read",
                got=f"{bad[0].what} ({bad[0].got})",
                remedy=bad[0].remedy,
            ) from bad[0]
        self.notes += [f"skipped: {e.what}" + (f" ({e.got})" if e.got else "") for e in bad]
        if others:
            self.notes.append(f"{path.name or path}: passed over {_counted(others)}")

    def result(self) -> ImageFiles:
        short = [p.name for p in self.paths]
        twice = {name for name, count in Counter(short).items() if count > 1}
        names = tuple(str(p) if p.name in twice else p.name for p in self.paths)
        return ImageFiles(names, tuple(self.images), tuple(self.paths), tuple(self.notes))


def _listing(folder: Path) -> tuple[list[str], Counter[str]]:
    """Names of the picture files of a folder, sorted, and how many of each other kind there are."""
    names: list[str] = []
    others: Counter[str] = Counter()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                ending = Path(entry.name).suffix.lower()
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    others["subfolder"] += 1
                elif ending in SUFFIXES:
                    names.append(entry.name)
                else:
                    others[ending or "file without ending"] += 1
    except OSError as error:
        raise InputError(f"the folder {folder} can't be read", got=error.strerror or str(error)) from error
    return sorted(names), others


def _counted(others: Counter[str]) -> str:
    kinds = [f"{count} {kind}" for kind, count in others.most_common(6)]
    rest = len(others) - len(kinds)
    return ", ".join(kinds) + (f" and {rest} more kinds" if rest > 0 else "")


def _no_images(folder: Path, others: Counter[str]) -> InputError:
    return InputError(
        f"there are no pictures in {folder}",
        got=_counted(others) if others else "an empty folder",
        expected=" ".join(sorted(s.lstrip(".") for s in SUFFIXES)),
        remedy="subfolders are not searched: name the one that holds the pictures" if others["subfolder"] else None,
    )
