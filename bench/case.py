"""What a benchmark is: a case measures and yields rows; a row has a number, perhaps a bar, and says whether it is
met.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

__all__ = ["Bar", "Case", "Row", "Setting", "Unmeasured", "case", "cases", "measured"]


@dataclass(frozen=True)
class Setting:
    """How to measure: where, with how many threads, and whether a rough answer is enough."""

    device: str = "cpu"
    threads: int = 2
    quick: bool = False

    @property
    def batches(self) -> tuple[int, ...]:
        """The sizes of batch that are measured."""
        return (1,) if self.quick else (1, 8)

    @property
    def rounds(self) -> int:
        """The fewest times that a pair is measured."""
        return 3 if self.quick else 9

    @property
    def tolerance(self) -> float:
        """Largest difference of values, as a share of the largest value; accelerators add up in changing order."""
        return 1e-5 if self.device == "cpu" else 1e-4


@dataclass(frozen=True)
class Bar:
    """What has to be reached: at most, or at least, ``limit``."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether ``value`` is on the right side."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One line of the table: ``value`` with the range ``low`` to ``high`` in ``unit``, and the bar it is held against.

    ``values`` marks the rows that compare what was computed, not how fast: where such a bar is missed, the run fails.
    """

    name: str
    value: float
    unit: str
    bar: Bar | None = None
    low: float | None = None
    high: float | None = None
    detail: str = ""
    values: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        return None if self.bar is None else self.bar.met(self.value)

    @property
    def uncertain(self) -> bool:
        """Whether the range lies on both sides of the bar."""
        if self.bar is None or self.low is None or self.high is None:
            return False
        return self.bar.met(self.low) != self.bar.met(self.high)


@dataclass(frozen=True)
class Unmeasured:
    """A line that could not be measured here, and why."""

    name: str
    reason: str


Measure = Callable[[Setting], Iterator[Row | Unmeasured]]


@dataclass(frozen=True)
class Case:
    """One topic: its name on the command line, its heading, what is compared and how, and the function that
    measures.
    """

    name: str
    title: str
    measure: Measure
    text: str = ""
    on_accelerator: bool = True


@dataclass
class _Registry:
    cases: dict[str, Case] = field(default_factory=dict)


_REGISTRY = _Registry()


def case(name: str, title: str, *, on_accelerator: bool = True) -> Callable[[Measure], Measure]:
    """Decorator: enter a function ``(setting) -> rows``; its docstring says in the document what is compared and
    how.
    """

    def enter(measure: Measure) -> Measure:
        text = " ".join((measure.__doc__ or "").split())
        _REGISTRY.cases[name] = Case(name, title, measure, text, on_accelerator)
        return measure

    return enter


def cases() -> dict[str, Case]:
    """All cases by name: every module in ``bench.cases`` is loaded and enters its own."""
    import bench.cases as package

    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    return dict(sorted(_REGISTRY.cases.items()))


def measured(name: str, setting: Setting) -> list[Row | Unmeasured]:
    """The rows of the case ``name``, measured in a process of its own: what other cases left behind (threads, memory
    cut in pieces, hooks of a peer) slows neither side.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        return alone.submit(_measure, name, setting).result()


def _measure(name: str, setting: Setting) -> list[Row | Unmeasured]:
    import torch

    torch.set_num_threads(setting.threads)
    return list(cases()[name].measure(setting))
