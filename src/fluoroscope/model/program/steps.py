"""Steps of a program: an operation that can be run on whole maps, and where its reach is known, on patches of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils._pytree import tree_map

from fluoroscope.model.program.kernels import Convolution
from fluoroscope.model.program.operations import Operation, Ref
from fluoroscope.model.program.patches import Padding, Place
from fluoroscope.model.program.reach import Reach, Slide

__all__ = ["Concatenation", "Elementwise", "Operands", "Padded", "Sliding", "Step", "Subsampled", "Whole"]

Reaches = tuple[Reach, Reach]
Values = Mapping[int, torch.Tensor]
MOVED = 16.0
"""Cost of moving one number, in floating-point operations: what a core does meanwhile."""


class Operands(Protocol):
    """Gives a step the values that it reads, at the place where it wants them."""

    def place(self, index: int) -> Place:
        """Where the patches of a value lie."""

    def at(
        self,
        index: int,
        want: Place,
        padding: Padding = (0, 0, 0, 0),
        fill: float = 0.0,
        step: tuple[int, int] = (1, 1),
    ) -> torch.Tensor:
        """The value at ``want``, which may reach into the padding."""

    def is_whole(self, index: int) -> bool:
        """Whether the patches of a value are the whole map."""


@dataclass
class Step:
    """``values[out]`` from ``inputs``; ``size`` is the result's (C, H, W), or whatever shape follows the batch axis."""

    inputs: tuple[int, ...]
    out: int
    size: tuple[int, ...]

    @property
    def cost(self) -> float:
        """Floating-point operations for one position of the result."""
        return 2 * MOVED * self.size[0]

    @property
    def whole_cost(self) -> float:
        """Floating-point operations for the whole result."""
        return self.cost * (self.size[1] * self.size[2] if len(self.size) == 3 else 1)

    def reach(self, reaches: Mapping[int, Reaches]) -> Reaches:
        """What of the result can change: as a rule what can change in any of the inputs."""
        rows, columns = reaches[self.inputs[0]]
        for index in self.inputs[1:]:
            rows, columns = rows.joined(reaches[index][0]), columns.joined(reaches[index][1])
        return rows, columns

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """The result for ``count`` examples, from whole values."""
        raise NotImplementedError

    def patch(self, operands: Operands, place: Place) -> torch.Tensor:
        """The result at ``place``."""
        count = len(place.rows)
        return self.whole({i: operands.at(i, place) for i in self.inputs}, count)


@dataclass
class Sliding(Step):
    """A convolution or a pooling, perhaps with an addition (``inputs[1]``) and an activation that follow it."""

    slides: tuple[Slide, Slide]
    apply: Callable[[torch.Tensor, tuple[int, int], tuple[int, int], torch.Tensor | None], torch.Tensor]
    fill: float = 0.0
    work: float = 0.0
    kernel: Convolution | None = None

    @property
    def cost(self) -> float:
        """As the step's, and the multiplications."""
        return 2 * MOVED * self.size[0] + self.work

    @property
    def stride(self) -> tuple[int, int]:
        """Strides along height and width."""
        return self.slides[0].stride, self.slides[1].stride

    def reach(self, reaches: Mapping[int, Reaches]) -> Reaches:
        """Through the window, joined with what is added."""
        rows, columns = (
            r.through(s, n) for r, s, n in zip(reaches[self.inputs[0]], self.slides, self.size[1:], strict=True)
        )
        if len(self.inputs) > 1:
            added = reaches[self.inputs[1]]
            rows, columns = rows.joined(added[0]), columns.joined(added[1])
        return rows, columns

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """With the padding of the operation itself."""
        added = values[self.inputs[1]] if len(self.inputs) > 1 else None
        padding = self.slides[0].padding, self.slides[1].padding
        return self.apply(values[self.inputs[0]], padding, self.stride, added)

    def patch(self, operands: Operands, place: Place) -> torch.Tensor:
        """On a region that brings its halo and the map's padding along; on the whole map as the operation itself
        does it.
        """
        source = self.inputs[0]
        added = operands.at(self.inputs[1], place) if len(self.inputs) > 1 else None
        if (place.height, place.width) == self.size[1:] and operands.is_whole(source):
            padding = self.slides[0].padding, self.slides[1].padding
            return self.apply(operands.at(source, operands.place(source)), padding, self.stride, added)
        rows, columns = self.slides
        starts = place.rows * rows.stride - rows.padding, place.columns * columns.stride - columns.padding
        if rows.kernel == columns.kernel == 1:  # what lies between the strides need not be fetched
            want = Place(*starts, place.height, place.width)
            return self.apply(operands.at(source, want, self.padding, self.fill, self.stride), (0, 0), (1, 1), added)
        height, width = (place.height - 1) * rows.stride + rows.span, (place.width - 1) * columns.stride + columns.span
        region = operands.at(source, Place(*starts, height, width), self.padding, self.fill)
        return self.apply(region, (0, 0), self.stride, added)

    @property
    def padding(self) -> Padding:
        """(left, right, top, bottom)."""
        rows, columns = self.slides
        return columns.padding, columns.padding, rows.padding, rows.padding


