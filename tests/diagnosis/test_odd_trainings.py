"""Trainings whose losses mean something else, or whose settings look like faults and are meant: no false finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.results import History, Series, TensorHistory

STEPS = np.arange(1, 401)
NOISE = np.random.default_rng(0).normal(size=400)
FALLING, RISING = np.exp(-STEPS / 100) + 0.02 * abs(NOISE), 0.2 + STEPS / 100 + 0.1 * abs(NOISE)


def told(run: Any, **series: str) -> dict[str, str]:
    """Severity of each finding by its rule."""
    found = fs.diagnose(run, **series)
    assert not [why for why in found.skipped.values() if "failed" in why]
    return {f.rule: f.severity for f in found}


def history(**series: Any) -> History:
    made = {name: Series(steps=STEPS[: len(v)], values=np.asarray(v)) for name, v in series.items()}
    return History(title="a", series=made)


def test_a_loss_of_a_moving_target_may_rise() -> None:
    assert told(history(loss=RISING)) == {"diverging": "problem"}
    assert told(history(loss=RISING, episode_reward=STEPS * 1.0)) == {}
    assert told(history(loss=RISING, episode_reward=STEPS * 1.0), loss="loss") == {"diverging": "problem"}
    assert told(history(policy_loss=0.1 * NOISE, value_loss=RISING)) == {}
    why = fs.diagnose(history(actor_loss=RISING, critic_loss=RISING)).skipped["diverging"]
    assert "an actor and its critic" in why
    assert "loss=NAME" in why


@pytest.mark.parametrize("names", [("d_loss", "g_loss"), ("lossD", "lossG"), ("discriminator/loss", "generator/loss")])
def test_adversaries_at_rest_are_not_at_chance(names: tuple[str, str]) -> None:
    rest = np.log(2) + 0.002 * NOISE
    assert "chance-level" in told(history(loss=rest))
    assert told(history(**dict.fromkeys(names, rest))) == {}


def test_what_a_loss_is_multiplied_with_is_no_loss() -> None:
    scale = np.where(STEPS > 200, 131072.0, 65536.0) * (1 + STEPS / 4000)
    assert told(history(value=scale)) == told(history(loss_scale=scale)) == {}
    assert fs.diagnose(history(loss_scale=scale, lossWeight=RISING, loss=FALLING)).meta["series"]["loss"] == "loss"


def test_accuracies_in_percent_are_shares() -> None:
    guessed = history(loss=2.3 + 0.01 * NOISE, accuracy=10 + NOISE)
    found = next(f for f in fs.diagnose(guessed, classes=10) if f.rule == "plateau")
    assert "10 % of the answers are right, no more than by chance" in found.evidence
    turned = np.concatenate([np.linspace(2, 1, 10), np.linspace(1, 2, 20)])
    for most in (1.0, 100.0):  # surer, not worse: it stays a warning
        steady = most * (0.8 - 0.01 * (np.arange(30) % 2))
        assert told(history(val_loss=turned, val_accuracy=steady)) == {"overfitting": "warning"}


class LowRank(nn.Module):
    """A frozen layer and what is added to it, the second factor zero at first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.down, self.up = nn.Linear(inputs, 4, bias=False), nn.Linear(4, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


def test_low_rank_factors_that_wait_for_the_warm_up(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(LowRank(8, 16), nn.ReLU(), LowRank(16, 3))
    x = torch.randn(64, 8)
    y = x[:, :3].argmax(1)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-2)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 20, 1))
    with fs.record(net, optimizer, "a", tmp_path) as run:
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            warmup.step()
            run.log(loss=loss)
    assert run.read().column("learning_rate").values[0] == 0
    assert told(run.read()) == {"unchanged-parameters": "hint"}  # the frozen layers, which are meant


def tensors(norms: Any, moves: Any) -> TensorHistory:
    statistics = {
        "gradient/norm": np.asarray(norms)[None],
        "weight/norm": np.ones((1, len(norms))),
        "update/norm": np.asarray(moves, float)[None],
        "update/ratio": np.asarray(moves, float)[None],
    }
    return TensorHistory(names=("0.weight",), steps=STEPS[: len(norms)], statistics=statistics)


def test_a_training_that_stands_still_is_not_clipped() -> None:
    norms = np.full(100, 0.5)
    assert [f.rule for f in fs.diagnose(history(), tensors(norms, np.full(100, 1e-2)))] == ["clipping-always"]
    done = fs.diagnose(history(), tensors(norms, np.arange(100) < 5))
    assert "clipping-always" in done.skipped


def test_small_steps_of_a_trained_network_are_a_hint() -> None:
    run = tensors(0.1 + 0.01 * abs(NOISE), np.full(400, 1e-6))
    for level, severity in ((1.05, "problem"), (0.02, "hint")):
        loss = history(loss=level * (1 + 0.05 * NOISE))
        found = {f.rule: f.severity for f in fs.diagnose(loss, run, classes=3)}
        assert found["learning-rate-low"] == severity
