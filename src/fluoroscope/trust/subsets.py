"""Subsets: random parts of an input, the same for every method, and the fall of the score when they are replaced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from fluoroscope.results import Array, Attribution
from fluoroscope.trust.order import replaced
from fluoroscope.trust.places import Places, on_places
from fluoroscope.trust.trial import Trial

__all__ = ["blocks_of", "contributions", "falls", "shares_of"]

LOCAL = "score per unit of input"


def contributions(trial: Trial, others: torch.Tensor, controls: bool) -> dict[str, Array]:
    """By row what each place is said to add to the score against ``others``, (N, *places).

    A map is read as contributions. A signed gradient, which has the unit score per unit of input, is multiplied by the
    change of the input first, channel by channel.
    """
    main = trial.inputs.main
    change = (main - others).detach().double().cpu().numpy() if main.is_floating_point() else None
    return {row: _contribution(found, trial.places, change) for row, found in trial.rows(controls).items()}


def _contribution(found: Attribution, places: Places, change: Array | None) -> Array:
    local = found.signed and found.unit.startswith(LOCAL) and change is not None and not found.has_targets
    if not local or change is None:
        return on_places(found, places)
    if places.channel is not None:
        change = np.moveaxis(change, places.channel, 1)
    if found.data.shape != change.shape:  # the gradient has lost its channels
        return on_places(found, places)
    product = found.data.astype(np.float64) * change
    return np.asarray(product.sum(1) if places.channel is not None else product)


def blocks_of(places: Places, grid: int) -> Array:
    """The number of the block that each place belongs to, (*places): at most ``grid`` blocks a side where places have
    neighbours, else each on its own.
    """
    sides = [np.arange(n) * min(n, grid) // n if places.continuous else np.arange(n) for n in places.shape]
    counts = [int(side[-1]) + 1 for side in sides]
    number = np.zeros(places.shape, dtype=np.int64)
    for i, side in enumerate(sides):
        number = number * counts[i] + side.reshape([-1 if j == i else 1 for j in range(len(sides))])
    return number


def shares_of(marks: Array, values: Array) -> Array:
    """Sum of ``values`` (*places) over each of the ``marks`` (S, *places)."""
    return np.asarray(marks.reshape(len(marks), -1) @ values.reshape(-1))


def falls(trial: Trial, others: torch.Tensor, count: int, marks: Callable[[int], Array], score: str) -> list[Array]:
    """By example how far the score falls when each of its ``count`` marked parts (count, *places) is replaced."""
    main = trial.inputs.main
    index = np.repeat(np.arange(trial.inputs.count), count)

    def make(rows: Array) -> torch.Tensor:
        examples = index[rows]
        chosen = np.concatenate([marks(int(n))[rows[examples == n] % count] for n in np.unique(examples)])
        taken = torch.as_tensor(examples, device=main.device)
        return replaced(main[taken], others[taken], chosen, trial.places)

    with trial.study() as study:
        scorer = trial.scorer(study, score)
        before, after = scorer.plain(), scorer(index, make)
    return list(before[:, None] - after.reshape(trial.inputs.count, count))
