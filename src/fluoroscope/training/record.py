"""``fs.record``: one line that watches a training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from fluoroscope.arguments import checked
from fluoroscope.errors import InputError, ModelError, OptionError
from fluoroscope.results.store import as_path
from fluoroscope.training.recorder.ranks import Ranks
from fluoroscope.training.recorder.recording import Recording
from fluoroscope.training.recorder.settings import Settings
from fluoroscope.training.recorder.watched import as_optimizers
from fluoroscope.training.store import RunWriter

__all__ = ["record"]


@checked
def record(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    run: str | None = None,
    dir: str | Path = "runs",
    *,
    config: Any = None,
    every: int = 1,
    exact_every: int = 100,
    activations: bool | Literal["eager"] = True,
    activations_every: int = 10,
    sample: int = 512,
    updates: Literal["auto", "exact", "sampled"] = "auto",
    histograms: bool = True,
    scaler: Any = None,
    ranks: Literal["zero", "all"] = "zero",
    resume: bool = False,
    after_step: int | None = None,
    samples_per_step: float | None = None,
    curvature: Callable[[], Any] | None = None,
    curvature_every: int = 100,
    noise_scale_every: int = 0,
    alignment: Literal["off", "sampled", "exact"] = "off",
) -> Recording:
    """Watch a training: ``with fs.record(model, optimizer, run="baseline") as run: ... run.log(loss=loss)``.

    At every step of the optimizer, for every parameter it holds: the exact L2 norms of gradient, weight and update, and
    from a strided sample mean, standard deviation, extremes, share of zeros and a histogram. Gradients are those the
    optimizer uses: accumulated, unscaled, after clipping (``run.before_clipping()`` reads them earlier). The update is
    the difference of the weights after and before the step. NaN and infinity are recorded like any other value. The
    network and the optimizer are as before when the block ends, also after an error.

    Args:
        model: the network, or its wrapper (``torch.compile``, DDP, FSDP).
        optimizer: one or several.
        run: the name; a number is added where it is taken. The date and time where None.
        dir: the folder of runs.
        config: what the run should be told apart by: a mapping, dataclass or namespace.
        every: tensors are looked at every so many steps.
        exact_every: statistics over all entries instead of samples, every so many steps; 0 for never.
        activations: whether activations are watched, ``activations_every`` steps apart. Of a compiled network they are
            not seen; ``eager`` has it run once more, not compiled, with the same inputs at those steps.
        activations_every: see there.
        sample: entries looked at in each tensor.
        updates: ``exact`` norms of updates need a copy of the weights; ``sampled`` ones estimate them; ``auto`` is
            exact up to 1 GiB of weights.
        histograms: whether histograms are kept.
        scaler: the GradScaler of mixed precision, so that the steps it leaves out are recorded.
        ranks: which processes of a distributed training write.
        resume: go on with the run of that name, after its last step.
        after_step: the step after which this training begins, such as that of the checkpoint it goes on from: what the
            run has written beyond it stays and is shown as left behind.
        samples_per_step: examples in a step of all processes, for the throughput and the noise scale.
        curvature: a function that returns the loss of one and the same batch, ``lambda: loss_of(model(x), y)``; its
            largest curvature is measured every ``curvature_every`` steps, by at most 22 Hessian-vector products (twice
            as many with Adam), and recorded beside what the learning rate bears; see :meth:`Recording.curvature`.
        curvature_every: see there.
        noise_scale_every: the gradient noise scale every so many steps, from the backward passes of an accumulated
            gradient or the processes of DistributedDataParallel; 0 for never; see :meth:`Recording.noise_scale`. Each
            backward pass of a step counts as one of equally many examples.
        alignment: cosines of each step's gradient with the last update and the last gradient, from the samples, or
            ``exact``, of the update alone, with one more copy of the weights; ``off`` for none. 1: gradient descent
            goes on as the last step did, -1: it goes back.

    Raises:
        ModelError, InputError: not a network, not an optimizer; what was asked for can't be had of this training.
        OptionError: an option is outside what is accepted.
        ResultFileError: ``dir`` is no path, or can't be written to.
    """
    if not isinstance(model, nn.Module):
        raise ModelError("fs.record watches a network", got=type(model).__name__, expected="a torch.nn.Module")
    optimizers = as_optimizers(optimizer)
    for each in optimizers:
        if not hasattr(each, "param_groups"):
            raise InputError(
                "fs.record watches optimizers", got=type(each).__name__, expected="a torch.optim.Optimizer"
            )
    _check_name(run)
    _check_choice("activations", activations, (True, False, "eager"))
    _check_choice("ranks", ranks, ("zero", "all"))
    _check_config(config)
    folder = as_path(dir)
    number = isinstance(samples_per_step, (int, float)) and not isinstance(samples_per_step, bool)
    if samples_per_step is not None and not (number and 0 < samples_per_step < float("inf")):
        raise OptionError(
            "fs.record: option 'samples_per_step' is out of range", got=samples_per_step, expected="a number above 0"
        )
    whole = isinstance(after_step, int) and not isinstance(after_step, bool)
    if after_step is not None and not (whole and 0 <= after_step < 2**62):
        raise OptionError(
            "fs.record: option 'after_step' is out of range",
            got=repr(after_step),
            expected="a whole number, at least 0",
        )
    if scaler is not None and not all(hasattr(scaler, name) for name in ("step", "get_scale", "is_enabled")):
        raise InputError(
            "fs.record: option 'scaler' is no gradient scaler",
            got=type(scaler).__name__,
            expected="a torch.amp.GradScaler, or None",
        )
    settings = Settings(
        every=every,
        exact_every=exact_every,
        activations_every=activations_every if activations else 0,
        eager=activations == "eager",
        sample=sample,
        updates=updates,
        histograms=histograms,
        curvature_every=curvature_every,
        noise_scale_every=noise_scale_every,
        alignment=alignment,
    )
    part = Ranks.here(model, ranks)
    begin = _Beginning(folder, run or time.strftime("run %Y-%m-%d %H.%M.%S"), config, resume, part)
    return Recording(
        model,
        optimizers,
        settings,
        part,
        begin,
        scaler,
        after_step,
        samples_per_step=samples_per_step,
        curvature=curvature,
    )


def _check_choice(name: str, given: object, choices: tuple[object, ...]) -> None:
    if not isinstance(given, (bool, str)) or given not in choices:
        expected = f"one of {', '.join(map(repr, choices))}"
        raise OptionError(f"fs.record: option {name!r} has no such choice", got=given, expected=expected)


def _check_config(config: Any) -> None:
    """Numbers, texts and lists have no names by which runs could be told apart."""
    if isinstance(config, (int, float, str, bytes, list, tuple, set, frozenset)) and not hasattr(config, "_fields"):
        raise OptionError(
            "fs.record: option 'config' has no names for its settings",
            got=f"{config!r}, of type {type(config).__name__}",
            expected="a mapping such as {'lr': 0.1}, a dataclass or a namespace",
        )


def _check_name(run: str | None) -> None:
    """A run has a name, not a path: its folder lies in ``dir`` whatever it is called."""
    if run is not None and not isinstance(run, str):
        raise OptionError("fs.record: option 'run' is no name", got=repr(run), expected="text")
    parts = (run or "").replace("\\", "/").split("/")
    if run is not None and (".." in parts or (len(parts) > 1 and not parts[0])):
        folder, name = run.replace("\\", "/").rpartition("/")[::2]
        raise OptionError(
            "fs.record: option 'run' is a name, not a path: the run's folder lies in dir",
            got=run,
            remedy=f"run={(name.strip('.') or 'baseline')!r}, dir={folder or '..'!r}",
        )


class _Beginning:
    """Makes the writer when the block begins; the processes of a distributed training agree on the folder."""

    def __init__(self, folder: str | Path, name: str, config: Any, resume: bool, ranks: Ranks) -> None:
        self.folder, self.name, self.config, self.resume, self.ranks = folder, name, config, resume, ranks

    def __call__(self, **facts: Any) -> RunWriter:
        if self.ranks.rank == 0:
            writer = RunWriter(self.folder, self.name, config=self.config, resume=self.resume, **facts)
            self.ranks.agreed(writer.name)
            return writer
        name = self.ranks.agreed(None)
        return RunWriter(self.folder, name or self.name, config=self.config, rank=self.ranks.rank, resume=True, **facts)
