"""Series in figures: lanes on the steps of their strip, each channel on its own scale, spikes kept."""

from __future__ import annotations

import numpy as np
import pytest

from fluoroscope.render.figures import draw
from fluoroscope.results import Attribution, Samples
from fluoroscope.results.envelope import ranges


def attribution(data: np.ndarray, series: np.ndarray | None, length: int, **changes: object) -> Attribution:
    fields: dict[str, object] = {
        "data": data,
        "axes": ("N", "T"),
        "scores": np.zeros(len(data)),
        "targets": np.zeros(len(data), int),
        "size": (length,),
        "signed": True,
        "unit": "logit",
        "samples": Samples(series=series),
    }
    return Attribution(**{**fields, **changes})


def lines(ax):
    """Data of all lines that go along the series: the values first, then the lanes."""
    return [line.get_xydata() for line in ax.lines if len(line.get_xdata()) > 2]


def test_lanes_lie_on_the_steps_of_the_input_below_the_strip():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(2, 3, 50)) * np.array([1, 100, 0.01])[None, :, None]
    figure = draw(attribution(rng.normal(size=(2, 50)), series[..., None], 50))
    for n, ax in enumerate(figure.axes):
        values, *lanes = lines(ax)
        assert ax.get_xlim() == (-0.5, 49.5)
        strip = ax.images[0].get_extent()
        assert strip[:2] == [-0.5, 49.5]
        assert len(lanes) == 3 and values[:, 1].min() > strip[3]
        below = strip[2]
        for c, lane in enumerate(lanes):
            np.testing.assert_allclose(lane[:, 0], np.arange(50))
            assert lane[:, 1].max() < below
            below = lane[:, 1].min()
            low, high = series[:, c].min(), series[:, c].max()
            # the same affine map for both examples: position follows the value
            slope, offset = np.polyfit(series[n, c], lane[:, 1], 1)
            np.testing.assert_allclose(lane[:, 1], slope * series[n, c] + offset, atol=1e-9)
            assert slope > 0 and slope * (high - low) == pytest.approx(lanes_height(figure), rel=1e-6)


def lanes_height(figure):
    """Units that the whole range of a channel takes, from the labels of its bounds on the first Axes."""
    ax = figure.axes[0]
    labels = {t.get_text(): y for t, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    names = [y for text, y in labels.items() if text.startswith("channel")]
    near = sorted(abs(y - names[0]) for text, y in labels.items() if not text.startswith("channel"))
    return near[0] + near[1]


def test_cells_of_windows_lie_where_the_windows_are():
    data = np.arange(3.0)[None]
    ax = draw(attribution(data, np.zeros((1, 1, 32, 1)), 32, centers=((8.0, 8.0),))).axes[0]
    np.testing.assert_allclose(lines(ax)[0][:, 0], [7.5, 15.5, 23.5])  # windows of 16: steps 0 to 15, 8 to 23, 16 to 31
    assert ax.images[0].get_extent()[:2] == [3.5, 27.5]
    tiled = draw(attribution(np.arange(4.0)[None], np.zeros((1, 1, 32, 1)), 32)).axes[0]
    np.testing.assert_allclose(lines(tiled)[0][:, 0], [3.5, 11.5, 19.5, 27.5])


def test_a_long_series_is_drawn_with_few_points_and_all_its_spikes():
    values = np.zeros((1, 100_000))
    values[0, 61_234], values[0, 20_000] = 5.0, -3.0
    series = np.zeros((1, 2, 100_000))
    series[0, 1, 77_777] = 9.0
    ax = draw(attribution(values, ranges(series, 4096), 100_000)).axes[0]
    line, _, lane = lines(ax)
    assert len(line) <= 1600 and len(lane) <= 1600
    assert line[:, 1].max() == 5.0 and line[:, 1].min() == -3.0
    assert abs(line[line[:, 1].argmax(), 0] - 61_234) < 130 and abs(lane[lane[:, 1].argmax(), 0] - 77_777) < 130
    colours = np.asarray(ax.images[0].get_array())
    assert colours.max() == 5.0 and colours.min() == -3.0 and colours.size <= 800


def test_many_channels_are_thin_and_those_left_out_are_told():
    series = np.random.default_rng(0).normal(size=(1, 70, 40, 1))
    figure = draw(attribution(np.ones((1, 40)), series, 40))
    assert len(lines(figure.axes[0])) == 1 + 64
    assert figure.get_figheight() < 9
    assert "The first 64 of 70 channels" in figure.get_supxlabel()
