"""Whether a step goes on in the direction of the last one: cosines, of each tensor and of all together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fluoroscope.results import Array
from fluoroscope.training.recorder.norms import pieces
from fluoroscope.training.recorder.samples import Samples
from fluoroscope.training.recorder.watched import local
from fluoroscope.training.store.coding import missing

__all__ = ["ExactAlignment", "SampledAlignment"]

Found = tuple[dict[str, Array], dict[str, float]]


class SampledAlignment:
    """From the samples that are taken anyhow: the last ones are kept, on the host.

    ``alignment/update``: cosine of -g and the last update, 1 where gradient descent would go on as the last step did,
    -1 where it would go back; ``alignment/gradient``: cosine of g and the last gradient. Chance makes a cosine of n
    entries be off by 1 / sqrt(n).
    """

    def __init__(self) -> None:
        self._last: tuple[Samples, Array, Array] | None = None

    def next(self, samples: Samples, entries: Array, absent: Array) -> Found:
        """Cosines (L,) by quantity, and those of all tensors together, for ``entries`` (3, n) of gradient, weight and
        update; ``absent`` (L,) where there is no gradient. Nothing at the first step; a cosine with nothing is not
        recorded.
        """
        last, self._last = self._last, (samples, np.array(entries[[0, 2]], np.float64), absent)
        if last is None or last[0] is not samples:
            return {}, {}
        gradient, share = np.asarray(entries[0], np.float64), samples.numbers / np.maximum(samples.sizes, 1)
        tensors, totals = {}, {}
        for name, sign, other, nothing in (
            ("update", -1, last[1][1], absent),
            ("gradient", 1, last[1][0], absent | last[2]),
        ):
            with np.errstate(invalid="ignore", over="ignore"):
                pairs = np.stack([sign * gradient * other, gradient * gradient, other * other])
            parts = np.zeros((3, len(samples.sizes)))
            full = np.flatnonzero(samples.sizes)
            if len(full):
                parts[:, full] = np.add.reduceat(pairs, samples.starts[full], axis=1)
            parts[:, nothing] = 0
            found, total = _cosines(parts * share)
            tensors[f"alignment/{name}"] = found
            if total is not None:
                totals[f"alignment/{name}"] = total
        return tensors, totals


class ExactAlignment:
    """``alignment/update`` over all entries: one copy of the weights, read and renewed before each step."""

    def __init__(self) -> None:
        self._copies: dict[int, torch.Tensor] = {}
        self._versions: dict[int, int] = {}

    def before_step(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        """Sums (3, L) float64: of -g times the last update, of the squares of both. Zero where there is no gradient, no
        last step, or where somebody else changed a weight in between.
        """
        rows = [self._row(p) for p in parameters]
        device = rows[0].device if rows else torch.device("cpu")
        keep = {id(p) for p in parameters}
        self._copies = {i: c for i, c in self._copies.items() if i in keep}
        return torch.stack([r.to(device) for r in rows], 1) if rows else torch.zeros(3, 0)

    def _row(self, parameter: torch.Tensor) -> torch.Tensor:
        weight, copy = local(parameter), self._copies.get(id(parameter))
        exact = torch.float32 if weight.device.type == "mps" else torch.float64
        sums = torch.zeros(3, dtype=exact, device=weight.device)
        same = copy is not None and copy.shape == weight.shape and copy.device == weight.device
        grad = parameter.grad
        if same and copy is not None and grad is not None and self._versions.get(id(parameter)) == parameter._version:
            dense = local(grad.to_dense() if grad.is_sparse else grad)
            for g, w, c in zip(*(pieces(t.contiguous()) for t in (dense, weight, copy)), strict=True):
                step, down = _wide(w) - _wide(c), -_wide(g)
                sums += torch.stack([down.dot(step), down.dot(down), step.dot(step)]).to(exact)
        if same and copy is not None:
            copy.copy_(weight)
        else:
            self._copies[id(parameter)] = weight.clone()
        return sums

    def after_step(self, parameters: Sequence[torch.Tensor]) -> None:
        """Remember how often each weight had been changed."""
        self._versions = {id(p): p._version for p in parameters}

    @staticmethod
    def found(sums: Array) -> Found:
        """Cosines (L,), and that of all tensors together."""
        found, total = _cosines(np.asarray(sums, np.float64))
        return {"alignment/update": found}, {} if total is None else {"alignment/update": total}


def _cosines(parts: Array) -> tuple[Array, float | None]:
    """From products and the two sums of squares (3, L): of each tensor, and of all; not recorded where one is zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        sizes, whole = np.sqrt(parts[1]) * np.sqrt(parts[2]), parts.sum(1)
        found = missing(len(sizes))
        some = sizes != 0
        found[some] = parts[0, some] / sizes[some]
        total = float(np.sqrt(whole[1]) * np.sqrt(whole[2]))
    return found, float(whole[0]) / total if total else None


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)
