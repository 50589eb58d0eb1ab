"""Rows: the distinct contents of every position of a map over many masks, and where each mask finds its own.

Under masks that agree on all features of a position's field the position has the same content, so that it is computed
once: a row. :class:`Rows` numbers the rows of one map; :func:`sources` says which rows of the maps before a row is
computed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluoroscope.model.program.fields import Fields, Window
from fluoroscope.model.program.reach import Numbers

__all__ = ["Contents", "Rows", "sources"]

Mine = npt.NDArray[np.int32]


class Contents:
    """Masks (n, features), of truth values or of real numbers, told apart on sets of features."""

    def __init__(self, masks: npt.NDArray[np.generic]) -> None:
        self.count = len(masks)
        columns = [np.unique(c, return_inverse=True) for c in masks.T]
        self._kinds = [len(values) for values, _ in columns]
        self._columns = [numbers.astype(np.int64) for _, numbers in columns]
        self._known: dict[bytes, tuple[Mine, Numbers]] = {}

    def on(self, chosen: npt.NDArray[np.bool_]) -> tuple[Mine, Numbers]:
        """(the number of each mask's content, one mask that has each content) on a set of features (features,)."""
        key = chosen.tobytes()
        if key not in self._known:
            self._known[key] = self._told(np.flatnonzero(chosen))
        return self._known[key]

    def _told(self, features: Numbers) -> tuple[Mine, Numbers]:
        number, kinds = np.zeros(self.count, np.int64), 1
        for feature in features.tolist():
            if kinds * self._kinds[feature] >= 2**62:
                number, kinds = np.unique(number, return_inverse=True)[1], self.count
            number = number * self._kinds[feature] + self._columns[feature]
            kinds *= self._kinds[feature]
        if kinds <= 8 * self.count:  # a table is quicker than sorting
            seen = np.zeros(kinds, bool)
            seen[number] = True
            number = (np.cumsum(seen) - 1)[number]
        else:
            number = np.unique(number, return_inverse=True)[1]
        one = np.empty(int(number.max()) + 1, np.int64)
        one[number] = np.arange(self.count)
        return number.astype(np.int32), one


@dataclass(frozen=True)
class Rows:
    """The rows of one map (H, W): those of position p start at ``starts[p]`` (H W,), ``count`` in all.

    Mask m finds its content of position p in row ``starts[p] + numbers[sets[p], m]``; row r belongs to position
    ``positions[r]`` and is the content that mask ``masks[r]`` has there.
    """

    size: tuple[int, int]
    starts: Numbers
    sets: Numbers
    numbers: Mine
    firsts: list[Numbers]
    count: int

    @classmethod
    def of(cls, fields: Fields, contents: Contents) -> Rows:
        """The rows of a map with these fields."""
        told = [contents.on(chosen) for chosen in fields.sets]
        sets = fields.of.reshape(-1)
        ends = np.cumsum(np.array([len(one) for _, one in told])[sets])
        starts = np.concatenate([[0], ends[:-1]])
        height, width = fields.of.shape
        numbers = np.stack([number for number, _ in told])
        return cls((height, width), starts, sets, numbers, [one for _, one in told], int(ends[-1]))

    @property
    def owners(self) -> tuple[Numbers, Numbers]:
        """(position, mask) of each row."""
        lengths = np.array([len(one) for one in self.firsts])
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        positions = np.repeat(np.arange(len(self.sets)), lengths[self.sets])
        within = np.arange(self.count) - self.starts[positions]
        return positions, np.concatenate(self.firsts)[begins[self.sets[positions]] + within]

    def of_masks(self, first: int, last: int) -> Numbers:
        """The rows (masks, H W) that make up the whole maps of some masks."""
        return self.numbers[:, first:last].T[:, self.sets] + self.starts


def sources(rows: Rows, before: Rows, window: Window) -> npt.NDArray[np.int64]:
    """Rows (count, height taps x width taps) of the map before that the window of each row reads; ``before.count``
    where it reads beyond the map.
    """
    positions, masks = rows.owners
    down, along = window
    height, width = before.size
    flat = before.numbers.reshape(-1)
    across = before.numbers.shape[1]
    found = np.empty((rows.count, down.kernel * along.kernel), np.int64)
    line, column = np.divmod(np.arange(len(rows.sets)), rows.size[1])
    for i in range(down.kernel):
        at_line = line * down.stride - down.padding + i * down.dilation
        for j in range(along.kernel):
            at_column = column * along.stride - along.padding + j * along.dilation
            inside = (at_line >= 0) & (at_line < height) & (at_column >= 0) & (at_column < width)
            place = np.where(inside, at_line * width + at_column, 0)
            first = np.where(inside, before.starts[place], before.count)
            taken = flat[(before.sets[place] * across)[positions] + masks]
            if not inside.all():
                taken = np.where(inside[positions], taken, 0)
            found[:, i * along.kernel + j] = first[positions] + taken
    return found


def counted(fields: Fields, contents: Contents) -> int:
    """How many rows a map with these fields has."""
    lengths: Sequence[int] = [len(contents.on(chosen)[1]) for chosen in fields.sets]
    return int(np.array(lengths)[fields.of].sum())
