"""A tensor as a matrix that streams by in blocks: products with it, and its triangular factor, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fluoroscope.model.weights import Weight

__all__ = ["Unfolding"]

BLOCK = 1 << 20
STRIP = 1 << 22  # entries of a strip of columns


@dataclass(frozen=True)
class Unfolding:
    """``weight`` as (outputs x all else), or with ``axis="input"`` as (inputs x all else)."""

    weight: Weight
    axis: Literal["output", "input"] = "output"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        weight = self.weight
        if self.axis == "input":
            return weight.shape[1], weight.size // max(1, weight.shape[1])
        return weight.rows, weight.columns

    @property
    def text(self) -> str:
        """How the tensor became this matrix, in words."""
        kernel = math.prod(self.weight.shape[2:])
        out, inside = self.weight.shape[0], self.weight.shape[1]
        if len(self.weight.shape) == 2:
            return f"{out} x {inside}, as it is" if self.axis == "output" else f"{inside} x {out}, transposed"
        first, second = (out, inside) if self.axis == "output" else (inside, out)
        names = ("outputs", "inputs") if self.axis == "output" else ("inputs", "outputs")
        return f"{first} {names[0]} x ({second} {names[1]} x {kernel} kernel)"

    def blocks(self) -> Iterator[tuple[int, int, Any]]:
        """(first row, first column, values) over the whole matrix."""
        if self.axis == "output":
            yield from self.weight.blocks(BLOCK)
            return
        inside, kernel = self.weight.shape[1], math.prod(self.weight.shape[2:])
        for row, _, values in self.weight.blocks(max(BLOCK, self.weight.columns)):
            turned = values.reshape(-1, inside, kernel).transpose(1, 0, 2)
            yield 0, row * kernel, turned.reshape(inside, -1)

    def times(self, right: Any) -> Any:
        """W X, for X (columns, k)."""
        made = np.zeros((self.shape[0], right.shape[1]), dtype=right.dtype)
        for row, column, values in self.blocks():
            part = values.astype(right.dtype, copy=False)
            made[row : row + len(part)] += part @ right[column : column + part.shape[1]]
        return made

    def transposed_times(self, left: Any) -> Any:
        """W^T Y, for Y (rows, k)."""
        made = np.zeros((self.shape[1], left.shape[1]), dtype=left.dtype)
        for row, column, values in self.blocks():
            part = values.astype(left.dtype, copy=False)
            made[column : column + part.shape[1]] += part.T @ left[row : row + len(part)]
        return made

    def sums(self) -> tuple[float, int]:
        """Sum of squares over finite entries, and the number of those that are not finite."""
        total, lost = 0.0, 0
        for _, _, values in self.blocks():
            exact = values.astype(np.float64)
            finite = np.isfinite(exact)
            missing = exact.size - int(finite.sum())
            exact = np.where(finite, exact, 0) if missing else exact
            total, lost = total + float(np.vdot(exact, exact)), lost + missing
        return total, lost

    def whole(self) -> Any:
        """The matrix in double precision."""
        made = np.empty(self.shape)
        for row, column, values in self.blocks():
            made[row : row + len(values), column : column + values.shape[1]] = values
        return made

    def triangle(self) -> Any:
        """The triangular factor of the matrix (or of its transpose, where it is wide): the same singular values.

        Blocks are added one by one to the factor of those before (sequential QR; Demmel et al., 2012).
        """
        factor: Any = np.zeros((0, min(self.shape)))
        for part in self._tall_parts():
            factor = np.linalg.qr(np.concatenate([factor, part]), mode="r")
        return factor

    def _tall_parts(self) -> Iterator[Any]:
        rows, columns = self.shape
        if self.axis == "input":
            for _, _, values in self.blocks():
                yield values.T.astype(np.float64)
        elif rows >= columns:
            for _, _, values in self.blocks():
                yield values.astype(np.float64)
        else:
            width = max(rows, STRIP // rows)
            for start in range(0, columns, width):
                stop = min(start + width, columns)
                strips = [self.weight.flat(r * columns + start, r * columns + stop) for r in range(rows)]
                yield np.stack(strips, axis=1).astype(np.float64)
