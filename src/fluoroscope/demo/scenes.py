"""Scenes of real handwriting: one whole digit at a known place among fragments of other digits.

The class of a scene can only be told from its one whole digit, and where that digit lies is known to the pixel, so a
map of attribution can be checked instead of believed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from fluoroscope.demo.handwriting import CELLS, Split, bounds, choose, cut, handwriting, piece_bank
from fluoroscope.errors import OptionError
from fluoroscope.results.record import Array

__all__ = ["DIGITS", "SIZE", "Scenes", "make_scenes"]

DIGITS = tuple("0123456789")
SIZE = 64
SCALES = (2.5, 3.2)  # scene pixels per pixel of the source
GAINS = (0.75, 1.0)  # how bright the ink is
NOISE = 0.03
SEEN = 0.1  # ink brighter than this counts as seen
PIECES = (6, 10)  # pieces of clutter in a scene, both ends included
NONE = -1  # stands for the number of a piece that is not there
OVERLAP = 0.1  # share of a piece that may lie in the digit's box
TRIES = 24  # random places of which a piece takes the best


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenes:
    """Scenes, their classes and the true place of the evidence.

    ``images`` (N, C=1, H, W) float32 in [0, 1], bright ink on dark ground; ``labels`` (N,) the digit; ``boxes`` (N, 4)
    (top, left, bottom, right) of the smallest box around the digit's ink, bottom and right excluded; ``masks``
    (N, H, W) the same boxes as pixels; ``ink`` (N, H, W) the pixels that the digit's strokes cover; ``sources`` (N,)
    the digit's number in scikit-learn's set; ``pieces`` (N, P, 5) the clutter: number of the digit (-1 for no piece),
    first row, first column, rows and columns of the cut.
    """

    images: Array
    labels: Array
    boxes: Array
    masks: Array
    ink: Array
    sources: Array
    pieces: Array

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Array) -> Scenes:
        """The scenes with these numbers, in their order."""
        return Scenes(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def chance(self) -> float:
        """Mean share of a scene that the box covers: how often a random pixel falls into it."""
        return float(self.masks.mean())

    def hits(self, rows: Array, columns: Array) -> Array:
        """Whether pixel (rows[n], columns[n]) lies in the box of scene n, (N,) bool."""
        return np.asarray(self.masks[np.arange(len(self)), rows, columns])


def make_scenes(count: int, seed: int, *, size: int = SIZE, split: Split = "train") -> Scenes:
    """``count`` scenes of ``size`` x ``size`` pixels; equal arguments give equal scenes.

    The splits share no handwritten digit, neither as evidence nor in the clutter, and the ten classes are equally
    frequent. Clutter comes from digits of every class, so that it says nothing about the class of the scene, but never
    from the scene's own digit. No global random state is read or changed.

    Raises:
        OptionError: a count below 1, a size too small for a digit, or no such split.
        MissingExtra: scikit-learn is not installed.
    """
    _check(count, size, split)
    rng = np.random.default_rng([seed, get_args(Split).index(split)])
    labels = rng.permutation(np.arange(count) % len(DIGITS)).astype(np.int64)
    sources = choose(labels, split, rng)
    scale = rng.uniform(*SCALES, count)
    corners, box = _place_digits(sources, scale, size, rng)
    pieces, piece_corners = _place_pieces(box, scale, split, size, rng)
    pieces[pieces[..., 0] == sources[:, None], 0] = NONE
    gains = rng.uniform(*GAINS, (count, 1 + pieces.shape[1]))
    images = np.zeros((count, size, size), np.float32)
    _draw(images, np.arange(count), handwriting()[0][sources], corners, scale, gains[:, 0])
    ink = images > SEEN
    for p in range(pieces.shape[1]):
        used = np.flatnonzero(pieces[:, p, 0] != NONE)
        _draw(images, used, cut(pieces[used, p]), piece_corners[used, p], scale[used], gains[used, 1 + p])
    images += NOISE * rng.standard_normal(images.shape, np.float32)
    boxes = bounds(ink)
    return Scenes(
        images=images.clip(0, 1)[:, None],
        labels=labels,
        boxes=boxes,
        masks=_filled(boxes, size),
        ink=ink,
        sources=sources,
        pieces=pieces,
    )


def _check(count: int, size: int, split: str) -> None:
    least = int(np.ceil((CELLS + 2) * SCALES[1]))
    if count < 1:
        raise OptionError("there must be at least one scene", got=count, expected="count >= 1")
    if size < least:
        raise OptionError("the scene is too small for a digit", got=f"size={size}", expected=f"size >= {least}")
    if split not in get_args(Split):
        raise OptionError("there is no such split", got=split, expected=" or ".join(map(repr, get_args(Split))))


def _place_digits(sources: Array, scale: Array, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Where each source's corner comes to lie (N, 2), no ink cut by the border, and the boxes (N, 4) around the ink."""
    margin = scale[:, None]
    low, high = np.split(bounds(handwriting()[0][sources] > 0) * margin, 2, axis=1)
    corners = rng.uniform(margin - low, size - margin - high)
    return corners, np.concatenate([corners + low, corners + high], 1)


