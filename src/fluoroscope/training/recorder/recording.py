"""Recording: a training under watch, from the first line of the block to its last."""

from __future__ import annotations

import time as clock
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer

from fluoroscope.arguments import checked
from fluoroscope.errors import InputError
from fluoroscope.results import Array
from fluoroscope.training.recorder.activations import activations_of
from fluoroscope.training.recorder.facts import about_model, environment
from fluoroscope.training.recorder.later import Later
from fluoroscope.training.recorder.logged import flattened, mapping, number, single, whole_step
from fluoroscope.training.recorder.machine import Pace, memory
from fluoroscope.training.recorder.notes import notes_of, unstepped, update_norm
from fluoroscope.training.recorder.optimizer_watch import Measured, OptimizerWatch
from fluoroscope.training.recorder.order import graph_order
from fluoroscope.training.recorder.per_optimizer import left_out, own_names, rates
from fluoroscope.training.recorder.ranks import Ranks
from fluoroscope.training.recorder.requested.beside import Beside, Taken
from fluoroscope.training.recorder.requested.on_request import OnRequest
from fluoroscope.training.recorder.rows import Rows
from fluoroscope.training.recorder.scaler import ScalerWatch
from fluoroscope.training.recorder.settings import Settings
from fluoroscope.training.recorder.watched import clean_name, parameter_names, unwrapped
from fluoroscope.training.store import Run, RunWriter
from fluoroscope.training.store.writer import ending

__all__ = ["Recording"]

AFTER_CLIPPING = "accumulated, unscaled, as the optimizer used it: after clipping, where there is any"
BEFORE_CLIPPING = "accumulated, unscaled, before clipping"


