"""The loss that Lightning hands to its callbacks, with stand-ins for its classes: what it is, its source says."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fluoroscope as fs


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The callback, above a stand-in for Lightning's base class."""
    callbacks = types.ModuleType("lightning.pytorch.callbacks")
    callbacks.Callback = type("Callback", (), {})  # type: ignore[attr-defined]
    for name, module in {
        "lightning": types.ModuleType("lightning"),
        "lightning.pytorch": types.ModuleType("lightning.pytorch"),
        "lightning.pytorch.callbacks": callbacks,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "fluoroscope.integrations.lightning", raising=False)
    from fluoroscope.integrations.lightning import Recorder

    yield Recorder
    sys.modules.pop("fluoroscope.integrations.lightning", None)


@pytest.mark.parametrize("automatic", [True, False])
def test_the_loss_is_that_of_the_batch_not_of_its_share_of_the_sum(
    automatic: bool, recorder: Any, tmp_path: Path
) -> None:
    """``ClosureResult.from_training_step_output`` divides by ``accumulate_grad_batches`` before callbacks see it; with
    manual optimization nothing is divided.
    """
    net = nn.Linear(3, 1)
    net.automatic_optimization = automatic  # type: ignore[assignment]
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    trainer = types.SimpleNamespace(
        optimizers=[optimizer], accumulate_grad_batches=4, callback_metrics={}, current_epoch=0
    )
    callback = recorder("a", tmp_path)
    callback.on_fit_start(trainer, net)
    losses = []
    for i in range(8):
        loss = net(torch.full((2, 3), float(i))).square().mean()
        losses.append(loss.item())
        share = loss / 4 if automatic else loss
        share.backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        callback.on_train_batch_end(trainer, net, {"loss": share.detach()}, None, i)
    callback.on_fit_start(trainer, net)  # a second training, after one that nobody ended
    callback.on_fit_end(trainer, net)
    runs = fs.open_runs(tmp_path)
    assert runs["a"].column("loss").values == pytest.approx(losses)
    assert {name: run.state for name, run in runs.items()} == {"a": "interrupted", "a-2": "finished"}
    assert not optimizer._optimizer_step_pre_hooks
