"""Large matrices, their marks, spectra and comparisons on the page, in a browser."""

from __future__ import annotations

import numpy as np
import pytest

from fluoroscope.render.page import Section, page, write_page
from fluoroscope.render.template import TEMPLATE
from fluoroscope.results import Comparison
from tests.browser import sample_results as sample
from tests.browser.view import View, spoken

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    found = Comparison(before="a", after=sample.BREAKOUT, missing=(sample.BREAKOUT,), reshaped=(("w", (2, 3), (3, 2)),))
    compared = sample.tensor_summary().replace(comparison=found)
    results = [sample.large_matrix(), sample.spectra(), compared]
    html = page([], title="Weights", sections=[Section("before", "Before", "", results)])
    return write_page(html, tmp_path_factory.mktemp("weights") / "report.html")


@pytest.fixture
def view(chromium, report):
    opened = View(chromium, report)
    yield opened
    opened.close()


def test_an_outlier_is_seen_at_every_zoom_and_read_exactly(view):
    panel = view.panel("tensor-summary")
    assert "1 dead row: 9" in panel.inner_text()
    assert "1 duplicate row: 200 = 4" in panel.inner_text()
    canvas = panel.locator(".view canvas")
    box = canvas.bounding_box()
    inner, tall = box["width"] - 55, box["height"] - 32

    def read(row: float, column: float) -> str:
        canvas.hover(position={"x": 9 + inner * column, "y": 30 + tall * row})
        return panel.locator("p.read").inner_text()

    assert spoken(read(100.5 / 256, 300.5 / 512).split()[0]) == -7
    panel.get_by_text("Go to the largest").click()
    assert "Whole" in panel.locator(".tools button:not([disabled])").all_inner_texts()
    text = read(20.5 / 40, 40.5 / 80)
    assert spoken(text.split()[0]) == -7
    assert "row 100, column 300" in text
    values = sample.large_matrix().tensors[0].levels[-1]
    text = read(22.5 / 40, 40.5 / 80)
    assert spoken(text.split()[0]) == pytest.approx(float(values[102, 300]), rel=2e-3)
    panel.get_by_role("application", name="Values of").focus()
    for _ in range(2):
        view.page.keyboard.press("-")
    view.page.keyboard.press("0")
    assert "rows 0 to 255" in panel.locator(".ends").inner_text()


def test_the_picture_has_the_colour_of_the_extreme(view):
    panel = view.panel("tensor-summary")
    panel.get_by_text("Full range").click()
    view.settle()
    found = panel.locator(".view canvas").evaluate(
        """c => { const p = c.getContext('2d').getImageData(0, 30 * c.width / c.clientWidth, c.width, c.height).data;
                  let n = 0;
                  for (let i = 0; i < p.length; i += 4) if (p[i] === 1 && p[i+1] === 63 && p[i+2] === 117) n++;
                  return n; }"""
    )
    assert found >= 1  # the end of the palette: there is one cell of -7 among 131,072


def test_histogram_by_magnitude_and_spectra(view):
    panel = view.panel("spectra")
    assert panel.locator("tbody tr").count() == 2
    assert "found by a randomized method" not in panel.locator(".detail").inner_text()
    panel.locator("tbody button").nth(1).click()
    assert "the 40 largest values, found by a randomized method" in panel.locator(".detail").inner_text()
    assert "value plus its error" in panel.locator(".detail").inner_text()
    cells = panel.locator("section[aria-label=Experts] canvas")
    box = cells.bounding_box()
    cells.hover(position={"x": box["width"] * 0.5, "y": box["height"] * 0.75})
    assert "layer 4, expert 1" in panel.inner_text()
    assert "4 " in panel.locator("section[aria-label=Experts] .under").inner_text()


def test_what_two_checkpoints_do_not_share_is_told(view):
    panel = view.panel("tensor-summary", 1)
    assert "only in a" in panel.inner_text()
    panel.locator("summary").first.click()
    assert sample.BREAKOUT in panel.inner_text()
    assert panel.locator("select").input_value() == "relative"


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens_never_scroll_sideways(chromium, report, width):
    opened = View(chromium, report, width=width, scheme="dark")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.panel("tensor-summary").locator(".view canvas").bounding_box()["width"] > 250
    opened.close()


def test_levels_that_have_no_room_are_told():
    from fluoroscope.render.blobs import Blobs
    from fluoroscope.render.panels import panels_of

    big = sample.large_matrix()
    many = big.replace(tensors=tuple(big.tensors[0].replace(name=str(i)) for i in range(40)))
    (panel,) = panels_of([many], Blobs())
    left = [t["left_out"] for t in panel["tensors"]]
    cells = sum(int(np.prod(level["data"]["shape"])) for t in panel["tensors"] for level in t["levels"])
    assert cells <= 1_500_000
    assert max(left) == 1
    assert min(left) == 0
