"""Variants of examples: features replaced by a baseline, run in batches, and scored. Equal variants run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fluoroscope.methods.attributing import to_numpy
from fluoroscope.methods.base import Batch
from fluoroscope.methods.perturbation.features import Features, Layout
from fluoroscope.model.fast_copy import CONVOLUTIONS, close
from fluoroscope.model.fast_forward import ROUGH, FastForward, told_apart
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.masked import Masked
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.study import Study
from fluoroscope.results import Array

__all__ = ["Variants"]

Asked = tuple[torch.Tensor, torch.Tensor | None]
ELEMENTS = {"cpu": 1_250_000, "accelerator": 40_000_000}
MOST_ROWS = 4096
CHECKED = 2


class Variants:
    """Scores of variants of one batch's examples.

    ``picked`` are the examples' own scores, which settle what is asked ("predicted" stays the class of the whole
    example); ``own`` the same as (N, K) in float64; ``spent`` how many variants of each example went through the
    network. Features are replaced by what ``bases`` (N, ...) has in their place; where scores are ``averaged``, by each
    of its rows (B, ...) in turn.
    """

    def __init__(
        self,
        study: Study,
        batch: Batch,
        tensor: torch.Tensor,
        place: Layout,
        features: list[Features],
        bases: torch.Tensor,
        size: int | None,
        averaged: bool = False,
        precision: str = "float32",
    ) -> None:
        self.study, self.inputs, self.tensor, self.place, self.features = study, batch.inputs, tensor, place, features
        kind = "cpu" if tensor.device.type == "cpu" else "accelerator"
        self.size = size or max(1, min(MOST_ROWS, ELEMENTS[kind] // tensor[0].numel()))
        with torch.inference_mode():
            output, scores = study.scored(batch.inputs)
        self.picked = batch.target.pick(scores, output)
        self.target = batch.target.settled(self.picked, scores)
        self.dtype = to_numpy(self.picked.scores).dtype
        self.own = _columns(self.picked.scores)
        self.bases, self.averaged = bases, averaged
        self._each = [torch.equal(f.labels.flatten().cpu(), torch.arange(f.labels.numel())) for f in features]
        self.spent = [0] * len(features)
        self._fast: FastForward | None = None
        self._masked: dict[int, Masked] = {}
        self._counted = [0.0, 0.0]
        self._scored = self._runner(precision)
        self._known: list[dict[bytes, Array]] = [{} for _ in features]

    def _runner(self, precision: str) -> Callable[[Inputs], tuple[Any, torch.Tensor]]:
        """What runs the variants: for pictures a faster way through the network, for the rest the network itself."""
        module = self.study.module
        convolves = any(isinstance(m, CONVOLUTIONS) for m in module.modules()) or any(
            p.ndim >= 4 for p in module.parameters()
        )
        pictures = self.tensor.ndim >= 4 and convolves
        if precision == "float32" and not pictures:
            return self.study.scored
        fast = self._fast = FastForward(self.study, self.inputs.part(0, 1), precision)
        if fast.note:
            self.study.note(fast.note)
        return fast.scored

    def __call__(self, asked: Mapping[int, Asked]) -> dict[int, Array]:
        """Scores (S, K) for the masks asked for each example."""
        found: dict[int, Array] = {}
        waiting: dict[int, tuple[Asked, list[bytes]]] = {}
        for n, (masks, bases) in asked.items():
            if masks.dtype != torch.bool or bases is not None:
                waiting[n] = (masks, bases), []
            else:
                waiting[n] = self._new(n, masks)
        shared = {n: self._shared(n, masks, bases) for n, ((masks, bases), _) in waiting.items()}
        answers = iter(self._scores({n: w for n, w in waiting.items() if shared[n] is None}))
        for n, ((masks, _), keys) in waiting.items():
            rows = shared[n]
            if rows is None:
                rows = np.stack([next(answers) for _ in range(len(masks))]) if len(masks) else np.empty((0, 0))
            self.spent[n] += len(masks) * (len(self.bases) if self.averaged else 1)
            if not keys:
                found[n] = rows
                continue
            self._known[n].update(zip(dict.fromkeys(k for k in keys if k not in self._known[n]), rows, strict=True))
            found[n] = np.stack([self._known[n][k] for k in keys])
        return found

    def _new(self, n: int, masks: torch.Tensor) -> tuple[Asked, list[bytes]]:
        """The masks that were not asked before, each once; and the key of every mask that is asked now."""
        packed = np.packbits(masks.numpy(), axis=1)
        keys = [row.tobytes() for row in packed]
        first: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self._known[n]:
                first.setdefault(key, i)
        return (masks[list(first.values())], None), keys

    def _shared(self, n: int, masks: torch.Tensor, bases: torch.Tensor | None) -> Array | None:
        """Scores (S, K) under masks of example ``n``, what masks have in common computed once; None where that is not
        known to be right, or saves little.
        """
        fast, features = self._fast, self.features[n]
        if fast is None or bases is not None or self.averaged or self._each[n] or self.place.channel != 1:
            return None
        if id(features) not in self._masked:
            self._masked[id(features)] = Masked(fast, features.labels, features.count)
        run = self._masked[id(features)].run(self.tensor[n : n + 1], self._base(n, np.zeros(1)), masks)
        if run is None:
            return None
        try:
            found = list(run.scored())
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None
        if not self._agrees(n, masks[:CHECKED], found[0][1][:CHECKED]):
            self.study.note("computing what masks have in common once did not give the network's answers")
            return None
        self._tell(run.share, len(masks))
        return np.concatenate([_columns(self.target([n] * len(s)).pick(s, o).scores) for o, s in found])

    def _agrees(self, n: int, masks: torch.Tensor, scores: torch.Tensor) -> bool:
        """Whether whole forwards give the same for some of the masks."""
        rows = np.full(len(masks), n)
        with torch.inference_mode():
            inputs = self._inputs(rows, self._mixed(n, masks, self._base(n, rows)))
            expected = self._scored(inputs)[1]
        halved = self._fast is not None and self._fast.format != self.tensor.dtype
        return told_apart(scores, expected) <= ROUGH if halved else close(scores, expected)

    def _tell(self, share: float, count: int) -> None:
        self.study.forwards += share * count
        self._counted = [self._counted[0] + share * count, self._counted[1] + count]
        self.study.facts["share_of_forward"] = round(self._counted[0] / self._counted[1], 4)

    def _scores(self, waiting: Mapping[int, tuple[Asked, list[bytes]]]) -> Array:
        """Scores of everything that waits, one row for each mask, averaged over the background where there is one."""
        if not waiting:
            return self.own[:0]
        rows = np.concatenate([np.full(len(masks), n) for n, ((masks, _), _) in waiting.items()])
        numbers = np.concatenate([np.arange(len(masks)) for (masks, _), _ in waiting.values()])
        times = len(self.bases) if self.averaged else 1
        order = np.arange(len(rows) * times)
        parts, start = [], 0
        while start < len(order):
            chosen = order[start : start + self.size]
            try:
                parts.append(self._run(waiting, rows[chosen // times], numbers[chosen // times], chosen % times))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or len(chosen) == 1:
                    raise
                self.size = len(chosen) // 2
                self.study.note(f"memory ran out; batches were cut to {self.size}")
                continue
            start += len(chosen)
        if not parts:
            return self.own[:0]
        found = np.concatenate(parts)
        return found.reshape(-1, times, found.shape[1]).mean(1) if times > 1 else found

    def _run(
        self, waiting: Mapping[int, tuple[Asked, list[bytes]]], rows: Array, numbers: Array, which: Array
    ) -> Array:
        """One batch: variant i is example ``rows[i]`` under its mask ``numbers[i]`` and background row ``which[i]``."""
        values = []
        for n in dict.fromkeys(rows.tolist()):
            mine = rows == n
            masks, bases = waiting[n][0]
            at = torch.from_numpy(numbers[mine])
            base = bases[at].to(self.tensor) if bases is not None else self._base(n, which[mine])
            values.append(self._mixed(n, masks[at].to(self.tensor.device), base))
        inputs = self._inputs(rows, torch.cat(values))
        with torch.inference_mode():
            output, scores = self._scored(inputs)
            return _columns(self.target(rows.tolist()).pick(scores, output).scores)

    def _base(self, n: int, which: Array) -> torch.Tensor:
        return self.bases[torch.from_numpy(which).to(self.bases.device)] if self.averaged else self.bases[n : n + 1]

    def _mixed(self, n: int, masks: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Variants (B, ...) of example ``n``: kept where the mask (B, features) says so, ``base`` elsewhere."""
        example = self.tensor[n : n + 1]
        spread = masks.reshape(-1, *self.place.size) if self._each[n] else self.features[n].spread(masks)
        spread = self.place.widened(spread)
        if masks.dtype == torch.bool:
            return torch.where(spread, example, base)
        return base + spread.to(example.dtype) * (example - base)

    def _inputs(self, rows: Array, values: torch.Tensor) -> Inputs:
        index, count = torch.from_numpy(rows).to(self.tensor.device), self.inputs.count

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor is self.tensor:
                return values
            return tensor[index.to(tensor.device)] if tensor.ndim and len(tensor) == count else tensor

        return replace(self.inputs.map(change), count=len(values), names=(), features=())


def _columns(scores: torch.Tensor) -> Array:
    """Scores (N, K) in float64, also for one target."""
    found: Array = to_numpy(scores).astype(np.float64)
    return found if found.ndim == 2 else found[:, None]
