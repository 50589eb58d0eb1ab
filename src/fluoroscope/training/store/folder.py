"""Folders of runs: made out of harmless characters, whatever the run is called."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from pathlib import Path

from fluoroscope.errors import ResultFileError, nearest
from fluoroscope.training.store.schema import SUFFIX

__all__ = ["is_run", "near_folders", "new_folder", "run_folders", "safe_name", "writer_files"]

LONGEST = 64
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")


def safe_name(name: str) -> str:
    """A folder's name for a run: its own where that is plain, else what is left of it and a digest that keeps two
    apart.
    """
    plain = re.sub(r"[^A-Za-z0-9._+=-]+", "-", name).strip(".-")[:LONGEST]
    if plain and plain == name and not RESERVED.match(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}-{digest}" if plain else digest


def new_folder(parent: Path, name: str) -> tuple[Path, str]:
    """Make the folder of a new run; where the name is taken, a number is added. Returns folder and name.

    Raises:
        ResultFileError: the folder can't be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            chosen = name if number == 1 else f"{name}-{number}"
            folder = parent / safe_name(chosen)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder, chosen
    except OSError as error:
        raise cannot_write(parent, error) from error
    raise AssertionError


def cannot_write(folder: Path, error: Exception) -> ResultFileError:
    """The error for a folder that can't be written to."""
    return ResultFileError(
        f"a run can't be written to {folder}",
        got=getattr(error, "strerror", None) or str(error),
        expected="a folder that may be written to",
        remedy='choose another: fs.record(..., dir="folder")',
    )


def writer_files(folder: Path) -> list[Path]:
    """The writers' files in a run's folder, by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.name.endswith(SUFFIX) and e.is_file())
    except OSError:
        return []


def is_run(folder: Path) -> bool:
    """Whether ``folder`` is the folder of one run."""
    return bool(writer_files(folder))


def run_folders(folder: Path) -> list[Path]:
    """The folders of runs inside ``folder``, after itself where files of a run lie in it."""
    own = [folder] if is_run(folder) else []
    try:
        with os.scandir(folder) as entries:
            inner = sorted(Path(e.path) for e in entries if e.is_dir())
    except FileNotFoundError as error:
        raise ResultFileError(
            f"there is no folder {folder}",
            expected="a folder of runs, or the folder of one run",
            nearest=near_folders(folder),
            remedy="name the one that fs.record writes to",
        ) from error
    except OSError as error:
        raise ResultFileError(
            f"{folder} could not be read", got=error.strerror, expected="a folder of runs, or the folder of one run"
        ) from error
    return own + [f for f in inner if is_run(f)]


def near_folders(folder: Path) -> str | None:
    """Folders beside the missing ``folder`` whose names are like its own."""
    try:
        with os.scandir(folder.parent) as entries:
            return nearest(folder.name, sorted(e.name for e in entries if e.is_dir()))
    except OSError:
        return None
