"""What the studio shows of trainings: the list of runs, one run, several side by side; each a document of a page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import numpy as np

from fluoroscope.errors import ResultFileError
from fluoroscope.render.blobs import Blobs
from fluoroscope.render.page import PanelError, Section
from fluoroscope.results import History, Media, Result, Series, TensorHistograms, TensorHistory
from fluoroscope.results.envelope import extremes
from fluoroscope.results.history import flat_config
from fluoroscope.training.diagnosis import diagnose
from fluoroscope.training.store import remaining
from fluoroscope.training.store.interest import RECORDED, by_interest
from fluoroscope.training.store.run import unit_of

__all__ = [
    "chosen",
    "compared",
    "curve_of",
    "facts_of",
    "row_of",
    "seconds_of",
    "sections_of",
    "stamp_of",
    "thinned",
    "with_more",
]

LAST_VALUES = 4
MOST = 2000
"""Series that a page has from the beginning; the others are asked for when they are drawn."""
PLAIN = (str, int, float)
LONG = 20_000
"""Points of a series that a browser is sent at once."""


def stamp_of(runs: Sequence[Any]) -> str:
    """Changes whenever there is something new in any of the runs."""
    return "|".join(map(_stamp, runs))


def _stamp(run: Any) -> str:
    try:
        return f"{run.name}:{run.state}:{run.last_step}:{run.last_written}"
    except ResultFileError:
        return f"{run.path.name}:damaged"


def damaged_row(run: Any) -> dict[str, Any]:
    """The line of a run that can't be read."""
    nothing: dict[str, Any] = {"steps": 0, "started": "", "seconds": math.nan, "values": [], "config": []}
    return {"name": run.name, "address": f"/run/{quote(run.name, safe='')}", "state": "damaged", **nothing}


def row_of(run: Any) -> dict[str, Any]:
    """One line of the list of runs."""
    last = run.last_values()
    chosen = by_interest(last)[:LAST_VALUES]
    return {
        "name": run.name,
        "address": f"/run/{quote(run.name, safe='')}",
        "state": run.state,
        "steps": run.last_step or 0,
        "started": _moment(run.started),
        "seconds": seconds_of(run),
        "values": [[name, last[name][1], unit_of(name)] for name in chosen],
        "config": [[str(key), str(value)] for key, value in flat_config(run.config)],
    }


def seconds_of(run: Any) -> float:
    """How long it ran: until now, until its end, or until its last word."""
    end = time.time() if run.state == "running" else run.finished or run.last_written
    return end - run.started if end else math.nan


def facts_of(run: Any) -> list[tuple[str, str]]:
    """The head of a run's page."""
    try:
        row = row_of(run)
    except ResultFileError as error:
        return [("State", "damaged"), ("Why", str(error.got)), ("What is left", remaining(run.path))]
    facts = [("State", run.state), ("Last step", f"{row['steps']:,}"), ("Started", row["started"])]
    environment = dict(flat_config(run.environment or {}))
    facts += [
        (key, str(environment[key])[:12]) for key in ("git", "git.commit", "device", "torch") if environment.get(key)
    ]
    facts += [(key, value) for key, value in row["config"][:8]]
    known = set(run.names())
    summary = [(key, value) for key, value in flat_config(run.summary) if key not in known and isinstance(value, PLAIN)]
    return facts + [(f"Summary: {key}", str(value)[:200]) for key, value in summary[:8]]


def sections_of(run: Any) -> list[Section]:
    """A run's curves, its layers, and what the diagnosis says of it."""
    results = [
        _made("Diagnosis", lambda: _diagnosed(run)),
        _made("Curves", lambda: _shortened(run, chosen(run.names(), MOST))),
        _made("Layers", lambda: thinned(run.tensor_history(partial=True)).replace(title="Layers")),
        _made("Pictures and texts", lambda: run.media().replace(title="Pictures and texts")),
    ]
    kept = [r for r in results if not _empty(r)]
    return [Section("during", "During training", "What is recorded while the network learns, as it comes in.", kept)]


