"""What the studio shows of trainings: a list of runs, one run, several runs side by side; each as a document of a page."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fluoroscope.render.page import PanelError, Section
from fluoroscope.results import Result

__all__ = ["compared", "facts_of", "row_of", "sections_of", "stamp_of"]

LAST_VALUES = 4


def stamp_of(runs: Sequence[Any]) -> str:
    """Changes whenever there is something new in any of the runs."""
    return "|".join(f"{run.name}:{run.state}:{run.last_step}:{run.last_written}" for run in runs)


def row_of(run: Any) -> dict[str, Any]:
    """One line of the list of runs."""
    names = run.names()
    columns = {name: run.column(name) for name in sorted(names, key=_interest)[:LAST_VALUES]}
    steps = max((int(c.steps[-1]) for c in columns.values() if len(c.steps)), default=0)
    return {
        "name": run.name,
        "address": f"/run/{quote(run.name, safe='')}",
        "state": run.state,
        "steps": steps,
        "started": _moment(run.started),
        "seconds": (run.finished or time.time()) - run.started if run.started else math.nan,
        "values": [[name, float(c.values[-1])] for name, c in columns.items() if len(c.values)],
        "config": [[str(key), str(value)] for key, value in flat(run.config).items()],
    }


def _interest(name: str) -> tuple[int, str]:
    """Losses first, then accuracies, then the rest by name."""
    for rank, word in enumerate(("loss", "acc", "error", "perplexity")):
        if word in name.lower():
            return rank, name
    return 9, name


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def facts_of(run: Any) -> list[tuple[str, str]]:
    """The head of a run's page."""
    row = row_of(run)
    facts = [("State", run.state), ("Last step", f"{row['steps']:,}"), ("Started", row["started"])]
    environment = flat(run.environment or {})
    facts += [(key, str(environment[key])) for key in ("git", "git.commit", "device", "torch") if environment.get(key)]
    return facts + [(key, value) for key, value in row["config"][:8]]


def sections_of(run: Any) -> list[Section]:
    """A run's curves, its layers, and what the diagnosis says of it."""
    results = [_made("Curves", run.history), _made("Layers", run.tensor_history), _made("Diagnosis", lambda: _found(run))]
    kept = [r for r in results if not _empty(r)]
    return [Section("during", "During training", "What is recorded while the network learns, as it comes in.", kept)]


def compared(runs: Sequence[Any], history_of: Any) -> list[Section]:
    """Several runs on the same axes."""
    result = _made("Runs compared", lambda: history_of(runs))
    return [Section("compare", "Runs compared", "The same quantity of every run on one pair of axes.", [result])]


def _found(run: Any) -> Result:
    from fluoroscope.training.diagnosis import diagnose

    return diagnose(run)


def _made(title: str, make: Any) -> Result | PanelError:
    """A result, or what stands in its place: one panel that fails must not cost the page."""
    try:
        made: Result = make()
    except Exception as error:  # noqa: BLE001 (shown in its place)
        return PanelError(title, f"{type(error).__name__}: {error}")
    return made


def _empty(result: Result | PanelError) -> bool:
    return any(getattr(result, name, True) in ({}, ()) for name in ("series", "names") if hasattr(result, name))


def _moment(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M") if seconds else ""
