"""Results as matplotlib figures: Axes in, Axes out; a new figure where no Axes are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluoroscope.errors import FluoroscopeError, InputError
from fluoroscope.render.figures.registry import Drawing, drawing, prepared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.results import Result

__all__ = ["Drawing", "draw", "drawing"]


def draw(result: Result, ax: Axes | None = None, **options: Any) -> Any:
    """Draw ``result``: one thing on ``ax`` where it is given (and return it), else everything on a new figure.

    On given Axes nothing else of the figure changes; a picture's colour scale is in ``ax.images[-1]``, for a colour bar
    of your own. ``options`` belong to the kind of result; ``dark=True`` is for dark surroundings in all of them.

    Raises:
        InputError: ``ax`` is no Axes.
        OptionError: an option that the drawing does not have, or a value that it does not take.
        FluoroscopeError: nothing draws this kind of result.
    """
    kind = getattr(result, "kind", None)
    if not isinstance(kind, str):
        raise FluoroscopeError("only a result can be drawn", got=type(result).__name__, expected="a fluoroscope result")
    from fluoroscope.render.figures.canvas import surroundings

    how = prepared(kind, options)
    if ax is not None and not (hasattr(ax, "get_figure") and hasattr(ax, "plot")):
        raise InputError(
            f"a result is drawn on matplotlib's Axes: {kind}",
            got=type(ax).__name__,
            expected="one Axes, such as plt.subplots()[1], or None for a new figure",
        )
    theme = surroundings(ax, how.dark)
    if ax is None:
        return how.figure(result, theme)
    how.on(result, ax, theme)
    return ax
