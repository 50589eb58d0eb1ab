"""Graphs of networks in the dark and on paper."""

from __future__ import annotations

import pytest

from fluoroscope.render import design
from fluoroscope.render.page import page, write_page
from fluoroscope.render.template import TEMPLATE
from tests.browser import sample_results as sample
from tests.browser.test_legible_page import colour
from tests.browser.view import View, eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]

PICTURE = "canvas[role=application]"
READ = """const o = document.createElement('canvas'); [o.width, o.height] = [c.width, c.height];
    const g = o.getContext('2d', { willReadFrequently: true }); g.drawImage(c, 0, 0);
    const d = g.getImageData(0, 0, o.width, o.height).data;"""
ROWS = f"""c => {{ {READ} const at = [];
    for (let y = 0; y < c.height; y++) for (let x = 0, i = 4 * y * c.width; x < c.width; x++, i += 4)
        if (d[i] !== d[0] || d[i + 1] !== d[1] || d[i + 2] !== d[2]) {{ at.push(y / c.height); break; }}
    return [at[0], at.at(-1), c.width, c.height]; }}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "graph.html"
    return write_page(page([sample.model_graph()], title="Graph"), path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_kinds_have_the_palette_of_the_theme(chromium, made, scheme):
    view = View(chromium, made, scheme=scheme)
    panel = view.panel("model-graph")
    swatches = panel.locator(".swatch")
    shown = swatches.evaluate_all("a => a.map((e) => getComputedStyle(e).backgroundColor)")
    hexes = ["#" + "".join(f"{round(255 * v):02x}" for v in colour(text)) for text in shown]
    series = list(design.theme(scheme == "dark").series)
    assert len(hexes) >= 5 and len(set(hexes)) == len(hexes) and set(hexes) <= set(series)
    counted = panel.locator(PICTURE).evaluate(
        f"""(c, wanted) => {{ {READ} const n = {{}};
        for (let i = 0; i < d.length; i += 4) {{
            const h = '#' + [0, 1, 2].map((k) => d[i + k].toString(16).padStart(2, '0')).join('');
            if (wanted.includes(h)) n[h] = (n[h] ?? 0) + 1; }}
        return n; }}""",
        hexes,
    )
    assert len(counted) >= 3  # bars of the boxes that are in the window have the legend's own colours
    view.close()


def test_paper_has_the_whole_graph_wherever_one_looked(chromium, made):
    view = View(chromium, made, scheme="dark")
    picture = view.panel("model-graph").locator(PICTURE)
    for _ in range(6):
        picture.press("ArrowDown")
    assert eventually(view.page, lambda: picture.evaluate(ROWS)[1] > 0.98)  # it goes on below the window
    view.settle()
    before = picture.evaluate(ROWS)
    view.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    view.page.emulate_media(media="print")
    view.page.set_viewport_size({"width": 700, "height": 1000})
    first, last, width, height = picture.evaluate(ROWS)
    assert first < 0.06 and 0.94 < last < 0.9999  # from the inputs to the output, and ground around them
    assert height > 1.5 * width
    box = picture.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 700
    assert box["height"] / box["width"] == pytest.approx(height / width, rel=0.01)
    view.page.emulate_media(media="screen")
    view.page.set_viewport_size({"width": 1280, "height": 900})
    view.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert eventually(view.page, lambda: picture.evaluate(ROWS)[2:] == before[2:])
    view.close()
