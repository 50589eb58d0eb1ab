"""Diagnosis: every rule on one run, findings out, worst first."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.arguments import checked
from fluoroscope.errors import InputError, OptionError, nearest
from fluoroscope.results import Finding, Findings, History, TensorHistory
from fluoroscope.results.findings import Severity
from fluoroscope.training.diagnosis.evidence import Evidence, Facts
from fluoroscope.training.diagnosis.facts import facts_of
from fluoroscope.training.diagnosis.rule import Rule, Undecided, find_rules
from fluoroscope.training.diagnosis.series_names import ROLES

__all__ = ["apply", "diagnose", "read_run"]

OPTIONS = ("tensors", "rules", "classes", "steps_per_epoch", *ROLES)
RANK = {"problem": 0, "warning": 1, "hint": 2}


@checked
def diagnose(
    run: Any,
    tensors: TensorHistory | None = None,
    *,
    rules: Iterable[str | type[Rule] | Rule] | None = None,
    classes: int | None = None,
    steps_per_epoch: int | None = None,
    **series: str,
) -> Findings:
    """What is wrong with a training, as far as its record tells: each finding with its evidence and what to try.

    ``run`` is a recorded run, the path of its folder, or a History with the ``tensors`` that belong to it. ``rules``
    are all of them where none are named. ``classes`` and ``steps_per_epoch`` are taken from the run's configuration
    where they are not given. Of a damaged record, what can be read is diagnosed; the notes of the findings, and
    ``meta["unreadable"]``, say what is missing. Which series is the loss is told from its name; ``loss="name"``,
    ``val_loss=``, ``accuracy=``, ``val_accuracy=``, ``epoch=`` say otherwise.

    Raises:
        InputError: ``run`` is none of these, or there is no run in the folder.
        ResultFileError: nothing of the record can be read.
        OptionError: no rule or no series of that name, or a number that makes no sense.
    """
    history, found_tensors, facts = read_run(run)
    tensors = found_tensors if tensors is None else tensors
    if found_tensors is None and tensors is not None:
        facts = facts_of(_merged(tensors.meta, history.meta))
    facts = _with_given(facts, classes, steps_per_epoch)
    _check_series(series, history)
    return apply(Evidence(history, tensors, facts, series), find_rules(rules))


def apply(run: Evidence, rules: Iterable[Rule]) -> Findings:
    """The rules on one run. A rule that fails is skipped and says why; the others go on."""
    rules = list(rules)
    items: list[Finding] = []
    checked: list[str] = []
    skipped: dict[str, str] = {}
    for rule in rules:
        try:
            reason = rule.missing(run)
            if reason is None:
                items += _found(rule, run)
                checked.append(rule.name)
            else:
                skipped[rule.name] = reason
        except Undecided as why:
            skipped[rule.name] = str(why)
        except Exception as error:  # noqa: BLE001 (one rule's failure must cost neither the others nor a training)
            skipped[rule.name] = f"the rule failed: {type(error).__name__}: {error}"
    items = [_told_as_consequence(f, items, rules) for f in items]
    items.sort(key=lambda f: (RANK[f.severity], -f.confidence, f.rule))
    steps = () if run.loss is None else (int(run.loss.steps[0]), int(run.loss.steps[-1]))
    return Findings(
        items=tuple(items),
        checked=tuple(checked),
        skipped=skipped,
        title="Diagnosis",
        caption=_caption(items, checked, skipped),
        meta={"run": run.history.title, "steps": list(steps), "series": run.roles, **_missing(run)},
    )


def _missing(run: Evidence) -> dict[str, list[str]]:
    """What of a damaged record the rules did not see, for the provenance."""
    damaged = [part for part in (run.history, run.tensors) if part is not None and part.meta.get("unreadable")]
    notes = [note for part in damaged for note in part.notes if "can't be read" in note]
    return {"notes": notes, "unreadable": sorted(run.unreadable)} if damaged else {}


def _told_as_consequence(finding: Finding, items: list[Finding], rules: list[Rule]) -> Finding:
    """A finding that another one explains is one degree milder, and says so."""
    follows = next((r.follows for r in rules if r.name == finding.rule), ())
    causes = [f for f in items if f.rule in follows and RANK[f.severity] <= RANK[finding.severity]]
    if not causes or finding.severity == "hint":
        return finding
    titles = "; ".join(dict.fromkeys(f.title for f in causes))
    milder: Severity = "warning" if finding.severity == "problem" else "hint"
    return finding.replace(
        severity=milder,
        evidence=f"{finding.evidence} It may follow from: {titles}.",
        advice=("mend first what it may follow from", *finding.advice),
    )


def _found(rule: Rule, run: Evidence) -> list[Finding]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return list(rule.find(run))


def _caption(items: list[Finding], checked: list[str], skipped: Mapping[str, str]) -> str:
    counts = {s: sum(f.severity == s for f in items) for s in RANK}
    words = [f"{n} {s}{'s' * (n != 1)}" for s, n in counts.items() if n]
    head = ", ".join(words) if words else "nothing found"
    rules = "1 rule" if len(checked) == 1 else f"{len(checked)} rules"
    return f"{head}; {rules} applied, {len(skipped)} could not be"


def read_run(run: Any) -> tuple[History, TensorHistory | None, Facts]:
    """History, tensors and facts of a run, a folder or a History. Raises InputError."""
    if isinstance(run, History):
        return run, None, facts_of(run.meta)
    if isinstance(run, (str, os.PathLike)):
        run = _opened(Path(run))
    if not (callable(getattr(run, "history", None)) and callable(getattr(run, "tensor_history", None))):
        raise InputError(
            "this is no run that can be diagnosed", got=type(run).__name__, expected="a run, its folder, or a History"
        )
    history, tensors = _asked(run.history, partial=True), _tensors(run)
    meta = _merged(tensors.meta, history.meta, {"config": getattr(run, "config", None) or {}})
    return history.replace(title=history.title or str(getattr(run, "name", ""))), tensors, facts_of(meta)


def _tensors(run: Any) -> TensorHistory:
    """Only what rules ask for, where the run can be asked so; of a damaged run what can be read."""
    from fluoroscope.training.diagnosis.rule import quantities

    found: TensorHistory = _asked(run.tensor_history, quantities=quantities(), histograms=False, partial=True)
    return found


def _asked(method: Callable[..., Any], **options: Any) -> Any:
    """What ``method`` returns, given those of ``options`` that it takes: a run of one's own may take none."""
    taken = inspect.signature(method).parameters
    return method(**{name: value for name, value in options.items() if name in taken})


