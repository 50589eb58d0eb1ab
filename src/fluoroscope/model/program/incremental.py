"""Incremental inference: the network's answers to an input with one region changed, computing only what can change.

One forward of the unchanged input is recorded (:mod:`operations`) and understood (:mod:`compiling`). A change within a
window reaches a region of each map that is known exactly (:mod:`reach`); only that region is computed, its halo taken
from the unchanged maps (:mod:`patches`). Where an operation needs the whole map, the patch is put into the unchanged
one, and the rest of the network runs on whole maps. The answers are those of whole forwards, up to the order in which
numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from fluoroscope.model.program.compiling import Program
from fluoroscope.model.program.operations import Operations
from fluoroscope.model.program.patches import Clean, Padding, Place
from fluoroscope.model.program.plan import Plan
from fluoroscope.model.program.reach import Numbers

__all__ = ["Incremental", "PatchOf"]

PatchOf = Callable[[Numbers, Place], torch.Tensor]
"""(windows, place) -> the changed input (B, C, height, width) of these windows at that place."""


class Incremental:
    """Answers for windows ``boxes`` (n, 2, 2): [low, high) along height and width, outside of which nothing changes."""

    def __init__(self, program: Program, record: Operations, boxes: npt.NDArray[np.int64]) -> None:
        read = {i for step in program.local for i in step.inputs} | set(program.crossing)
        self.program = program
        self.values = {i: record.values[i].detach() for i in read}
        image = record.values[0]
        self.plan = Plan(program, (image.shape[1], image.shape[2], image.shape[3]), boxes, image.element_size())
        self._clean: dict[tuple[int, Padding, float], Clean] = {}
        self._last = {i: step.out for step in program.local for i in step.inputs}

    def clean(self, index: int, padding: Padding, fill: float) -> Clean:
        """The unchanged value, padded."""
        key = index, padding, fill
        if key not in self._clean:
            self._clean[key] = Clean(self.values[index], padding, fill)
        return self._clean[key]

    @torch.no_grad()
    def run(self, patch_of: PatchOf, windows: Numbers | None = None) -> list[torch.Tensor]:
        """The program's outputs, each (n, ...) in the order of ``windows`` (all of them by default)."""
        batches = self.plan.batches if windows is None else [windows[i : i + 1] for i in range(len(windows))]
        order, parts = [], []
        waiting: list[dict[int, torch.Tensor]] = []
        for number, batch in enumerate(batches):
            order.append(batch)
            waiting.append(self._heads(patch_of, batch))
            count = sum(len(next(iter(w.values()))) for w in waiting)
            following = len(batches[number + 1]) if number + 1 < len(batches) else self.plan.tail_rows
            if count + following > self.plan.tail_rows:
                parts.append(self._tail(waiting, count))
                waiting = []
        joined = [torch.cat(column) for column in zip(*parts, strict=True)]
        if windows is not None:
            return joined
        place = torch.from_numpy(np.argsort(np.concatenate(order), kind="stable")).to(joined[0].device)
        return [column[place] for column in joined]

    @torch.no_grad()
    def unchanged(self) -> list[torch.Tensor]:
        """The program's outputs (1, ...) for the unchanged input."""
        return self._tail([{i: self.values[i] for i in self.program.crossing}], 1)

    def _heads(self, patch_of: PatchOf, windows: Numbers) -> dict[int, torch.Tensor]:
        """The crossing values of one batch, whole."""
        places = self.plan.places(windows)
        state = _Batch(self, places, {0: patch_of(windows, places[0])})
        wanted = set(self.program.crossing)
        for step in self.program.local:
            state.patches[step.out] = step.patch(state, places[step.out])
            for index in step.inputs:
                if self._last[index] == step.out and index not in wanted:
                    state.patches.pop(index, None)
        return {i: state.at(i, Place.whole(len(windows), *self.plan.sizes[i][1:])) for i in wanted}

    def _tail(self, waiting: list[dict[int, torch.Tensor]], count: int) -> list[torch.Tensor]:
        """The outputs for some batches together."""
        values = {i: torch.cat([w[i] for w in waiting]) if len(waiting) > 1 else waiting[0][i] for i in waiting[0]}
        values = self.program.entering(values)
        last = {i: step.out for step in self.program.tail for i in step.inputs}
        for step in self.program.tail:
            values[step.out] = step.whole(values, count)
            for index in step.inputs:
                if last[index] == step.out and index not in self.program.outputs:
                    values.pop(index, None)
        return [values[i] for i in self.program.outputs]


class _Batch:
    """Patches of one batch of windows, as the steps want to read them."""

    def __init__(self, engine: Incremental, places: dict[int, Place], patches: dict[int, torch.Tensor]) -> None:
        self.engine, self.places, self.patches = engine, places, patches

    def place(self, index: int) -> Place:
        return self.places[index]

    def is_whole(self, index: int) -> bool:
        place = self.places[index]
        return (place.height, place.width) == self.engine.plan.sizes[index][1:]

    def at(
        self,
        index: int,
        want: Place,
        padding: Padding = (0, 0, 0, 0),
        fill: float = 0.0,
        step: tuple[int, int] = (1, 1),
    ) -> torch.Tensor:
        patch, place = self.patches[index], self.places[index]
        if step == (1, 1) and place.same(want):
            return patch
        return self.engine.clean(index, padding, fill).at(patch, place, want, step)
