"""The callbacks, in real trainings of the real libraries."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from tests.training.test_store import child_environment


def same_training(run: Any, steps: int) -> None:
    """What every callback has to give: norms of every parameter at every step, the loss, the rate."""
    history = run.tensor_history()
    rows = [i for i, n in enumerate(history.names) if history.recorded["gradient/norm"][i].any()]
    assert len(rows) >= 4
    assert history.steps.tolist() == list(range(1, steps + 1))
    for quantity in ("gradient/norm", "weight/norm", "update/norm"):
        assert history.recorded[quantity][rows].all()
        assert (history.statistics[quantity][rows] > 0).all()
    rates = [name for name in run.names() if name.startswith("learning_rate")]  # one for each group of parameters
    assert rates
    assert all(len(run.column(name)) == steps for name in rates)


def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    from fluoroscope.integrations.lightning import Recorder

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self, lr: float = 0.1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = self.net(batch[0]).square().mean()
            self.log("train_extra", 2.0 * loss.detach())
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.net(batch[0]).square().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), self.hparams.lr)

    def fit(module: Any, **options: Any) -> Any:
        torch.manual_seed(0)
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(24, 4)), batch_size=4)
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, **options,
        )  # fmt: skip
        trainer.fit(module, data, data)
        return module

    torch.manual_seed(1)
    plain = fit(Module())
    torch.manual_seed(1)
    recorded = fit(Module(), callbacks=[Recorder("a", tmp_path)])
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), recorded.parameters(), strict=True))
    run = fs.open_runs(tmp_path)["a"]
    assert run.state == "finished"
    same_training(run, 12)
    assert run.config == {"lr": 0.1}
    assert run.column("val_loss").steps.tolist() == [6, 12]
    np.testing.assert_allclose(run.column("train_extra").values, 2 * run.column("loss").values, rtol=1e-6)
    assert run.column("epoch").values.tolist() == [0, 1]
    assert run.tensor_history().names[0] == "net.0.weight"

    class Failing(Module):
        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            raise ValueError("no such luck")

    with pytest.raises(ValueError, match="no such luck"):
        fit(Failing(), callbacks=[Recorder("b", tmp_path)])
    assert fs.open_runs(tmp_path)["b"].error == "ValueError: no such luck"


def test_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from fluoroscope.integrations.transformers import Recorder

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            out = self.net(x)
            return {"loss": out.square().mean(), "logits": out}

    rows = [{"x": torch.randn(4), "labels": torch.zeros(1)} for _ in range(32)]
    arguments = transformers.TrainingArguments(
        str(tmp_path / "out"), num_train_epochs=2, per_device_train_batch_size=4, gradient_accumulation_steps=2,
        max_grad_norm=0.01, logging_steps=2, report_to=[], save_strategy="no", use_cpu=True, eval_strategy="epoch",
        disable_tqdm=True, optim="sgd", learning_rate=0.1,
    )  # fmt: skip
    recorder = Recorder("a", tmp_path / "runs")
    trainer = transformers.Trainer(Net(), arguments, train_dataset=rows, eval_dataset=rows[:8], callbacks=[recorder])
    trainer.train()
    run = fs.open_runs(tmp_path / "runs")["a"]
    assert run.state == "finished"
    same_training(run, 8)
    assert run.column("loss").steps.tolist() == [2, 4, 6, 8]
    assert run.column("val_loss").steps.tolist() == [4, 8]
    assert (run.column("norm/gradient").values <= 0.0101).all()  # as clipped
    assert run.config["max_grad_norm"] == 0.01


def _installed(name: str) -> None:
    """Skip where a package is not there, without importing it: Keras would choose its backend now."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


KERAS = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
from fluoroscope.integrations.keras import Recorder

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.1), "mse")
x, y = np.random.default_rng(0).normal(size=(24, 4)), np.zeros((24, 1))
weights = [np.array(w) for w in model.get_weights()]
model.fit(x, y, batch_size=8, epochs=2, validation_data=(x, y), verbose=0, shuffle=False,
          callbacks=[Recorder("a", sys.argv[1])])
np.savez(sys.argv[2], *weights, *model.get_weights())
"""


def test_keras(tmp_path: Path) -> None:
    _installed("keras")
    weights = tmp_path / "weights.npz"
    subprocess.run(
        [sys.executable, "-c", KERAS, str(tmp_path / "runs"), str(weights)], check=True, env=child_environment()
    )
    run = fs.open_runs(tmp_path / "runs")["a"]
    assert run.state == "finished"
    same_training(run, 6)
    history = run.tensor_history()
    norms = [np.linalg.norm(w) for w in np.load(weights).values()][4:]
    np.testing.assert_allclose(history.statistics["weight/norm"][:4, -1], norms, rtol=1e-5)
    np.testing.assert_allclose(  # plain gradient descent
        history.statistics["update/norm"][:4], 0.1 * history.statistics["gradient/norm"][:4], rtol=1e-3
    )
    assert "kernel" in history.names[0]
    assert run.column("val_loss").steps.tolist() == [3, 6]
    assert len(run.column("loss")) == 6
    assert "before clipping" in run.facts["recorder"]["gradient"]


@pytest.mark.parametrize("name", ["lightning", "transformers", "keras"])
def test_without_the_library(name: str) -> None:
    hidden = (
        "import sys; sys.modules.update(dict.fromkeys(['lightning', 'pytorch_lightning', 'transformers', 'keras']))"
    )
    program = f"{hidden}\nimport fluoroscope.integrations.{name}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=child_environment(), check=False
    )
    assert "FS-EXTRA" in done.stderr
    assert "pip install" in done.stderr
