"""Positive and negative parts of a difference through functions that bend, and their multipliers.

Rows are the examples x, the references r, and q = r + D+, the references with the positive parts; x = q + D-. A
gradient at x is the multiplier of D-; gradients at x and q together are the multiplier of D+; none is needed at r.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from fluoroscope.model.differences import POOLS, apart, max_pooled, slope

__all__ = ["bent", "pooled"]


def bent(x: torch.Tensor, func: Any, args: Any, kwargs: Any, *, together: bool) -> torch.Tensor:
    """A function of one variable on rows (3 N, ...), with multipliers in its backward.

    Each part's effect is the mean of what it adds before and after the other; ``together`` gives both parts the one
    multiplier (f(x) - f(r)) / (x - r) of the rescale rule.
    """
    with torch.no_grad():
        made = (_rescaled if together else _cancelled)(x.detach(), func, args, kwargs)
    return _Multiplied.apply(x, *made)  # type: ignore[no-untyped-call, no-any-return]


def pooled(x: torch.Tensor, func: Any, name: str, args: Any, kwargs: Any, *, together: bool) -> torch.Tensor:
    """Max pooling of rows (3 N, ...), with multipliers in its backward.

    From one map to another the places of both maxima share the rise, as under the rescale rule; each part's effect is
    the mean of its steps before and after the other. ``together`` takes the step from r to x for both parts at once.
    """
    with torch.no_grad():
        ours, reference, upper, lower = _corners(x.detach())
        value, places = max_pooled(torch.cat([ours, reference, upper, lower]), func, name, args, kwargs)
        corners = [
            _Corner(*c) for c in zip((ours, reference, upper, lower), value.chunk(4), places.chunk(4), strict=True)
        ]
        made = (_pooled_together if together else _pooled_apart)(*corners)
    return _Shared.apply(x, POOLS[name], *made)  # type: ignore[no-untyped-call, no-any-return]


def _corners(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, r, r + D+ and r + D-."""
    ours, reference, upper = x.chunk(3)
    return ours, reference, upper, torch.where(upper == reference, ours, ours - upper + reference)


# ---------------------------------------------------------------------- functions of one variable


