"""What a training's record is given wrongly: one clear error by the template for each, and nothing is left behind."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fluoroscope as fs
from fluoroscope.errors import FluoroscopeError
from fluoroscope.results import Findings, History, TensorHistory
from fluoroscope.training.store import Run


def a_run(folder: Path, **options: Any) -> tuple[Run, Any]:
    """A run of one step, and its recording."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with fs.record(net, optimizer, "a", folder, **options) as run:
        net(torch.randn(4, 3)).sum().backward()
        optimizer.step()
        run.log(loss=1.0)
    return run.read(), run


BEGUN: dict[str, tuple[dict[str, Any], str]] = {
    "a number as configuration": ({"config": 5}, "'config' has no names"),
    "a list as configuration": ({"config": [1]}, "'config' has no names"),
    "a text as configuration": ({"config": "lr=1"}, "'config' has no names"),
    "a number as folder": ({"dir": 5}, "this is no path"),
    "no such ranks": ({"ranks": "one"}, "'ranks' has no such choice"),
    "ranks as a number": ({"ranks": 0}, "'ranks' has no such choice"),
    "a number as scaler": ({"scaler": 5}, "'scaler' is no gradient scaler"),
    "a number as loss": ({"curvature": 5}, "the curvature needs a function"),
    "a step before any": ({"after_step": -1}, "'after_step' is out of range"),
    "half a step": ({"after_step": 1.5}, "'after_step' is out of range"),
    "no such activations": ({"activations": 2}, "'activations' has no such choice"),
}


@pytest.mark.parametrize("name", BEGUN)
def test_a_recording_that_can_not_begin_says_why(name: str, tmp_path: Path) -> None:
    options, told = BEGUN[name]
    net = torch.nn.Linear(3, 2)
    with pytest.raises(FluoroscopeError, match=told):
        fs.record(net, torch.optim.SGD(net.parameters(), lr=0.1), **{"dir": tmp_path, **options})
    assert list(tmp_path.iterdir()) == []


def test_a_named_tuple_is_a_configuration(tmp_path: Path) -> None:
    settings = namedtuple("settings", "lr depth")
    assert a_run(tmp_path, config=settings(0.1, 3))[0].config == {"lr": 0.1, "depth": 3}


ASKED: dict[str, tuple[Callable[[Run, Any], Any], str]] = {
    "a value without a name": (lambda run, on: on.log(5), "logged by its name"),
    "a name and a value": (lambda run, on: on.log("loss", 1), "log: too many"),
    "the curvature of a number": (lambda run, on: on._beside.curvature(5), "the curvature needs a function"),
    "the noise of a number": (lambda run, on: on._beside.noise_scale(5, torch.ones(4, 3), 2), "needs a function"),
    "a series by number": (lambda run, on: run.column(5), "no names of what a run holds"),
    "a history of numbers": (lambda run, on: run.history([5]), "no names of what a run holds"),
    "a history of a number": (lambda run, on: run.history(5), "no names of what a run holds"),
    "a rank that did not write": (lambda run, on: run.tensor_history(rank=7), "no process of that rank"),
    "a wrong word": (lambda run, on: run.tensor_history(ranks=0), "has no argument 'ranks'"),
    "a run by number": (lambda run, on: fs.open_runs(run.path.parent)[5], "no run of that name"),
    "a rule that is none": (lambda run, on: fs.diagnose(run, rules=5), "rules are given by their names"),
    "an option of no diagnosis": (lambda run, on: fs.diagnose(run, clases=3), "nearest: *'classes'"),
    "a watcher of a number": (lambda run, on: fs.Watcher(5), "a watcher looks at a run"),
    "an alert that is none": (lambda run, on: fs.Watcher(run, alerts=[5]), "an alert is called"),
    "a severity for a watcher": (lambda run, on: fs.Watcher(run, severity="bad"), "no such severity"),
    "a rule to stop at": (lambda run, on: fs.StopTraining(["nan-orign"]), "no rule of that name"),
    "a severity to stop at": (lambda run, on: fs.StopTraining(severity="bad"), "no such severity"),
    "runs to compare": (lambda run, on: History.compared(5), "compared by their histories"),
    "runs that are numbers": (lambda run, on: History.compared({"a": 5}), "compared by their histories"),
    "groups by number": (lambda run, on: run.history().plot(group_by=5), "no such setting"),
    "a quantity by number": (lambda run, on: run.tensor_history().plot(quantity=5), "quantity of the drawing"),
    "a page by number": (lambda run, on: run.history().to_html(5), "this is no path"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_wrongly_is_told(name: str, tmp_path: Path) -> None:
    ask, told = ASKED[name]
    with pytest.raises(FluoroscopeError, match=told):
        ask(*a_run(tmp_path))


def test_a_layer_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(FluoroscopeError, match=r"expected: *weight, bias"):
        a_run(tmp_path)[0].tensor_history().plot(layer="x")


@pytest.mark.parametrize("kind", [History, TensorHistory, Findings])
def test_only_axes_are_drawn_on(kind: Any, tmp_path: Path) -> None:
    run, _ = a_run(tmp_path)
    found = next(r for r in (run.history(), run.tensor_history(), fs.diagnose(run)) if isinstance(r, kind))
    with pytest.raises(FluoroscopeError, match="drawn on matplotlib's Axes"):
        found.plot(ax=3)


def test_one_name_needs_no_list(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path)
    assert list(run.history("loss").series) == list(run.columns("loss")) == ["loss"]
    assert list(run.tensor_history("weight/norm").statistics) == ["weight/norm"]
    assert {*fs.diagnose(run, rules="plateau").checked, *fs.diagnose(run, rules="plateau").skipped} == {"plateau"}
    assert fs.Watcher(run, alerts=print).alerts == (print,)
