"""The contract: what a method is, says of itself, and gets done for it.

A method is a frozen, keyword-only dataclass. Its fields are its options, and say by :func:`option` what they mean;
flags, forms and reference tables are made from them. Its class variables say the rest: the result it returns, what it
needs, how the results of batches join. Subclasses write :meth:`Method.compute` and, where it can fail to apply,
:meth:`Method.check`.
"""

from __future__ import annotations

import dataclasses
import functools
import platform
import time
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal, Self, dataclass_transform

import numpy as np
import torch
from torch import nn

from fluoroscope.arguments import checked
from fluoroscope.errors import NotApplicable, OptionError
from fluoroscope.methods.progress import Progress, progress
from fluoroscope.model.inputs import Inputs, prepare_inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject, as_subject
from fluoroscope.model.targets import Target, TargetLike
from fluoroscope.options import check_options, option, plain
from fluoroscope.results import Result, joined

__all__ = ["Batch", "Method", "Need", "Phase", "method", "option", "versions"]

Need = Literal["inputs", "target", "loss"]
Phase = Literal["before", "during", "after", "inference"]
PHASES: tuple[Phase, ...] = ("before", "during", "after", "inference")
DEFAULT_BATCH = 16


@dataclass(frozen=True)
class Batch:
    """What :meth:`Method.compute` gets: inputs, the targets of these examples, the loss, and where they are in the
    whole.
    """

    inputs: Inputs
    target: Target
    loss: Any = None
    start: int = 0


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all methods. Call one with a network (and what it needs); it returns a result and leaves the network as
    it was.

    Raises:
        NotApplicable: the method can't be right for this network; the message says why.
        OptionError: an option is outside what the method accepts.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    family: ClassVar[str] = ""
    phase: ClassVar[Phase] = "inference"
    returns: ClassVar[type[Result]] = Result
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs", "target"})
    joins: ClassVar[bool] = True
    in_report: ClassVar[bool] = False  # part of a report for which no methods were named
    source: ClassVar[str] = ""

    batch_size: int | None = option(None, "examples per batch; halves by itself when memory runs out", low=1)
    seed: int = option(0, "seed of everything random", low=0)

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        _check_calls(cls)

    def __post_init__(self) -> None:
        check_options(self)

    def check(self, subject: Subject) -> str | None:
        """Why the method does not apply to this network; None where it does."""
        return None

    def prepare(self, inputs: Any, subject: Subject) -> Inputs:
        """What the user gave as tensors; a method whose data are something else than a network's arguments overrides
        it.
        """
        return prepare_inputs(inputs, subject)

    def compute(self, study: Study, batch: Batch) -> Result:
        """The result for one batch (for all data at once where ``joins`` is false)."""
        raise NotImplementedError

    def finish(self, result: Any, study: Study) -> Any:
        """A last step after the results of all batches were joined."""
        return result

    @checked
    def __call__(
        self, model: nn.Module | Subject, inputs: Any = None, loss: Any = None, *, target: TargetLike = "predicted"
    ) -> Any:
        """Run on ``model``; which of ``inputs``, ``target`` and ``loss`` are needed, ``needs`` says."""
        subject = as_subject(model)
        self._check_needs(inputs, loss)
        reason = self.check(subject)
        if reason is not None:
            raise NotApplicable(f"{self.title} does not apply to this network: {reason}", got=subject.title)
        data = self.prepare(inputs, subject) if inputs is not None else None
        with Study(subject, seed=self.seed) as study, progress(self.title, data.count if data else 1) as bar:
            if data is not None:
                study.notes.extend(data.notes)
                data = study.placed(data)
            goal = Target(target, data.count if data else 1, subject.class_name, subject.classes)
            found = self._all(study, data, goal, loss, bar)
            result = self.finish(found, study)
        return result.with_meta(**provenance(self, study, result.meta))

    def _check_needs(self, inputs: Any, loss: Any) -> None:
        for need, value in (("inputs", inputs), ("loss", loss)):
            if need in self.needs and value is None:
                raise OptionError(
                    f"{self.title} needs {need}", got="none", remedy=f"call it with {need}: method(model, {need}, ...)"
                )

    def _all(self, study: Study, data: Inputs | None, goal: Target, loss: Any, bar: Progress) -> Any:
        if data is None or not self.joins:
            return self.compute(study, Batch(data if data is not None else NOTHING, goal, loss))
        size = self.batch_size or DEFAULT_BATCH
        parts, start = [], 0
        while start < data.count:
            stop = min(start + size, data.count)
            batch = Batch(data.part(start, stop), goal.part(start, stop), loss, start)
            try:
                parts.append(self.compute(study, batch))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size == 1:
                    raise
                size = max(1, (stop - start) // 2)
                study.note(f"memory ran out; batches were cut to {size}")
                continue
            bar.advance(stop - start)
            start = stop
        return joined(parts)

    @classmethod
    def options(cls) -> list[dataclasses.Field[Any]]:
        """The fields that are options, the method's own before the common ones."""
        common = {f.name for f in fields(Method)}
        return sorted(fields(cls), key=lambda f: f.name in common)

    def settings(self) -> dict[str, Any]:
        """The options and their values, as plain values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    def replace(self, **changes: Any) -> Self:
        """The same method with some options changed."""
        return dataclasses.replace(self, **changes)


NOTHING = Inputs((), {}, 0)


def _check_calls(cls: type[Any]) -> None:
    """Let a method's own way of being called tell which arguments it does not take."""
    if "__call__" in vars(cls):
        cls.__call__ = checked(cls.__call__)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def method(cls: type[Any]) -> Any:
    """Class decorator: a frozen keyword-only dataclass of options, entered into the registry under ``cls.name``."""
    from fluoroscope.methods.registry import register

    return register(checked(dataclass(frozen=True, kw_only=True)(cls)))


def provenance(method: Method, study: Study, given: dict[str, Any]) -> dict[str, Any]:
    """How a result came about, as plain values."""
    return {
        "method": method.name,
        "phase": method.phase,
        "options": method.settings(),
        "model": study.subject.title,
        "fingerprint": study.fingerprint,
        "device": str(study.subject.device),
        "dtype": str(study.subject.dtype).removeprefix("torch."),
        "seed": method.seed,
        "seconds": round(time.perf_counter() - study.started, 4),
        "forwards": study.forwards,
        "backwards": study.backwards,
        "versions": versions(),
        "source": method.source,
        **study.facts,
        **given,
        "notes": [*given.get("notes", ()), *study.notes],
    }


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "fluoroscope": _own_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@functools.cache
def _own_version() -> str:
    try:
        return version("fluoroscope")
    except PackageNotFoundError:
        return "unknown"