def _cancelled(x: torch.Tensor, func: Any, args: Any, kwargs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(f of all rows, multipliers of D+, multipliers of D-)."""
    ours, reference, upper, lower = _corners(x)
    lowered = lower.repeat(3, *[1] * (lower.ndim - 1))  # as many rows as arguments may have

    def called(rows: torch.Tensor) -> Sequence[torch.Tensor]:
        return func(rows.clone(), *args, **kwargs).chunk(3)  # type: ignore[no-any-return]

    def slopes(rows: torch.Tensor, k: int) -> torch.Tensor:
        """Mean of the slopes at r and at r with the other part."""
        return (slope(x, func, args, kwargs).chunk(3)[1] + slope(rows, func, args, kwargs).chunk(3)[k]) / 2

    value, at_reference, at_upper = called(x)
    at_lower = called(lowered)[0]
    rise = ((at_upper - at_reference) + (value - at_lower)) / 2
    fall = ((at_lower - at_reference) + (value - at_upper)) / 2
    up = _quotient(rise, upper, reference, lambda: slopes(lowered, 0))
    down = _quotient(fall, ours, upper, lambda: slopes(x, 2))
    return torch.cat([value, at_reference, at_reference + rise]), up, down


def _rescaled(x: torch.Tensor, func: Any, args: Any, kwargs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same by the rescale rule: one multiplier for both parts."""
    ours, reference, upper = x.chunk(3)
    value, at_reference, _ = func(x.clone(), *args, **kwargs).chunk(3)
    both = _quotient(value - at_reference, ours, reference, lambda: slope(x, func, args, kwargs).chunk(3)[0])
    return torch.cat([value, at_reference, at_reference + both * (upper - reference)]), both, both


def _quotient(
    rise: torch.Tensor, ours: torch.Tensor, reference: torch.Tensor, slopes: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """The quotient rise / (ours - reference); ``slopes()`` where that is nothing but rounding."""
    difference, differs = apart(ours, reference)
    found = rise / torch.where(differs, difference, torch.ones_like(difference))
    return found if bool(differs.all()) else torch.where(differs, found, slopes())


class _Multiplied(torch.autograd.Function):
    """A result that is known, with known multipliers for both parts."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, result: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(up, down)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        up, down = ctx.saved_tensors
        falling, _, more = gradient.chunk(3)
        return _rows(down * falling, up * (falling + more)), None, None, None


def _rows(falling: torch.Tensor, rising: torch.Tensor) -> torch.Tensor:
    """The gradient that means these multipliers of D- and D+."""
    return torch.cat([falling, torch.zeros_like(falling), rising - falling])


# ---------------------------------------------------------------------- max pooling

Part = Literal[0, 1]
"""Whose multiplier: 0 of D+, 1 of D-."""
Share = tuple[torch.Tensor, torch.Tensor | float, Part]
"""To these places, this much of that multiplier."""


@dataclass(frozen=True)
class _Corner:
    """A map, its maxima and where they lie."""

    map: torch.Tensor
    maxima: torch.Tensor
    places: torch.Tensor


@dataclass(frozen=True)
class _Handed:
    """What one part hands back: shares over its difference, slopes where it has none."""

    difference: torch.Tensor
    differs: torch.Tensor
    shares: list[Share]
    slopes: list[Share]

    def multipliers(self, rising: torch.Tensor, falling: torch.Tensor, rank: int) -> torch.Tensor:
        """Of the pooled map, from those of its result."""
        shared, steep = (self._added(s, (rising, falling), rank) for s in (self.shares, self.slopes))
        safe = torch.where(self.differs, self.difference, torch.ones_like(self.difference))
        return torch.where(self.differs, shared / safe, steep)

    def _added(self, shares: list[Share], given: tuple[torch.Tensor, torch.Tensor], rank: int) -> torch.Tensor:
        flat = torch.zeros_like(self.difference).flatten(-rank)
        for places, share, part in shares:
            flat.scatter_add_(-1, places.flatten(-rank), (given[part] * share).flatten(-rank))
        return flat.view_as(self.difference)


def _step(to: _Corner, start: _Corner, part: Part) -> list[Share]:
    """Half of the rise from one map to another, shared by the places of both maxima."""
    top = torch.maximum(to.maxima, start.maxima)
    return [(to.places, (top - start.maxima) / 2, part), (start.places, (to.maxima - top) / 2, part)]


def _pooled_apart(
    ours: _Corner, reference: _Corner, upper: _Corner, lower: _Corner
) -> tuple[torch.Tensor, _Handed, _Handed]:
    rise = (upper.maxima - reference.maxima + ours.maxima - lower.maxima) / 2
    up = _Handed(
        *apart(upper.map, reference.map),
        _step(upper, reference, 0) + _step(ours, lower, 0),
        [(reference.places, 0.5, 0), (lower.places, 0.5, 0)],
    )
    down = _Handed(
        *apart(ours.map, upper.map),
        _step(lower, reference, 1) + _step(ours, upper, 1),
        [(reference.places, 0.5, 1), (upper.places, 0.5, 1)],
    )
    return torch.cat([ours.maxima, reference.maxima, reference.maxima + rise]), up, down


def _pooled_together(
    ours: _Corner, reference: _Corner, upper: _Corner, lower: _Corner
) -> tuple[torch.Tensor, _Handed, _Handed]:
    top = torch.maximum(ours.maxima, reference.maxima)
    both = _Handed(
        *apart(ours.map, reference.map),
        [(ours.places, top - reference.maxima, 0), (reference.places, ours.maxima - top, 1)],
        [(ours.places, 0.5, 0), (ours.places, 0.5, 1)],
    )
    return torch.cat([ours.maxima, reference.maxima, top]), both, both


class _Shared(torch.autograd.Function):
    """A pooled result that is known, and what both parts hand back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rank: int, result: torch.Tensor, up: _Handed, down: _Handed) -> torch.Tensor:
        ctx.rank, ctx.up, ctx.down = rank, up, down
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        falling, _, more = gradient.chunk(3)
        rising = falling + more
        up = ctx.up.multipliers(rising, falling, ctx.rank)
        down = up if ctx.down is ctx.up else ctx.down.multipliers(rising, falling, ctx.rank)
        return _rows(down, up), None, None, None, None