@dataclass
class Padded(Step):
    """A map with numbers ``fill`` around it (left, right, top, bottom), and channels of them (before, behind)."""

    around: Padding
    channels: tuple[int, int]
    fill: float

    def reach(self, reaches: Mapping[int, Reaches]) -> Reaches:
        """Moved by what is put before."""
        rows, columns = reaches[self.inputs[0]]
        left, _, top, _ = self.around
        return (
            Reach(rows.low + top, rows.high + top, self.size[1]),
            Reach(columns.low + left, columns.high + left, self.size[2]),
        )

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """As the operation itself."""
        return torch.nn.functional.pad(values[self.inputs[0]], (*self.around, *self.channels), value=self.fill)

    def patch(self, operands: Operands, place: Place) -> torch.Tensor:
        """The padding is fetched with the region."""
        left, _, top, _ = self.around
        want = Place(place.rows - top, place.columns - left, place.height, place.width)
        region = operands.at(self.inputs[0], want, self.around, self.fill)
        if not any(self.channels):
            return region
        return torch.nn.functional.pad(region, (0, 0, 0, 0, *self.channels), value=self.fill)


@dataclass
class Subsampled(Step):
    """Every so manieth position along height and width, from the first on."""

    steps: tuple[int, int]

    def reach(self, reaches: Mapping[int, Reaches]) -> Reaches:
        """As for a window of one position."""
        rows, columns = reaches[self.inputs[0]]
        down, along = (Slide(1, step, 0, 1) for step in self.steps)
        return rows.through(down, self.size[1]), columns.through(along, self.size[2])

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """As the operation itself."""
        return values[self.inputs[0]][:, :, :: self.steps[0], :: self.steps[1]]

    def patch(self, operands: Operands, place: Place) -> torch.Tensor:
        """Only the positions that are kept are fetched."""
        rows, columns = place.rows * self.steps[0], place.columns * self.steps[1]
        want = Place(rows, columns, place.height, place.width)
        return operands.at(self.inputs[0], want, step=self.steps)


@dataclass
class Elementwise(Step):
    """Works on each position by itself."""

    operation: Operation

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """The operation with the values put in."""
        return applied(self.operation, values)


@dataclass
class Concatenation(Step):
    """Channels of several values one after the other."""

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """Along the channels."""
        return torch.cat([values[i] for i in self.inputs], 1)


@dataclass
class Whole(Step):
    """Needs whole values: its result is not tied to positions. ``reshapes`` if it only changes the shape of an
    example.
    """

    operation: Operation
    reshapes: bool = False

    def whole(self, values: Values, count: int) -> torch.Tensor:
        """The operation with the values put in."""
        if self.reshapes:
            return values[self.inputs[0]].reshape(count, *self.size)
        return applied(self.operation, values)


def applied(operation: Operation, values: Values) -> torch.Tensor:
    """The result of an operation; of several results the first."""

    def put(leaf: Any) -> Any:
        return values[leaf.index] if isinstance(leaf, Ref) else leaf

    args, kwargs = tree_map(put, (operation.args, operation.kwargs))
    result = operation.function(*args, **kwargs)
    first: torch.Tensor = result[0] if isinstance(result, (tuple, list)) else result
    return first
