"""Fields: which features of the input each position of a map depends on, exactly, as sets of features.

A feature is a group of input positions (a cell of a grid, a superpixel). The sets are carried through the steps of a
program by the windows that the steps read, so that a set holds a feature if, and only if, the receptive field of the
position meets it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluoroscope.model.program.reach import Numbers, Slide
from fluoroscope.model.program.steps import Concatenation, Elementwise, Padded, Sliding, Step, Subsampled

__all__ = ["Fields", "Window", "windows"]

Window = tuple[Slide, Slide]
PLAIN = Slide(1, 1, 0, 1)


def windows(step: Step) -> list[Window] | None:
    """The window, along height and width, that a step reads of each of its inputs; None where it is not of this kind:
    operations on whole maps, and windows with gaps.
    """
    plain: list[Window] = [(PLAIN, PLAIN) for _ in step.inputs]
    if isinstance(step, (Elementwise, Concatenation)):
        return plain
    if isinstance(step, Subsampled):
        down, along = step.steps
        return [(Slide(1, down, 0, 1), Slide(1, along, 0, 1))]
    if isinstance(step, Padded):
        left, _, top, _ = step.around
        return [(Slide(1, 1, top, 1), Slide(1, 1, left, 1))]
    if isinstance(step, Sliding) and all(s.kernel == 1 or s.dilation == 1 for s in step.slides):
        return [step.slides, *plain[1:]]
    return None


@dataclass(frozen=True)
class Fields:
    """``sets`` (S, features), True where a set holds a feature; ``of`` (H, W) numbers the set of each position."""

    sets: npt.NDArray[np.bool_]
    of: Numbers

    @classmethod
    def of_input(cls, labels: Numbers, count: int) -> Fields:
        """Positions of the input (H, W) depend on the feature that they belong to."""
        return cls(np.eye(count, dtype=bool), labels)

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """The set of each position (H, W, bytes), eight features to a byte."""
        packed: npt.NDArray[np.uint8] = np.packbits(self.sets, axis=1)[self.of]
        return packed


def carried(step: Step, fields: list[Fields], read: list[Window]) -> Fields:
    """The sets of a step's result, from those of its inputs and the windows that it reads of them."""
    height, width = step.size[1:]
    found = np.zeros((height, width, fields[0].bits.shape[2]), np.uint8)
    for source, (down, along) in zip(fields, read, strict=True):
        found |= _met(_met(source.bits, 0, down, height), 1, along, width)
    sets, of = np.unique(found.reshape(height * width, -1), axis=0, return_inverse=True)
    count = fields[0].sets.shape[1]
    return Fields(np.unpackbits(sets, axis=1, count=count).astype(bool), of.reshape(height, width))


def _met(bits: npt.NDArray[np.uint8], axis: int, slide: Slide, length: int) -> npt.NDArray[np.uint8]:
    """What windows along one axis meet; what lies beyond the map is constant and meets nothing."""
    lines = np.moveaxis(bits, axis, 0)
    found = np.zeros((length, *lines.shape[1:]), np.uint8)
    for tap in range(slide.kernel):
        source = np.arange(length) * slide.stride - slide.padding + tap * slide.dilation
        inside = np.flatnonzero((source >= 0) & (source < len(lines)))
        found[inside] |= lines[source[inside]]
    return np.moveaxis(found, 0, axis)
