"""Files that commands write: safe names, whole or not at all."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope.errors import ResultFileError, write_remedy

if TYPE_CHECKING:
    from fluoroscope.results import Result

__all__ = ["check_writable", "safe_names", "write_figure", "write_result"]

LONGEST = 120  # bytes; file systems take 255, and a prefix and an ending come on top
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_names(names: Iterable[str]) -> list[str]:
    """A file name for each of ``names``: letters, digits, dots, dashes; none twice, also where case does not count."""
    made: list[str] = []
    taken: set[str] = set()
    for name in names:
        stem = _safe(name)
        unique, number = stem, 2
        while unique.casefold() in taken:
            unique, number = f"{stem}-{number}", number + 1
        taken.add(unique.casefold())
        made.append(unique)
    return made


def _safe(name: str) -> str:
    stem = Path(name.replace("\\", "/")).stem
    text = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", stem)).strip("._-")
    text = text.encode()[:LONGEST].decode(errors="ignore") or "input"
    return f"_{text}" if RESERVED.match(text) else text


def check_writable(path: Path) -> None:
    """Say before a long computation that ``path`` can't be written. Raises ResultFileError."""
    folder = path if path.is_dir() else path.parent
    while not folder.exists():
        folder = folder.parent
    try:  # permissions alone do not tell: /proc and full disks have them
        Path(tempfile.mkdtemp(prefix=".", dir=folder)).rmdir()
    except OSError as error:
        got = f"{error.strerror}, in {folder}" if folder.is_dir() else f"{folder} is a file, not a folder"
        raise ResultFileError(f"{path} can't be written", got=got, remedy=write_remedy(error)) from error


def write_figure(result: Result, path: Path, **options: Any) -> Path:
    """Draw ``result`` into a PNG file; returns its path. Raises ResultFileError."""
    from fluoroscope.results import atomic_write

    figure = result.plot(**options)
    with atomic_write(path) as handle:
        figure.savefig(handle, format="png")
    return path


def write_result(result: Result, path: Path) -> Path:
    """Write the numbers of ``result`` as a ``.fluo`` file; returns its path. Raises ResultFileError."""
    return result.save(path.with_name(path.name + ".fluo"))
