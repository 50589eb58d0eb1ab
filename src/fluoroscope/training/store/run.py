"""Run: one recorded training, read while it is written or long after."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, InputError, MissingExtra, nearest
from fluoroscope.results import History, Media, Series, TensorHistory
from fluoroscope.results.store import atomic_write
from fluoroscope.training.store.asked import asked_names, asked_rank
from fluoroscope.training.store.column import Column, Envelope, envelope
from fluoroscope.training.store.folder import writer_files
from fluoroscope.training.store.interest import by_interest
from fluoroscope.training.store.media_reading import media_of
from fluoroscope.training.store.process import alive
from fluoroscope.training.store.reader import opened
from fluoroscope.training.store.salvage import readable_columns, told_lost
from fluoroscope.training.store.schema import ForeignFile
from fluoroscope.training.store.tensor_reading import tensor_history

if TYPE_CHECKING:
    import pandas

__all__ = ["Run", "State", "unit_of"]

State = Literal["running", "finished", "failed", "interrupted"]
RANK = re.compile(r"rank\d+/")
UNITS = {"time/step": "s", "time/curvature": "s"}
UNITS |= dict.fromkeys(("memory/process", "memory/accelerator", "memory/accelerator_peak"), "bytes")
WORST = {"failed": 0, "running": 1, "interrupted": 2}
PARTS = ("train_", "training_", "val_", "valid_", "validation_", "test_", "eval_")


class Run:
    """A run's folder. Nothing is kept: every question reads the files, so that the answer is the newest.

    A run that went on in a second process (``resume=True``) has several files, whose series follow one another. Series
    of a rank other than 0 begin with ``rank1/``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # ------------------------------------------------------------------ facts

    @property
    def facts(self) -> dict[str, Any]:
        """Everything written about the run: of the first writer, the state and end of the last. Of several ranks, that
        of the one which failed or still runs.
        """
        found = self._metas()
        first, lasts = found[0][1], {meta.get("rank", 0): meta for _, meta in found}
        last = min(lasts.values(), key=lambda meta: WORST.get(meta["state"], len(WORST)))
        ends: dict[str, Any] = {
            key: last[key] for key in ("state", "finished", "error", "process", "rank") if key in last
        }
        return {
            **first,
            **dict.fromkeys(("finished", "error")),
            **ends,
            "lost": sum(m.get("lost", 0) for _, m in found),
        }

    @property
    def damaged(self) -> dict[str, FluoroscopeError]:
        """Files of the run that can't be read, by name, and why; the others are read without them."""
        return {name: error for name, error in self._looked()[1].items() if not isinstance(error, ForeignFile)}

    @property
    def foreign(self) -> dict[str, FluoroscopeError]:
        """Files of other programs in the run's folder, by name."""
        return {name: error for name, error in self._looked()[1].items() if isinstance(error, ForeignFile)}

    def _looked(self) -> tuple[list[tuple[Path, dict[str, Any]]], dict[str, FluoroscopeError]]:
        found, unread = [], {}
        for file in writer_files(self.path):
            try:
                with opened(file) as reader:
                    found.append((file, reader.meta()))
            except FluoroscopeError as error:
                unread[file.name] = error
        return found, unread

    def _metas(self) -> list[tuple[Path, dict[str, Any]]]:
        """Files and what they tell of themselves, in the order of their beginning, rank 0 first."""
        found, unread = self._looked()
        if not found:
            raise min(unread.values(), key=lambda error: isinstance(error, ForeignFile), default=None) or InputError(
                f"{self.path} holds no run", expected="a folder that fs.record wrote"
            )
        return sorted(found, key=lambda f: (f[1].get("rank", 0), f[0].name.split("-")[1:]))

    @property
    def name(self) -> str:
        """The name given by the user."""
        return str(self._metas()[0][1]["name"])

    @property
    def config(self) -> dict[str, Any]:
        """The configuration given by the user, as plain values."""
        found = self.facts.get("config")
        return found if isinstance(found, dict) else {} if found is None else {"config": found}

    @property
    def summary(self) -> dict[str, Any]:
        """What was said of the run as a whole, as plain values: the summary of a run of Weights & Biases."""
        found = self.facts.get("summary")
        return found if isinstance(found, dict) else {}

    @property
    def environment(self) -> dict[str, Any]:
        """Command line, versions, machine, git state."""
        return dict(self.facts.get("environment") or {})

    @property
    def state(self) -> State:
        """``running``, ``finished``, ``failed``, or ``interrupted``: by the user, or because its process is gone."""
        facts = self.facts
        state: State = facts["state"]
        if state == "running" and not alive(facts.get("process") or {}, self.last_written or 0.0):
            return "interrupted"
        return state

    @property
    def error(self) -> str | None:
        """What a failed run ended with."""
        return self.facts.get("error")

    @property
    def started(self) -> float:
        """Seconds since 1970."""
        return float(self._metas()[0][1]["started"])

    @property
    def finished(self) -> float | None:
        """Seconds since 1970; None while it runs, and where it broke off."""
        return self.facts.get("finished")

    @property
    def last_written(self) -> float | None:
        """When the last step was written, in seconds since 1970."""
        times = []
        for file, _ in self._metas():
            with opened(file) as reader:
                times.append(reader.last_time())
        return max((t for t in times if t is not None), default=None)

    @property
    def last_step(self) -> int | None:
        """The largest step of all, None before the first."""
        steps = []
        for file, _ in self._metas():
            with opened(file) as reader:
                steps.append(reader.last_step())
        return max((s for s in steps if s is not None), default=None)

    # ------------------------------------------------------------------ series

    def names(self) -> tuple[str, ...]:
        """Scalar series in the order of first writing."""
        found: dict[str, None] = {}
        for file, meta in self._metas():
            with opened(file) as reader:
                found.update(dict.fromkeys(_prefix(meta) + n for n in reader.names()))
        return tuple(found)

    def _column(self, name: str, times: bool) -> tuple[Any, Any, Any]:
        (name,) = asked_names([name], "run.column(name)") or [""]
        parts: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        known: list[str] = []
        for file, meta in self._metas():
            prefix = _prefix(meta)
            with opened(file) as reader:
                found = reader.column(name[len(prefix) :], times) if name.startswith(prefix) else ([], [], [])
                known += [] if found[0] else [prefix + n for n in reader.names()]
            for part, more in zip(parts, found, strict=True):
                part.extend(more)
        if not parts[0]:
            raise InputError(
                f"the run {self.name!r} has no series of that name", got=name, nearest=nearest(name, known)
            )
        return tuple(p[0] if len(p) == 1 else np.concatenate(p) if p else None for p in parts)  # type: ignore[return-value]

    @checked
    def column(self, name: str) -> Column:
        """Every point of a series, exactly as written: NaN and infinity kept, repeated and falling steps too.

        Raises:
            InputError: there is no such series.
        """
        return Column(*self._column(name, times=True))

    @checked
    def columns(self, names: Iterable[str] | None = None) -> dict[str, Column]:
        """Many series at once, in the order of ``names``, or all in the order of first writing: each as :meth:`column`
        gives it, but the files are read once.

        Raises:
            InputError: there is no such series.
        """
        asked = asked_names(names, "run.column(name) or run.columns([name])")
        parts: dict[str, list[tuple[Any, Any, Any]]] = {}
        for file, meta in self._metas():
            prefix = _prefix(meta)
            own = None if asked is None else {n[len(prefix) :] for n in asked if n.startswith(prefix)}
            with opened(file) as reader:
                for name, found in reader.columns(own).items():
                    parts.setdefault(prefix + name, []).append(found)
        for name in asked or ():
            if name not in parts:
                self.column(name)  # which says what there is instead
        return {
            name: Column(*(c[0] if len(c) == 1 else np.concatenate(c) for c in zip(*parts[name], strict=True)))
            for name in (parts if asked is None else asked)
        }

    def envelope(self, name: str, buckets: int = 2000) -> Envelope:
        """Least and greatest value in each of at most ``buckets`` stretches of a series: exact, and quick.

        Raises:
            InputError: there is no such series.
        """
        steps, values, _ = self._column(name, times=False)
        return envelope(steps, values, buckets)

    def last_values(self) -> dict[str, tuple[int, float]]:
        """(step, value) of the last point of every series."""
        found = {}
        for file, meta in self._metas():
            with opened(file) as reader:
                found.update({_prefix(meta) + n: v for n, v in reader.last_values().items()})
        return found

    @checked
    def history(self, names: Iterable[str] | None = None, *, partial: bool = False) -> History:
        """Series as a result that can be drawn and saved; all of them, losses first, where none are named.

        ``partial``: series that can't be read are left out; the notes and ``meta["unreadable"]`` name them.

        Raises:
            ResultFileError: a series can't be read; with ``partial``, none can.
        """
        names = asked_names(names, "run.history([name])")
        found, lost = readable_columns(self, names) if partial else (self.columns(names), ())
        columns = {name: found[name] for name in by_interest(found)} if names is None else found
        series = {
            n: Series(steps=c.steps, values=c.values, times=c.times, group=_group(n), unit=unit_of(n))
            for n, c in columns.items()
        }
        config = self.config
        notes = [f"{name} can't be read and is left out" for name in self.damaged]
        notes += told_lost("series", lost, len(found) + len(lost))
        told = {"notes": notes, "unreadable": list(lost)}
        meta: dict[str, Any] = {"run": self.name, "config": config, **{k: v for k, v in told.items() if v}}
        return History(title=self.name, series=series, configs={self.name: config}, meta=meta)

    @checked
    def tensor_history(
        self,
        quantities: Sequence[str] | None = None,
        *,
        histograms: bool = True,
        rank: int | Literal["all"] = 0,
        partial: bool = False,
    ) -> TensorHistory:
        """Statistics of parameters and layers by step, in the order of the network.

        Only the ``quantities`` named (``"gradient/norm"`` …), all where None. Exact statistics take the place of
        sampled ones at the steps at which they were taken (``meta["exact_steps"]``).

        ``rank``: the process whose record is read. ``"all"`` joins those of all processes (``ranks="all"`` of
        :func:`fluoroscope.record`): of tensors that are spread over processes, means, standard deviations, extremes,
        shares and histograms of the whole, by the number of entries of each part. Activations are each process's own
        and left out; where a part was not recorded, only norms are known, and the notes say so.

        ``partial``: quantities that can't be read are left out; the notes and ``meta["unreadable"]`` name them.

        Raises:
            InputError: no process of that rank wrote; or parts can't be joined, since not all processes wrote.
            ResultFileError: one of them can't be read, and ``partial`` is not given.
        """
        by_rank: dict[int, list[Path]] = {}
        for file, meta in self._metas():
            by_rank.setdefault(meta.get("rank", 0), []).append(file)
        rank = asked_rank(rank, by_rank)
        quantities = asked_names(quantities, "run.tensor_history([quantity])")
        return tensor_history(by_rank, rank, self.name, quantities, histograms, partial)

    def media(self, names: Iterable[str] | None = None) -> Media:
        """Pictures and texts, of the series named or of all. A picture is read from its file when it is asked for
        (``media.images[name].picture(i)``); to save or plot the result all of them are read.
        """
        names = asked_names(names, "run.media([name])")
        return media_of([(file, _prefix(meta)) for file, meta in self._metas()], self.name, names)

    # ------------------------------------------------------------------ out

    def to_pandas(self) -> pandas.DataFrame:
        """A table with a row for each point: ``series``, ``step``, ``value``, ``time``. Raises MissingExtra."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra.of("pandas", "tables", "Run.to_pandas") from error
        columns = self.columns()
        sizes = [len(c) for c in columns.values()]
        return pandas.DataFrame(
            {
                "series": pandas.Categorical.from_codes(np.repeat(np.arange(len(sizes)), sizes), list(columns)),
                "step": _joined([c.steps for c in columns.values()], np.int64),
                "value": _joined([c.values for c in columns.values()], np.float64),
                "time": _joined([c.times for c in columns.values()], np.float64),
            }
        )

    def to_parquet(self, path: str | Path) -> Path:
        """The same table as a Parquet file, a row group for each series; returns the path. Raises MissingExtra."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtra.of("pyarrow", "tables", "Run.to_parquet") from error
        kinds = {
            "series": pyarrow.string(),
            "step": pyarrow.int64(),
            "value": pyarrow.float64(),
            "time": pyarrow.float64(),
        }
        schema = pyarrow.schema(kinds, metadata={"fluoroscope.run": self.name})
        with atomic_write(Path(path)) as handle, pyarrow.parquet.ParquetWriter(handle, schema) as out:
            for name in self.names():
                c = self.column(name)
                out.write_table(pyarrow.table([[name] * len(c), c.steps, c.values, c.times], schema=schema))
        return Path(path)


def _joined(parts: list[Any], dtype: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _prefix(meta: dict[str, Any]) -> str:
    rank = meta.get("rank", 0)
    return f"rank{rank}/" if rank else ""


def unit_of(name: str) -> str:
    """The unit of what the recorder adds by itself; what a user logs has none that is known."""
    bare = name.partition("/")[2] if RANK.match(name) else name
    return UNITS.get(bare, "")


def _group(name: str) -> str:
    """Series that belong on one pair of axes: what is before the last slash, or the quantity without train and val."""
    path, slash, last = name.rpartition("/")
    if slash:
        return path
    return next((last[len(p) :] for p in PARTS if last.startswith(p) and len(last) > len(p)), last)
