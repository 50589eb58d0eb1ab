"""Handwriting: scikit-learn's digits, split into those to learn from and those to be tested on, and pieces of them.

Source: *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak 1998, UCI; 1797 of them, 8 x 8 pixels
each, ship with scikit-learn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from fluoroscope.errors import InputError, MissingExtra
from fluoroscope.results.record import Array

__all__ = ["CELLS", "PIECE", "Split", "bounds", "choose", "cut", "handwriting", "piece_bank", "split_indices"]

Split = Literal["train", "validation", "test"]

CELLS = 8  # a digit is 8 x 8 pixels
PIECE = 5  # the longest side of a piece
SHAPES = ((4, 4), (3, PIECE), (PIECE, 3))  # rows and columns of a piece
MOST_INK = 0.45  # a piece never has a larger share of its digit's ink than this,
LEAST_INK = 3.0  # nor so little (in full pixels) that nothing is seen


@lru_cache(maxsize=1)
def handwriting() -> tuple[Array, Array]:
    """Every digit, (1797, 8, 8) float32 in [0, 1], and its class (1797,).

    Raises:
        MissingExtra: scikit-learn is not installed.
        InputError: its digits are not of the form that is known.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra.of("scikit-learn", "demo", "the demo's handwriting") from error
    data = load_digits()
    digits, labels = np.asarray(data.images / 16, dtype=np.float32), np.asarray(data.target, dtype=np.int64)
    if digits.shape[1:] != (CELLS, CELLS):
        raise InputError("the handwriting has an unknown form", got=f"shape {digits.shape}", expected="(digits, 8, 8)")
    return digits, labels


@lru_cache(maxsize=3)
def split_indices(split: Split) -> Array:
    """Numbers of the digits of ``split``: the last 300 are for the test, the 200 before them for validation.

    The set is in the order in which it was written, so the parts come mostly from different hands: a harder and more
    honest test than a shuffled one.
    """
    count = len(handwriting()[1])
    ends = {"train": (0, count - 500), "validation": (count - 500, count - 300), "test": (count - 300, count)}
    return np.arange(*ends[split])


def choose(labels: Array, split: Split, rng: np.random.Generator) -> Array:
    """A random digit of the split for each label (N,), as numbers (N,)."""
    chosen = np.empty(len(labels), dtype=np.int64)
    numbers, classes = split_indices(split), handwriting()[1]
    for label in np.unique(labels):
        here = labels == label
        chosen[here] = rng.choice(numbers[classes[numbers] == label], here.sum())
    return chosen


@lru_cache(maxsize=3)
def piece_bank(split: Split) -> Array:
    """Every piece of the split's digits that shows something and is far from a whole digit.

    Returns integers (B, 5): number of the digit, first row, first column, rows, columns.
    """
    numbers = split_indices(split)
    digits = handwriting()[0][numbers]
    most = MOST_INK * digits.sum((1, 2))[:, None, None]
    bank = []
    for rows, columns in SHAPES:
        ink = np.lib.stride_tricks.sliding_window_view(digits, (rows, columns), axis=(1, 2)).sum((3, 4))
        which, top, left = np.nonzero((ink >= LEAST_INK) & (ink <= most))
        bank.append(np.stack([numbers[which], top, left, np.full_like(top, rows), np.full_like(top, columns)], 1))
    return np.concatenate(bank)


def cut(pieces: Array) -> Array:
    """The pieces (N, 5) as pictures (N, 5, 5), each at the upper left of its picture and blank around it."""
    number, top, left, rows, columns = pieces.T[:, :, None, None]
    line = np.arange(PIECE)
    y, x = line[:, None], line[None, :]
    inside = (y < rows) & (x < columns)
    picture = handwriting()[0][number, np.minimum(top + y, CELLS - 1), np.minimum(left + x, CELLS - 1)]
    return np.asarray(np.where(inside, picture, np.float32(0)))


def bounds(ink: Array) -> Array:
    """The smallest box (top, left, bottom, right) around what is true in (N, H, W), (N, 4), its ends excluded."""
    height, width = ink.shape[1:]
    rows, columns = np.asarray(ink.any(2)), np.asarray(ink.any(1))
    ends = [rows.argmax(1), columns.argmax(1), height - rows[:, ::-1].argmax(1), width - columns[:, ::-1].argmax(1)]
    return np.stack(ends, 1)
