"""A folder of event files as runs: every folder that holds such files is one, named by its path below the root."""

from __future__ import annotations

import os
from pathlib import Path

from fluoroscope.errors import InputError
from fluoroscope.integrations.tensorboard.event_file import EventFile
from fluoroscope.integrations.tensorboard.records import EventLog, Problem

__all__ = ["LogFolder", "read_log_folder"]

MARK = "tfevents"
ROOT = "."
"""Name of the run whose files lie in the root itself."""


class LogFolder:
    """The runs below a folder, or the one in a single file; can be followed while they are written.

    The files of a run are read in the order of their names, which begin with the time at which each was opened, and
    their series go on from one to the next. Steps that a restarted run repeats are kept in order of writing. With
    ``keep=False`` the folder does not remember what it handed over.

    Raises:
        InputError: there is no such folder, or no event file in it.
    """

    def __init__(self, path: str | Path, *, check: bool = True, keep: bool = True) -> None:
        self.path = Path(path)
        self.check, self.keep = check, keep
        self.runs: dict[str, EventLog] = {}
        self._files: dict[Path, EventFile] = {}
        self._plugins: dict[str, dict[str, str]] = {}
        if not self._found():
            raise InputError(
                f"there are no event files in {self.path}",
                got="no such path" if not self.path.exists() else "no file with 'tfevents' in its name",
                expected="a folder that TensorBoard can show, or one of its files",
            )

    def read(self) -> dict[str, EventLog]:
        """What was added to each run since the last call; :attr:`runs` holds everything. Raises InputError."""
        added: dict[str, EventLog] = {}
        for run, path in self._found():
            if path not in self._files:
                self._files[path] = EventFile(path, check=self.check, plugins=self._plugins.setdefault(run, {}))
            log = self._files[path].read()
            if log.records or log.problems:
                added.setdefault(run, EventLog()).extend(log)
        for run, log in added.items() if self.keep else ():
            self.runs.setdefault(run, EventLog()).extend(log)
        return added

    @property
    def torn(self) -> list[Problem]:
        """Files that end within a record: they are still being written, or were cut off."""
        files = [f for f in self._files.values() if f.torn]
        return [Problem(str(f.path), f.offset, f"the file ends within a record, after {f.torn} bytes") for f in files]

    def _found(self) -> list[tuple[str, Path]]:
        """Every event file with the name of its run, sorted."""
        if self.path.is_file():
            return [(ROOT, self.path)] if MARK in self.path.name or self.path.suffix == ".tfevents" else []
        found = []
        for folder, inner, files in os.walk(self.path):
            inner.sort()
            run = Path(folder).relative_to(self.path).as_posix()
            found += [(run, Path(folder) / name) for name in sorted(files) if MARK in name]
        return found


def read_log_folder(path: str | Path, *, check: bool = True) -> dict[str, EventLog]:
    """Everything in a folder of event files, or in one such file: ``{name of the run: log}``.

    ``check=False`` leaves out the checksums of contents. A record that was cut off at the end of a file is told among
    the run's ``problems``.

    Raises:
        InputError: there is no such folder or file, it can't be read, or holds no event files.
    """
    folder = LogFolder(path, check=check)
    folder.read()
    for problem in folder.torn:
        parent = Path(problem.path).parent
        run = ROOT if parent == folder.path or folder.path.is_file() else parent.relative_to(folder.path).as_posix()
        folder.runs.setdefault(run, EventLog()).problems.append(problem)
    return folder.runs
