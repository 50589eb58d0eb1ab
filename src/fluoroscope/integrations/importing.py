"""Logs of other programs into the store of runs: TensorBoard's event files, and offline logs of Weights & Biases."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.integrations.tensorboard.log_folder import MARK, ROOT, LogFolder
from fluoroscope.integrations.tensorboard.records import EventLog, Problem
from fluoroscope.integrations.wandb_file import read_wandb_file
from fluoroscope.results import Array
from fluoroscope.results.picture_file import picture_file
from fluoroscope.training.store import RunWriter

__all__ = ["EDGES", "Imported", "Importer", "import_runs", "rebinned"]

EDGES = np.concatenate([-(2.0 ** np.arange(16, -49, -1)), 2.0 ** np.arange(-48, 17)])
"""Edges of the histograms in the store: factors of two on both sides of zero, as the recorder takes them."""
MOST = 60_000
"""Entries of a stored histogram; larger ones are scaled down, shares stay."""
QUANTITY = "values"


@dataclass
class Imported:
    """What became of one run: ``name`` in the store, how much was taken over, what was not, and what was damaged.

    Where a run of the name ``asked`` for was there already, ``name`` is that with a number.
    """

    name: str
    path: Path
    asked: str
    series: int = 0
    points: int = 0
    histograms: int = 0
    images: int = 0
    texts: int = 0
    settings: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class Importer:
    """Imports everything below ``source`` into runs in ``folder``; :meth:`again` adds what was written since.

    Runs are named by their folders below ``source``, those of Weights & Biases by their display names. Scalars are
    taken over exactly, with steps and wall times in order of writing. Histograms are put into buckets of factors of
    two, entries of a bucket thought to lie evenly in it. Pictures (PNG, JPEG, GIF, WebP) and texts are kept as they
    are, of very many evenly spaced ones. Graphs, audio and other plugins have no place in the store: they are counted
    in :attr:`Imported.left_out`.

    Raises:
        InputError: there is nothing to import, or it can't be read.
    """

    def __init__(
        self, source: str | Path, folder: str | Path = "runs", *, name: str | None = None, check: bool = True
    ) -> None:
        self.source, self.folder = Path(source), Path(folder)
        self._name = name
        self._writers: dict[str, RunWriter] = {}
        self._ends: dict[str, float] = {}
        self.done: dict[str, Imported] = {}
        self._unread: dict[str, tuple[str, EventLog, str]] = {}
        self._wandb = _wandb_files(self.source)
        self._events = (
            LogFolder(self.source, check=check, keep=False) if not self._wandb or _has_events(self.source) else None
        )

    def again(self) -> int:
        """Import what was added since the last call; how many points that were. Raises InputError, ResultFileError."""
        before = sum(d.points for d in self.done.values())
        while self._wandb:
            run = read_wandb_file(self._wandb.pop(0))
            self._write(f"wandb {run.identity}", self._name or run.name, run.log, "wandb")
        if self._events is not None:
            for run_name, log in self._events.read().items():
                self._write(run_name, self._named(run_name), log, "tensorboard")
        return sum(d.points for d in self.done.values()) - before

    def close(self) -> list[Imported]:
        """End every run, and tell what became of it. Raises InputError where nothing at all could be read."""
        unread = {key: found for key, found in self._unread.items() if key not in self._writers}
        if unread and not self._writers:
            (name, log, _), *_ = unread.values()
            raise InputError(
                f"nothing could be read in {self.source}",
                got=str(log.problems[0]),
                expected="files that were written in full, of TensorBoard or Weights & Biases",
            )
        for key, (name, log, kind) in unread.items():
            self._begun(key, name, log, kind)
        for problem in self._events.torn if self._events is not None else ():
            parent = Path(problem.path).parent
            inside = parent.is_relative_to(self.source) and self.source.is_dir()
            key = parent.relative_to(self.source).as_posix() if inside else ROOT
            if key in self.done:
                self.done[key].problems.append(problem)
        for key, writer in self._writers.items():
            writer.close("finished", finished=self._ends.get(key))
        return list(self.done.values())

    def _named(self, run: str) -> str:
        """The run's name in the store."""
        source = self.source if self.source.is_dir() else self.source.parent
        own = self._name or source.resolve().name or "imported"
        if run == ROOT:
            return own
        return f"{self._name}/{run}" if self._name else run

    def _write(self, key: str, name: str, log: EventLog, kind: str) -> None:
        if key not in self._writers and log.problems and not _holds_any(log):
            self._unread[key] = (name, log, kind)  # a run only where others could be read, which close() knows
            return
        self._begun(key, name, log, kind)

    def _begun(self, key: str, name: str, log: EventLog, kind: str) -> None:
        if key not in self._writers:
            started = min((float(c.times[0]) for c in log.scalars.values() if len(c.times)), default=None)
            facts: dict[str, Any] = {} if started is None else {"started": started}
            environment = {"imported_from": str(self.source), "format": kind}
            writer = RunWriter(self.folder, name, config=log.hparams or None, environment=environment, **facts)
            self._writers[key] = writer
            self.done[key] = Imported(writer.name, writer.path, name, settings=len(log.hparams))
        elif log.hparams:
            self._writers[key].info(config=log.hparams)
        writer, done = self._writers[key], self.done[key]
        if log.summary:
            writer.info(summary=log.summary)
        with writer.together():
            for tag, column in log.scalars.items():
                writer.columns(tag, column.steps, column.values, column.times)
                done.points += len(column.steps)
                self._ends[key] = max(self._ends.get(key, 0.0), float(column.times.max(initial=0.0)))
            done.histograms += _histograms(writer, log)
            left_out = _media(writer, log, done)
        done.series = max(done.series, len(log.scalars))
        done.settings = max(done.settings, len(log.hparams))
        for plugin, count in [*log.left_out.items(), *left_out.items()]:
            done.left_out[plugin] = done.left_out.get(plugin, 0) + count
        done.problems += log.problems


