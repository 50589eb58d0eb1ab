"""Attribution as figures: maps over pictures, coloured tokens, bars for columns of a table, lines for series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fluoroscope.errors import OptionError
from fluoroscope.render.figures.bars import bar_count, draw_bars
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, plain
from fluoroscope.render.figures.geometry import extent, fitted, form, frame, places_of, strongest_slice
from fluoroscope.render.figures.label import number, plural, shortened, title
from fluoroscope.render.figures.overlay import draw_overlay, draw_photo, draw_segments
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.scale import Scale, color_bar, hatch_missing, missing_note, scale_of
from fluoroscope.render.figures.strip import CHANNELS, Lanes, draw_series
from fluoroscope.render.figures.tokens import draw_tokens, line_count, without_padding
from fluoroscope.render.outline import has_outline, outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, Attribution

__all__ = ["AttributionDrawing"]

TARGETS = 6  # columns of a grid at most
BAR_ROOM, LINE_ROOM = 0.1, 0.15  # inches: a horizontal colour bar with its ticks and unit, a line of remarks
CELL = 2.3  # inches of a picture in a grid
Place = tuple[int, int]


@drawing("attribution")
class AttributionDrawing(Drawing):
    """Options of the drawing.

    ``index`` and ``target`` choose an example and one of its targets (None: the first on given Axes, all on a new
    figure); ``over`` the picture or the bare map at its own resolution (None: the picture where there is one);
    ``alpha`` the opacity at the end of the scale; ``limit`` examples on a figure; ``top`` bars; or a ``waterfall``.
    """

    index: int | None = None
    target: int | None = None
    over: Literal["image", "map"] | None = None
    alpha: float = 0.85
    limit: int = 8
    top: int = 15
    waterfall: bool = False

    def on(self, result: Attribution, ax: Axes, theme: Theme) -> None:
        """One example and target on ``ax``; the scale is that of this map alone."""
        place = (self._number(self.index or 0, len(result.data), "index"), self._target(result, self.target or 0))
        scale = scale_of([result.map(*place)], result.signed, result.unit)
        self._cell(result, place, ax, scale, scale.norm(), theme)
        self._title(result, place, ax, theme)

    def figure(self, result: Attribution, theme: Theme) -> Picture:
        """Examples x targets on one shared scale, pictures with the original beside them."""
        if not len(result.data):
            raise OptionError("there is nothing to draw", got="an attribution of no examples", expected="at least one")
        rows, columns = self._rows(result), self._columns(result)
        places = [[(n, k) for k in columns] for n in rows]
        scale = scale_of([result.map(*p) for row in places for p in row], result.signed, result.unit)
        make = self._grid if form(result) == "image" else self._panels
        figure = make(result, places, scale, theme)
        heading(figure, result, theme, self._facts(result, places, scale))
        if form(result) == "token":  # boxes of one line each have no height to give to the lines below them
            lines = figure.get_supxlabel().count("\n") + 1
            figure.set_figheight(figure.get_figheight() + BAR_ROOM + LINE_ROOM * lines)
        return figure

    def _rows(self, result: Attribution) -> list[int]:
        if self.index is not None:
            return [self._number(self.index, len(result.data), "index")]
        return list(range(min(len(result.data), max(self.limit, 1))))

    def _columns(self, result: Attribution) -> list[int]:
        if self.target is not None:
            return [self._target(result, self.target)]
        return list(range(min(result.data.shape[1], TARGETS))) if result.has_targets else [0]

    def _target(self, result: Attribution, target: int) -> int:
        return self._number(target, result.data.shape[1] if result.has_targets else 1, "target")

    def _number(self, chosen: int, count: int, name: str) -> int:
        if chosen >= count:
            raise OptionError(
                f"there is no such {name}", got=chosen, expected=f"0 to {count - 1}" if count else "an example"
            )
        return chosen

    def _grid(self, result: Attribution, places: list[list[Place]], scale: Scale, theme: Theme) -> Picture:
        photos = self._over(result) == "image"
        height, width = frame(result)
        shape = (len(places), len(places[0]) + photos)
        aspect = min(max(height / width, 0.3), 3.0)
        with new_figure(max(shape[1] * CELL + 1, 4.2), shape[0] * (CELL * aspect + 0.42) + 0.75, theme) as figure:
            axes = figure.subplots(*shape, squeeze=False)
            norm = scale.norm()
            for row, line in zip(axes, places, strict=True):
                if photos:
                    self._original(result, line[0][0], row[0], theme)
                for place, ax in zip(line, row[photos:], strict=True):
                    self._cell(result, place, ax, scale, norm, theme)
                    self._title(result, place, ax, theme)
            color_bar(figure, axes[0, -1].images[-1], axes, result.unit, theme)
        return figure

    def _panels(self, result: Attribution, places: list[list[Place]], scale: Scale, theme: Theme) -> Picture:
        flat = [place for row in places for place in row]
        heights = [self._height(result, place) for place in flat]
        with new_figure(8.2, sum(heights) + 0.42 * len(flat) + 1.0, theme) as figure:
            alike = form(result) == "table" and not self.waterfall
            axes = figure.subplots(len(flat), 1, squeeze=False, sharex=alike, height_ratios=heights)[:, 0]
            norm = scale.norm()
            for ax, place, height in zip(axes, flat, heights, strict=True):
                self._cell(result, place, ax, scale, norm, theme, (7.8, height))
                self._title(result, place, ax, theme, named=True)
            if form(result) == "series":
                axes[-1].set_xlabel("step of the input")
            if form(result) == "token":
                mappable = _mappable(scale, norm)
                color_bar(figure, mappable, list(axes), result.unit, theme, location="bottom", aspect=60, shrink=0.5)
        return figure

    def _height(self, result: Attribution, place: Place) -> float:
        values = result.map(*place)
        if form(result) == "token":
            return min(line_count(_tokens(result, place[0], values)[0], 7.6), 24) * 0.272
        if form(result) == "table":
            return 0.26 * bar_count(result.table(*place)[1], self.top) + 0.3
        lanes = _lanes(result, place[0])
        return 1.7 if lanes is None else 1.5 + lanes.height

    def _cell(
        self,
        result: Attribution,
        place: Place,
        ax: Axes,
        scale: Scale,
        norm: Normalize,
        theme: Theme,
        room: tuple[float, float] | None = None,
    ) -> None:
        values = result.map(*place)
        match form(result):
            case "token":
                names, numbers, padding = _tokens(result, place[0], values)
                draw_tokens(ax, names, numbers, scale, theme, room, padding)
            case "table":
                names, numbers = result.table(*place)
                draw_bars(
                    ax, names, numbers, theme, self.top, result.unit, _score(result, place) if self.waterfall else None
                )
            case "series":
                places, lanes = places_of(result, len(values)), _lanes(result, place[0])
                draw_series(ax, values, scale, norm, theme, places, result.unit, lanes)
            case _:
                self._picture(result, place, ax, scale, norm, theme)

    def _picture(
        self, result: Attribution, place: Place, ax: Axes, scale: Scale, norm: Normalize, theme: Theme
    ) -> None:
        values = strongest_slice(result.map(*place))[0]
        where = extent(result, values)
        if self._over(result) == "image":
            image = _image(result, place[0])
            draw_overlay(
                ax,
                image,
                fitted(result, values, image.shape[:2]),
                scale,
                norm,
                theme,
                self.alpha,
                values,
                where,
            )
        else:
            ax.imshow(values, cmap=scale.colormap, norm=norm, extent=where, interpolation="nearest")
            hatch_missing(ax, values, where, theme)
        height, width = frame(result)
        if has_outline(result):
            draw_segments(ax, outline(result, place[0]) * np.array([width, height, width, height]))
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        plain(ax)

    def _original(self, result: Attribution, n: int, ax: Axes, theme: Theme) -> None:
        height, width = frame(result)
        draw_photo(ax, _image(result, n), (0, width, height, 0))
        plain(ax)
        title(ax, shortened(_name(result, n), 30), theme, " ")

    def _title(self, result: Attribution, place: Place, ax: Axes, theme: Theme, named: bool = False) -> None:
        label = shortened(result.label(*place) or f"target {_target_number(result, place)}", 30)
        name = f"{shortened(_name(result, place[0]), 40)}  →  " if named else ""
        title(ax, name + label, theme, "" if self.waterfall and named else f"score {number(_score(result, place))}")

    def _over(self, result: Attribution) -> str:
        return self.over or ("map" if result.samples.images is None else "image")

    def _facts(self, result: Attribution, places: list[list[Place]], scale: Scale) -> list[str]:
        values = np.stack([result.map(*p) for row in places for p in row])
        facts = (
            [f"{'One scale for all' if values.shape[0] > 1 else 'Scale'}: {scale}."] if form(result) != "table" else []
        )
        targets = result.data.shape[1] if result.has_targets else 1
        if self.index is None and len(places) < len(result.data):
            facts.append(f"The first {len(places)} of {plural(len(result.data), 'example')}.")
        if self.target is None and len(places[0]) < targets:
            facts.append(f"The first {len(places[0])} of {plural(targets, 'target')}.")
        if values.ndim == 4:
            facts.append("Of each volume, the slice with the greatest magnitude.")
        channels = 0 if result.samples.series is None else result.samples.series.shape[1]
        if channels > CHANNELS:
            facts.append(f"The first {CHANNELS} of {plural(channels, 'channel')}.")
        if has_outline(result) and form(result) == "image":
            facts.append("Double line: what the target asks about.")
        finite = values[np.isfinite(values)]
        if finite.size and not finite.any():
            facts.append("All values are zero: nothing in the input speaks for or against the target.")
        return [*facts, missing_note(values)]


def _image(result: Attribution, n: int) -> Array:
    """The picture of example ``n``. Raises OptionError where the result has none."""
    if result.samples.images is None:
        raise OptionError("there is no picture to draw over", expected="over='map', or a result with samples.images")
    return np.asarray(result.samples.images[n])


def _name(result: Attribution, n: int) -> str:
    return result.samples.names[n] if n < len(result.samples.names) else f"example {n}"


def _features(result: Attribution, n: int, count: int, noun: str) -> tuple[str, ...]:
    known = result.samples.features[n] if n < len(result.samples.features) else ()
    return (*known[:count], *(f"{noun} {i}" for i in range(len(known), count)))


def _tokens(result: Attribution, n: int, values: Array) -> tuple[tuple[str, ...], Array, frozenset[int]]:
    """Names and values of the tokens of example ``n``, padding as one."""
    names, real = _features(result, n, len(values), "token"), result.samples.real
    fits = real is not None and real.shape[1] == len(values)
    return without_padding(names, values, result.samples.padding(n) if fits else [])


def _lanes(result: Attribution, n: int) -> Lanes | None:
    """The series of example ``n``, where it is known; channels keep their scale from example to example."""
    series = result.samples.series
    if series is None or n >= len(series):
        return None
    bounds = np.stack([series.min(axis=(0, 2, 3)), series.max(axis=(0, 2, 3))], axis=1)
    names = result.samples.features[n] if n < len(result.samples.features) else ()
    return Lanes(series[n], bounds, result.size[-1] if result.size else series.shape[2], names)


def _score(result: Attribution, place: Place) -> float:
    n, k = place
    return float(result.scores[n, k] if result.scores.ndim == 2 else result.scores[n])


def _target_number(result: Attribution, place: Place) -> int:
    n, k = place
    return int(result.targets[n, k] if result.targets.ndim == 2 else result.targets[n])


def _mappable(scale: Scale, norm: Normalize) -> ScalarMappable:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=norm, cmap=scale.colormap)
