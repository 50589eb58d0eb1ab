"""The report: everything that applies to a network and some inputs, on one page, in the order of the life cycle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fluoroscope
from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, LayerError, NotApplicable, OptionError, nearest
from fluoroscope.methods.base import PHASES, Method, Phase
from fluoroscope.methods.explain import MethodLike, as_method, unique_names
from fluoroscope.methods.progress import progress
from fluoroscope.methods.registry import report_methods
from fluoroscope.model.images import read_images, to_batch
from fluoroscope.model.inputs import Inputs, check_texts, prepare_inputs
from fluoroscope.model.subject import Subject, as_subject, fingerprint
from fluoroscope.model.targets import TargetLike
from fluoroscope.model.texts import are_texts
from fluoroscope.render.page import PanelError, Section, page, page_name, write_page
from fluoroscope.render.template import template
from fluoroscope.results import Result

__all__ = ["Report", "assemble", "first_inputs", "report"]

LIMIT = 8
WORDS: dict[Phase, tuple[str, str]] = {
    "before": (
        "Before training",
        "How the network is built and the numbers it holds, without any data: each layer with its output shape, its "
        "parameters and its cost, and each weight tensor as it is now. It does not say what the network does with "
        "data: an orderly weight is not thereby an important one.",
    ),
    "during": (
        "During training",
        "What was recorded while the network was trained, step by step. A falling training loss shows that the network "
        "fits its training data; it does not show that it has learned what was meant.",
    ),
    "after": (
        "After training",
        "What the network does with these inputs on the way to its answer. A bright cell says where a channel reacts. "
        "It does not say why, nor that the answer depends on it.",
    ),
    "inference": (
        "At inference",
        "One input through everything: which parts of it the score of the target rests on, by each method that "
        "applies. Methods measure different things and may disagree. A map is about this network's score, not about "
        "causes in the world, and one that looks plausible is no proof of a right reason.",
    ),
}
"""Title and lead of each phase: what it shows, and what it does not claim."""


@checked
def report(
    model: nn.Module | Subject,
    inputs: Any = None,
    out: str | Path = "report.html",
    *,
    target: TargetLike = "predicted",
    methods: Iterable[MethodLike] | None = None,
    extra: Mapping[Phase, Sequence[Result]] | None = None,
    title: str | None = None,
    limit: int = LIMIT,
    loss: Any = None,
) -> Path:
    """Write one self-contained page with everything that applies to ``model`` and ``inputs``; returns its path.

    ``methods`` (names, classes, or with options set) are the usual ones where none are named; those that need
    inputs or a loss are left out where there is none. Each shows at most ``limit`` inputs. ``extra`` adds results to a
    phase: ``{"during": [history]}``. A method that fails has its error on the page and does not stop the others; one of
    the usual methods that does not apply (Grad-CAM for rows of a table) is left out, and the head of the page says why.
    The file is written whole or not at all.

    Raises:
        InputError: the inputs can't be read or do not fit the network.
        OptionError: no method or no phase of that name, or a limit below 1.
        ResultFileError: the page can't be written.
    """
    template()  # where the page was never built, say so before anything is computed
    page_name(out)
    made = assemble(model, inputs, target=target, methods=methods, extra=extra, title=title, limit=limit, loss=loss)
    return made.write(out)


@dataclass(frozen=True)
class Report:
    """A page before it is written.

    ``errors`` has what failed by title of method, ``left_out`` why others do not apply, ``notes`` what was assumed
    about the inputs.
    """

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    errors: dict[str, Exception] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def html(self) -> str:
        """The whole page."""
        return page(title=self.title, subtitle=self.subtitle, facts=self.facts, sections=self.sections)

    def write(self, out: str | Path) -> Path:
        """Write the page to ``out``, into a folder as ``report.html``; returns the path. Raises ResultFileError."""
        path = Path(out)
        return write_page(self.html, path / "report.html" if path.is_dir() else path)


def assemble(
    model: nn.Module | Subject,
    inputs: Any = None,
    *,
    target: TargetLike = "predicted",
    methods: Iterable[MethodLike] | None = None,
    extra: Mapping[Phase, Sequence[Result]] | None = None,
    title: str | None = None,
    limit: int = LIMIT,
    loss: Any = None,
    named: bool | None = None,
) -> Report:
    """What :func:`report` writes, before it is written. Raises the same, but for ResultFileError.

    ``named`` says whether a person asked for just these methods (None: where ``methods`` are given). One that was not
    asked for and turns out not to apply is left out, as one whose :meth:`~Method.check` says so beforehand.
    """
    given = _checked_extra(extra or {})
    chosen = [cls() for cls in report_methods()] if methods is None else [as_method(m) for m in methods]
    subject = as_subject(model)
    data, note = (None, None) if inputs is None else first_inputs(inputs, subject, limit)
    job = _Job(subject, data, target, loss, note, methods is not None if named is None else named)
    with progress("Report", len(chosen)) as bar:
        for name, method in unique_names(chosen).items():
            job.run(name, method)
            bar.advance()
    sections = [Section(phase, *WORDS[phase], [*job.found[phase], *given.get(phase, ())]) for phase in PHASES]
    name = title or subject.title
    return Report(
        title=name,
        subtitle="The inside of a network, in the order of its life.",
        facts=tuple(_facts(job, name)),
        sections=tuple(s for s in sections if s.results),
        errors=job.errors,
        left_out=job.left_out,
        notes=(*(data.notes if data else ()), *([note] if note else [])),
    )


@dataclass
class _Job:
    """One report being made."""

    subject: Subject
    data: Inputs | None
    target: TargetLike
    loss: Any
    note: str | None
    named: bool
    found: dict[Phase, list[Result | PanelError]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    errors: dict[str, Exception] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, method: Method) -> None:
        """Add the method's result, its error, or why it was left out."""
        title = method.title + name.removeprefix(method.name)
        reason = self._reason(method)
        if reason is not None:
            self.left_out[title] = reason
            return
        try:
            shown: Result | PanelError = self._result(method)
        except (LayerError, NotApplicable) as error:
            if not self.named and getattr(method, "layer", None) is None:
                self.left_out[title] = error.what
                return
            shown = self._failed(title, error)
        except Exception as error:  # noqa: BLE001 (one method's failure must not cost the page; it is shown in its place)
            shown = self._failed(title, error)
        self.found[method.phase].append(shown)

    def _failed(self, title: str, error: Exception) -> PanelError:
        self.errors[title] = error
        return PanelError(
            title, str(error) if isinstance(error, FluoroscopeError) else f"{type(error).__name__}: {error}"
        )

    def _reason(self, method: Method) -> str | None:
        if "inputs" in method.needs and self.data is None:
            return "it needs inputs, and none were given"
        if "loss" in method.needs and self.loss is None:
            return "it needs a loss, and none was given"
        return method.check(self.subject)

    def _result(self, method: Method) -> Result:
        result: Result = method(self.subject, self.data, self.loss, target=self.target)
        if self.note and "inputs" in method.needs:
            result = result.with_meta(notes=[*result.notes, self.note])
        return result


