"""Coordinates of one container: where its rows and boxes are, from the sizes of the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fluoroscope.render.graph.layout import BORDER, Layout

__all__ = ["Gaps", "Placing", "Reach", "placed", "spread"]

SWEEPS = 4
LIGHT = 0.02  # how much a passing wire resists being moved, beside a box of the main way
SIDELINE = 0.2  # the same for boxes that nothing feeds, or that feed nothing
STRETCH = 0.1  # more room between two rows, for each unit that a wire between them goes sideways


@dataclass(frozen=True)
class Reach:
    """How far a box goes before and after its axis (across the flow), and how long it is along the flow."""

    before: float
    after: float
    along: float


@dataclass(frozen=True)
class Gaps:
    """Free room: between boxes of a row, between rows, between wires that run side by side."""

    across: float = 18.0
    along: float = 26.0
    lane: float = 9.0


@dataclass
class Placing:
    """Axes of the items of each row and where each row begins and ends; columns beside them; the reach of it all.

    Coordinates are relative to the container's own axis (across) and to where its first row begins (along).
    """

    axis: list[dict[int, float]] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    side: dict[int, float] = field(default_factory=dict)
    up: dict[int, float] = field(default_factory=dict)
    reach: Reach = field(default_factory=lambda: Reach(0, 0, 0))


def placed(layout: Layout, boxes: Sequence[Reach], gaps: Gaps) -> Placing:
    """Places for ``boxes``, the children of a container with ``layout``, in order.

    Rows are swept down and up; each time the axes of a row move to the mean of those they are joined to, as far as the
    order and the gaps allow (least squares, exact). Then the outer passing wires are drawn straight.
    """
    reach = _reaches(layout, boxes, gaps)
    near = _neighbours(layout)
    axis = [dict(zip(row, _row(row, reach, gaps, dict.fromkeys(row, 0.0), near), strict=True)) for row in layout.rows]
    for sweep in range(SWEEPS):
        _sweep(layout, axis, reach, gaps, near, down=sweep % 2 == 0)
    _straighten(layout, axis, reach, gaps)
    made = Placing(axis=axis)
    _along(layout, boxes, gaps, near, made)
    _beside(layout, boxes, reach, gaps, made)
    return made


def spread(wishes: Sequence[float], apart: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The places nearest to ``wishes`` in weighted least squares, with at least ``apart[i]`` between i and i + 1.

    Without the distances it is isotonic regression, which pooling adjacent violators solves exactly in linear time.
    """
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []  # mean, weight, count
    for wish, offset, weight in zip(wishes, offsets, weights, strict=True):
        mean, heavy, count = wish - offset, weight, 1
        while pools and pools[-1][0] >= mean:
            other, more, number = pools.pop()
            mean = (mean * heavy + other * more) / (heavy + more)
            heavy, count = heavy + more, count + number
        pools.append((mean, heavy, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _reaches(layout: Layout, boxes: Sequence[Reach], gaps: Gaps) -> dict[int, Reach]:
    """The reach of every item; a passing wire is thin, and has half the gap of a box beside it."""
    thin = Reach((gaps.lane - gaps.across) / 2, (gaps.lane - gaps.across) / 2, 0)
    return {item: boxes[item] if item >= 0 else thin for row in layout.rows for item in row}


Near = dict[int, tuple[list[int], list[int], bool]]


def _neighbours(layout: Layout) -> Near:
    """For each item those it is joined to in the row above and in the row below, and whether it feels the border."""
    near: Near = {item: ([], [], False) for row in layout.rows for item in row}

    def join(upper: int, lower: int) -> None:
        near[upper][1].append(lower)
        near[lower][0].append(upper)

    for k, trunk in enumerate(layout.trunks):
        if not trunk.column:
            join(-1 - k, -1 - k)  # in the next row
            if trunk.source != BORDER:
                join(trunk.source, -1 - k)
    for a, b in layout.wires:
        upper, lower = layout.rank.get(a, -1), layout.rank.get(b, len(layout.rows))
        if b == BORDER or a == BORDER:
            direct = b if a == BORDER else a
            if lower == upper + 1 and direct in near:
                near[direct] = (near[direct][0], near[direct][1], True)
        if b == BORDER or lower <= upper:
            continue
        if lower == upper + 1 and a != BORDER:
            join(a, b)
        elif lower > upper + 1 and not layout.trunks[layout.trunk_of[a]].column:
            join(-1 - layout.trunk_of[a], b)
    return near


def _weight(item: int, near: Near) -> float:
    if item < 0:
        return LIGHT
    above, below, border = near[item]
    return 1.0 if (above or border) and (below or border) else SIDELINE


def _row(row: Sequence[int], reach: dict[int, Reach], gaps: Gaps, wishes: dict[int, float], near: Near) -> list[float]:
    apart = [reach[a].after + gaps.across + reach[b].before for a, b in pairwise(row)]
    return spread([wishes[i] for i in row], apart, [_weight(i, near) for i in row])


def _sweep(
    layout: Layout, axis: list[dict[int, float]], reach: dict[int, Reach], gaps: Gaps, near: Near, down: bool
) -> None:
    order = range(len(axis)) if down else range(len(axis) - 1, -1, -1)
    for r in order:
        wishes = {}
        for item, now in axis[r].items():
            above, below, _ = near[item]
            joined = above if down else below
            fixed = axis[r - 1] if down else axis[min(r + 1, len(axis) - 1)]
            known = [(place, _weight(j, near)) for j in joined if (place := fixed.get(j)) is not None]
            known = known or ([(0.0, 1.0)] if near[item][2] else [])
            heavy = sum(weight for _, weight in known)
            wishes[item] = sum(place * weight for place, weight in known) / heavy if known else now
        axis[r] = dict(zip(axis[r], _row(list(axis[r]), reach, gaps, wishes, near), strict=True))


def _straighten(layout: Layout, axis: list[dict[int, float]], reach: dict[int, Reach], gaps: Gaps) -> None:
    """Passing wires with only such wires on one side in every row run straight, where all boxes leave room."""
    for side in (1, -1):
        for k in _outer(layout, side):
            trunk, item = layout.trunks[k], -1 - k
            places = []
            for r in range(trunk.first, trunk.last + 1):
                row = layout.rows[r]
                beside = row.index(item) - side
                if not 0 <= beside < len(row):
                    places.append(axis[r][item])
                    continue
                other = reach[row[beside]]
                room = (
                    other.after + reach[item].before if side > 0 else other.before + reach[item].after
                ) + gaps.across
                places.append(axis[r][row[beside]] + side * room)
            straight = max(places) if side > 0 else min(places)
            for r in range(trunk.first, trunk.last + 1):
                axis[r][item] = straight


def _outer(layout: Layout, side: int) -> list[int]:
    """The trunks that have only trunks to their right (side 1) or left (-1) in all rows, from the boxes outwards."""
    seen: dict[int, int] = {}
    mixed: set[int] = set()
    for row in layout.rows:
        boxes = [i for i, item in enumerate(row) if item >= 0]
        edge = (boxes[-1] if side > 0 else boxes[0]) if boxes else -1
        for i, item in enumerate(row):
            if item < 0:
                away = (i - edge) * side
                seen[-1 - item] = max(seen.get(-1 - item, 0), away)
                if away < 0:
                    mixed.add(-1 - item)
    return sorted((k for k in seen if k not in mixed), key=lambda k: (seen[k], k))


def _along(layout: Layout, boxes: Sequence[Reach], gaps: Gaps, near: Near, made: Placing) -> None:
    at = 0.0
    for r, row in enumerate(layout.rows):
        long = max((boxes[item].along for item in row if item >= 0), default=0.0)
        made.start.append(at)
        made.end.append(at + long)
        lower = made.axis[r + 1] if r + 1 < len(made.axis) else {}
        aside = [abs(made.axis[r][i] - lower[j]) for i in row for j in near[i][1] if j in lower]
        at += long + min(gaps.along + STRETCH * max(aside, default=0.0), 2.5 * gaps.along)


def _beside(layout: Layout, boxes: Sequence[Reach], reach: dict[int, Reach], gaps: Gaps, made: Placing) -> None:
    """The columns of what runs beside the rows, and the reach of the whole."""
    low = min((x - max(reach[i].before, 0.0) for row in made.axis for i, x in row.items()), default=0.0)
    high = max((x + max(reach[i].after, 0.0) for row in made.axis for i, x in row.items()), default=0.0)
    right = max((t.column for t in layout.trunks), default=0)
    left = max((column for _, _, column in layout.back), default=0)
    made.side = {c: high + gaps.across / 2 + gaps.lane * (c - 1) for c in range(1, right + 1)}
    made.up = {c: low - gaps.across / 2 - gaps.lane * (c - 1) for c in range(1, left + 1)}
    high, low = max([high, *made.side.values()]), min([low, *made.up.values()])
    made.reach = Reach(-min(low, 0.0), max(high, 0.0), made.end[-1] if made.end else 0.0)
