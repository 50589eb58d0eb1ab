"""The diagnosis as a whole: bad input gives reasons, never exceptions; options; names of series; runs from disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import InputError, OptionError
from fluoroscope.results import Findings, History, Series, TensorHistory, open_result
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.rule import Rule, find_rules, rules
from fluoroscope.training.diagnosis.series_names import find_roles
from tests.diagnosis.made_runs import falling, history, noisy, tensors

NAMES = ("a.weight", "a.bias", "b.weight")
QUANTITIES = ("gradient/norm", "weight/norm", "update/norm", "update/ratio",
              "activation/std", "activation/dead", "activation/saturated")  # fmt: skip


def everything(values: np.ndarray, steps: np.ndarray | None = None) -> TensorHistory:
    """Every statistic with the same values (L, S), all of them recorded."""
    at = np.arange(1, values.shape[1] + 1) if steps is None else steps
    seen = dict.fromkeys(QUANTITIES, np.ones(values.shape, dtype=bool))
    return TensorHistory(names=NAMES, steps=at, statistics=dict.fromkeys(QUANTITIES, values), recorded=seen)


def no_rule_failed(found: Findings) -> None:
    failed = {rule: why for rule, why in found.skipped.items() if "failed" in why}
    assert not failed
    assert set(found.checked) | set(found.skipped) == set(rules())


ODD = {
    "zero": 0.0,
    "one": 1.0,
    "negative": -3.0,
    "nan": np.nan,
    "infinity": np.inf,
    "minus infinity": -np.inf,
    "largest": 1e308,
    "smallest": 5e-324,
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("count", [1, 2, 3, 11, 64, 200])
def test_odd_values_and_short_runs_give_reasons_and_never_exceptions(value: float, count: int) -> None:
    loss = np.full(count, value)
    curves = {"loss": loss, "val_loss": loss, "accuracy": loss, "val_accuracy": loss, "learning_rate": loss}
    run = history(**curves, **{"memory/process": loss, "curvature": loss})
    for facts in ({}, {"classes": 10}, {"classes": 2, "steps_per_epoch": 10}):
        no_rule_failed(fs.diagnose(run, everything(np.full((3, count), value)), **facts))
    loss[count // 2 :] = 1.0
    no_rule_failed(fs.diagnose(run, everything(np.full((3, count), value)), classes=3))


@pytest.mark.parametrize("seed", range(6))
def test_random_runs_with_gaps_and_odd_values_never_make_a_rule_fail(seed: int) -> None:
    random = np.random.default_rng(seed)
    pool = np.array([0.0, 1.0, 2.3, 1e-12, 1e12, -1.0, np.nan, np.inf])
    count = int(random.integers(1, 300))
    loss, values = random.choice(pool, count), random.choice(pool, (3, count))
    steps = random.integers(0, 2 * count, count)  # repeated, backward
    run = history(loss=(steps, loss), val_loss=(steps[::3], loss[::3]), learning_rate=(steps, np.abs(loss)))
    made = everything(values, steps)
    made = made.replace(recorded={q: random.random((3, count)) < 0.7 for q in QUANTITIES})
    no_rule_failed(fs.diagnose(run, made, classes=5, steps_per_epoch=int(random.integers(1, 60))))


def test_an_empty_run_is_skipped_with_reasons() -> None:
    found = fs.diagnose(History(series={}))
    assert not len(found) and not found.checked
    assert found.skipped["plateau"] == "the training loss was not recorded"
    assert found.skipped["vanishing-gradients"] == "gradient/norm of tensors was not recorded"
    empty = history(loss=np.zeros(0))
    no_rule_failed(fs.diagnose(empty, TensorHistory(names=(), steps=np.zeros(0, np.int64), statistics={})))


def test_a_run_of_one_step_says_how_many_a_rule_needs() -> None:
    found = fs.diagnose(history(loss=[2.3]))
    assert found.skipped["plateau"] == "the training loss has 1 point, and the rule needs 60"


def test_steps_that_repeat_or_go_back_count_as_written_last() -> None:
    first, again = falling(), falling(seed=1)
    steps = np.concatenate([np.arange(1, 301), np.arange(101, 301)])  # went on from a checkpoint
    run = history(loss=(steps, np.concatenate([first, again[100:]])))
    curve = Evidence(run).loss
    assert curve is not None
    assert curve.steps.tolist() == list(range(1, 301))
    assert np.array_equal(curve.values, np.concatenate([first[:100], again[100:]]))
    made = everything(np.arange(1500.0).reshape(3, 500), steps)
    found = Evidence(run, made).statistic("gradient/norm")
    assert found is not None
    assert found.values[0].tolist() == [*range(100), *range(300, 500)]


def test_a_rule_that_fails_is_skipped_and_costs_the_others_nothing() -> None:
    class Broken(Rule):
        name, needs = "broken", ("loss",)

        def find(self, run: Evidence):
            raise ZeroDivisionError("oh")

    found = fs.diagnose(history(loss=np.full(300, 2.3)), rules=[Broken(), "plateau"])
    assert found.skipped == {"broken": "the rule failed: ZeroDivisionError: oh"}
    assert found.checked == ("plateau",)


def test_every_rule_says_what_it_is() -> None:
    known = rules()
    assert len(known) >= 20
    for name, cls in known.items():
        made = cls()
        assert made.name == name and made.title and made.source and made.__doc__
        assert made.advice or name in ("nan-origin", "unchanged-parameters")
        assert set(cls.follows) <= set(known) - {name}


def test_options_are_checked_with_the_nearest_name() -> None:
    with pytest.raises(OptionError, match="plateau"):
        fs.diagnose(history(loss=[1.0]), rules=["plataeu"])
    with pytest.raises(OptionError, match="no series of that name"):
        fs.diagnose(history(loss=[1.0]), loss="los")
    with pytest.raises(OptionError, match="no such option"):
        fs.diagnose(history(loss=[1.0]), lose="loss")
    for wrong in (0, 1, True, 2.5):
        with pytest.raises(OptionError):
            fs.diagnose(history(loss=[1.0]), classes=wrong)
    with pytest.raises(OptionError, match="out of range"):
        rules()["plateau"](part=1.5)
    with pytest.raises(InputError):
        fs.diagnose([1, 2, 3])


def test_thresholds_are_options() -> None:
    run = history(loss=noisy(np.where(np.arange(300) < 210, np.linspace(2.3, 0.2, 300), 0.83), 0.01))
    strict, loose = (rules()["plateau"](part=part) for part in (0.4, 0.2))
    assert not len(fs.diagnose(run, rules=[strict]))
    assert len(fs.diagnose(run, rules=[loose])) == 1


@pytest.mark.parametrize(
    ("names", "role", "expected"),
    [
        (["loss", "val_loss"], "loss", "loss"),
        (["train/loss", "train/aux_loss", "eval/loss"], "loss", "train/loss"),
        (["trainLoss", "validationLoss"], "val_loss", "validationLoss"),
        (["test_acc", "train_acc"], "accuracy", "train_acc"),
        (["Loss/kl", "Loss/total"], "loss", "Loss/total"),
        (["learning_rate", "glossary"], "loss", None),
        (["val/accuracy/top1", "val/loss"], "val_accuracy", "val/accuracy/top1"),
    ],
)
def test_the_role_of_a_series_is_told_from_its_words(names: list[str], role: str, expected: str | None) -> None:
    for order in itertools.permutations(names):
        assert find_roles(order, {}).get(role) == expected


def test_hostile_names_reach_the_findings_as_text() -> None:
    name = "<img src=x onerror=alert(1)>\x1b[31m.weight"
    made = tensors((name,), weight_norm=np.ones((1, 50)), update_norm=np.zeros((1, 50)))
    found = fs.diagnose(history(loss=falling()), made, rules=["unchanged-parameters"])
    assert found.items[0].layers == (name,)


def test_a_finding_that_another_explains_is_milder_and_says_so() -> None:
    levels = 0.1 * 0.2 ** np.arange(7, -1, -1)[:, None] * np.ones((8, 300))
    made = tensors(tuple(f"{i}.weight" for i in range(8)), gradient_norm=noisy(levels))
    run = history(loss=noisy(np.full(300, np.log(10)), 0.01))
    alone = fs.diagnose(run, rules=["chance-level"], classes=10)
    both = fs.diagnose(run, made, rules=["chance-level", "vanishing-gradients"], classes=10)
    assert [f.severity for f in alone] == ["problem"]
    assert [(f.rule, f.severity) for f in both] == [("vanishing-gradients", "problem"), ("chance-level", "warning")]
    assert "may follow from: Gradients vanish" in both.items[1].evidence


def test_findings_keep_their_curves_through_a_file(tmp_path: Path) -> None:
    run = history(loss=noisy(np.full(300, 2.3), 0.02))
    found = fs.diagnose(run, rules=["plateau"])
    again = open_result(found.save(tmp_path / "found"))
    assert isinstance(again, Findings)
    assert np.array_equal(again.items[0].series["loss"].values, run.series["loss"].values)
    assert again.items[0].advice == found.items[0].advice


def test_a_history_in_a_file_and_long_runs(tmp_path: Path) -> None:
    path = history(loss=noisy(np.full(300, 2.3), 0.02)).save(tmp_path / "history")
    assert fs.diagnose(path).of("plateau")
    long = history(loss=noisy(np.full(400_000, 2.3), 0.02))
    assert fs.diagnose(long, rules=["plateau", "loss-spikes"]).of("plateau")


def test_a_recorded_run_is_diagnosed_from_its_folder_and_alive(tmp_path: Path) -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model[2].parameters(), 0.1)
    model[0].bias.requires_grad_(False)
    with fs.record(model, optimizer, run="one", dir=tmp_path, config={"classes": 3}) as run:
        for _ in range(70):
            x = torch.randn(16, 4)
            loss = torch.nn.functional.cross_entropy(model(x), torch.randint(0, 3, (16,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
        alive = fs.diagnose(run.read())
    for found in (alive, fs.diagnose(tmp_path / "one"), fs.diagnose(str(tmp_path)), fs.diagnose(run.read())):
        told = {f.title: f.layers for f in found.of("unchanged-parameters")}
        assert told == {"No optimizer holds parameters": ("0.weight",), "Parameters are frozen": ("0.bias",)}
    with pytest.raises(InputError, match="there is no run of that name"):
        fs.diagnose(_made(tmp_path / "empty"))


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_find_rules_takes_names_classes_and_rules() -> None:
    cls = rules()["plateau"]
    found = find_rules(["plateau", cls, cls(part=0.3)])
    assert [type(r) for r in found] == [cls] * 3
    assert found[2].part == 0.3


def test_two_curves_in_one_series_are_not_mixed_up() -> None:
    run = History(series={"loss": Series(steps=np.array([3, 1, 2]), values=np.array([30.0, 10.0, 20.0]))})
    curve = Evidence(run).loss
    assert curve is not None
    assert curve.values.tolist() == [10.0, 20.0, 30.0]
    assert curve.at(np.array([0, 1, 5])).tolist()[1:] == [10.0, 30.0]
