"""Keras on its torch backend: ``model.fit(..., callbacks=[Recorder("baseline")])``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import MissingExtra, NotApplicable
from fluoroscope.training.record import record
from fluoroscope.training.recorder.recording import Recording

try:
    import keras
except ImportError as missing:
    raise MissingExtra.of("keras", "keras", "the callback for its training") from missing

__all__ = ["Recorder"]


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Records a training of Keras: all that :func:`fluoroscope.record` does, and the logs of batches and epochs.

    Keras' optimizers have no hooks: weights and gradients are read at the end of every batch. Gradients are those
    before Keras' own clipping (``clipnorm`` and its kin), and the record says so.

    Args:
        run: the name of the run.
        dir: the folder of runs.
        options: further options of :func:`fluoroscope.record`.

    Raises:
        NotApplicable: Keras runs on another backend than torch.
    """

    def __init__(self, run: str | None = None, dir: str | Path = "runs", **options: Any) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise NotApplicable(
                "Keras runs on another backend, whose gradients can't be read",
                got=keras.backend.backend(),
                expected="torch",
                remedy="KERAS_BACKEND=torch, set before keras is imported",
            )
        self.run, self.dir, self.options = run, dir, options
        self.recording: Recording | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """The variables are there now."""
        self.close("interrupted")
        self._optimizer = _Variables(self.model)
        options = {"config": {"optimizer": self.model.optimizer.get_config(), **self.params}, **self.options}
        self.recording = record(self._optimizer.network, self._optimizer, self.run, self.dir, **options)  # type: ignore[arg-type]
        self.recording.start()
        self.recording.gradients_are("accumulated, before clipping by the optimizer")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """The optimizer has made its step; the gradients are still there."""
        if self.recording is not None:
            self._optimizer.rate = float(self.model.optimizer.learning_rate)
            with torch.no_grad():
                self.recording.stepped(self._optimizer)
            self.recording.log(logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Metrics of the validation, and the number of the epoch."""
        if self.recording is not None:
            found = {k: v for k, v in (logs or {}).items() if k.startswith("val_")}
            self.recording.log({**found, "epoch": epoch})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """The training is done."""
        self.close()

    def close(self, state: str = "finished", error: str | None = None) -> None:
        """End the run."""
        recording, self.recording = self.recording, None
        if recording is not None:
            recording.close(state, error)


class _Variables:
    """Keras' trainable variables as an optimizer's group of parameters, by the paths Keras gives them."""

    def __init__(self, model: Any) -> None:
        variables = {v.path: v.value for v in model.trainable_variables}
        self.network = _Named(model, variables)
        self._values = list(variables.values())
        self.rate = float(model.optimizer.learning_rate)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """One group of all."""
        return [{"params": self._values, "lr": self.rate}]


class _Named(nn.Module):
    """A network whose parameters are called as Keras calls them."""

    def __init__(self, model: Any, variables: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.title = type(model).__name__
        self._variables = variables

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        """Variables by path."""
        yield from self._variables.items()

    def parameters(self, recurse: bool = True) -> Any:
        """Variables."""
        yield from self._variables.values()