def compared(runs: Sequence[Any]) -> list[Section]:
    """Several runs on the same axes."""

    def made() -> History:
        wanted = chosen(dict.fromkeys(name for run in runs for name in run.names()), max(MOST // max(len(runs), 1), 24))
        found = History.compared({run.name: _shortened(run, _among(wanted, run)) for run in runs})
        return found.replace(title="Curves")

    result = _made("Curves", made)
    return [Section("compare", "During training", "The same quantity of every run on one pair of axes.", [result])]


def chosen(names: Iterable[str], most: int) -> list[str]:
    """The series that a page has from the beginning: what people look at first, and what the recorder adds."""
    ordered = by_interest(names)
    if len(ordered) <= most:
        return ordered
    recorded = [name for name in ordered if name.partition("/")[0] in RECORDED][: most // 10]
    return list(dict.fromkeys([*ordered[: most - len(recorded)], *recorded]))


def _among(wanted: Sequence[str], run: Any) -> list[str]:
    known = set(run.names())
    return [name for name in wanted if name in known]


def _diagnosed(run: Any) -> Result:
    found = diagnose(_Chosen(run))
    count = len(run.names())
    note = f"of {count:,} series, {MOST:,} were looked at; fluoroscope diagnose looks at all"
    return found if count <= MOST else found.with_meta(notes=[*found.notes, note])


class _Chosen:
    """A run as the diagnosis reads it, with the series that a page has from the beginning."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def history(self, *, partial: bool = False) -> History:
        found: History = self._run.history(chosen(self._run.names(), MOST), partial=partial)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def with_more(found: dict[str, Any], runs: Sequence[Any], blobs: Blobs) -> None:
    """Name the series that a document's curves lack; the page asks for each that it draws."""
    for panel in (p for section in found["sections"] for p in section["panels"] if p["kind"] == "history"):
        named = {run.name: run.names() for run in runs}
        only = next(iter(named), "")
        there = {(series["run"] or only, series["name"]) for series in panel["series"]}
        names = {run: [name for name in known if (run, name) not in there] for run, known in named.items()}
        if any(names.values()):
            text = json.dumps([[run, left] for run, left in names.items()])
            panel["more"] = {"count": sum(map(len, names.values())), "names": blobs.text(text)}


def curve_of(run: Any, name: str) -> dict[str, Any]:
    """One series as plain values, shortened like those of a page. Raises InputError."""
    column = run.column(name)
    series = Series(steps=column.steps, values=column.values, times=column.times)
    series = _reduced(series) if len(series.steps) > LONG else series
    times = series.times if series.times is not None and len(series.times) else np.zeros(0)
    return {"steps": series.steps.tolist(), "values": series.values.tolist(), "times": times.tolist()}


def _shortened(run: Any, names: Sequence[str]) -> History:
    """The run's curves; of very long ones the least and the greatest value of each stretch."""
    found: History = run.history(names, partial=True)
    found = found.replace(title="Curves")
    long = [name for name, s in found.series.items() if len(s.steps) > LONG]
    if not long:
        return found
    series = {name: _reduced(s) if name in long else s for name, s in found.series.items()}
    note = f"of series longer than {LONG:,} points the least and greatest of every stretch are shown; the file has all"
    return found.replace(series=series).with_meta(notes=[*found.notes, note])


def _reduced(series: Series) -> Series:
    kept = extremes(series.values, LONG // 2)
    times = series.times[kept] if series.times is not None else None
    return series.replace(steps=series.steps[kept], values=series.values[kept], times=times)


def thinned(found: TensorHistory, most: int = 400) -> TensorHistory:
    """At most about ``most`` steps of a tensor history, evenly spaced, the first and last among them."""
    count = len(found.steps)
    if count <= most:
        return found
    kept = np.unique(np.linspace(0, count - 1, most).round().astype(int))
    histograms = {name: _fewer(h, most // 4) for name, h in found.histograms.items()}
    return found.replace(
        steps=found.steps[kept],
        statistics={name: values[:, kept] for name, values in found.statistics.items()},
        recorded={name: values[:, kept] for name, values in found.recorded.items()},
        histograms=histograms,
    ).with_meta(notes=[*found.notes, f"{len(kept)} of {count:,} steps are shown"])


def _fewer(found: TensorHistograms, most: int) -> TensorHistograms:
    if len(found.steps) <= most:
        return found
    kept = np.unique(np.linspace(0, len(found.steps) - 1, most).round().astype(int))
    return found.replace(steps=found.steps[kept], counts=found.counts[:, kept])


def _made(title: str, make: Any) -> Result | PanelError:
    """A result, or what stands in its place: one panel that fails must not cost the page."""
    try:
        made: Result = make()
    except Exception as error:  # noqa: BLE001 (shown in its place)
        return PanelError(title, f"{type(error).__name__}: {error}")
    return made


def _empty(result: Result | PanelError) -> bool:
    if isinstance(result, Media):
        return not result.images and not result.texts
    return any(getattr(result, name, True) in ({}, ()) for name in ("series", "names") if hasattr(result, name))


def _moment(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M") if seconds else ""