def _first(limit: int) -> str:
    return "the first input is" if limit == 1 else f"the first {limit} inputs are"


def first_inputs(inputs: Any, subject: Subject, limit: int) -> tuple[Inputs, str | None]:
    """At most ``limit`` of the inputs, ready for a method, and a note where there are more.

    Of files no more than needed are read, each of them once.

    Raises:
        InputError: the inputs can't be read or do not fit the network.
        OptionError: the limit is below 1.
    """
    given: Any = limit
    if not isinstance(given, int) or given < 1:
        raise OptionError("limit must be at least 1", got=given, expected="a whole number")
    check_texts(inputs, subject)
    texts = subject.tokenizer is not None and are_texts(inputs)
    if texts and not isinstance(inputs, str):
        inputs = inputs[: limit + 1]
    paths = inputs if isinstance(inputs, list) else [inputs]
    if not texts and paths and all(isinstance(p, (str, Path)) for p in paths):
        files = read_images(paths, limit + 1)
        data = prepare_inputs(to_batch(files, subject.preprocess), subject)
        data = dataclasses.replace(data, names=files.names, notes=files.notes)
    else:
        data = prepare_inputs(inputs, subject)
    if data.count <= limit:
        return data, None
    return data.part(0, limit), f"only {_first(limit)} shown; a higher limit shows more"


def _checked_extra(extra: Mapping[Phase, Sequence[Result]]) -> Mapping[Phase, Sequence[Result]]:
    for phase in extra:
        if phase not in PHASES:
            raise OptionError(
                "no such phase of the life cycle",
                got=phase,
                expected=", ".join(PHASES),
                nearest=nearest(str(phase), PHASES),
            )
    given: list[Any] = [result for results in extra.values() for result in results]
    wrong = next((result for result in given if not isinstance(result, Result)), None)
    if wrong is not None:
        raise OptionError("extra adds results to a phase", got=type(wrong).__name__, expected='{"during": [history]}')
    return extra


def _facts(job: _Job, title: str) -> Iterator[tuple[str, str]]:
    """The head of the page: what was looked at, with what, and when."""
    subject, module = job.subject, job.subject.module
    if title != subject.title:
        yield "Network", subject.title
    yield "Class", type(module).__name__
    if not any(nn.parameter.is_lazy(p) for p in module.parameters()):
        yield "Parameters", f"{sum(p.numel() for p in module.parameters()):,}"
        yield "Fingerprint", fingerprint(module)
    yield "Device and dtype", f"{subject.device}, {str(subject.dtype).removeprefix('torch.')}"
    yield "Inputs", _inputs_fact(job)
    if job.data is not None:
        yield "Target", job.target if isinstance(job.target, str) else _brief(job.target)
    yield "Made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "Version", f"fluoroscope {fluoroscope.__version__}, torch {torch.__version__}"
    if job.left_out:
        yield "Left out", "; ".join(f"{name}: {reason}" for name, reason in job.left_out.items())


def _inputs_fact(job: _Job) -> str:
    if job.data is None:
        return "none were given"
    shape = " x ".join(map(str, job.data.main.shape[1:]))
    count = f"the first {job.data.count} of more" if job.note else str(job.data.count)
    return f"{count}, each {shape}" if shape else count


def _brief(target: TargetLike) -> str:
    text = getattr(target, "__qualname__", None) or " ".join(str(target).split())
    return text if len(text) <= 80 else text[:79] + "…"
