"""Lightning: ``Trainer(callbacks=[Recorder("baseline")])``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fluoroscope.errors import MissingExtra
from fluoroscope.training.record import record
from fluoroscope.training.recorder.recording import Recording
from fluoroscope.training.store.writer import ending

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError as missing:
        raise MissingExtra(
            "the callback for Lightning needs the package 'lightning', which is not installed",
            remedy="pip install lightning",
        ) from missing

__all__ = ["Recorder"]


class Recorder(Callback):  # type: ignore[misc]
    """Records a training of Lightning: all that :func:`fluoroscope.record` does, and the metrics that modules log.

    Args:
        run: the name of the run.
        dir: the folder of runs.
        options: further options of :func:`fluoroscope.record`. ``config`` is the module's ``hparams`` where none is.
    """

    def __init__(self, run: str | None = None, dir: str | Path = "runs", **options: Any) -> None:
        self.run, self.dir, self.options = run, dir, options
        self.recording: Recording | None = None
        self._validating: set[str] = set()
        self._training: set[str] = set()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """The optimizers are there now, and the network is where it will be trained."""
        self._close("interrupted", None)
        options = {"config": dict(getattr(pl_module, "hparams", {})) or None, **self.options}
        scaler = getattr(getattr(trainer, "precision_plugin", None), "scaler", None)
        self.recording = record(pl_module, trainer.optimizers, self.run, self.dir, scaler=scaler, **options)
        self.recording.start()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Metrics of the step, and the loss."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None and getattr(pl_module, "automatic_optimization", True):
            loss = loss * trainer.accumulate_grad_batches  # Lightning hands over the share of it that was added up
        metrics = {k: v for k, v in trainer.callback_metrics.items() if k not in self._validating}
        self._training |= set(metrics)
        self._log({**({"loss": loss} if loss is not None else {}), **metrics})

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """The number of the epoch."""
        self._log({"epoch": trainer.current_epoch})

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Metrics of the validation."""
        if not trainer.sanity_checking:
            metrics = {k: v for k, v in trainer.callback_metrics.items() if k not in self._training}
            self._validating |= set(metrics)
            self._log(metrics)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """The training is done."""
        self._close("finished", None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The training failed or was interrupted."""
        self._close(*ending(exception))

    def _log(self, values: dict[str, Any]) -> None:
        if self.recording is not None and values:
            self.recording.log(values)

    def _close(self, state: str, error: str | None) -> None:
        recording, self.recording = self.recording, None
        if recording is not None:
            recording.close(state, error)
