"""Watcher: the diagnosis of a training while it runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from typing import Any

from fluoroscope.arguments import checked
from fluoroscope.errors import InputError, OptionError, TrainingStopped
from fluoroscope.results import Finding, Findings, History
from fluoroscope.results.findings import Severity
from fluoroscope.training.diagnosis.alerts import Alert, Announcement, at_least, known_severity
from fluoroscope.training.diagnosis.diagnosing import apply, read_run
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.rule import Rule, find_rules

__all__ = ["Watcher"]

LOG = logging.getLogger("fluoroscope")


@checked
class Watcher:
    """Diagnoses a run every so many steps, and tells each new finding once.

    >>> with fs.record(model, optimizer) as run:                     # doctest: +SKIP
    ...     watch = Watcher(run, every=100, alerts=[print, StopTraining()])
    ...     for batch in loader:
    ...         ...
    ...         run.log(loss=loss)
    ...         watch.step()
    ...         if watch.should_stop:
    ...             break

    ``run`` is what ``fs.record`` gives, a run that another process writes, or anything with ``history()`` and
    ``tensor_history()``. At most ``share`` of the time goes into diagnoses: where one takes long, the next comes later.
    Rules that can't tell "not yet" from "never" are told when they have spoken since half of the run. An alert that
    fails is logged; only :class:`StopTraining` with ``raises`` lets its exception through.

    Raises:
        InputError, OptionError: ``run`` is none of these; an option is outside what is accepted.
    """

    def __init__(
        self,
        run: Any,
        *,
        every: int = 100,
        alerts: Iterable[Alert] = (),
        severity: Severity = "warning",
        rules: Iterable[str | type[Rule] | Rule] | None = None,
        share: float = 0.01,
    ) -> None:
        given: tuple[Any, Any] = (every, share)
        if not all(isinstance(v, (int, float)) for v in given) or every < 1 or not 0 < share <= 1:
            raise OptionError("a watcher's options are out of range", got=f"every={every}, share={share}",
                              expected="every from 1, share up to 1")  # fmt: skip
        self.every, self.severity, self.share = every, known_severity(severity), share
        self.alerts, self.rules = _callables(alerts), find_rules(rules)
        _check_run(run)
        self.findings = Findings()
        self.should_stop = False
        self._run, self._steps, self._next_time = run, 0, 0.0
        self._since: dict[tuple[str, str], int] = {}
        self._told: set[tuple[str, str]] = set()

    def step(self, step: int | None = None) -> list[Finding]:
        """Count a step; at every ``every``-th look at the run. Returns what is new."""
        self._steps += 1
        if self._steps % self.every or time.perf_counter() < self._next_time:
            return []
        return self.look(step)

    def look(self, step: int | None = None) -> list[Finding]:
        """Diagnose now. Returns what is new."""
        started = time.perf_counter()
        try:
            new = self._diagnose(step)
        except TrainingStopped:
            raise
        except Exception as error:  # noqa: BLE001 (a diagnosis that fails must not cost the training)
            LOG.warning("the live diagnosis failed: %s: %s; training goes on", type(error).__name__, error)
            new = []
        now = time.perf_counter()
        self._next_time = now + (now - started) * (1 / self.share - 1)
        return new

    def _diagnose(self, step: int | None) -> list[Finding]:
        source = self._run.read() if hasattr(self._run, "read") else self._run
        history, tensors, facts = read_run(source)
        evidence = Evidence(history, tensors, facts)
        self.findings = apply(evidence, self.rules)
        at = step if step is not None else _last_step(evidence)
        new = [f for f in self.findings if self._is_new(f, at)]
        for finding in new:
            self._tell(Announcement(history.title, at, finding))
        return new

    def _is_new(self, finding: Finding, step: int) -> bool:
        key = (finding.rule, finding.severity)
        self._since = {k: s for k, s in self._since.items() if k[0] in {f.rule for f in self.findings}}
        since = self._since.setdefault(key, step)
        if key in self._told or not at_least(finding, self.severity):
            return False
        lasting = any(r.lasting for r in self.rules if r.name == finding.rule)
        if lasting and (step < 2 * since or step < 2 * self.every):
            return False
        self._told.add(key)
        return True

    def _tell(self, news: Announcement) -> None:
        for alert in self.alerts:
            try:
                stop = alert(news)
            except TrainingStopped:
                raise
            except Exception as error:  # noqa: BLE001 (the user's alert is not worth a training)
                LOG.warning("an alert failed: %s: %s; training goes on", type(error).__name__, error)
                continue
            if stop is True:
                self.should_stop = True
                if hasattr(self._run, "should_stop"):
                    self._run.should_stop = True


def _callables(alerts: Any) -> tuple[Alert, ...]:
    found = tuple(alerts) if isinstance(alerts, Iterable) else (alerts,)
    for alert in found:
        if not callable(alert):
            raise OptionError(
                "an alert is called with what is found",
                got=repr(alert),
                expected="functions, such as alerts=[print, fs.StopTraining()]",
            )
    return found


def _check_run(run: Any) -> None:
    readable = isinstance(run, (str, os.PathLike, History)) or callable(getattr(run, "history", None))
    if not readable and not callable(getattr(run, "read", None)):
        raise InputError(
            "a watcher looks at a run that is written",
            got=type(run).__name__,
            expected="what fs.record gives",
        )


def _last_step(evidence: Evidence) -> int:
    steps = [int(c.steps[-1]) for c in (evidence.loss, evidence.total_gradient) if c is not None]
    return max(steps, default=0)