def _holds_any(log: EventLog) -> bool:
    parts = (log.scalars, log.histograms, log.images, log.texts, log.hparams, log.summary, log.left_out)
    return any(len(part) for part in parts)


def import_runs(
    source: str | Path, folder: str | Path = "runs", *, name: str | None = None, check: bool = True
) -> list[Imported]:
    """Import a folder of event files or ``.wandb`` logs, or one such file, into runs in ``folder``.

    ``name`` names the run (with sub-folders: what their names begin with); ``check=False`` trusts contents without
    their checksums.

    Raises:
        InputError: there is nothing to import, or it can't be read.
        ResultFileError: the folder can't be written to.
    """
    importer = Importer(source, folder, name=name, check=check)
    importer.again()
    return importer.close()


def rebinned(edges: Array, counts: Array, target: Array) -> Array:
    """``counts`` (B,) between ``edges`` (B + 1,) between the edges ``target`` (T + 1,) instead; the sum stays.

    Entries of a bucket are thought to lie evenly in it; what lies beyond the target's ends is counted at them. A bucket
    without width is a single value.
    """
    edges, counts = np.asarray(edges, float), np.asarray(counts, float)
    out = np.zeros(len(target) - 1)
    if not len(counts):
        return out
    points = np.flatnonzero(np.diff(edges) <= 0)
    for i in points.tolist():
        out[np.clip(np.searchsorted(target, edges[i], "right") - 1, 0, len(out) - 1)] += counts[i]
    spread = counts.copy()
    spread[points] = 0
    below = np.concatenate([[0.0], np.cumsum(spread)])
    at = np.interp(target, edges, below)
    out += np.diff(at)
    out[0] += at[0]
    out[-1] += below[-1] - at[-1]
    return out


def _histograms(writer: RunWriter, log: EventLog) -> int:
    """Write the histograms of every step together; how many there were."""
    by_step: dict[int, dict[str, tuple[Array, float]]] = {}
    for tag, column in log.histograms.items():
        for i, step in enumerate(column.steps.tolist()):
            shares = rebinned(column.edges[i], column.counts[i], EDGES)
            by_step.setdefault(step, {})[tag] = (_whole(shares), float(column.times[i]))
    facts = {"edges": {QUANTITY: EDGES.tolist()}, "sampled": 1.0}
    total = 0
    for step, found in sorted(by_step.items()):
        names = list(found)
        counts = np.stack([found[n][0] for n in names])
        writer.tensors(step, names, {}, {QUANTITY: counts}, time=max(f[1] for f in found.values()), facts=facts)
        total += len(names)
    return total


def _whole(counts: Array) -> Array:
    """Counts as whole numbers with the same sum as near as can be, scaled down to what the store holds."""
    total = counts.sum()
    if not total > 0:
        return np.zeros(len(counts), np.int64)
    wanted = counts * (min(MOST, max(round(float(total)), 1)) / total)
    return np.asarray(np.diff(np.rint(np.concatenate([[0.0], np.cumsum(wanted)]))), np.int64)


def _media(writer: RunWriter, log: EventLog, done: Imported) -> dict[str, int]:
    """Write pictures and texts; what could not be kept, by kind."""
    refused = 0
    for tag, images in log.images.items():
        for step, moment, pictures in zip(images.steps.tolist(), images.times.tolist(), images.pictures, strict=True):
            kept = [p for p in pictures if picture_file(p) is not None]
            refused += len(pictures) - len(kept)
            done.images += len(kept)
            if kept:
                writer.images(step, tag, kept, moment)
    for tag, texts in log.texts.items():
        for step, moment, said in zip(texts.steps.tolist(), texts.times.tolist(), texts.texts, strict=True):
            writer.texts(step, tag, said, moment)
            done.texts += len(said)
    return {"images that are too large or no PNG, JPEG, GIF or WebP": refused} if refused else {}


def _wandb_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if source.suffix == ".wandb" else []
    return sorted(source.rglob("*.wandb")) if source.is_dir() else []


def _has_events(source: Path) -> bool:
    return source.is_dir() and any(source.rglob(f"*{MARK}*"))


def nothing_to_import(source: Path) -> InputError:
    """The error for a place without logs."""
    return InputError(
        f"there is nothing to import in {source}",
        got="no such path" if not source.exists() else "neither event files nor .wandb files",
        expected="a folder that TensorBoard can show, an offline folder of Weights & Biases, or one of their files",
    )
