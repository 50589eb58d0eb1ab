"""Values that arrive a step later, as from an accelerator: played on a processor by copies that are empty until waited
for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.training.recorder import later
from fluoroscope.training.recorder.recording import Recording


class Road:
    """A stand-in for pinned copies and events: what was sent is NaN on the host until its arrival is waited for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.waits = 0
        self.broken = False

    def sent(self, tensor: torch.Tensor) -> torch.Tensor:
        host = torch.full_like(tensor, math.nan)
        self.waiting.append((host, tensor.clone()))
        return host

    def arrival(self, _: torch.device) -> Any:
        road, mine = self, self.waiting
        self.waiting = []

        class Event:
            def synchronize(self) -> None:
                road.waits += 1
                if road.broken:
                    raise RuntimeError("an illegal memory access was encountered")
                for host, value in mine:
                    host.copy_(value)

        return Event()


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    found = Road()
    monkeypatch.setattr(later, "away", lambda t: True)
    monkeypatch.setattr(later, "sent", found.sent)
    monkeypatch.setattr(later, "arrival", found.arrival)
    return found


def train(folder: Path, steps: int, each: Callable[[int, Recording], None] = lambda i, r: None) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    x, y = torch.randn(12, 4), torch.randint(0, 3, (12,))
    options: dict[str, Any] = {"noise_scale_every": 1, "alignment": "exact", "activations_every": 2, "exact_every": 2}
    with fs.record(net, optimizer, "a", folder, **options) as run:
        for i in range(steps):
            optimizer.zero_grad()
            for part in (slice(0, 6), slice(6, 12)):
                loss = F.cross_entropy(net(x[part]), y[part])
                loss.backward()
            optimizer.step()
            run.log({"plain": i}, loss=loss)
            each(i, run)


def same(a: Path, b: Path, steps: int | None = None) -> None:
    """All series and statistics agree, apart from those of time and memory."""
    first, second = fs.open_runs(a)["a"], fs.open_runs(b)["a"]
    names = [n for n in first.names() if not n.startswith(("time", "memory"))]
    assert set(names) == {n for n in second.names() if not n.startswith(("time", "memory"))}
    for name in names:
        one, two = first.column(name), second.column(name)
        assert one.steps.tolist() == two.steps.tolist(), name
        np.testing.assert_array_equal(one.values, two.values, name)
    one, two = first.tensor_history(), second.tensor_history()
    assert one.steps.tolist() == two.steps.tolist()
    assert set(one.statistics) == set(two.statistics)
    for name, values in one.statistics.items():
        np.testing.assert_array_equal(values, two.statistics[name], name)


def test_values_arrive_under_their_own_step(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "late", 5)
    assert road.waits >= 5
    monkeypatch.undo()
    train(tmp_path / "now", 5)
    same(tmp_path / "late", tmp_path / "now")
    assert fs.open_runs(tmp_path / "late")["a"].column("loss").steps.tolist() == [1, 2, 3, 4, 5]


def test_nobody_waits_within_a_step(road: Road, tmp_path: Path) -> None:
    """What a step sent is waited for in the next one."""
    seen: list[tuple[int, int | None]] = []
    train(tmp_path, 4, lambda i, run: seen.append((road.waits, run.read().last_step)))
    assert seen[0] == (0, None)  # nothing was waited for, and nothing is there yet
    assert [last for _, last in seen] == [None, 1, 2, 3]
    assert fs.open_runs(tmp_path)["a"].last_step == 4


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_the_last_step_is_written_when_it_breaks_off(
    kind: type[BaseException], road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(i: int, _: Recording) -> None:
        if i == 2:
            raise kind

    with pytest.raises(kind):
        train(tmp_path / "late", 5, breaks)
    monkeypatch.undo()
    train(tmp_path / "now", 3)
    same(tmp_path / "late", tmp_path / "now")
    wanted = "failed" if kind is ZeroDivisionError else "interrupted"
    assert fs.open_runs(tmp_path / "late")["a"].state in (wanted, "failed", "finished")


def test_an_accelerator_that_failed_does_not_hide_the_error(road: Road, tmp_path: Path) -> None:
    def breaks(i: int, _: Recording) -> None:
        if i == 2:
            road.broken = True
            raise ZeroDivisionError("the user's own")

    with pytest.raises(ZeroDivisionError, match="own"):
        train(tmp_path, 5, breaks)
    found = fs.open_runs(tmp_path)["a"]
    assert found.state == "failed"
    assert "own" in str(found.error)
    assert found.last_step == 2
    assert "illegal memory access" in found.facts["recorder"]["notes"][-1]
