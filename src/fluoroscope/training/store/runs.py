"""Runs: the runs in a folder by name, found again at every look."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from pathlib import Path
from typing import Any

from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, InputError, nearest
from fluoroscope.results.store import as_path
from fluoroscope.training.store.folder import run_folders
from fluoroscope.training.store.plain_values import utf8
from fluoroscope.training.store.run import Run
from fluoroscope.training.store.schema import ForeignFile

__all__ = ["Runs", "open_runs"]


class Runs(Mapping[str, Run]):
    """Runs by name, in the order of their folders. New runs are there at once; a damaged one is left out and named in
    ``damaged``; where only files of other programs lie, these are named in ``foreign``, by their paths from here. With
    ``awaited`` a folder that isn't there yet has no runs; else it is an error.
    """

    def __init__(self, path: Path, *, awaited: bool = False) -> None:
        self.path, self.awaited = path, awaited
        self.damaged: dict[str, FluoroscopeError] = {}
        self.foreign: dict[str, FluoroscopeError] = {}

    def _found(self) -> dict[str, Run]:
        found: dict[str, Run] = {}
        self.damaged, self.foreign = {}, {}
        if self.awaited and not self.path.exists():
            return found
        for folder in run_folders(self.path):
            run = Run(folder)
            try:
                name = run.name
            except ForeignFile:
                place = folder.relative_to(self.path)
                self.foreign |= {(place / file).as_posix(): error for file, error in run.foreign.items()}
                continue
            except FluoroscopeError as error:
                self.damaged[folder.name] = error
                continue
            found[name if name not in found else f"{name} ({folder.name})"] = run
        return found

    def __getitem__(self, name: Any) -> Run:
        found, name = self._found(), utf8(name) if isinstance(name, str) else repr(name)
        if name not in found and name in self.damaged:
            error = self.damaged[name]
            raise RunError(
                f"the run in {self.path / name} is damaged", got=getattr(error, "got", None) or str(error)
            ) from error
        if name not in found:
            raise RunError(
                f"there is no run of that name in {self.path}", got=name, nearest=nearest(name, found) or _some(found)
            )
        return found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and utf8(name) in self._found()

    def items(self) -> ItemsView[str, Run]:
        """Names and runs, of one look at the folder."""
        return self._found().items()

    def values(self) -> ValuesView[Run]:
        """Runs, of one look at the folder."""
        return self._found().values()

    def keys(self) -> KeysView[str]:
        """Names, of one look at the folder."""
        return self._found().keys()

    def __repr__(self) -> str:
        return f"Runs({str(self.path)!r}: {', '.join(map(repr, self)) or 'none'})"


class RunError(InputError, KeyError):
    """There is no run of that name."""

    def __str__(self) -> str:  # KeyError quotes its argument
        return self.render()


def _some(found: Mapping[str, Run]) -> str | None:
    names = list(found)
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else None


@checked
def open_runs(path: str | Path = "runs") -> Runs:
    """The runs in a folder, or the one run whose folder it is, as a mapping from names to :class:`Run`.

    Raises:
        ResultFileError: the folder can't be read.
    """
    runs = Runs(as_path(path))
    run_folders(runs.path)
    return runs