def _place_pieces(box: Array, scale: Array, split: Split, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random pieces (N, P, 5) and their corners (N, P, 2), off the digit and, if there is room, each other."""
    bank, count, most = piece_bank(split), len(box), PIECES[1]
    pieces = bank[rng.integers(len(bank), size=(count, most))]
    corners = np.empty((count, most, 2))
    taken = [box]
    for p in range(most):
        span = pieces[:, p, 3:] * scale[:, None]
        corners[:, p], covering = _best_place(span, taken, size, rng)
        pieces[covering > OVERLAP, p, 0] = NONE
        taken.append(np.concatenate([corners[:, p], corners[:, p] + span], 1))
    wanted = rng.integers(PIECES[0], most + 1, count)
    pieces[np.arange(most) >= wanted[:, None], 0] = NONE
    return pieces, corners


def _best_place(span: Array, taken: list[Array], size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The least covered of random places for pieces of ``span`` (N, 2), and the share of each in the digit's box."""
    low = rng.random((TRIES, *span.shape)) * (size - span)
    high = low + span
    shared = [np.clip(np.minimum(high, b[:, 2:]) - np.maximum(low, b[:, :2]), 0, None).prod(-1) for b in taken]
    best = (10 * shared[0] + sum(shared[1:])).argmin(0)  # the digit's room counts most
    rows = np.arange(len(span))
    return low[best, rows], shared[0][best, rows] / span.prod(1)


def _draw(images: Array, which: Array, squares: Array, corners: Array, scale: Array, gains: Array) -> None:
    """Draw squares (M, S, S) into ``images[which]``, enlarged by ``scale`` from ``corners``; the brighter ink stays.

    Cubic interpolation, then a soft threshold, makes pen strokes out of the coarse pixels.
    """
    size = images.shape[-1]
    window = int(np.ceil((squares.shape[-1] + 2) * SCALES[1]))
    start = np.clip(np.floor(corners - scale[:, None]), 0, size - window).astype(np.int64)
    rows, columns = (_cubic((corners - start)[:, i], scale, window, squares.shape[-1]) for i in (0, 1))
    ink = ((rows @ squares @ columns.swapaxes(1, 2) - 0.2) / 0.75).clip(0, 1)
    ink *= ink * (3 - 2 * ink) * gains[:, None, None].astype(np.float32)
    y, x = (start[:, i, None] + np.arange(window) for i in (0, 1))
    place = which[:, None, None], y[:, :, None], x[:, None, :]
    images[place] = np.maximum(images[place], ink)


def _cubic(first: Array, scale: Array, length: int, cells: int) -> Array:
    """Weights (N, length, cells) of cubic convolution (Keys 1981, a = -1/2), sources beginning at ``first`` (N,)."""
    place = (np.arange(length) + 0.5 - first[:, None]) / scale[:, None] - 0.5
    d = np.abs(place[:, :, None] - np.arange(cells)).astype(np.float32)
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, np.float32(0)))


def _filled(boxes: Array, size: int) -> Array:
    """Boxes (N, 4) as masks (N, H, W)."""
    line = np.arange(size)
    rows = (line >= boxes[:, :1]) & (line < boxes[:, 2:3])
    columns = (line >= boxes[:, 1:2]) & (line < boxes[:, 3:])
    return np.asarray(rows[:, :, None] & columns[:, None, :])
