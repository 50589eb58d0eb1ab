"""Finding runs by where a user says they are: a folder of runs, one run's folder, or a folder and a run's name."""

from __future__ import annotations

from pathlib import Path

from fluoroscope.errors import FluoroscopeError, InputError, ResultFileError
from fluoroscope.training.store.folder import is_run, run_folders, writer_files
from fluoroscope.training.store.reader import opened
from fluoroscope.training.store.run import Run
from fluoroscope.training.store.runs import open_runs

__all__ = ["damage", "damaged_at", "remaining", "runs_at"]

LOOKED_AT = 1000
"""Series that are tried one by one in a damaged file."""


def runs_at(path: str | Path) -> dict[str, Run]:
    """The runs at ``path`` by name: those in a folder, the one whose folder it is, or the one of that name in a folder
    before it (``runs/a/b`` for the run ``a/b`` in ``runs``).

    Raises:
        InputError: there is none.
        ResultFileError: what is there is damaged, or can't be read.
    """
    source = Path(path)
    if not source.is_dir():
        named = _named(source)
        return named if named is not None else dict(open_runs(source).items())
    runs = open_runs(source)
    found = dict(runs.items())
    if found:
        return found
    named = None if is_run(source) else _named(source)
    if named is not None:
        return named
    for error in damaged_at(source).values():
        raise error
    raise InputError(
        f"there is no run in {source}",
        got="; ".join(error.what for error in runs.foreign.values()) or None,
        expected="a folder that fs.record wrote",
    )


def damaged_at(path: str | Path) -> dict[str, Exception]:
    """What is wrong with the runs at ``path`` that can't be read, by their folders' names: those that :func:`runs_at`
    leaves out.
    """
    source = Path(path)
    if not source.is_dir():
        return {}
    runs = open_runs(source)
    len(runs)  # a look at the folder
    own = source.name if is_run(source) else None
    return {
        folder: damage(source if folder == own else source / folder, error) for folder, error in runs.damaged.items()
    }


def damage(folder: Path, error: FluoroscopeError) -> ResultFileError:
    """The error for a run that can't be read, with what is left of it."""
    said = ResultFileError(
        f"the run in {folder} is damaged",
        got=getattr(error, "got", None) or str(error),
        expected="a record that fs.record wrote",
        remedy=remaining(folder),
    )
    said.__cause__ = error
    return said


def _named(path: Path) -> dict[str, Run] | None:
    """The run whose name is the last parts of ``path``."""
    for parent in path.parents:
        if not parent.is_dir() or run_folders(parent) == [parent]:
            continue
        name = path.relative_to(parent).as_posix()
        runs = open_runs(parent)
        found = dict(runs.items())
        if name in found:
            return {name: found[name]}
        if found:
            open_runs(parent)[name]  # which says what is there instead
    return None


def remaining(folder: Path) -> str:
    """What of a damaged run can still be read, in one sentence."""
    said = []
    for file in writer_files(folder):
        try:
            with opened(file) as reader:
                names = reader.names()
        except FluoroscopeError:
            continue
        good = [name for name in names[:LOOKED_AT] if _reads(file, name)]
        some = f": {', '.join(good[:5])}{' …' if len(good) > 5 else ''}" if good else ""
        said.append(f"{len(good):,} of {len(names[:LOOKED_AT]):,} series of {file.name}{some}")
    if not any(not line.startswith("0 ") for line in said):
        return "nothing of it can be read; if there is a copy, use that"
    return f"readable are {'; '.join(said)}. run.column(name) reads each"


def _reads(file: Path, name: str) -> bool:
    try:
        with opened(file) as reader:
            reader.column(name)
    except FluoroscopeError:
        return False
    return True
