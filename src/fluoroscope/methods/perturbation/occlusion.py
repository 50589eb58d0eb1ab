"""Occlusion sensitivity: by how much the score falls when a window of the input is covered."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fluoroscope.errors import OptionError
from fluoroscope.methods.base import method, option
from fluoroscope.methods.perturbation.covering import Covering, Shaped
from fluoroscope.methods.perturbation.features import Layout
from fluoroscope.model.program.regions import Regions, Windows
from fluoroscope.results import Attribution

__all__ = ["Occlusion"]


@method
class Occlusion(Covering):
    r"""Occlusion: the fall of the target's score when a window is covered, for every place of the window.

    .. math:: M_{ij} = s(x) - s\big(x \odot (1 - w_{ij}) + b \odot w_{ij}\big)

    w_ij is 1 within the window that starts at (i, j) times the stride, b the baseline. Positive values speak for the
    target: without the window its score is lower. There are as many windows as it takes to reach the end of the input,
    ceil((size - window) / stride) + 1 along each axis; what stands out beyond the end is cut off, so that the last
    windows may be smaller, and a window larger than the input covers all of it. With a stride beyond the window there
    are positions that are never covered.

    ``window`` and ``stride`` are one number, or one for each axis: (height, width) of images, one of series, (depth,
    height, width) of volumes. Columns of tables and tokens are covered one at a time, whatever the window.
    ``baseline`` is a number, a number for each channel, ``"mean"`` (of each channel of the example), ``"blur"``,
    ``"noise"`` (the channel's mean and spread), or a tensor shaped like an example. ``score="probability"`` explains
    the probability in place of the logit; a target that is a callable reads the network's output itself, whatever the
    score.

    Source: Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, 2014, section 4.2. It differs:
    the value is the fall of the score, where the paper draws the score that is left.

    Cost: for images and networks of convolutions only the region of each map that a window can reach is computed, its
    halo taken from the maps of the unchanged input; values are those of whole forwards up to rounding, which is
    checked on some windows each time. Other networks take one forward for each window, on a copy with folded batch
    norms. ``meta`` says under ``"incremental"`` which of the two it was, and why. Windows that change nothing cost
    nothing. ``forwards`` counts what was spent in whole forwards.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, I, J) for images, one for each window, (N,
    I) for series, (N, D) for columns, (N, L) for tokens; K after N for K targets; signed, in units of the score.
    ``centers`` has the middle of the first window and the stride, so that ``resized`` puts each window's value where
    the window is (windows that were cut off count with their middle before that).

    Raises:
        OptionError: a window, stride or baseline that does not fit the input.
        TargetError: the target does not fit the output.
        NumericalError: NaN in the input or in the score of a covered input.
    """

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    source: ClassVar[str] = "Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014, sec. 4.2"

    window: int | tuple[int, ...] = option(
        16, "size of the window in input positions, one number or one per axis", low=1
    )
    stride: int | tuple[int, ...] = option(
        8, "distance of windows in input positions, one number or one per axis", low=1
    )

    def regions(self, main: torch.Tensor, place: Layout, start: int) -> list[tuple[Regions, Shaped]]:
        """The same windows for every example."""
        window, stride = self._along(place, self.window, "window"), self._along(place, self.stride, "stride")
        windows, counts = Windows.sliding(place.size, window, stride)

        def shaped(falls: torch.Tensor) -> torch.Tensor:
            return falls.reshape(-1, *counts)

        return [(windows, shaped)] * len(main)

    def _along(self, place: Layout, value: Any, name: str) -> tuple[int, ...]:
        """One number for each axis of positions."""
        if not place.spatial:
            return (1,) * len(place.size)
        if isinstance(value, int):
            return (value,) * len(place.size)
        if len(value) != len(place.size):
            raise OptionError(
                f"{self.title}: option {name!r} does not fit the input",
                got=f"{value} for axes {', '.join(place.axes)}",
                expected=f"one number, or {len(place.size)}",
            )
        return tuple(value)

    def finished(self, result: Attribution, place: Layout) -> Attribution:
        """Where the windows lie, and what they are in words."""
        if not place.spatial:
            return result.replace(caption="each covered by itself")
        window, stride = self._along(place, self.window, "window"), self._along(place, self.stride, "stride")
        covered = [min(w, n) for w, n in zip(window, place.size, strict=True)]
        sides, steps = " x ".join(map(str, covered)), " x ".join(map(str, stride))
        return result.replace(
            centers=tuple((w / 2, float(s)) for w, s in zip(covered, stride, strict=True)),
            caption=f"fall of the {self.score} when a window of {sides} is covered, every {steps}",
        )
