"""Folding: where the children of a module repeat, as single steps or in groups, one of them stands for all.

Two stretches are the same when their steps have the same structure (operations, shapes, options, wiring inside), take
what they take from the same places (inside the stretch, the stretch before, or outside), and are of modules that are
all different or all the same one. So unfolding gives back exactly what was traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fluoroscope.model.graph.steps import ENTRY, Step

__all__ = ["LONGEST_PERIOD", "Run", "runs"]

LONGEST_PERIOD = 256
LEAST_OPERATIONS = 8
LEAST_GROUPS = 3
LEAST_BESIDE = 4
"""How often something has to repeat to be worth a fold; three layers side by side are often queries, keys, values."""

FOLDING = ("module", "operation", "function")

Repeat = Literal["", "repetition", "parallel", "recurrence"]


@dataclass(frozen=True)
class Run:
    """``times`` stretches of ``period`` children from place ``start`` on; a single child has times 1."""

    start: int
    period: int
    times: int
    repeat: Repeat = ""

    @property
    def stop(self) -> int:
        """The place after the last one."""
        return self.start + self.period * self.times


def runs(children: Sequence[Step], fold: bool = True) -> list[Run]:
    """The children in order, each in exactly one run."""
    found: list[Run] = []
    kinds = [c.structure if c.role in FOLDING else -1 - i for i, c in enumerate(children)]
    after = _next_alike(kinds)
    start = 0
    while start < len(children):
        run = _best(children, kinds, after, start) if fold else None
        found.append(run or Run(start, 1, 1))
        start = found[-1].stop
    return found


def _next_alike(kinds: Sequence[int]) -> list[list[int]]:
    """For each place, the distances to the next few places of the same kind."""
    seen: dict[int, list[int]] = {}
    distances: list[list[int]] = [[] for _ in kinds]
    for place in range(len(kinds) - 1, -1, -1):
        later = seen.setdefault(kinds[place], [])
        distances[place] = [p - place for p in reversed(later[-8:]) if p - place <= LONGEST_PERIOD]
        later.append(place)
    return distances


def _best(children: Sequence[Step], kinds: Sequence[int], after: Sequence[Sequence[int]], start: int) -> Run | None:
    """The run from ``start`` on that covers most, the shortest period of those."""
    best: Run | None = None
    for period in after[start]:
        times = _times(kinds, start, period)
        if times < 2 or (best is not None and best.period * best.times >= period * times):
            continue
        run = _checked(children, start, period, times)
        if run is not None and (best is None or run.stop > best.stop):
            best = run
    return best


def _times(kinds: Sequence[int], start: int, period: int) -> int:
    """How often the kinds of ``period`` places follow one another."""
    place = start + period
    while place < len(kinds) and kinds[place] == kinds[place - period]:
        place += 1
    return (place - start) // period


def _checked(children: Sequence[Step], start: int, period: int, times: int) -> Run | None:
    """The longest run with the same wiring and consistent modules; None where it is not worth a fold."""
    wiring = _wiring(children, start, period, 1)
    agreed = 2
    while agreed < times and _wiring(children, start, period, agreed) == wiring:
        agreed += 1
    if not _compatible(_wiring(children, start, period, 0), wiring):
        return None
    times = _same_owners(children, start, period, agreed)
    block = children[start : start + period]
    modules = [c for c in block if c.role == "module"]
    enough = 2 if any(len(c.children) > 1 for c in modules) else LEAST_GROUPS if modules else LEAST_OPERATIONS
    repeat = _repeat(children, start, period)
    if times < (max(enough, LEAST_BESIDE) if repeat == "parallel" else enough):
        return None
    return Run(start, period, times, repeat)


Wire = tuple[str, int, int]


def _wiring(children: Sequence[Step], start: int, period: int, number: int) -> list[list[Wire]]:
    """Where each step of stretch ``number`` takes its inputs from: within, from the stretch before, or outside."""
    first = start + period * number
    return [[_wire(ref, first, period, start) for ref in _refs(c)] for c in children[first : first + period]]


def _refs(step: Step) -> list[tuple[int, int]]:
    return step.entries if step.role == "module" else [ref for _, ref in step.inputs]


def _wire(ref: tuple[int, int], first: int, period: int, start: int) -> Wire:
    child, output = ref
    if child == ENTRY or child < start:
        return ("outside", 0, 0)
    if child >= first:
        return ("within", child - first, output)
    if child >= first - period:
        return ("before", child - (first - period), output)
    return ("earlier", (child - start) % period, output)


def _compatible(first: list[list[Wire]], second: list[list[Wire]]) -> bool:
    """The first stretch has no stretch before it: what others carry over, it takes from outside."""
    for a_step, b_step in zip(first, second, strict=True):
        if len(a_step) != len(b_step):
            return False
        for a, b in zip(a_step, b_step, strict=True):
            if b[0] == "earlier" or (a != b and not (a[0] == "outside" and b[0] == "before")):
                return False
    return True


def _same_owners(children: Sequence[Step], start: int, period: int, times: int) -> int:
    """How many stretches have, place by place, either all the same module or all different ones with own weights."""
    for offset in range(period):
        seen: set[int] = set()
        first = children[start + offset]
        for number in range(times):
            step = children[start + offset + number * period]
            same = step.owner is not None and step.owner is first.owner and number > 0
            if number == 1:
                repeated = same
            if number > 0 and same != repeated:
                times = number
                break
            if not same and step.owner is not None and id(step.owner) in seen:
                times = number
                break
            if not same and (step.parameters, step.shares) != (first.parameters, first.shares):
                times = number
                break
            seen.add(id(step.owner))
    return times


def _repeat(children: Sequence[Step], start: int, period: int) -> Repeat:
    """The same modules: recurrence. Else repetition where a module depends on the stretch before, and parallel."""
    block = range(start, start + period)
    modules = [i for i in block if children[i].role == "module"]
    owners = [(children[i].owner, children[i + period].owner) for i in modules]
    if modules and all(a is b and a is not None for a, b in owners):
        return "recurrence"
    carried: set[int] = set()
    for offset, wires in enumerate(_wiring(children, start, period, 1)):
        if any(w[0] == "before" or (w[0] == "within" and w[1] in carried) for w in wires):
            carried.add(offset)
    reached = {i - start for i in modules} & carried if modules else carried
    return "repetition" if reached else "parallel"