def _opened(path: Path) -> Any:
    from fluoroscope.results import open_result

    if path.suffix == ".fluo":
        found = open_result(path)
        if not isinstance(found, History):
            raise InputError("this file holds no history", got=type(found).__name__, expected="a History")
        return _Saved(found)
    from fluoroscope.training.store import runs_at

    runs = runs_at(path)
    if len(runs) != 1:
        names = ", ".join(list(runs)[:8])
        raise InputError(
            f"{path} holds {len(runs)} runs", got=names or "none", expected="one", remedy="name the folder of one run"
        )
    return next(iter(runs.values()))


class _Saved:
    """A history out of a file, as a run without tensors."""

    def __init__(self, history: History) -> None:
        self._history = history

    def history(self) -> History:
        return self._history

    def tensor_history(self) -> TensorHistory:
        return TensorHistory(names=(), steps=np.zeros(0, dtype=np.int64), statistics={})


def _merged(*metas: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for meta in metas:
        made |= {k: v for k, v in meta.items() if not (k == "config" and not v)}
    return made


def _with_given(facts: Facts, classes: int | None, steps_per_epoch: int | None) -> Facts:
    if classes is not None:
        facts = replace(facts, classes=_whole("classes", classes, 2))
    if steps_per_epoch is not None:
        facts = replace(facts, steps_per_epoch=_whole("steps_per_epoch", steps_per_epoch, 1))
    return facts


def _whole(name: str, value: int, least: int) -> int:
    whole: Any = value
    if isinstance(whole, bool) or not isinstance(whole, (int, np.integer)) or whole < least:
        raise OptionError(f"{name} is out of range", got=value, expected=f"a whole number from {least}")
    return int(value)


def _check_series(series: Mapping[str, str], history: History) -> None:
    for role, name in series.items():
        if role not in ROLES:
            raise OptionError(
                "no such option of a diagnosis", got=role, expected=", ".join(OPTIONS), nearest=nearest(role, OPTIONS)
            )
        if name not in history.series:
            raise OptionError(
                f"there is no series of that name for {role}",
                got=name,
                expected=", ".join(list(history.series)[:8]) or "none was logged",
                nearest=nearest(str(name), history.series),
            )
