"""transformers: ``Trainer(..., callbacks=[Recorder("baseline")])``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fluoroscope.errors import MissingExtra
from fluoroscope.training.record import record
from fluoroscope.training.recorder.recording import Recording

try:
    from transformers import TrainerCallback
except ImportError as missing:
    raise MissingExtra.of("transformers", "hf", "the callback for its Trainer") from missing

__all__ = ["Recorder"]


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Records a training of transformers' Trainer: all that :func:`fluoroscope.record` does, and what it logs.

    Gradients are recorded as the optimizer uses them, after the trainer's clipping. Of an error the trainer tells its
    callbacks nothing: the run counts as running until its process ends, then as interrupted, unless it is closed with
    ``recorder.close("failed", text)``.

    Args:
        run: the name of the run; the trainer's ``run_name`` where None.
        dir: the folder of runs.
        options: further options of :func:`fluoroscope.record`. ``config`` is the trainer's arguments where none is.
    """

    def __init__(self, run: str | None = None, dir: str | Path = "runs", **options: Any) -> None:
        self.run, self.dir, self.options = run, dir, options
        self.recording: Recording | None = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """The optimizer is there now."""
        self.close("interrupted")  # a training before this one, which ended with an error
        inner = _inner(optimizer)
        options = {"config": args.to_sanitized_dict(), **self.options}
        self.recording = record(model, inner, self.run or args.run_name, self.dir, **options)
        self.recording.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """What the trainer logs: the loss of training, metrics of evaluation."""
        if self.recording is not None and logs:
            numbers = {k: v for k, v in logs.items() if isinstance(v, int | float) and not isinstance(v, bool)}
            self.recording.log(_named(numbers))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The training is done."""
        self.close()

    def close(self, state: str = "finished", error: str | None = None) -> None:
        """End the run."""
        recording, self.recording = self.recording, None
        if recording is not None:
            recording.close(state, error)


def _inner(optimizer: Any) -> Any:
    """Torch's own optimizer inside accelerate's wrapper."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _named(logs: dict[str, Any]) -> dict[str, Any]:
    """``eval_`` as ``val_``, as elsewhere; the trainer's own norm and rate are recorded already, by the step."""
    skipped = ("grad_norm", "learning_rate")
    return {f"val_{k[5:]}" if k.startswith("eval_") else k: v for k, v in logs.items() if k not in skipped}
