"""Several attributions of the same inputs at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, OptionError
from fluoroscope.methods.base import Method
from fluoroscope.methods.planning import Together, plan
from fluoroscope.methods.progress import Progress, listening, progress
from fluoroscope.methods.registry import find_method, giving
from fluoroscope.methods.sharing import SharingMethod
from fluoroscope.model.inputs import Inputs, prepare_inputs
from fluoroscope.model.subject import Subject, as_subject
from fluoroscope.model.targets import TargetLike
from fluoroscope.results import Attribution
from fluoroscope.results.result import Result, html_page

__all__ = ["Explanations", "MethodLike", "as_method", "explain", "unique_names"]

MethodLike = str | type[Method] | Method
"""A method by name (``"grad-cam"``, ``"GradCAM"``), by class, or with its options set."""


class Explanations(Mapping[str, Attribution]):
    """Attributions by name of method, in the order asked for; ``errors`` has those that could not be made.

    ``forwards`` and ``backwards`` count the examples that went through the network for all of them together.
    """

    def __init__(
        self,
        found: Mapping[str, Attribution],
        errors: Mapping[str, FluoroscopeError],
        *,
        forwards: float = 0,
        backwards: float = 0,
    ) -> None:
        self._found = dict(found)
        self.errors = dict(errors)
        self.forwards, self.backwards = forwards, backwards

    def __getitem__(self, name: str) -> Attribution:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        failed = f", failed: {', '.join(self.errors)}" if self.errors else ""
        return f"Explanations({', '.join(self._found)}{failed})"

    def plot(self, **options: Any) -> dict[str, Any]:
        """A figure for each method, by name; each has its own scale, because methods differ in unit."""
        return {name: result.plot(**options) for name, result in self._found.items()}

    def to_html(self, path: str | Path | None = None) -> str:
        """A self-contained page with all methods side by side; also written to ``path`` where one is given."""
        return html_page(list(self._found.values()), "Attribution", path)

    def save(self, folder: str | Path) -> list[Path]:
        """Write one ``.fluo`` file per method into ``folder``; returns their paths. Raises ResultFileError."""
        return [result.save(Path(folder) / f"{name.replace(' ', '-')}.fluo") for name, result in self._found.items()]


@checked
def explain(
    model: nn.Module | Subject,
    inputs: Any,
    methods: MethodLike | Iterable[MethodLike] = ("grad-cam", "saliency"),
    target: TargetLike = "predicted",
    *,
    targets: TargetLike = None,
) -> Explanations:
    """Run several methods of attribution on the same inputs, which are prepared once.

    Methods that read a layer share one forward for all their layers, and one backward for each target: six class
    activation maps cost hardly more than one. Their results are what each would give alone; ``meta["shared_with"]``
    names the others, ``forwards`` and ``backwards`` of the explanations count what was really spent.

    A method that fails with a FluoroscopeError does not stop the others; its error is kept in ``errors``. Two of the
    same method (with different options) are told apart by a number: ``"grad-cam"`` and ``"grad-cam 2"``. ``targets`` is
    another name for ``target``.

    Raises:
        OptionError: no method of that name, or one that gives no attribution.
        InputError: the inputs can't be read or do not fit the network.
        FluoroscopeError: every method failed; it is the first one's error.
    """
    asked = unique_names([as_method(item, Attribution) for item in _listed(methods)])
    if not asked:
        raise OptionError("no method named", got="none", expected="names such as 'grad-cam'")
    subject = as_subject(model)
    data = prepare_inputs(inputs, subject)
    run = _Run(subject, data, target if targets is None else targets)
    with progress("Explain", data.count * len(asked)) as bar:
        for group in plan(asked):
            run.group(group, bar)
    if not run.found:
        raise next(run.errors[name] for name in asked if name in run.errors)
    order = [name for name in asked if name in run.found]
    return Explanations(
        {name: run.found[name] for name in order}, run.errors, forwards=run.forwards, backwards=run.backwards
    )


class _Run:
    """What has been found so far, and at what cost."""

    def __init__(self, subject: Subject, data: Inputs, target: TargetLike) -> None:
        self.subject, self.data, self.target = subject, data, target
        self.found: dict[str, Attribution] = {}
        self.errors: dict[str, FluoroscopeError] = {}
        self.forwards, self.backwards = 0.0, 0.0

    def group(self, methods: dict[str, Method], bar: Progress) -> None:
        """Methods that can share, on one tape; each by itself where there is one only, or where the tape fails."""
        sharing = {n: m for n, m in methods.items() if isinstance(m, SharingMethod)}
        if len(sharing) < 2 or not self._together(sharing, bar):
            for name, method in methods.items():
                self._alone(name, method)
                bar.advance(self.data.count)

    def _together(self, methods: dict[str, SharingMethod], bar: Progress) -> bool:
        together = Together(methods)
        try:
            together.run(self.subject, self.data, self.target, bar)
        except FluoroscopeError:
            return False  # one layer may have spoiled it for all; alone, each method tells its own error
        self.found.update(together.found)
        self.errors.update(together.errors)
        self.forwards += together.forwards
        self.backwards += together.backwards
        return True

    def _alone(self, name: str, method: Method) -> None:
        try:
            with listening(_silent):
                result = method(self.subject, self.data, target=self.target)
        except FluoroscopeError as error:
            self.errors[name] = error
            return
        self.found[name] = result
        self.forwards += result.meta.get("forwards", 0)
        self.backwards += result.meta.get("backwards", 0)


def _silent(title: str, done: float, total: float) -> None:
    """One bar for all methods: a method's own is not shown."""


def as_method(item: Any, returns: type[Result] = Result) -> Method:
    """A method with its options, from a name, a class, or itself, which gives a result of the kind ``returns``. Raises
    OptionError.
    """
    if isinstance(item, Method):
        giving(returns, type(item))
        return item
    if isinstance(item, str):
        return find_method(item, returns)()
    if isinstance(item, type) and issubclass(item, Method):
        return giving(returns, item)()
    raise OptionError(
        "not a method", got=item, expected="a name such as 'grad-cam', a class such as GradCAM, or GradCAM(...)"
    )


def unique_names(methods: Iterable[Method]) -> dict[str, Method]:
    """Methods by name; the second of one name is ``"name 2"``."""
    named: dict[str, Method] = {}
    for method in methods:
        name, number = method.name, 2
        while name in named:
            name, number = f"{method.name} {number}", number + 1
        named[name] = method
    return named


def _listed(methods: Any) -> list[Any]:
    if isinstance(methods, (str, type, Method)):
        return [methods]
    if not isinstance(methods, Iterable):
        raise OptionError(
            "methods are named", got=repr(methods), expected="names such as 'grad-cam', or a list of them"
        )
    return list(methods)
