"""Parts of a network below a row of its tensors: bands with names, for as many as have room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoroscope.render import design
from fluoroscope.render.figures.label import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme

__all__ = ["mark_spans"]

SPANS = 32  # names of parts of the network that fit below the overview


def mark_spans(ax: Axes, names: Sequence[str], theme: Theme, above: tuple[Axes, ...] = ()) -> None:
    """Parts of the network, by the first words of the names, as bands with their names below."""
    spans = _parts(names)
    for i, (_, start, end) in enumerate(spans):
        for other in (ax, *above):
            other.tick_params(axis="x", length=0)
            if i % 2:
                other.axvspan(start - 0.5, end - 0.5, color=theme.raised, linewidth=0, zorder=0)
    named = _apart(spans, len(names) / SPANS)
    middles = [(start + end - 1) / 2 for _, start, end in named]
    ax.set_xticks(
        middles,
        [shortened(name, 18) for name, _, _ in named],
        parse_math=False,
        rotation=35,
        ha="right",
        rotation_mode="anchor",
    )
    ax.tick_params(axis="x", length=0, labelcolor=theme.muted, labelsize=design.points("xs"))


def _parts(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of names with a common beginning (name, start, end): as many words as leave the runs few."""
    best: list[tuple[str, int, int]] = []
    for words in range(1, 6):
        runs: list[tuple[str, int, int]] = []
        for i, name in enumerate(names):
            start = ".".join(name.split(".")[:-1][:words]) or name  # the last word is the tensor's own
            if runs and runs[-1][0] == start:
                runs[-1] = (start, runs[-1][1], i + 1)
            else:
                runs.append((start, i, i + 1))
        if best and len(runs) > SPANS:
            break
        best = runs
    return best


def _apart(spans: list[tuple[str, int, int]], distance: float) -> list[tuple[str, int, int]]:
    """The parts whose names have room: larger ones before smaller ones, middles at least ``distance`` columns apart."""
    kept: list[tuple[str, int, int]] = []
    for span in sorted(spans, key=lambda s: s[1] - s[2]):
        if all(abs((span[1] + span[2]) - (other[1] + other[2])) / 2 >= distance * 0.8 for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda s: s[1])
