"""History: quantities over the steps of a training, of one run or of several that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["History", "Series", "flat_config"]


@record
class Series(Record):
    """One quantity: ``values[i]`` was seen at ``steps[i]``. NaN and infinity are kept, never dropped.

    Steps are in order of writing: they may repeat or go back where a run was started again. ``times`` are wall seconds
    since 1970, ``epochs`` and ``samples`` how much of the data had been seen; each (S,) or None. ``run`` and ``name``
    say what it is where one history holds several runs; empty, the key in :attr:`History.series` is the name.
    """

    kind: ClassVar[str] = "series"
    steps: Array = value()
    values: Array = value()
    unit: str = value(default="")
    group: str = value(default="")
    times: Array | None = value(default=None)
    epochs: Array | None = value(default=None)
    samples: Array | None = value(default=None)
    run: str = value(default="")
    name: str = value(default="")

    def extended(self, steps: Array, values: Array, times: Array | None = None) -> Series:
        """The series with later points added; an axis that the later points lack is dropped."""
        grown = {"times": None if self.times is None or times is None else np.concatenate([self.times, times])}
        return self.replace(
            steps=np.concatenate([self.steps, steps]),
            values=np.concatenate([self.values, values]),
            epochs=None,
            samples=None,
            **grown,
        )


@record
class History(Result):
    """Named series; those with the same ``group`` belong on one pair of axes.

    ``configs`` has the configuration of every run, by its name, in the order in which runs are shown.
    """

    kind: ClassVar[str] = "history"
    series: dict[str, Series] = value()
    axis: str = value(default="step")
    configs: dict[str, dict[str, Any]] = value(default_factory=dict)

    @property
    def values(self) -> Array:
        """Last value of each series (S,), in the order of ``series``."""
        return np.array([s.values[-1] if len(s.values) else np.nan for s in self.series.values()])

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs: those of ``configs`` first, then any other that a series names."""
        return tuple(dict.fromkeys([*self.configs, *(s.run for s in self.series.values() if s.run)]))

    @property
    def differences(self) -> dict[str, dict[str, Any]]:
        """What the configurations do not share: ``{key: {run: value}}``, keys of inner settings joined by dots."""
        flat = {run: dict(flat_config(config)) for run, config in self.configs.items()}
        keys = dict.fromkeys(key for config in flat.values() for key in config)
        columns = {key: {run: config.get(key) for run, config in flat.items()} for key in keys}
        return {k: column for k, column in columns.items() if len({repr(v) for v in column.values()}) > 1}

    @classmethod
    def compared(cls, histories: Mapping[str, History], title: str = "Runs") -> History:
        """Several runs in one history, by the name of the run; a series of the same name shares axes.

        Raises:
            InputError: these are no histories by name.
        """
        given: Any = histories
        if not isinstance(given, Mapping) or not all(isinstance(h, History) for h in given.values()):
            raise InputError(
                "runs are compared by their histories",
                got=_kinds(histories),
                expected="a mapping from names to histories, such as {name: run.history()}",
            )
        series, configs = {}, {}
        for run, history in histories.items():
            configs[run] = next(iter(history.configs.values()), {})
            for key, one in history.series.items():
                name = one.name or key
                series[f"{run}: {name}"] = one.replace(run=run, name=name, group=one.group or name)
        axis = next((h.axis for h in histories.values()), "step")
        return cls(series=series, configs=configs, axis=axis, title=title)


def _kinds(given: Any) -> str:
    inner = sorted({type(h).__name__ for h in given.values()}) if isinstance(given, Mapping) else []
    return f"{type(given).__name__}{' of ' if inner else ''}{', '.join(inner)}"


def flat_config(config: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """The entries of a nested configuration with dotted names, in their order."""
    found: list[tuple[str, Any]] = []
    for key, entry in config.items():
        name = f"{before}{key}"
        found += flat_config(entry, f"{name}.") if isinstance(entry, Mapping) else [(name, entry)]
    return found