class Recording(OnRequest):
    """What ``with fs.record(...) as run`` gives. ``step`` counts finished steps of the optimizer (of the busiest one).

    Values logged before the first step belong to step 0; what is logged after ``optimizer.step()`` to that step.
    ``should_stop`` is for the loop to ask: an alert of a live diagnosis sets it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        settings: Settings,
        ranks: Ranks,
        begin: Callable[..., RunWriter],
        scaler: Any = None,
        after_step: int | None = None,
        samples_per_step: float | None = None,
        curvature: Callable[[], Any] | None = None,
    ) -> None:
        self.model, self.settings, self.step = model, settings, after_step or 0
        self._optimizers, self._ranks, self._begin = tuple(optimizers), ranks, begin
        self._network = unwrapped(model)
        self._scaler = ScalerWatch(scaler, self._skipped) if scaler is not None else None
        self._samples_per_step = samples_per_step
        self._beside = Beside(model, self._optimizers, settings, self.note, curvature, samples_per_step)
        self._beside.check()
        self._handles: list[Any] = []
        self._later: deque[Later] = deque()
        self._watches: dict[int, OptimizerWatch] = {}
        self._writer: RunWriter | None = None
        self._facts: dict[str, Any] = {}
        self._first, self._begun = self.step, after_step is not None
        self._before_any: Counter[str] = Counter()
        self._early = False
        self.should_stop = False
        self._pace = Pace()

    # ------------------------------------------------------------------ life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*ending(error))

    def start(self) -> None:
        """Begin: the run's folder is made, hooks are installed. Where that fails, nothing stays behind."""
        try:
            self._start()
        except BaseException as error:
            self.close(*ending(error))
            raise

    def _start(self) -> None:
        if self._ranks.writes:
            self._writer = self._begin(environment=environment(), model=about_model(self._network))
            self._rows = Rows(self._writer, self.settings.histograms)
            self.step = self._first = self._first if self._begun else _steps_so_far(self._writer)
        names = parameter_names(self._network)
        if self._ranks.measures:
            for optimizer in self._optimizers:
                self._watches[id(optimizer)] = OptimizerWatch(optimizer, names, self.settings, self.model)
                self._hook(optimizer)
        self._activations, why_not = activations_of(self, self._network, self._ranks)
        self._tell(why_not)
        self._arm()
        if self._writer is not None:
            self._beside.start()
        if self._scaler is not None:
            self._scaler.start()

    def _hook(self, optimizer: Optimizer) -> None:
        if hasattr(optimizer, "register_step_pre_hook"):
            self._handles.append(optimizer.register_step_pre_hook(self._before_step))
            self._handles.append(optimizer.register_step_post_hook(self._after_step))

    def _tell(self, why_not: str) -> None:
        """Write down how the numbers are taken."""
        if self._writer is None:
            return
        order, layers = graph_order(self._network, self._activations.order if self._activations else [])
        self._inform(
            {
                "gradient": AFTER_CLIPPING,
                "update": "weights after the step less weights before it",
                "settings": self.settings,
                "ranks": self._ranks.text,
                "order": order,
                "layers": layers,
                "modules": sorted({type(m).__name__ for m in self._network.modules()}),
                "notes": notes_of(self._watches.values(), why_not, self._ranks.rank),
                "update_norm": update_norm(self._watches.values()),
                **self._about_optimizers(),
            }
        )

    def _about_optimizers(self) -> dict[str, Any]:
        """What they are, and which parameters are not trained: ``frozen``, and ``outside`` of every optimizer although
        they need a gradient.
        """
        held = {id(p) for o in self._optimizers for group in o.param_groups for p in group["params"]}
        names = [(clean_name(n), p) for n, p in self._network.named_parameters()]
        groups = [group for o in self._optimizers for group in o.param_groups]
        return {
            "optimizer": ", ".join(type(o).__name__ for o in self._optimizers),
            "momentum": max((float(g.get("momentum") or 0.0) for g in groups), default=0.0),
            "frozen": [n for n, p in names if not p.requires_grad],
            "outside": [n for n, p in names if p.requires_grad and id(p) not in held],
        }

    def close(self, state: str = "finished", error: str | None = None) -> None:
        """End: hooks are removed, what is on its way is written, the state is set."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._beside.stop()
        if getattr(self, "_activations", None) is not None:
            self._activations.disarm()  # type: ignore[union-attr]
        if self._scaler is not None:
            self._scaler.stop()
        try:
            self._flush()
        except RuntimeError as problem:  # an accelerator that failed gives nothing back
            self.note(f"what was on its way from the accelerator is lost: {problem}".splitlines()[0])
        self._watches.clear()
        if self._writer is not None:
            if self.step == self._first and (found := unstepped(self._before_any, self.step)):
                self.note(found)
            self._before_any.clear()
            self._writer.close(state, error)

    @property
    def path(self) -> Path | None:
        """The run's folder; None in a process that does not write."""
        return None if self._writer is None else self._writer.path

    @property
    def name(self) -> str | None:
        """The run's name: the given one, with a number where it was taken."""
        return None if self._writer is None else self._writer.name

    @property
    def lost(self) -> int:
        """Records that could not be written."""
        return 0 if self._writer is None else self._writer.lost

    def read(self) -> Run:
        """The same run for reading. Raises InputError in a process that does not write."""
        if self.path is None:
            raise InputError("this process writes no run", expected="rank 0, or ranks='all'")
        return Run(self.path)

    # ------------------------------------------------------------------ logging

    @checked
    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **named: Any) -> None:
        """Write values at the current step: numbers, or tensors of one entry (from an accelerator without waiting).

        Raises:
            InputError: a value has no name, or is no single number, or the step no whole one.
        """
        given = flattened(mapping(values) | named)
        if self._writer is None or not given:
            return
        at, time = self.step if step is None else whole_step(step), clock.time()
        tensors = {n: single(n, v) for n, v in given.items() if isinstance(v, torch.Tensor)}
        numbers = {n: v if n in tensors else number(n, v) for n, v in given.items()}
        writer = self._writer
        if step is None and at == self._first:
            self._before_any.update(numbers.keys())

        def write(found: dict[str, Array]) -> None:
            writer.scalars(at, {n: float(found[n]) if n in found else v for n, v in numbers.items()}, time)

        self._put(Later(tensors, write))

    def _put(self, later: Later) -> None:
        """Do it now where nothing is waited for, else a step later, in order."""
        if later.waits or self._later:
            self._later.append(later)
        else:
            later.finish()

    def _flush(self) -> None:
        for _ in range(len(self._later)):
            self._later.popleft().finish()

    def before_clipping(self) -> None:
        """Read the gradients now, before they are clipped, instead of as the optimizer uses them.

        Call it after the last ``backward()`` (and after ``scaler.unscale_``) of every step; the norm after clipping is
        recorded beside it, as ``norm/gradient_clipped``. Of several optimizers, one whose gradients were made anew
        since is recorded as it uses them.
        """
        for watch in self._watches.values():
            watch.fresh()
            watch.gradients(self.settings.due(self.settings.exact_every, self.step + 1 - self._first))
        if not self._early:
            self.gradients_are(BEFORE_CLIPPING)
        self._early = True

    def gradients_are(self, words: str) -> None:
        """Write down how the gradients of this run are to be understood."""
        self._inform({"gradient": words})

    def note(self, text: str) -> None:
        """Write down something that a reader of this run has to know."""
        self._inform({"notes": [*self._facts.get("notes", []), text]})

    def _inform(self, facts: dict[str, Any]) -> None:
        if self._writer is not None:
            self._facts |= facts
            self._writer.info(recorder=self._facts)

    # ------------------------------------------------------------------ hooks

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        with torch.no_grad():
            watch = self._watches[id(optimizer)]
            number = watch.steps + 1
            closure = next((a for a in args if a is not optimizer), kwargs.get("closure"))
            if self._writer is not None:
                self._beside.before_step(optimizer, watch.watched.parameters, closure is not None)
            if not self.settings.due(self.settings.every, number):
                return
            watch.fresh(all_of_them=self.settings.every > 1)
            anew = len(self._optimizers) > 1 and watch.gradients_are_new()
            if closure is None and (anew or not self._early):
                watch.gradients(self.settings.due(self.settings.exact_every, number))

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        with torch.no_grad():
            self.stepped(optimizer)

    def stepped(self, optimizer: Any) -> None:
        """An optimizer has made a step (called by hooks, and by integrations whose optimizers have none)."""
        watch = self._watches[id(optimizer)]
        watch.steps += 1
        self.step = max(self.step, self._first + watch.steps)
        self._flush()
        exact = self.settings.due(self.settings.exact_every, watch.steps)
        extra = rates(self._optimizers, optimizer) | self._timing(optimizer) | left_out(optimizer)
        measured = None
        if self.settings.due(self.settings.every, watch.steps):
            if watch.unread:
                watch.gradients(exact)
            elif self._early:
                extra |= own_names(self._optimizers, optimizer, {"norm/gradient_clipped": watch.total_gradient()})
            measured = watch.changes(exact)
        activations, taken = self._activations_found() if optimizer is self._optimizers[0] else None, None
        if self._writer is not None:
            taken = self._beside.after_step(optimizer, watch.watched.parameters, watch.steps, self._scale)
        self._write(optimizer, measured, extra, activations, taken)
        self._arm()
        self._beside.arm(watch.steps + 1)

    @property
    def _scale(self) -> float:
        return 1.0 if self._scaler is None else self._scaler.scale

    def _write(
        self,
        optimizer: Any,
        measured: Measured | None,
        extra: dict[str, Any],
        activations: tuple[list[str], torch.Tensor] | None,
        taken: Taken | None = None,
    ) -> None:
        if self._writer is None:
            return
        extra |= taken.values if taken else {}
        step, time, writer, rows = self.step, clock.time(), self._writer, self._rows
        tensors = {n: v for n, v in extra.items() if isinstance(v, torch.Tensor)}
        if measured is not None:
            tensors |= {"norms": measured.norms, "entries": measured.entries}
            tensors |= {f"exact/{q}": t for q, t in measured.exact.items()}
        if activations is not None:
            tensors["activations"] = activations[1]
        tensors |= taken.tensors if taken else {}

        def write(found: dict[str, Array]) -> None:
            scalars = {n: float(found[n]) if n in found else v for n, v in extra.items()}
            if not scalars.get("amp/skipped", 1.0):
                del scalars["amp/skipped"]
            totals: dict[str, float] = {}
            with writer.together():
                if measured is not None:
                    totals = rows.parameters(step, time, measured, found)
                if activations is not None:
                    rows.activations(step, time, activations[0], found["activations"])
                for finish in taken.finish if taken else ():
                    totals |= rows.beside(step, time, measured, *finish(found, measured))
                scalars |= own_names(self._optimizers, optimizer, totals)
                writer.scalars(step, scalars, time)

        self._put(Later(tensors, write))

    def _skipped(self, optimizer: Any, scale: float) -> None:
        """The scaler left out a step because a gradient was not finite: the gradients are recorded all the same."""
        watch = self._watches.get(id(optimizer))
        if watch is None:
            return
        with torch.no_grad():
            self._beside.skipped()
            watch.fresh()
            watch.gradients(exact=False)
            self._write(optimizer, watch.changes(exact=False), {"amp/scale": scale, "amp/skipped": 1.0}, None)

    # ------------------------------------------------------------------ what goes along

    def _timing(self, optimizer: Any) -> dict[str, Any]:
        if optimizer is not self._optimizers[0]:
            return {}
        found: dict[str, Any] = {}
        seconds = self._pace.step()
        if seconds:
            found["time/step"] = seconds
            if self._samples_per_step:
                found["throughput/samples_per_second"] = self._samples_per_step / seconds
        if self._scaler is not None:
            found["amp/scale"] = self._scaler.scale
        if self.settings.due(self.settings.memory_every, self.step - self._first):
            found |= memory()
        return found

    # ------------------------------------------------------------------ activations

    def _arm(self) -> None:
        """Hooks for the next forward, where activations are due at the next step."""
        watch = self._activations
        if watch is None:
            return
        due = self.settings.due(self.settings.activations_every, self.step + 1 - self._first)
        if due and not watch.armed:
            watch.arm()

    def _activations_found(self) -> tuple[list[str], torch.Tensor] | None:
        watch = self._activations
        if watch is None or not watch.armed:
            return None
        watch.disarm()
        names, table = watch.table()
        if not names:
            return None
        if not getattr(self, "_ordered", False) and self._writer is not None:
            self._ordered = True
            order, layers = graph_order(self._network, watch.order)
            self._inform({"order": order, "layers": layers})
        return names, table


def _steps_so_far(writer: RunWriter) -> int:
    return Run(writer.path).last_step or 0
