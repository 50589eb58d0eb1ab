"""What is measured only where it is asked for: curvature, gradient noise scale, alignment of steps."""

from __future__ import annotations

import contextlib
import time as clock
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError, InputError
from fluoroscope.model.backward_watch import BackwardWatch
from fluoroscope.results import Array
from fluoroscope.training.recorder.norms import pieces, square
from fluoroscope.training.recorder.optimizer_watch import Measured
from fluoroscope.training.recorder.requested.alignment import ExactAlignment, SampledAlignment
from fluoroscope.training.recorder.requested.aside import called, refuse, trained
from fluoroscope.training.recorder.requested.curvature import Curvature, CurvatureMeter
from fluoroscope.training.recorder.requested.moving_ratio import MovingRatio
from fluoroscope.training.recorder.requested.noise_scale import WHAT, NoiseScale, measured_noise_scale, unbiased
from fluoroscope.training.recorder.settings import Settings
from fluoroscope.training.recorder.watched import local

__all__ = ["Beside", "Taken"]

SINGLE = (
    "no gradient noise scale: a step has one backward pass of one process, so that there is nothing to compare; "
    "run.noise_scale(loss_of, batch) splits a batch"
)
CLOSURE = "no gradient noise scale: the optimizer computes its gradients inside of its steps"
CARRIED = "no gradient noise scale: gradients of earlier steps were not zeroed"
ALONE = 3
"""Steps without anything to compare before that is told."""
REQUESTED_DECAY = 0.9
CLOSED = "lambda: loss_of(model(x), y)"


