"""What a diagnosis looks at: the curves and the tensors of one run, put in order, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fluoroscope.results import History, Series, TensorHistory
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.robust import median
from fluoroscope.training.diagnosis.series_names import find_roles, is_rate, moving_target

__all__ = ["Curve", "Evidence", "Facts", "Statistic"]

LONGEST = 100_000
"""Points of a curve that are looked at; longer ones are read at even strides."""
MOST_RIGHT = 1.5
"""An accuracy beyond is one in percent."""
QUANTITIES = {
    "activation/dead": ("dead units", "share"),
    "activation/saturated": ("saturated units", "share"),
    "activation/std": ("spread of activations", ""),
    "update/ratio": ("update / weight", ""),
}
"""What statistics are called, and their unit, where that is not their name in the record."""
WIDEST = 4_000
"""Steps of the tensors that are looked at."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A series in order: ascending ``steps`` (S,), each once (what was written last counts), and its ``values``. Where
    ``name`` is that of a tensor or layer, ``quantity`` says what of it.
    """

    name: str
    steps: Array
    values: Array
    quantity: str = ""
    unit: str = ""

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def known(self) -> Curve:
        """Only the finite values."""
        keep = np.isfinite(self.values)
        return replace(self, steps=self.steps[keep], values=self.values[keep])

    def part(self, low: float, high: float) -> Curve:
        """Points with low <= step <= high."""
        keep = (self.steps >= low) & (self.steps <= high)
        return replace(self, steps=self.steps[keep], values=self.values[keep])

    def at(self, steps: Array) -> Array:
        """The last value at or before each of ``steps``; NaN before the first."""
        place = np.searchsorted(self.steps, steps, side="right") - 1
        padded = np.concatenate([self.values, [np.nan]])
        return np.asarray(padded[place])

    def series(self) -> Series:
        """As a series to be drawn."""
        return Series(steps=self.steps, values=self.values, unit=self.unit, group=self.quantity)


@dataclass(frozen=True, eq=False)
class Statistic:
    """One quantity of some tensors: ``values`` (L, S) of ``names`` at ``steps``; ``seen`` where it was recorded;
    ``quantity`` is its name in the record.
    """

    names: tuple[str, ...]
    steps: Array
    values: Array
    seen: Array
    quantity: str

    def rows(self, keep: Array) -> Statistic:
        """Only some tensors."""
        names = tuple(n for n, k in zip(self.names, keep, strict=True) if k)
        return replace(self, names=names, values=self.values[keep], seen=self.seen[keep])

    def columns(self, keep: Any) -> Statistic:
        """Only some steps."""
        return replace(self, steps=self.steps[keep], values=self.values[:, keep], seen=self.seen[:, keep])

    @property
    def is_weight(self) -> Array:
        """Which rows are weights rather than biases, by name."""
        return np.array([not _last(n).startswith(("bias", "b_")) for n in self.names], dtype=bool)

    def curve(self, row: int) -> Curve:
        """One tensor over the steps at which it was recorded."""
        keep = self.seen[row]
        words, unit = QUANTITIES.get(self.quantity, (self.quantity.replace("/", " "), ""))
        return Curve(self.names[row], self.steps[keep], self.values[row, keep], words, unit)


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Facts:
    """What is known about a run besides its numbers; None where it is not.

    ``classes`` of a classification; ``steps_per_epoch``; name of the ``optimizer`` and its ``momentum``; ``frozen``:
    parameters that need no gradient, on purpose; ``outside``: those that need one and that no optimizer holds;
    ``modules``: names of the classes of the network's modules.
    """

    classes: int | None = None
    steps_per_epoch: int | None = None
    optimizer: str | None = None
    frozen: frozenset[str] | None = None
    outside: frozenset[str] = frozenset()
    momentum: float = 0.0
    modules: frozenset[str] = frozenset()

    @property
    def normalized(self) -> bool:
        """Whether the network is known to have normalization layers (batch, layer, group, RMS, ...)."""
        return any("norm" in name.lower() for name in self.modules)


@dataclass(frozen=True, eq=False)
class Evidence:
    """One run as the rules see it."""

    history: History
    tensors: TensorHistory | None = None
    facts: Facts = field(default_factory=Facts)
    given: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def roles(self) -> dict[str, str]:
        """Which series is the loss, which the validation loss, and so on."""
        return {k: v for k, v in self._all_roles.items() if v in self.history.series}

    @cached_property
    def _all_roles(self) -> dict[str, str]:
        """Roles of what can be read and of what can't: another series does not become the loss where that is lost."""
        return find_roles([*self.history.series, *self.unreadable], self.given)

    @cached_property
    def moving_target(self) -> str | None:
        """Why the losses need not fall: they are measured against something that changes too."""
        return moving_target([*self.history.series, *self.unreadable])

    @cached_property
    def unreadable(self) -> frozenset[str]:
        """Series, and statistics of tensors, that a damaged record holds and that can't be read."""
        parts = [part.meta.get("unreadable", ()) for part in (self.history, self.tensors) if part is not None]
        return frozenset(str(name) for part in parts for name in part)

    def lost(self, need: str) -> bool:
        """Whether this curve or statistic was recorded and can't be read."""
        rates = need == "rate" and any(map(is_rate, self.unreadable))
        return rates or bool(self.unreadable & {need, self._all_roles.get(need, need)})

    @cached_property
    def loss(self) -> Curve | None:
        """The training loss."""
        return self._role("loss")

    @cached_property
    def val_loss(self) -> Curve | None:
        """The validation loss."""
        return self._role("val_loss")

    @cached_property
    def accuracy(self) -> Curve | None:
        """Accuracy on training batches."""
        return _as_shares(self._role("accuracy"))

    @cached_property
    def val_accuracy(self) -> Curve | None:
        """Accuracy on validation data."""
        return _as_shares(self._role("val_accuracy"))

    @cached_property
    def rates(self) -> dict[str, Curve]:
        """Learning rates."""
        return {n: _ordered(n, s) for n, s in self.history.series.items() if is_rate(n)}

    @cached_property
    def rate(self) -> Curve | None:
        """The largest learning rate of all groups at each step."""
        curves = [c.known for c in self.rates.values() if len(c.known)]
        if not curves:
            return None
        steps = np.unique(np.concatenate([c.steps for c in curves]))
        values = np.stack([np.nan_to_num(c.at(steps), nan=0.0) for c in curves]).max(0)
        return Curve("learning rate", steps, values)

    def _role(self, role: str) -> Curve | None:
        name = self.roles.get(role)
        curve = None if name is None else _ordered(name, self.history.series[name])
        return curve if curve is not None and len(curve) else None

    def curve(self, name: str) -> Curve | None:
        """The series of that name."""
        return _ordered(name, self.history.series[name]) if name in self.history.series else None

    @cached_property
    def _order(self) -> Array:
        """Columns of the tensors in the order of their steps, each step once, not too many of them."""
        if self.tensors is None:
            return np.zeros(0, dtype=np.int64)
        order = _once(np.asarray(self.tensors.steps))
        stride = -(-len(order) // WIDEST)
        kept = np.unique(np.concatenate([order[: WIDEST // 20], order[::stride], order[-1:]])) if stride > 1 else order
        return kept[np.argsort(np.asarray(self.tensors.steps)[kept], kind="stable")] if stride > 1 else order

    def statistic(self, name: str) -> Statistic | None:
        """One quantity of all tensors for which it was recorded at all; None where there is none."""
        if self.tensors is None or name not in self.tensors.statistics or not len(self._order):
            return None
        values = np.asarray(self.tensors.statistics[name], dtype=np.float64)[:, self._order]
        recorded = self.tensors.recorded.get(name)
        seen = ~np.isnan(values) if recorded is None else np.asarray(recorded, dtype=bool)[:, self._order]
        rows: Array = np.asarray(seen.any(1))
        steps = np.asarray(self.tensors.steps)[self._order]
        return Statistic(self.tensors.names, steps, values, seen, name).rows(rows) if rows.any() else None

    @cached_property
    def total_gradient(self) -> Curve | None:
        """Norm of the whole gradient at each step."""
        found = self.statistic("gradient/norm")
        if found is None:
            return None
        keep = found.seen.any(0)
        squares = np.where(found.seen, found.values, 0.0) ** 2
        return Curve("gradient norm", found.steps[keep], np.sqrt(squares.sum(0))[keep])

    def largest_gradients(self, step: int) -> tuple[str, ...]:
        """The tensors that hold half of the squared norm of the gradient at ``step``, largest first."""
        found = self.statistic("gradient/norm")
        if found is None or step not in found.steps:
            return ()
        column = found.values[:, int(np.flatnonzero(found.steps == step)[0])]
        column = np.nan_to_num(column, nan=0.0, posinf=np.finfo(float).max)
        largest = float(column.max())
        if not largest > 0:
            return ()
        order = np.argsort(-column)
        shares = np.cumsum((column[order] / largest) ** 2)
        return tuple(found.names[i] for i in order[: int(np.searchsorted(shares, 0.5 * shares[-1])) + 1])

    @cached_property
    def total_weight(self) -> Curve | None:
        """Norm of all weights (biases left out) at each step."""
        found = self.statistic("weight/norm")
        if found is None or not found.is_weight.any():
            return None
        found = found.rows(found.is_weight)
        keep = found.seen.all(0)
        return Curve("weight norm", found.steps[keep], np.sqrt((found.values[:, keep] ** 2).sum(0)))

    @cached_property
    def update_ratio(self) -> Curve | None:
        """Median over the weights of norm of the update over norm of the weight, at each step."""
        found = self.statistic("update/ratio")
        if found is None or not found.is_weight.any():
            return None
        found = found.rows(found.is_weight)
        keep = found.seen.any(0)
        values = np.array([median(v[s]) for v, s in zip(found.values.T[keep], found.seen.T[keep], strict=True)])
        return Curve("update / weight", found.steps[keep], values)


def _as_shares(accuracy: Curve | None) -> Curve | None:
    """Accuracies of 0 to 1, also where they were logged in percent."""
    if accuracy is None or not len(accuracy.known) or not accuracy.known.values.max() > MOST_RIGHT:
        return accuracy
    return Curve(accuracy.name, accuracy.steps, accuracy.values / 100)


def _ordered(name: str, series: Series) -> Curve:
    steps, values = np.asarray(series.steps), np.asarray(series.values, dtype=np.float64)
    order = _once(steps)
    stride = -(-len(order) // LONGEST)
    order = order[::stride] if stride > 1 else order
    return Curve(name, steps[order], values[order])


def _once(steps: Array) -> Array:
    """Places of ascending steps; of steps that repeat, the place written last."""
    if not len(steps):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(steps, kind="stable")
    ordered = steps[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return np.asarray(order[last])
