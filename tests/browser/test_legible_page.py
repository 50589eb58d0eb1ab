"""What is hard to read is a fault: labels that overlap or are cut, lines that sink into the ground, blank space."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from fluoroscope.render import design
from fluoroscope.render.page import page, write_page
from fluoroscope.render.template import TEMPLATE
from fluoroscope.results import Attribution, TensorHistograms, TensorHistory
from tests.browser import sample_results as sample
from tests.browser.view import View

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]


def layers() -> TensorHistory:
    """Sixty layers over twenty steps, with histograms over twelve decades of both signs."""
    rng = np.random.default_rng(0)
    decades = 10.0 ** np.arange(0, -12, -0.5)
    edges = np.concatenate([-decades, [0], decades[::-1]])
    counts = rng.integers(1, 40, (60, 12, len(edges) - 1))
    return TensorHistory(
        title="Layers",
        names=tuple(f"blocks.{i}.weight" for i in range(60)),
        steps=np.arange(20) * 8 + 1,
        statistics={"gradient/norm": 10.0 ** rng.normal(size=(60, 20))},
        histograms={"gradient": TensorHistograms(steps=np.arange(12) * 10, edges=edges, counts=counts)},
    )


def volume() -> Attribution:
    """Eight slices of which the sixth has the peak, without pictures."""
    maps = np.zeros((1, 1, 8, 4, 4), np.float32)
    maps[0, 0, 5, 1, 2] = 3.0
    about = {"scores": np.zeros((1, 1)), "targets": np.zeros((1, 1), int)}
    return Attribution(title="Grad-CAM", data=maps, axes=("N", "K", "Z", "H", "W"), **about)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    results = [layers(), sample.tokens(), sample.columns(), volume(), sample.findings(), sample.compared_runs()]
    return write_page(page(results, title="Legible"), tmp_path_factory.mktemp("page") / "legible.html")


@pytest.fixture(scope="module", params=[(360, "light"), (1280, "dark")], ids=["phone, light", "desk, dark"])
def view(chromium, made, request):
    width, scheme = request.param
    opened = View(chromium, made, width=width, scheme=scheme)
    yield opened
    opened.close()


def colour(text: str) -> np.ndarray:
    """A colour as the browser computes it, three numbers from 0 to 1."""
    numbers = np.array(re.findall(r"[\d.]+", text)[:3], float)
    return numbers if text.startswith("color(") else numbers / 255


def overlaps(boxes: list[dict[str, float]]) -> int:
    """Pairs of boxes of one line of text that share some of their width."""
    found = sorted((b["y"], b["x"], b["x"] + b["width"]) for b in boxes)
    return sum(a[0] == b[0] and b[1] < a[2] for a, b in itertools.pairwise(found))


def test_numbers_below_the_ridges_do_not_touch_one_another_or_the_edge(view):
    ridges = view.panel("tensor-history").locator(".ridges")
    boxes = [t.bounding_box() for t in ridges.locator("svg text[text-anchor=middle]").all()]
    assert len(boxes) >= 3 and overlaps(boxes) == 0
    assert min(b["x"] for b in boxes) >= ridges.bounding_box()["x"] - 1


def test_no_ridge_sinks_into_the_ground(view):
    panel = view.panel("tensor-history")
    ground = colour(panel.evaluate("e => getComputedStyle(e).backgroundColor"))
    strokes = panel.locator(".ridges path").evaluate_all("a => a.map((e) => getComputedStyle(e).stroke)")
    assert len(set(strokes)) > 5
    assert min(design.contrast(colour(s), ground) for s in strokes) > 2


def test_the_first_and_the_last_layer_are_named_whole(view):
    names = view.panel("tensor-history").locator(".names")
    box = names.bounding_box()
    rows = [row.bounding_box() for row in names.locator("li").all()]
    assert min(r["y"] for r in rows) >= box["y"] - 0.5
    assert max(r["y"] + r["height"] for r in rows) <= box["y"] + box["height"] + 0.5


def test_every_axis_has_two_numbers_at_least(view):
    for chart in view.panel("history").locator("figure").all():
        places = [t.bounding_box()["y"] for t in chart.locator("svg text[text-anchor=middle]").all()]
        assert len(places) >= 2 and overlaps([t.bounding_box() for t in chart.locator("svg text").all()]) == 0


def test_what_counts_for_nothing_is_not_what_shines(view):
    panel = view.panel("attribution", 0)
    ground = colour(panel.evaluate("e => getComputedStyle(e).backgroundColor"))
    words = panel.locator(".token").evaluate_all(
        "a => a.map((e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color])"
    )
    assert words[7][0] == "rgba(0, 0, 0, 0)"  # its value is 0
    tints = [colour(back) for back, _ in words[:7]]
    assert np.abs(tints[6] - ground).sum() == max(np.abs(t - ground).sum() for t in tints)  # the largest value
    assert all(design.contrast(colour(ink), t) > 4.5 for (_, ink), t in zip(words[:7], tints, strict=True))


def test_a_volume_opens_at_its_peak(view):
    panel = view.panel("attribution", 2)
    assert "Slice 6 of 8" in panel.inner_text()
    assert panel.get_by_text("Overlay", exact=True).count() == 0  # there is no picture to lay it over


def test_a_reference_can_be_seen(view):
    chart = view.panel("findings").locator("figure").first
    line = chart.locator("line.held")
    ground = colour(view.panel("findings").evaluate("e => getComputedStyle(e).backgroundColor"))
    assert design.contrast(colour(line.evaluate("e => getComputedStyle(e).stroke")), ground) > 4.5
    order = chart.locator(".plot svg").evaluate(
        "s => [...s.querySelectorAll('.line, .said')].map((e) => e.classList.contains('said'))"
    )
    assert order[-1] and not order[0]  # its words lie above the curves


def test_what_goes_on_beyond_the_edge_is_shaded(view):
    shades = view.page.locator(".scroll").evaluate_all(
        "a => a.map((e) => getComputedStyle(e).backgroundAttachment.split(', '))"
    )
    assert shades and all(s == ["local", "local", "scroll", "scroll"] for s in shades)


def test_names_and_values_of_a_legend_lie_beside_one_another_and_inside(view):
    panel = view.panel("history")
    panel.get_by_text("Mean and range", exact=True).click()
    edge = panel.bounding_box()
    entries = panel.locator("figure li button").all()
    assert len(entries) >= 4
    for entry in entries:
        name, value, more = (entry.locator(part).bounding_box() for part in (".name", "b", ".more"))
        assert name["x"] + name["width"] <= value["x"] + 0.5 and value["y"] + value["height"] <= more["y"] + 0.5
        ends = entry.locator("b, .more").evaluate_all(
            "a => a.map((e) => e.getBoundingClientRect().left + e.scrollWidth)"
        )
        assert max(ends) <= edge["x"] + edge["width"]
        assert more["height"] < 2 * value["height"]  # one line: "n = 1" is not three
    panel.get_by_text("Every run", exact=True).click()
