"""The design language: what is in the file is sound, and what matplotlib draws is what the file says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fluoroscope.errors import OptionError
from fluoroscope.render import design

# Machado, Oliveira & Fernandes 2009, severity 1.0; applied to linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
FINE = np.linspace(0, 1, 241)


def linear(color):
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def seen_lab(color, vision):
    """CIELAB of sRGB colours as seen with the given vision."""
    xyz = np.clip(linear(np.asarray(color)) @ VISION[vision].T, 0, 1) @ TO_XYZ.T / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def test_the_judge_of_colours_is_right():
    assert seen_lab([1.0, 1.0, 1.0], "full") == pytest.approx([100, 0, 0], abs=0.02)
    assert seen_lab([1.0, 0.0, 0.0], "full") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    red_green = [seen_lab(c, "deuteranopia") for c in ([0.72, 0.53, 0.0], [0.53, 0.62, 0.0])]
    assert np.linalg.norm(red_green[0] - red_green[1]) < 15  # a pair that is known to be confused


@pytest.mark.parametrize("vision", VISION)
def test_sequential_gets_lighter_all_the_way(vision):
    lightness = seen_lab(design.color_at("sequential", FINE), vision)[:, 0]
    assert np.all(np.diff(lightness) > 0)
    assert lightness[-1] - lightness[0] > 85


@pytest.mark.parametrize("vision", VISION)
def test_neighbouring_stops_of_sequential_differ(vision):
    stops = seen_lab([design.rgb(c) for c in design.palette("sequential")], vision)
    assert np.linalg.norm(np.diff(stops, axis=0), axis=1).min() > 5


@pytest.mark.parametrize(("vision", "tolerance"), [("full", 2.5), ("deuteranopia", 4), ("protanopia", 13)])
def test_diverging_is_symmetric_in_lightness(vision, tolerance):
    lightness = seen_lab(design.color_at("diverging", FINE), vision)[:, 0]
    assert np.abs(lightness - lightness[::-1]).max() < tolerance
    assert np.all(np.diff(lightness[:121]) > 0)
    assert np.all(np.diff(lightness[120:]) < 0)


def test_the_middle_of_diverging_is_neutral():
    middle = design.color_at("diverging", 0.5)
    assert np.ptp(middle) < 0.01
    assert seen_lab(middle, "full")[0] > 90


@pytest.mark.parametrize("vision", VISION)
def test_the_signs_of_diverging_are_told_apart(vision):
    amount = np.linspace(0.1, 0.5, 41)  # from a fifth of the range outwards
    low = seen_lab(design.color_at("diverging", 0.5 - amount), vision)
    high = seen_lab(design.color_at("diverging", 0.5 + amount), vision)
    assert np.linalg.norm(low - high, axis=1).min() > 20
    assert np.all(low[:, 2] < 0)
    assert np.all(high[:, 2] > 0)  # blue against yellow, the axis that these kinds of vision keep


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("vision", VISION)
def test_categorical_colours_are_told_apart(vision, dark):
    colors = seen_lab([design.rgb(c) for c in design.theme(dark).series], vision)
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(colors, 2))
    assert nearest > 15


@pytest.mark.parametrize(("dark", "least"), [(False, 2.2), (True, 3.5)])
def test_categorical_colours_stand_out_from_the_surface(dark, least):
    theme = design.theme(dark)
    assert min(design.contrast(c, theme.surface) for c in theme.series) > least
    assert len(theme.series) == 8


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("text", ["text", "muted", "accent", "good", "warn", "bad"])
@pytest.mark.parametrize("ground", ["page", "surface", "raised"])
def test_text_reaches_wcag_aa(dark, text, ground):
    theme = design.theme(dark)
    assert design.contrast(getattr(theme, text), getattr(theme, ground)) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_text_on_the_accent_reaches_wcag_aa(dark):
    theme = design.theme(dark)
    assert design.contrast(theme.accent_text, theme.accent) >= 4.5


@pytest.mark.parametrize("name", ["sequential", "diverging"])
def test_text_on_any_colour_of_a_palette_reaches_wcag_aa(name):
    for color in design.color_at(name, FINE):
        assert design.contrast(design.readable_on(color), color) >= 4.5


def test_contrast_by_known_pairs():
    assert design.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert design.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", ["sequential", "diverging"])
def test_the_colour_map_hits_every_stop_and_is_linear_between(name):
    stops = np.stack([design.rgb(c) for c in design.palette(name)])
    places = np.arange(len(stops)) / (len(stops) - 1)
    assert design.color_at(name, places) == pytest.approx(stops)
    halfway = (places[:-1] + places[1:]) / 2
    assert design.color_at(name, halfway) == pytest.approx((stops[:-1] + stops[1:]) / 2)
    drawn = design.colormap(name)(FINE)[:, :3]
    assert np.abs(drawn - design.color_at(name, FINE)).max() < 1.5 / 255


def test_the_colour_map_leaves_missing_values_clear():
    assert design.colormap("diverging")(np.ma.masked_invalid([np.nan]))[0, 3] == 0


def test_zero_is_exactly_the_neutral_colour():
    assert design.colormap("diverging")(0.5)[:3] == pytest.approx(design.rgb(design.palette("diverging")[6]))


@pytest.mark.parametrize("name", ["categorical", "viridis"])
def test_other_names_are_no_colour_map(name):
    with pytest.raises(OptionError, match="sequential"):
        design.colormap(name)


def test_an_unknown_palette_is_told():
    with pytest.raises(OptionError, match="rainbow"):
        design.palette("rainbow")


def test_sizes_are_css_pixels_in_points_and_inches():
    assert design.points("xs") == 9
    assert design.space(7) == pytest.approx(0.5)