@dataclass
class Taken:
    """What one step gave: ``tensors`` on their way to the host, ``values`` that are known, ``finish`` for the rest."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    finish: list[Callable[[dict[str, Array], Measured | None], tuple[dict[str, Array], dict[str, float]]]] = field(
        default_factory=list
    )


class Beside:
    """The optional measurements of one recording. ``tell(text)`` writes down, once, why something can't be had."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Any],
        settings: Settings,
        tell: Callable[[str], None],
        closure: Callable[[], Any] | None = None,
        samples: float | None = None,
    ) -> None:
        self.model, self.optimizers, self.settings, self.closure = model, optimizers, settings, closure
        self._tell, self._told, self._samples = tell, set[str](), samples
        self._meter = CurvatureMeter(model, optimizers)
        self._moving, self._requested = MovingRatio(), MovingRatio(REQUESTED_DECAY)
        self._sampled = {id(o): SampledAlignment() for o in optimizers}
        self._exact = {id(o): ExactAlignment() for o in optimizers}
        self._sums: dict[int, torch.Tensor] = {}
        self._watch: BackwardWatch | None = None
        self._seen: tuple[int, torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._alone = 0
        self._measured = False

    def check(self) -> None:
        """Raises InputError, ModelError where what was asked for can't be had of this training."""
        parameters = trained(self.model, self.optimizers)
        if self.closure is not None:
            called("the curvature", self.closure, CLOSED)
            refuse("the curvature", self.model, parameters)
        if self.settings.alignment == "exact":
            refuse("the exact alignment of steps", self.model, parameters)
        if self.settings.noise_scale_every:
            refuse(WHAT, self.model, parameters)
            if len(self.optimizers) > 1:
                raise InputError(
                    f"{WHAT} of each step needs one optimizer, since backward passes are not told apart",
                    got=f"{len(self.optimizers)} optimizers",
                    remedy="run.noise_scale(loss_of, batch)",
                )

    def start(self) -> None:
        """Install what has to see the backward passes of the first step."""
        if self.settings.noise_scale_every:
            self._renew()
            self.arm(1)

    def stop(self) -> None:
        """Remove it."""
        if self._watch is not None:
            self._watch.stop()
        self._watch = None
        self._sums.clear()

    def _renew(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        self._watch = BackwardWatch(trained(self.model, self.optimizers), _square)
        self._watch.start()

    # ------------------------------------------------------------------ around a step

    def arm(self, number: int) -> None:
        """Look at the backward passes of step ``number``, where they are due."""
        if self._watch is None:
            return
        here = {id(p) for p in trained(self.model, self.optimizers)}
        if here != {id(p) for p in self._watch.parameters}:
            self._renew()
        self._watch.begin(self.settings.due(self.settings.noise_scale_every, number))

    def before_step(self, optimizer: Any, parameters: Sequence[nn.Parameter], closure: bool) -> None:
        """The gradients are there, the step is not made."""
        if self._watch is not None and self._watch.on:
            self._seen = None if closure else self._watch.take()
            self._watch.begin(False)
            if closure:
                self.tell(CLOSURE)
        if self.settings.alignment == "exact" and not closure:
            self._sums[id(optimizer)] = self._exact[id(optimizer)].before_step(parameters)

    def after_step(self, optimizer: Any, parameters: Sequence[nn.Parameter], number: int, scale: float) -> Taken:
        """The step is made. ``scale``: of the loss, in mixed precision."""
        taken = Taken()
        if self.settings.alignment == "exact":
            self._exact[id(optimizer)].after_step(parameters)
            if (sums := self._sums.pop(id(optimizer), None)) is not None:
                taken.tensors["alignment"] = sums
                taken.finish.append(lambda found, _: ExactAlignment.found(found["alignment"]))
        elif self.settings.alignment == "sampled":
            sampled = self._sampled[id(optimizer)]
            taken.finish.append(lambda found, m: _from_samples(sampled, found, m))
        if optimizer is self.optimizers[0]:
            self._noise(taken, scale)
            if self.closure is not None and self.settings.due(self.settings.curvature_every, number):
                taken.values |= self._scheduled(self.closure)
        return taken

    def skipped(self) -> None:
        """The step was left out: its gradients are no measure of anything."""
        self._seen = None
        if self._watch is not None:
            self._watch.begin(self._watch.on)

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Backward passes inside are no part of the training."""
        watch = self._watch
        on = watch is not None and watch.on
        if watch is not None:
            watch.on = False
        try:
            yield
        finally:
            if watch is not None:
                watch.on = on

    def tell(self, text: str) -> None:
        """Say once, in the record and as a warning."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    # ------------------------------------------------------------------ noise scale

    def _noise(self, taken: Taken, scale: float) -> None:
        seen, self._seen = self._seen, None
        if seen is None:
            return
        passes, squares, total, before = seen
        times = passes * self._processes()
        if times < 2:
            self._alone += 1
            if self._alone == ALONE:
                self.tell(SINGLE)
            return
        taken.tensors |= {"noise/squares": squares, "noise/total": total, "noise/before": before}

        def finish(found: dict[str, Array], _: Measured | None) -> tuple[dict[str, Array], dict[str, float]]:
            if float(found["noise/before"]) != 0:
                self.tell(CARRIED)
                return {}, {}
            small = float(found["noise/squares"]) / passes / scale**2
            large = float(found["noise/total"]) / passes**2 / scale**2
            if not np.isfinite([small, large]).all():
                return {}, {}
            self._moving.add(*unbiased(small, large, times))
            return {}, self._of(self._moving, times, self._samples)

        taken.finish.append(finish)

    def _processes(self) -> int:
        spread = any(isinstance(m, nn.parallel.DistributedDataParallel) for m in self.model.modules())
        if not spread:
            return 1
        import torch.distributed as dist

        return dist.get_world_size()

    @staticmethod
    def _of(moving: MovingRatio, times: float, samples: float | None) -> dict[str, float]:
        """By series: the ratio in examples, or in batches of a step where their size is not known. The noise is that of
        one of the ``times`` parts of a step.
        """
        unit, name = (1 / times, "batches") if samples is None else (samples / times, "examples")
        noise, gradient = moving.means
        found = {"noise_scale_parts/noise": noise, "noise_scale_parts/gradient": gradient}
        if moving.sure:
            found[f"noise_scale/{name}"] = moving.value * unit
            found["noise_scale/standard_error"] = moving.standard_error * unit
            found["noise_scale/batch"] = 1.0 if samples is None else float(samples)
        return found

    def noise_scale(self, loss_of: Callable[[Any], Any], batch: Any, parts: int) -> tuple[NoiseScale, dict[str, float]]:
        """Of one batch, and the series with what was asked for before."""
        called(WHAT, loss_of, "lambda part: loss_of(model(part[0]), part[1])")
        found = measured_noise_scale(self.model, trained(self.model, self.optimizers), loss_of, batch, parts)
        if not np.isfinite([found.noise, found.gradient]).all():
            return found, {}
        self._requested.add(found.noise, found.gradient, found.covariance)
        return found, self._of(self._requested, found.examples, float(found.examples))

    # ------------------------------------------------------------------ curvature

    def curvature(self, closure: Callable[[], Any]) -> Curvature:
        """Of the loss that ``closure`` returns."""
        called("the curvature", closure, CLOSED)
        return self._meter(closure)

    def _scheduled(self, closure: Callable[[], Any]) -> dict[str, float]:
        """A mistake shows at the first measurement, as an error; what fails later does not end a training."""
        start = clock.perf_counter()
        try:
            found = self._meter(closure)
        except (FluoroscopeError, RuntimeError) as error:
            if not self._measured:
                raise
            self.tell(f"the curvature is not measured any more: {error}".splitlines()[0])
            self.closure = None
            return {}
        self._measured = True
        return {**found.series, "time/curvature": clock.perf_counter() - start}


def _from_samples(
    sampled: SampledAlignment, found: dict[str, Array], measured: Measured | None
) -> tuple[dict[str, Array], dict[str, float]]:
    if measured is None:
        return {}, {}
    return sampled.next(measured.samples, found["entries"], found["norms"][3] == 0)


def _square(tensor: torch.Tensor) -> torch.Tensor:
    part = local(tensor)
    if not part.numel():
        return torch.zeros((), device=part.device)
    found = [square(p) for p in pieces(part)]
    return found[0] if len(found) == 1 else torch.stack([f.double() for f in found]).sum()
