"""TensorHistory as figures: layers by steps as a heat map, and the histograms of one layer as ridges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, plain, quiet
from fluoroscope.render.figures.label import number, shortened, title
from fluoroscope.render.figures.profile import draw_profile
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.scale import color_bar, hatch_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, TensorHistory

__all__ = ["HEALTHY_RATIO", "TensorHistoryDrawing"]

HEALTHY_RATIO = 1e-3
"""Updates of about a thousandth of the weights are what a healthy training makes."""
NAMED = 45
RIDGES = 20
TITLES = {
    "gradient/norm": "Gradient norm",
    "weight/norm": "Weight norm",
    "update/norm": "Update norm",
    "update/ratio": "Update / weight",
    "activation/dead": "Dead units",
    "activation/saturated": "Saturated units",
}


@drawing("tensor-history")
class TensorHistoryDrawing(Drawing):
    """Options of the drawing.

    ``quantity`` (None: the gradient norm on given Axes, the best known three on a new figure); ``layer`` draws the
    histograms of that tensor over time instead, as ridges, of the ``histogram`` named (None: the first).
    """

    quantity: str | None = None
    layer: str | None = None
    histogram: str | None = None

    def on(self, result: TensorHistory, ax: Axes, theme: Theme) -> None:
        """The heat map of one quantity, or the ridges of one layer."""
        if self.layer is not None:
            self._ridges(result, ax, theme)
            return
        names = self._quantities(result)
        if not names:
            _empty(ax, theme, result)
            return
        if _by_layer(result):
            draw_profile(result, ax, theme)
            return
        _heat(result, names[0], ax, theme)

    def figure(self, result: TensorHistory, theme: Theme) -> Picture:
        """A heat map for each quantity, on top of one another, so that steps are compared; or the ridges."""
        if self.layer is None and self.quantity is None and _by_layer(result):
            return _profile_figure(result, theme)
        names = self._quantities(result)[:3] if self.layer is None else [""]
        tall = min(max(0.16 * len(result.names), 1.6), 7.0) if self.layer is None else 5.0
        rows = max(len(names), 1)
        with new_figure(9.0 if self.layer is None else 6.5, rows * (tall + 0.6) + 0.8, theme) as figure:
            axes = figure.subplots(rows, 1, squeeze=False).ravel()
            if self.layer is not None:
                self._ridges(result, axes[0], theme)
            elif not names:
                _empty(axes[0], theme, result)
            else:
                for ax, name in zip(axes, names, strict=True):
                    drawn = _heat(result, name, ax, theme)
                    if drawn is not None:
                        unit = result.units.get(name, "")
                        bar = color_bar(figure, drawn, ax, "" if unit in ("share", "1") else unit, theme, fraction=0.03)
                        if unit == "share":
                            bar.ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
            heading(figure, result, theme, _facts(result) if self.layer is None else [])
        return figure

    def _quantities(self, result: TensorHistory) -> list[str]:
        if self.quantity is None:
            first: list[str] = [
                n for n in ("gradient/norm", "update/ratio", "activation/dead") if n in result.statistics
            ]
            return first or list(result.statistics)[:1]
        if self.quantity not in result.statistics:
            raise OptionError(
                "no such quantity was recorded",
                got=self.quantity,
                expected=", ".join(result.statistics) or "a recording with statistics",
                nearest=nearest(self.quantity, result.statistics),
            )
        return [self.quantity]

    def _ridges(self, result: TensorHistory, ax: Axes, theme: Theme) -> None:
        histograms = result.histograms
        if self.layer not in result.names:
            raise OptionError(
                "there is no such tensor",
                got=self.layer,
                expected=", ".join(result.names[:8]) + (" …" if len(result.names) > 8 else ""),
                nearest=nearest(str(self.layer), result.names),
            )
        name = self.histogram or next(iter(histograms), "")
        if name not in histograms:
            raise OptionError(
                "no such histograms were recorded",
                got=name or "none",
                expected=", ".join(histograms) or "a recording with histograms",
            )
        found = histograms[name]
        counts = np.asarray(found.counts[result.names.index(str(self.layer))], float)
        title(ax, f"{shortened(str(self.layer), 50)}, {shortened(name, 20)}", theme)
        _draw_ridges(ax, found.steps, np.asarray(found.edges, float), counts, theme)


def _by_layer(result: TensorHistory) -> bool:
    """Whether there is one moment only, and the layers are the axis."""
    return result.meta.get("axis") == "layer" and len(result.steps) == 1


def _profile_figure(result: TensorHistory, theme: Theme) -> Picture:
    with new_figure(8.5, 3.9, theme) as figure:
        draw_profile(result, figure.add_subplot(), theme)
        heading(figure, result, theme)
    return figure


def _empty(ax: Axes, theme: Theme, result: TensorHistory) -> None:
    plain(ax)
    more = "\nhistograms were: plot(layer=…) draws those of one tensor" if result.histograms else ""
    ax.text(0.5, 0.5, f"no statistics were recorded{more}", color=theme.muted, ha="center", transform=ax.transAxes)


def _facts(result: TensorHistory) -> list[str]:
    facts = ["Layers in the order of the network, on one colour scale; hatched: NaN or infinite, blank: not recorded."]
    if "update/ratio" in result.statistics:
        facts.append("Update / weight: neutral is a change of a thousandth per step, blue is slower, orange faster.")
    return facts


def _known(result: TensorHistory, name: str) -> tuple[list[str], Array, Array, Array]:
    """Names, steps, values and where they were recorded, of the layers and steps that have the quantity at all."""
    values = np.asarray(result.statistics[name], float)
    given = result.recorded.get(name)
    recorded = ~np.isnan(values) if given is None else np.asarray(given, bool)
    rows = np.flatnonzero(recorded.any(axis=1))
    columns = np.flatnonzero(recorded.any(axis=0))
    cells = np.ix_(rows, columns)
    return [result.names[i] for i in rows], np.asarray(result.steps)[columns], values[cells], recorded[cells]


def _heat(result: TensorHistory, name: str, ax: Axes, theme: Theme) -> AxesImage | None:
    names, steps, values, recorded = _known(result, name)
    title(ax, TITLES.get(name, shortened(name, 50)), theme)
    if not names:
        plain(ax)
        ax.text(0.5, 0.5, "never recorded", color=theme.muted, ha="center", va="center", transform=ax.transAxes)
        return None
    norm, palette = _norm(name, result.units.get(name, ""), values[recorded & np.isfinite(values)])
    height, width = values.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    finite = recorded & np.isfinite(values)
    shown = np.where(finite, values, np.nan)
    if isinstance(norm, LogNorm):
        shown = np.where(shown <= 0, float(norm.vmin or 0), shown)  # nothing at all is the least of colours
    drawn = ax.imshow(
        shown, cmap=design.colormap(palette), norm=norm, extent=extent, aspect="auto", interpolation="nearest"
    )
    hatch_missing(ax, np.where(recorded & ~finite, np.nan, 0.0), extent, theme)
    quiet(ax, theme)
    ax.spines[:].set_visible(False)
    every = max(1, -(-height // NAMED))
    ax.set_yticks(range(0, height, every), [shortened(n, 34) for n in names[::every]], parse_math=False)
    ax.tick_params(axis="y", length=0)
    _steps(ax, steps, theme)
    return drawn


def _norm(name: str, unit: str, values: Array) -> tuple[Normalize, Any]:
    """The colours of a quantity: robust against the outermost percent, logarithmic beyond a 30-fold range."""
    if "ratio" in name and "update" in name:
        return LogNorm(HEALTHY_RATIO / 100, HEALTHY_RATIO * 100, clip=True), "diverging"
    if not len(values):
        return Normalize(0, 1, clip=True), "sequential"
    share = 1.0 if len(values) > 200 else 0.0
    low, high = np.percentile(values, [share, 100 - share])
    if unit == "share":
        return Normalize(0, max(0.05, min(1.0, float(high))), clip=True), "sequential"
    if values.min() < 0:
        reach = float(max(abs(low), abs(high))) or 1.0
        return Normalize(-reach, reach, clip=True), "diverging"
    positive = values[values > 0]
    if len(positive):
        low, high = np.percentile(positive, [share, 100 - share])
        if high > 30 * low:
            return LogNorm(float(low), float(high), clip=True), "sequential"
    return Normalize(0, float(high) or 1.0, clip=True), "sequential"


def _steps(ax: Axes, steps: Array, theme: Theme) -> None:
    """Columns named by their steps."""
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    last = len(steps) - 1
    ax.xaxis.set_major_formatter(
        lambda v, _: f"{int(steps[round(v)]):,}" if 0 <= v <= last and abs(v - round(v)) < 1e-6 else ""
    )
    ax.set_xlabel("step", color=theme.muted, fontsize=design.points("xs"), loc="left")


def _draw_ridges(ax: Axes, steps: Array, edges: Array, counts: Array, theme: Theme) -> None:
    """Shares by bucket, every bucket equally wide, the latest moment in front."""
    total = counts.sum(axis=1)
    filled = np.flatnonzero(total > 0)
    plain(ax)
    if not len(filled):
        ax.text(0.5, 0.5, "no histograms of this layer", color=theme.muted, ha="center", transform=ax.transAxes)
        return
    chosen = filled[np.unique(np.linspace(0, len(filled) - 1, min(RIDGES, len(filled))).round().astype(int))]
    shares = counts[chosen] / total[chosen, None]
    used = np.flatnonzero(shares.any(axis=0))
    first, last = max(used[0] - 1, 0), min(used[-1] + 2, counts.shape[1])
    shares = shares[:, first:last] / shares.max() * 3.4
    xs = np.arange(first, last) + 0.5
    base = -np.arange(len(chosen), dtype=float)
    oldest, latest = (0.22, 0.72) if theme.name == "light" else (0.5, 0.92)  # no ridge sinks into the ground
    colors = design.color_at("sequential", np.linspace(oldest, latest, len(chosen)))
    for i, row in enumerate(shares):
        outline = np.column_stack([np.r_[xs[0], xs, xs[-1]], np.r_[0, row, 0] + base[i]])
        style: dict[str, Any] = {"facecolor": theme.surface, "edgecolor": [colors[i]], "linewidth": 1.2}
        ax.add_collection(PolyCollection([outline], alpha=0.92, zorder=2 + i, **style))
    ax.set_xlim(xs[0], xs[-1])
    ax.set_ylim(base[-1] - 0.3, 3.6)
    every = max(1, len(chosen) // 8)
    ax.yaxis.tick_right()
    ax.set_yticks(base[::every], [f"{int(steps[k]):,}" for k in chosen[::every]])
    ax.tick_params(axis="y", length=0, labelcolor=theme.muted, labelsize=design.points("xs"))
    _values(ax, edges, first, last, theme)


def _values(ax: Axes, edges: Array, first: int, last: int, theme: Theme) -> None:
    """Powers of ten and 0 below the buckets."""
    sizes = np.abs(edges[edges != 0])
    powers = 10.0 ** np.arange(np.ceil(np.log10(sizes.min())), np.floor(np.log10(sizes.max())) + 1)
    wanted = [0.0, *(s * p for p in powers[::-1] for s in (1, -1))]
    kept: list[tuple[float, float]] = []
    for v in wanted:
        if not edges[0] <= v <= edges[-1]:
            continue
        at = float(np.interp(v, edges, np.arange(len(edges))))
        if first <= at <= last and all(abs(at - k) > (last - first) / 11 for _, k in kept):
            kept.append((v, at))
    ax.set_xticks([at for _, at in kept], [number(v) for v, _ in kept], parse_math=False)
    ax.tick_params(axis="x", labelcolor=theme.muted, labelsize=design.points("xs"))
    ax.grid(True, axis="x", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
