"""Shared: a program under many masks of one picture, early layers computed once for each distinct content.

A position of an early map depends on few features, and many masks agree on them: of a 7 x 7 grid, a position after the
first block of a ResNet-18 sees four cells at most, so that there are sixteen contents, however many masks. Up to a cut
only the distinct contents are computed (:mod:`rows`), the maps of each mask are gathered from them, and the rest of
the program runs on whole maps. Nothing is approximated: the values are those of whole forwards up to rounding. The cut
is where the whole costs least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from fluoroscope.model.program.compiling import Program
from fluoroscope.model.program.fields import Fields, Window, carried, windows
from fluoroscope.model.program.rows import Contents, Rows, counted, sources
from fluoroscope.model.program.rowwise import computed
from fluoroscope.model.program.runner import Runner
from fluoroscope.model.program.steps import Step

__all__ = ["Cut", "Receptive", "Shared"]

MEMORY = 400e6
"""Bytes of rows that may be held at a time; a cut that needs more is not taken."""
GATHERED = 24.0
"""Cost of gathering one number, in floating-point operations."""
LOOKED_UP = 1500.0
"""Cost of finding the row that one tap of a window reads."""
HOPELESS = 0.8
"""Share of distinct contents from which on later steps are not looked at: it only grows."""


class Receptive:
    """The fields of a program's local steps for ``count`` features, ``labels`` (H, W) of a picture, computed as far as
    they are asked for.
    """

    def __init__(self, labels: npt.NDArray[np.int64], count: int) -> None:
        self._found = {0: Fields.of_input(labels, count)}

    def of(self, step: Step, read: list[Window]) -> Fields:
        """Those of a step's result; those of its inputs were asked for before."""
        if step.out not in self._found:
            self._found[step.out] = carried(step, [self._found[i] for i in step.inputs], read)
        return self._found[step.out]

    @property
    def input(self) -> Fields:
        """Those of the input."""
        return self._found[0]


@dataclass(frozen=True)
class Cut:
    """The first ``steps`` local steps are computed on rows; ``share`` of the whole forwards' cost is left."""

    steps: int
    share: float


class Shared:
    """The program's outputs for masks (n, features) of one picture with ``channels``; ``cut`` says what is saved (no
    steps: nothing). ``itemsize`` is the bytes for each number that the program works on.
    """

    def __init__(
        self, program: Program, receptive: Receptive, masks: npt.NDArray[np.generic], channels: int, itemsize: int
    ) -> None:
        self.program, self.receptive, self.itemsize = program, receptive, itemsize
        self.channels = {0: channels} | {s.out: s.size[0] for s in program.local}
        self.contents = Contents(masks)
        self.cut = self._cut()

    def _cut(self) -> Cut:
        """The cheapest of all cuts."""
        n, rest = self.contents.count, self.program.cost * self.contents.count
        best, spent, held = Cut(0, 1.0), 0.0, {0: counted(self.receptive.input, self.contents)}
        for number, step in enumerate(self.program.local, start=1):
            read = windows(step)
            if read is None:
                break
            count = held[step.out] = counted(self.receptive.of(step, read), self.contents)
            spent, rest = spent + count * (step.cost + self._gathering(step, read)), rest - n * step.whole_cost
            crossing = self._crossing(number)
            if sum(held[i] * self.channels[i] for i in {*crossing, *step.inputs, step.out}) * self.itemsize > MEMORY:
                break
            maps = [s for s in self.program.local[:number] if s.out in crossing]
            whole = sum(s.size[1] * s.size[2] * (LOOKED_UP + GATHERED * s.size[0]) for s in maps)
            share = (spent + rest + n * whole) / (self.program.cost * n)
            if share < best.share and 0 not in crossing:
                best = Cut(number, share)
            if count > HOPELESS * n * step.size[1] * step.size[2]:
                break
        return best

    def _gathering(self, step: Step, read: list[Window]) -> float:
        """Cost of gathering what one row is computed from."""
        taps = [down.kernel * along.kernel for down, along in read]
        return sum(t * (LOOKED_UP + GATHERED * self.channels[i]) for t, i in zip(taps, step.inputs, strict=True))

    def _crossing(self, steps: int) -> list[int]:
        """Values of the first steps that later ones, the tail or the user read."""
        before = {0} | {s.out for s in self.program.local[:steps]}
        read = {i for s in self.program.local[steps:] for i in s.inputs} | set(self.program.crossing)
        return sorted(before & read)

    @torch.no_grad()
    def prepared(self, contents_of: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], torch.Tensor]) -> Prepared:
        """Everything up to the cut. ``contents_of(positions, masks)`` gives the input's rows (R, C): the content of
        position ``positions[r]`` under mask ``masks[r]``.
        """
        steps = self.cut.steps
        local = self.program.local[:steps]
        rows = {0: Rows.of(self.receptive.input, self.contents)}
        first = contents_of(*rows[0].owners)
        tables = {0: torch.cat([first, torch.zeros_like(first[:1])])}
        crossing = self._crossing(steps)
        last = {i: s.out for s in local for i in s.inputs}
        for step in local:
            read = windows(step) or []
            rows[step.out] = Rows.of(self.receptive.of(step, read), self.contents)
            places = [sources(rows[step.out], rows[i], w) for i, w in zip(step.inputs, read, strict=True)]
            tables[step.out] = computed(step, read, [tables[i] for i in step.inputs], places)
            for index in set(step.inputs):
                if last[index] == step.out and index not in crossing:
                    del tables[index], rows[index]
        rest = replace(self.program, local=self.program.local[steps:])
        return Prepared(Runner(rest, self.itemsize), {i: (rows[i], tables[i]) for i in crossing})


class Prepared:
    """The rest of a program, from gathered maps on."""

    def __init__(self, runner: Runner, values: dict[int, tuple[Rows, torch.Tensor]]) -> None:
        self.runner, self.values = runner, values

    def outputs(self, first: int, last: int) -> list[torch.Tensor]:
        """The program's outputs for the masks ``first`` to ``last``."""
        return self.runner.run(last - first, lambda a, b: self._maps(first + a, first + b))

    def _maps(self, first: int, last: int) -> dict[int, torch.Tensor]:
        return {i: self._map(rows, table, first, last) for i, (rows, table) in self.values.items()}

    @staticmethod
    def _map(rows: Rows, table: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """The maps (B, C, H, W) of some masks, channels last in memory."""
        index = torch.from_numpy(np.ascontiguousarray(rows.of_masks(first, last)).reshape(-1))
        taken = table.index_select(0, index).view(last - first, *rows.size, table.shape[1])
        return taken.permute(0, 3, 1, 2)
