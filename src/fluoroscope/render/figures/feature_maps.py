"""Feature maps as figures: grids of channels, heat maps for series, tokens and dense layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render.figures.canvas import Picture, heading, new_figure
from fluoroscope.render.figures.geometry import strongest_slice
from fluoroscope.render.figures.label import number, plural, shortened, title
from fluoroscope.render.figures.matrix import draw_matrix
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.scale import Scale, color_bar, missing_note, scale_of
from fluoroscope.render.figures.tiles import Tile, draw_tiles, rows_of, tile_aspect

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, FeatureMaps

__all__ = ["FeatureMapsDrawing"]

COLUMNS = 8
LAYERS = 12
WIDTH = 8.2  # inches
INNER = 7.1  # of it for the maps, the rest for the colour bar


@dataclass(frozen=True)
class Chosen:
    """What is drawn of one layer: values of the channels ``numbers``, as maps (C, H, W) or as a matrix."""

    name: str
    axes: tuple[str, ...]
    values: Array
    numbers: tuple[int, ...]
    total: int

    @property
    def spatial(self) -> bool:
        """Whether each channel is a picture."""
        return "H" in self.axes

    @property
    def text(self) -> str:
        """How much of the layer is shown."""
        count = plural(self.total, "channel" if "C" in self.axes else "feature")
        return count if len(self.numbers) == self.total else f"{len(self.numbers)} strongest of {count}"


@drawing("feature-maps")
class FeatureMapsDrawing(Drawing):
    """Options of the drawing.

    ``index`` of the example; ``layer`` by name (None: the first on given Axes, all on a new figure);
    ``channel`` for a single one; ``limit`` channels per layer, the strongest ones (None: as many as stay readable);
    ``scale``: one for all channels of a layer, or one for each channel.
    """

    index: int = 0
    layer: str | None = None
    channel: int | None = None
    limit: int | None = None
    scale: Literal["shared", "channel"] = "shared"

    def on(self, result: FeatureMaps, ax: Axes, theme: Theme) -> None:
        """One layer on ``ax``."""
        chosen = self._chosen(result, self._layers(result)[0], 1)
        self._draw(result, chosen, ax, theme, None)

    def figure(self, result: FeatureMaps, theme: Theme) -> Picture:
        """A row for every layer, each with its scale."""
        names = self._layers(result)
        layers = [self._chosen(result, name, len(names)) for name in names[:LAYERS]]
        heights = [self._height(result, chosen) for chosen in layers]
        with new_figure(WIDTH, sum(heights) + 0.45 * len(layers) + 0.8, theme) as figure:
            axes = figure.subplots(len(layers), 1, squeeze=False, height_ratios=heights)[:, 0]
            for ax, chosen in zip(axes, layers, strict=True):
                scale = self._draw(result, chosen, ax, theme, INNER)
                if self.scale == "shared" or not chosen.spatial:
                    color_bar(figure, ax.images[-1], ax, scale.unit, theme, aspect=16, fraction=0.04, anchor=(0, 1))
            heading(figure, result, theme, self._facts(result, names, layers))
        return figure

    def _layers(self, result: FeatureMaps) -> tuple[str, ...]:
        if not result.maps:
            raise OptionError("there is no layer to draw", got="no maps", expected="at least one layer")
        if self.layer is None:
            return result.layers
        if self.layer not in result.maps:
            near = nearest(self.layer, result.layers)
            raise OptionError(
                "there is no such layer in this result", got=self.layer, expected="a name from .layers", nearest=near
            )
        return (self.layer,)

    def _chosen(self, result: FeatureMaps, name: str, layers: int) -> Chosen:
        data, axes = result.maps[name], result.axes[name]
        if self.index >= len(data):
            raise OptionError("there is no such example", got=self.index, expected=f"0 to {len(data) - 1}")
        kept = result.selected.get(name) or tuple(range(data.shape[1] if "C" in axes else data.shape[-1]))
        values = data if axes == ("N", "D") and len(data) > 1 else data[self.index]
        if "C" not in axes:
            return Chosen(name, axes, np.atleast_2d(values), kept, len(kept))
        if "Z" in axes:
            values = np.stack([strongest_slice(v)[0] for v in values])
        places = self._places(values, kept, layers) if "H" in axes else list(range(len(values)))
        return Chosen(name, axes, values[places], tuple(kept[i] for i in places), len(kept))

    def _places(self, values: Array, kept: tuple[int, ...], layers: int) -> list[int]:
        """Which of the kept channels are shown: the one asked for, or the strongest, in order of their numbers.

        Channels with values that are not finite come first: what is broken must not be left out.
        """
        if self.channel is not None:
            if self.channel not in kept:
                raise OptionError(
                    "the channel is not in this result", got=self.channel, expected=f"one of {len(kept)} kept"
                )
            return [kept.index(self.channel)]
        limit = self.limit or (39 if layers == 1 else 23 if layers <= 3 else 15)
        if len(values) <= limit:
            return list(range(len(values)))
        strength = np.nan_to_num(np.abs(values), nan=np.inf, posinf=np.inf).reshape(len(values), -1).max(axis=1)
        return sorted(np.argsort(-strength, kind="stable")[:limit].tolist())

    def _draw(self, result: FeatureMaps, chosen: Chosen, ax: Axes, theme: Theme, room: float | None) -> Scale:
        scale = scale_of([chosen.values])
        if chosen.spatial:
            draw_tiles(ax, self._tiles(result, chosen, scale), COLUMNS, theme, room)
        else:
            draw_matrix(ax, chosen.values, scale, scale.norm(), theme, *self._words(result, chosen))
        ranges = "each channel on its own scale" if self.scale == "channel" and chosen.spatial else str(scale)
        title(ax, shortened(chosen.name, 60), theme, f"{chosen.text} · {ranges}")
        return scale

    def _tiles(self, result: FeatureMaps, chosen: Chosen, scale: Scale) -> list[Tile]:
        shared = scale.norm()
        tiles = []
        if result.samples.images is not None and self.channel is None:
            image = result.samples.images[self.index]
            tiles.append(Tile(np.repeat(image[..., None], 3, -1) if image.ndim == 2 else image, "input"))
        for channel, values in zip(chosen.numbers, chosen.values, strict=True):
            own = scale_of([values], signed=scale.signed)
            norm = shared if self.scale == "shared" else own.norm()
            label = str(channel) if self.scale == "shared" else f"{channel} ≤{number(own.high)}"
            tiles.append(Tile(values, label, norm, scale.colormap))
        return tiles

    def _words(self, result: FeatureMaps, chosen: Chosen) -> tuple[tuple[str, str], tuple[str, ...]]:
        """Names of the two axes of a matrix, and of its rows."""
        if "C" in chosen.axes:
            return ("channel", "position"), ()
        if "L" in chosen.axes:
            features = result.samples.features
            tokens = features[self.index] if self.index < len(features) else ()
            return ("token", "feature"), tokens if len(tokens) == len(chosen.values) else ()
        names = result.samples.names
        return ("example", "feature"), names if len(names) == len(chosen.values) else ()

    def _height(self, result: FeatureMaps, chosen: Chosen) -> float:
        if not chosen.spatial:
            return min(max(0.24 * len(chosen.values), 0.5), 3.2)
        count = len(chosen.numbers) + (result.samples.images is not None and self.channel is None)
        return rows_of(count, min(COLUMNS, count), tile_aspect(chosen.values.shape[1:]), min(INNER, count * 1.6))

    def _facts(self, result: FeatureMaps, names: tuple[str, ...], layers: list[Chosen]) -> list[str]:
        known = result.samples.names
        facts = [f"Example {self.index}: {shortened(known[self.index], 60)}."] if self.index < len(known) else []
        if len(layers) < len(names):
            facts.append(f"The first {len(layers)} of {len(names)} layers; choose one with layer=.")
        if any("Z" in chosen.axes for chosen in layers):
            facts.append("Of each volume, the slice with the greatest magnitude.")
        return [*facts, *(f"{shortened(c.name)}: {missing_note(c.values)}" for c in layers if missing_note(c.values))]
