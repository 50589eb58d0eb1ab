"""Alerts: what happens when a live diagnosis finds something. They may fail; a training never does because of them."""

from __future__ import annotations

import json
import logging
import math
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fluoroscope.arguments import checked
from fluoroscope.errors import OptionError, TrainingStopped
from fluoroscope.results import Finding
from fluoroscope.results.findings import Severity
from fluoroscope.training.diagnosis.rule import find_rules

__all__ = ["Alert", "Announcement", "StopTraining", "Webhook", "as_plain", "at_least"]

LOG = logging.getLogger("fluoroscope")
RANK: dict[str, int] = {"hint": 0, "warning": 1, "problem": 2}


@dataclass(frozen=True)
class Announcement:
    """One finding that is new: the ``run``'s name, the ``step`` at which it was found, and the ``finding``."""

    run: str
    step: int
    finding: Finding


Alert = Callable[[Announcement], Any]
"""An alert is called with each announcement; :class:`StopTraining` answers True."""


def known_severity(severity: Any) -> Severity:
    """Raises OptionError where there is no such severity."""
    if not isinstance(severity, str) or severity not in RANK:
        raise OptionError("there is no such severity", got=repr(severity), expected=f"one of {', '.join(RANK)}")
    return cast(Severity, severity)


def at_least(finding: Finding, severity: Severity) -> bool:
    """Whether a finding is as severe as ``severity``."""
    return RANK[finding.severity] >= RANK[severity]


@checked
class StopTraining:
    """Stops the training when a rule finds something: ``run.should_stop`` becomes true, which the loop asks.

    Only for findings of ``severity`` or worse, and of ``rules`` where some are named. With ``raises``, the next
    ``optimizer.step()`` raises :class:`~fluoroscope.errors.TrainingStopped` instead, for loops that can't be changed.

    Raises:
        OptionError: there is no such rule or severity.
    """

    def __init__(
        self, rules: Iterable[str] | None = None, severity: Severity = "problem", *, raises: bool = False
    ) -> None:
        known = None if rules is None else frozenset(rule.name for rule in find_rules(rules))
        self.rules, self.severity, self.raises = known, known_severity(severity), raises

    def __call__(self, news: Announcement) -> bool:
        """Whether the training should stop. Raises TrainingStopped where that was asked for."""
        if self.rules is not None and news.finding.rule not in self.rules:
            return False
        if not at_least(news.finding, self.severity):
            return False
        if self.raises:
            raise TrainingStopped(
                f"the diagnosis of {news.run or 'the run'} stopped the training at step {news.step}",
                got=f"{news.finding.title}: {news.finding.evidence}",
                remedy="; ".join(news.finding.advice) or None,
            )
        return True


@checked
class Webhook:
    """POSTs each announcement as JSON to ``url``, from a thread of its own.

    Only http and https; redirects are not followed. What fails is logged once, counted in ``failures``, and told in
    ``last_error``; training goes on.

    Raises:
        OptionError: the address is not an http or https URL.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, headers: Mapping[str, str] | None = None) -> None:
        given: Any = url
        parts = urllib.parse.urlsplit(given if isinstance(given, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError("a webhook needs an http or https URL", got=url, expected="https://host/path")
        if not 0 < timeout <= 60:
            raise OptionError("a webhook's timeout is out of range", got=timeout, expected="0 to 60 seconds")
        self.url, self.timeout, self.headers = url, timeout, dict(headers or {})
        self.failures, self.last_error = 0, ""
        self._threads: list[threading.Thread] = []

    def __call__(self, news: Announcement) -> None:
        """Send it, without waiting."""
        body = json.dumps(as_plain(news), allow_nan=False).encode()
        thread = threading.Thread(target=self._post, args=(body,), name="fluoroscope-webhook", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def close(self) -> None:
        """Wait for what is on its way, no longer than the timeout."""
        for thread in self._threads:
            thread.join(self.timeout)

    def _post(self, body: bytes) -> None:
        request = urllib.request.Request(
            self.url, data=body, method="POST", headers={"Content-Type": "application/json", **self.headers}
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as answer:
                answer.read(1024)
        except Exception as error:  # noqa: BLE001 (whatever a network does wrong, the training must not notice)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"
        if self.failures == 1:
            host = urllib.parse.urlsplit(self.url).hostname  # a path may hold a secret
            LOG.warning("an alert could not be sent to %s: %s; training goes on", host, self.last_error)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **options: Any) -> None:
        return None


def as_plain(news: Announcement) -> dict[str, Any]:
    """An announcement as JSON can hold it: no curves, NaN as null."""
    found = news.finding
    return {
        "run": news.run,
        "step": int(news.step),
        "rule": found.rule,
        "title": found.title,
        "severity": found.severity,
        "confidence": _number(found.confidence),
        "layers": list(found.layers),
        "steps": [int(s) for s in found.steps],
        "evidence": found.evidence,
        "numbers": {k: _number(v) for k, v in found.numbers.items()},
        "advice": list(found.advice),
        "source": found.source,
    }


def _number(value: float) -> float | None:
    value = float(np.float64(value))
    return value if math.isfinite(value) else None
