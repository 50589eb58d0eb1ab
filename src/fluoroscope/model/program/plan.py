"""Plan: which windows are computed together, and where their patches lie in every map of a program."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluoroscope.model.program.compiling import Program
from fluoroscope.model.program.patches import Place
from fluoroscope.model.program.reach import Numbers, Reach, clusters
from fluoroscope.model.program.steps import Reaches, Step

__all__ = ["Plan"]

BATCH_BYTES = 32e6
"""Numbers that one step of a batch reads and writes: about a last-level cache."""
MOST_WINDOWS = 64
MOST_TAIL = 256
FEW_WINDOWS = 100
WHOLE_SHARE = 0.85
"""From this share of a map on the whole map is computed: fetching a region costs more than it saves."""


class Plan:
    """For windows ``boxes`` (n, 2, 2): [low, high) along height and width of the input (C, H, W)."""

    def __init__(
        self, program: Program, size: tuple[int, int, int], boxes: npt.NDArray[np.int64], itemsize: int
    ) -> None:
        self.program, self.boxes = program, boxes
        self.sizes = {0: size} | {s.out: s.size for s in program.local}
        self.reaches = self._reaches(size)
        self.tail_rows = self._tail_rows(itemsize)
        self.batches = self._batches(itemsize)

    def _reaches(self, size: tuple[int, int, int]) -> dict[int, Reaches]:
        rows, columns = (Reach(self.boxes[:, axis, 0], self.boxes[:, axis, 1], size[1 + axis]) for axis in (0, 1))
        found = {0: (rows, columns)}
        for step in self.program.local:
            found[step.out] = step.reach(found)
        return found

    def _tail_rows(self, itemsize: int) -> int:
        """Examples that go through the tail together: many, unless its maps are large."""
        sizes = [self.sizes[i] for i in self.program.crossing] + [s.size for s in self.program.tail]
        largest = max(float(np.prod(size)) for size in sizes) * itemsize
        return int(np.clip(BATCH_BYTES / largest, 1, MOST_TAIL))

    def _batches(self, itemsize: int) -> list[Numbers]:
        group = self._groups()
        found = []
        for number in np.unique(group):
            members = np.flatnonzero(group == number)
            count = min(self._fitting(members, itemsize), self.tail_rows)
            parts = -(-len(members) // count)
            found += [np.asarray(part) for part in np.array_split(members, parts)]
        return found

    def _groups(self) -> Numbers:
        """The number of each window's group: windows whose patches have about the same sizes."""
        steps = self.program.local
        members = int(np.clip(round((len(self.boxes) / FEW_WINDOWS) ** 0.5), 1, 8))
        number = np.zeros(len(self.boxes), np.int64)
        for axis in (0, 1):
            lengths = [self.reaches[s.out][axis].lengths for s in steps]
            across = [float(self.reaches[s.out][1 - axis].lengths.mean()) for s in steps]
            if lengths:
                costs = [s.cost * a for s, a in zip(steps, across, strict=True)]
                number = number * members + clusters(lengths, costs, members)
        return number

    def _fitting(self, windows: Numbers, itemsize: int) -> int:
        """How many of these windows fit into the caches together."""
        places = self.places(windows[:1])
        largest = max((self._moved(step, places) for step in self.program.local), default=1.0)
        return int(np.clip(BATCH_BYTES / (largest * itemsize), 1, MOST_WINDOWS))

    def _moved(self, step: Step, places: dict[int, Place]) -> float:
        """Numbers that a step reads and writes for one window."""
        values = (*step.inputs, step.out)
        return sum(float(self.sizes[i][0]) * places[i].height * places[i].width for i in values)

    def places(self, windows: Numbers) -> dict[int, Place]:
        """Where the patches of these windows lie in every local value."""
        found = {}
        for index, (rows, columns) in self.reaches.items():
            top, height = rows.placed(windows)
            left, width = columns.placed(windows)
            if index and height * width >= WHOLE_SHARE * rows.size * columns.size:
                found[index] = Place.whole(len(windows), rows.size, columns.size)
            else:
                found[index] = Place(top, left, height, width)
        return found

    @property
    def share(self) -> float:
        """Cost of all windows by patches, as a share of so many whole forwards."""
        spent = sum(s.whole_cost for s in self.program.tail) * len(self.boxes)
        for windows in self.batches:
            places = self.places(windows)
            area = {i: p.height * p.width * len(windows) for i, p in places.items()}
            spent += sum(step.cost * area[step.out] for step in self.program.local)
        return float(spent / max(self.program.cost * len(self.boxes), 1.0))
