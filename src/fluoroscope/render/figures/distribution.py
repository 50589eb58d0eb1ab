"""Distributions of values from histograms: of one tensor in full, of many tensors side by side."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter

from fluoroscope.render import design
from fluoroscope.render.figures.bars import sign_colors
from fluoroscope.render.figures.canvas import inches_of, quiet
from fluoroscope.render.figures.label import amount, number, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, TensorRecord

__all__ = ["draw_boxes", "draw_histogram", "draw_log_histogram", "quantiles"]

GAP = 0.15  # half the width of the middle bar, in powers of ten
SHARES = ((0.0, 1.0, 0.9), (0.01, 0.99, 2.2), (0.25, 0.75, 5.5))  # from, to, line width in points


def quantiles(edges: Array, counts: Array, shares: Sequence[float]) -> Array:
    """Values below which ``shares`` of the entries lie, linear within the bins; NaN for an empty histogram."""
    total = counts.sum()
    if total == 0:
        return np.full(len(shares), np.nan)
    cumulative = np.concatenate([[0.0], np.cumsum(counts) / total])
    filled = np.concatenate([[True], np.diff(cumulative) > 0])  # steps of height 0 would make the inverse ambiguous
    first = int(np.flatnonzero(counts)[0])
    at = np.where(np.arange(len(edges)) <= first, edges[first], edges)
    filled[: first + 1] = False
    filled[first] = True
    return np.asarray(np.interp(shares, cumulative[filled], at[filled]))


def draw_histogram(ax: Axes, tensor: TensorRecord, theme: Theme) -> None:
    """Counts per bin on a logarithmic axis, values below 0 and above 0 in the two colours of the signed palette."""
    low, high = sign_colors(theme)
    edges, counts = np.asarray(tensor.edges, dtype=float), np.asarray(tensor.counts)
    middle = (edges[:-1] + edges[1:]) / 2
    width = np.diff(edges)
    for side, color in ((middle < 0, low), (middle >= 0, high)):
        ax.bar(edges[:-1][side], counts[side], width=width[side], align="edge", color=color, linewidth=0)
    ax.axvline(0, color=theme.muted, linewidth=0.8)
    ax.set_ylim(0.7, max(float(counts.max(initial=1)), 6) * 1.6)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(lambda v, _: amount(v))
    ax.yaxis.set_minor_formatter(NullFormatter())
    quiet(ax, theme, "y")
    style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False}
    ax.set_ylabel("entries", **style)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    lost = int(tensor.statistics.get("nonfinite", 0))
    if lost:
        ax.text(
            1,
            0.98,
            f"{lost:,} not finite",
            transform=ax.transAxes,
            ha="right",
            va="top",
            **{**style, "color": theme.bad},
        )


def draw_log_histogram(ax: Axes, tensor: TensorRecord, theme: Theme) -> None:
    """Counts on a logarithmic axis over the logarithm of the magnitude: below zero to the left, above it to the right.

    The bar in the middle holds what is too small for either side, zeros among it.
    """
    low, high = sign_colors(theme)
    edges, counts = np.asarray(tensor.log_edges, dtype=float), np.asarray(tensor.log_counts)
    sides = len(counts) // 2
    middle = max((edges[sides + 1] - edges[sides]) / 2, 0.0) if len(counts) % 2 else 0.0
    floor = middle or float(np.abs(edges[edges != 0]).min(initial=1.0))
    places = np.sign(edges) * (np.log10(np.maximum(np.abs(edges), floor) / floor) + GAP)
    color = [theme.muted if a < 0 < b else low if b <= 0 else high for a, b in itertools.pairwise(edges)]
    ax.bar(places[:-1], counts, width=np.diff(places), align="edge", color=color, linewidth=0)
    ax.set_ylim(0.7, max(float(counts.max(initial=1)), 6) * 1.6)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(lambda v, _: amount(v))
    ax.yaxis.set_minor_formatter(NullFormatter())
    quiet(ax, theme, "y")
    ticks = _decades(floor, float(np.abs(edges).max(initial=1.0)))
    at = np.log10(10.0**ticks / floor) + GAP
    names = [f"10{''.join(RAISED[c] for c in str(t))}" for t in ticks]
    ax.set_xticks([*-at[::-1], 0, *at], [*(f"−{n}" for n in names[::-1]), "0", *names], parse_math=False)


RAISED = dict(zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))


def _decades(low: float, high: float) -> Array:
    """Two powers of ten, well apart from each other and from the lower end; fewer where there is no room."""
    first, last = np.log10(low), np.log10(high)
    if last - first < 2.5:  # one has room
        return np.array([int(np.floor(last - 0.05))])
    found: Array = np.unique(np.floor([last - 0.05 * (last - first), (first + last) / 2])).astype(int)
    return np.asarray(found[(found > first + 0.3 * (last - first)) & (found <= last)])


def draw_boxes(ax: Axes, tensors: Sequence[TensorRecord], colors: Sequence[str], theme: Theme) -> None:
    """One column per tensor in order: least to greatest as a thin line, 1 % to 99 % thicker, the middle half thickest.

    The axis of values is linear near 0 and logarithmic beyond, so that small weights and large statistics fit together.
    """
    shares = sorted({s for low, high, _ in SHARES for s in (low, high)} | {0.5})
    table = np.array([quantiles(t.edges, t.counts, shares) for t in tensors])
    for i, tensor in enumerate(tensors):  # exact, where the histogram would give the edge of a bin
        ends = tensor.statistics.get("min", np.nan), tensor.statistics.get("max", np.nan)
        table[i, 0], table[i, -1] = ends
        table[i, 1:-1] = np.clip(table[i, 1:-1], *ends)  # a bar is wider than the values in it
    room = 72 * inches_of(ax)[0] / max(len(tensors), 1)
    columns = np.arange(len(tensors))
    for low, high, width in SHARES:
        reach = table[:, shares.index(low)], table[:, shares.index(high)]
        ax.vlines(columns, *reach, colors=list(colors), linewidth=min(width, room * width / 6))
    ax.scatter(columns, table[:, shares.index(0.5)], s=min(9, room * 1.5), color=theme.surface, linewidth=0, zorder=3)
    spread = np.array([t.statistics.get("std", np.nan) for t in tensors], dtype=float)
    usual = spread[np.isfinite(spread) & (spread > 0)]
    near = (
        10.0 ** np.round(np.log10(np.median(usual))) if usual.size else 1.0
    )  # a power of ten, so that ticks keep apart
    ax.set_yscale("symlog", linthresh=float(near), linscale=1.0)
    ax.axhline(0, color=theme.muted, linewidth=0.6)
    ax.set_xlim(-1, len(tensors))
    quiet(ax, theme, "y")
    _outlier(ax, tensors, table, theme)


def _outlier(ax: Axes, tensors: Sequence[TensorRecord], table: Array, theme: Theme) -> None:
    """The name of the tensor that reaches farthest from 0."""
    reach = np.nanmax(np.abs(np.nan_to_num(table)), axis=1)
    i = int(reach.argmax())
    value = table[i, 0] if abs(table[i, 0]) == reach[i] else table[i, -1]
    right = i > len(tensors) / 2
    style: dict[str, Any] = {"color": theme.text, "fontsize": design.points("xs"), "parse_math": False, "va": "center"}
    text = f"{shortened(tensors[i].name, 36)} {number(float(value))}"
    ax.annotate(
        text, (i, value), (-6 if right else 6, 0), textcoords="offset points", ha="right" if right else "left", **style
    )
