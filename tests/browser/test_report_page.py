"""The page in a browser, opened as a file without network: what a reader sees, reaches and reads."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from fluoroscope.render.page import PanelError, Section, page, write_page
from fluoroscope.render.template import TEMPLATE
from fluoroscope.results import TensorHistory
from tests.browser import sample_results as sample
from tests.browser.view import View, pixel, spoken

pytestmark = pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    sections = [
        Section("before", "Before training", "As it is built.", [sample.layer_summary(), sample.tensor_summary()]),
        Section(
            "during",
            "During training",
            "",
            [sample.history(), sample.tensor_history(), sample.findings(), sample.compared_runs()],
        ),
        Section(
            "after",
            sample.BREAKOUT,
            sample.RTL,
            [
                sample.grad_cam(),
                sample.occlusion(),
                sample.saliency(),
                sample.scorecard(),
                sample.tokens(),
                sample.columns(),
                sample.series(),
                PanelError(sample.BREAKOUT, f"No attention here. {sample.BREAKOUT}"),
            ],
        ),
        Section("inference", "At inference", "", [sample.feature_maps()]),
    ]
    facts = [("Model", sample.BREAKOUT), ("Samples", sample.LONG)]
    html = page([], title=sample.BREAKOUT, subtitle=sample.LONG, facts=facts, sections=sections)
    return write_page(html, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def view(chromium, report):
    opened = View(chromium, report)
    yield opened
    opened.close()


def test_every_panel_is_there_and_names_are_text(view):
    kinds = [a.get_attribute("data-kind") for a in view.page.locator("article").all()]
    assert kinds[:6] == ["layer-summary", "tensor-summary", "history", "tensor-history", "findings", "history"]
    assert kinds[6:8] == ["attribution", "scorecard"]
    assert kinds[8:] == ["attribution"] * 3 + ["error", "feature-maps"]
    assert view.page.locator("h1").inner_text() == sample.BREAKOUT
    assert view.page.title() == sample.BREAKOUT
    assert view.page.locator("img").count() == 0
    assert view.panel("error").locator(".trouble").inner_text() == f"No attention here. {sample.BREAKOUT}"
    assert view.page.locator("article .trouble").count() == 1


def test_attribution_peaks_and_readings_are_the_raw_values(view):
    panel = view.panel("attribution")
    cells = panel.locator("[data-row][data-column]")
    assert cells.count() == 6 * 3
    result = sample.grad_cam()
    peak = result.data[0, 0].max()
    assert panel.locator("figure").first.locator(".value").inner_text() == f"peak {peak:.4g}"
    cell = panel.locator('[data-row="0"][data-column="0"]')
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    # pixel (38, 21) of the 64 x 64 input lies in cell (4, 2) of 8 x 8
    view.page.mouse.move(box["x"] + box["width"] * 21.5 / 64, box["y"] + box["height"] * 38.5 / 64)
    shown = panel.locator("figure").first.locator(".value").inner_text()
    assert spoken(shown) == pytest.approx(float(result.data[0, 0, 4, 2]), rel=1e-3)
    # the same place is read in the other methods, by their own cells: (38 - 8) / 4 rounds to row 8, (21 - 8) / 4 to 3
    other = spoken(panel.locator("figure").nth(1).locator(".value").inner_text())
    assert other == pytest.approx(float(sample.occlusion().data[0, 0, 8, 3]), rel=1e-3)


def test_maps_are_drawn_with_the_rule_of_the_results(view):
    """A map alone is the palette at the interpolated values, to the rounding of 256 colours."""
    panel = view.panel("attribution")
    panel.get_by_text("Map", exact=True).click()
    view.settle()
    canvas = panel.locator('[data-row="0"][data-column="0"] canvas')
    size = canvas.evaluate("c => c.width")
    smooth = sample.grad_cam().resized(size, size)[0, 0]
    top = sample.grad_cam().data.max()
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in palette("sequential")], float)
    for u, v in ((0.31, 0.36), (0.5, 0.5), (0.1, 0.9), (0.35, 0.2)):
        along = smooth[int(v * size), int(u * size)] / top * (len(stops) - 1)
        expected = [np.interp(along, range(len(stops)), stops[:, c]) for c in range(3)]
        assert np.abs(np.array(pixel(canvas, u, v)[:3]) - expected).max() <= 6
    panel.get_by_text("Raw", exact=True).click()
    view.settle()
    assert pixel(canvas, 0.255, 0.255) == pixel(canvas, 0.37, 0.37)  # both in cell (2, 2)
    panel.get_by_text("Image", exact=True).click()
    view.settle()
    pixels = sample.images()[0]
    np.testing.assert_array_equal(pixel(canvas, 32.5 / 64, 20.5 / 64)[:3], pixels[20, 32])


def palette(name: str) -> list[str]:
    return json.loads((TEMPLATE.parents[1] / "design.json").read_text())["palette"][name]


def test_contours_change_with_the_share_of_the_peak(view):
    panel = view.panel("attribution")
    panel.get_by_text("Contour", exact=True).click()
    slider = panel.get_by_label("Share of the peak")
    canvas = panel.locator('[data-row="0"][data-column="0"] canvas')
    drawings = set()
    for share in ("0.2", "0.5", "0.9"):
        slider.fill(share)
        view.settle()
        drawings.add(canvas.evaluate("c => c.toDataURL()"))
    assert len(drawings) == 3


def test_arrow_keys_move_through_the_grid_and_enter_enlarges(view):
    panel = view.panel("attribution")
    panel.locator('[data-row="0"][data-column="0"]').focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        view.page.keyboard.press(key)
    place = view.page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.column]")
    assert place == ["1", "2"]
    view.page.keyboard.press("Enter")
    dialog = view.page.locator("dialog[open]")
    assert dialog.locator("h3").inner_text() == "Saliency: one"
    assert spoken(dialog.locator(".reading strong").inner_text()) == 30
    dialog.get_by_role("application").focus()
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("ArrowRight")
    assert spoken(dialog.locator(".reading strong").inner_text()) == pytest.approx(
        float(sample.saliency().data[0, 1, 0, 1]), rel=1e-3
    )
    view.page.keyboard.press("Escape")
    assert view.page.locator("dialog").count() == 0
    assert view.page.evaluate("document.activeElement.dataset.column") == "2"


def test_words_bars_and_strips(view):
    words = view.panel("attribution", 1).locator(".token")
    assert [w.inner_text().strip() for w in words.all()][:4] == ["the", "film", "is", "not"]
    words.nth(3).hover()
    assert view.panel("attribution", 1).locator(".read").first.inner_text().startswith("\u22121.4 logit")
    assert "100%" in words.nth(6).evaluate("e => e.style.background")  # the largest: the full tint
    bars = view.panel("attribution", 2)
    assert [spoken(v) for v in bars.locator(".value").all_inner_texts()][:3] == [0.42, 0.21, -0.13]
    strip = view.panel("attribution", 3).get_by_role("slider")
    strip.focus()
    view.page.keyboard.press("End")
    assert strip.get_attribute("aria-valuenow") == "199"
    reading = strip.get_attribute("aria-valuetext")
    assert reading.startswith("step 199: ") and reading.endswith("399.5")  # the value, then both channels of the input
    lanes = strip.locator(".lanes canvas")
    assert lanes.get_attribute("aria-label") == "The series itself, 2 channels"
    top = "(e) => { const d = e.getContext('2d').getImageData(0, 0, e.width, e.height / 2).data; let x = -1;"
    top += (
        " for (let i = 3; i < d.length && x < 0; i += 4) if (d[i] > 99) x = ((i / 4) % e.width) / e.width; return x; }"
    )
    assert abs(lanes.evaluate(top) - 120.5 / 200) < 0.01  # the highest ink of the first lane is its spike


def test_scorecard_numbers_order_and_reference(view):
    panel = view.panel("scorecard")
    assert panel.locator("tbody .value").all_inner_texts()[:3] == ["96.0\u2009%", "0.21", "71.0\u2009%"]
    assert "11.0\u2009%" in panel.locator("tfoot").inner_text()
    assert panel.locator(".chance").first.evaluate("e => e.style.left") == "11%"
    fills = panel.locator("tr", has_text="Random map").locator(".fill")
    assert "bad" in fills.nth(1).get_attribute("class").split()  # worse than chance by more than its error
    assert not {"good", "bad"} & set(fills.first.get_attribute("class").split())  # as good as chance
    panel.get_by_role("button", name="Deletion").click()
    assert panel.locator("tbody th").all_inner_texts()[0] == "Grad-CAM"


def test_layers_fold_search_and_sort(view):
    panel = view.panel("layer-summary")
    assert "13.7" in panel.locator(".totals").inner_text()
    rows = panel.locator("tbody tr")
    assert rows.count() == 9
    panel.locator('tr[aria-level="2"][aria-expanded="true"]').focus()
    view.page.keyboard.press("ArrowLeft")
    assert rows.count() == 4
    view.page.keyboard.press("ArrowRight")
    assert rows.count() == 9
    panel.get_by_role("searchbox").fill("conv2d")
    assert rows.count() == 3
    panel.get_by_role("searchbox").fill("")
    panel.get_by_role("button", name="Parameters").click()
    assert rows.first.locator("td").first.inner_text().startswith("head")


def test_tensors_search_statistics_and_non_finite(view):
    panel = view.panel("tensor-summary")
    assert "1 with NaN or infinity" in panel.inner_text()
    panel.get_by_role("searchbox").fill("head 64")
    assert panel.locator(".list li").count() == 1
    detail = panel.locator(".detail")
    tensor = sample.tensor_summary().tensor("head.weight")
    assert spoken(detail.locator("dd").nth(1).inner_text()) == pytest.approx(tensor.statistics["std"], rel=1e-3)
    canvas = detail.locator("canvas")
    box = canvas.bounding_box()
    inner, tall = box["width"] - 55, box["height"] - 32  # beside the strips of norms
    canvas.hover(position={"x": 9 + inner * 3.5 / 64, "y": 30 + tall * 7.5 / 10})
    assert "row 7, column 3" in detail.inner_text()
    assert spoken(detail.locator(".under strong").inner_text()) == pytest.approx(float(tensor.picture[7, 3]), rel=1e-3)


def test_curves_break_at_nan_and_read_values(view):
    panel = view.panel("history")
    chart = panel.locator("figure").first
    assert "7 values are NaN or infinite" in panel.inner_text()
    assert chart.locator("path.gap").get_attribute("d").count("M") == 7
    curve = chart.locator("svg path.line").first.get_attribute("d")
    assert curve.count("M") == 3  # before, between and after the two gaps
    assert not re.search(r"NaN|Infinity", curve)
    chart.get_by_role("application").focus()
    view.page.keyboard.press("ArrowLeft")
    assert "step 398" in chart.inner_text()
    value = sample.history().series["loss"].values[398]
    assert spoken(chart.locator("li b").first.inner_text()) == pytest.approx(float(value), rel=1e-3)
    assert "log scale" in panel.locator("figure").nth(2).inner_text()


def test_zooming_into_a_curve_shows_its_points(view):
    panel = view.panel("history")
    chart = panel.locator("figure").first
    plot = chart.get_by_role("application")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    view.page.mouse.move(box["x"] + 100, box["y"] + 60)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + 160, box["y"] + 60, steps=4)
    view.page.mouse.up()
    assert panel.get_by_role("button", name="Whole run").count() == panel.locator("figure").count()  # all zoom as one
    ticks = [spoken(t) for t in chart.locator("svg text[text-anchor=middle]").all_text_contents()]
    assert min(ticks) > 0 and max(ticks) < 200
    plot.focus()
    view.page.keyboard.press("0")
    assert panel.get_by_role("button", name="Whole run").count() == 0
    view.page.keyboard.press("+")
    assert panel.get_by_role("button", name="Whole run").count() > 0
    view.page.keyboard.press("0")


def test_runs_are_compared_with_what_differs(view):
    panel = view.panel("history", 1)
    head = panel.locator("thead").inner_text()
    assert "lr" in head and "seed" in head and "model" not in head
    assert "overfitting sets in" not in panel.inner_text()  # with three runs on one chart only the best are marked
    chart = panel.locator("figure").first
    assert chart.locator("circle.best").count() == 3
    panel.get_by_role("button", name="run 1").first.click()
    assert chart.locator("circle.best").count() == 2
    panel.get_by_role("button", name="run 2").first.click()
    assert "overfitting sets in" in chart.inner_text()
    panel.get_by_text("Time", exact=True).click()
    assert "min" in chart.locator(".plot svg").text_content()


def test_layers_by_steps_and_the_ridges_of_one(view):
    panel = view.panel("tensor-history")
    result = sample.tensor_history()
    assert "1 with NaN or infinity" in panel.inner_text()
    cells = panel.locator(".cells")
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    at = lambda row, column: (box["x"] + box["width"] * (column + 0.5) / 50, box["y"] + box["height"] * (row + 0.5) / 5)  # noqa: E731
    view.page.mouse.move(*at(0, 30))
    said = panel.locator(".said").inner_text()
    assert said.startswith("stem.weight, step 300: ")
    shown = said.rsplit(": ", 1)[1].replace("⁻", "-").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    shown = float(re.sub(r"^(?:([\d.]+)·)?10(-\d+)$", lambda m: f"{m[1] or 1}e{m[2]}", shown))
    assert shown == pytest.approx(float(result.statistics["gradient/norm"][0, 30]), rel=6e-3)
    view.page.mouse.move(*at(1, 21))
    assert "NaN or infinite" in panel.locator(".said").inner_text()
    view.page.mouse.move(*at(2, 3))
    assert "not recorded" in panel.locator(".said").inner_text()
    view.page.mouse.click(*at(1, 40))
    assert panel.locator(".detail > h4").inner_text() == "block.conv.weight"
    assert panel.locator(".ridges path").count() == 6
    cells.focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        view.page.keyboard.press(key)
    assert panel.locator(".detail > h4").inner_text() == sample.BREAKOUT
    panel.get_by_text("Update / weight").click()
    assert "10⁻³" in panel.locator(".detail").text_content()


def test_histograms_without_statistics_are_shown(chromium, tmp_path):
    whole = sample.tensor_history()
    only = TensorHistory(
        title="Tensors", names=whole.names, steps=whole.steps, statistics={}, histograms=whole.histograms
    )
    html = page([], title="t", sections=[Section("during", "During training", "", [only])])
    view = View(chromium, write_page(html, tmp_path / "page.html"))
    panel = view.panel("tensor-history")
    assert "No statistics" not in panel.inner_text() and "5 tensors" in panel.inner_text()
    before = panel.locator(".ridges path").first.get_attribute("d")
    panel.get_by_label("Tensor").select_option("block.conv.weight")
    assert panel.locator(".ridges path").count() == 6
    assert panel.locator(".ridges path").first.get_attribute("d") != before
    assert not view.trouble
    view.context.close()


def test_findings_say_what_where_when_and_what_to_try(view):
    panel = view.panel("findings")
    text = panel.inner_text()
    for part in (
        "1 problem, 1 warning, 1 hint from 3 rules",
        "confidence 0.90",
        "steps 10 to 2\u2009000",
        "3 more",
        "Normalize.",
    ):
        assert part in text
    assert "log scale" in text and "reference 10⁻⁴" in text
    panel.get_by_role("button", name="3 more").click()
    assert "layer8.weight" in panel.inner_text()
    panel.get_by_text("What was looked for").click()
    assert "no validation" in panel.inner_text()


def test_feature_maps_layers_scales_and_readings(view):
    panel = view.panel("feature-maps")
    assert "all 16 channels" in panel.inner_text()
    panel.locator(".strip button").nth(1).click()
    assert "the 64 strongest of 100 channels" in panel.inner_text()
    tiles = panel.locator(".tiles button")
    assert tiles.count() == 64
    channel = int(tiles.first.locator(".foot span").first.inner_text())
    name = sample.feature_maps().layers[1]
    canvas = tiles.first.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    view.page.mouse.move(box["x"] + box["width"] * 5.5 / 16, box["y"] + box["height"] * 5.5 / 16)
    expected = float(sample.feature_maps().maps[name][0, channel, 5, 5])
    assert spoken(tiles.first.locator(".foot span").nth(1).inner_text()) == pytest.approx(expected, rel=6e-3)
    panel.get_by_text("Each its own").click()
    assert "compare places, not strengths" in panel.inner_text()


def test_the_first_tab_skips_to_the_content_and_every_control_is_reached(view):
    view.page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    view.page.keyboard.press("Tab")
    assert view.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    view.page.keyboard.press("Enter")
    assert view.page.evaluate("document.activeElement.id") == "content"
    seen = set()
    for _ in range(90):
        view.page.keyboard.press("Tab")
        seen.add(view.page.evaluate("document.activeElement.closest('article')?.dataset.kind ?? ''"))
    assert {"layer-summary", "tensor-summary", "history", "attribution", "scorecard", "feature-maps"} <= seen


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens_never_scroll_sideways(chromium, report, width):
    opened = View(chromium, report, width=width)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    cell = opened.panel("attribution").locator("[data-row]").first
    assert cell.bounding_box()["width"] >= 110
    opened.close()


def test_dark_by_system_and_by_choice(chromium, report):
    opened = View(chromium, report, scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(colour) == "rgb(19, 20, 23)"
    opened.page.get_by_role("button", name="Theme").click()
    assert opened.page.evaluate(colour) == "rgb(246, 246, 244)"
    opened.page.get_by_role("button", name="Theme").click()
    opened.page.emulate_media(color_scheme="light")
    assert opened.page.evaluate(colour) == "rgb(19, 20, 23)"
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(colour) == "rgb(255, 255, 255)"
    opened.close()


def test_the_policy_stops_a_script_that_got_in(chromium, report, tmp_path):
    """The test above can fail: markup that was put into the file by hand is refused by the browser."""
    text = report.read_text(encoding="utf-8")
    hurt = tmp_path / "hurt.html"
    hurt.write_text(text.replace("</body>", "<script>window.broken = 1</script></body>"), encoding="utf-8")
    opened = View(chromium, hurt)
    assert opened.page.evaluate("window.broken ?? null") is None
    assert opened.page.evaluate("violations.length") == 1
    with pytest.raises(AssertionError):
        opened.close()


def test_a_missing_block_breaks_one_panel_only(chromium, report, tmp_path):
    text = report.read_text(encoding="utf-8")
    document = re.search(r'"kind":"history".*?"values":\{"blob":(\d+)', text)
    hurt = tmp_path / "hurt.html"
    hurt.write_text(text.replace(f'id="fs-blob-{document[1]}"', 'id="gone"'), encoding="utf-8")
    opened = View(chromium, hurt)
    assert "is missing" in opened.panel("history").inner_text()
    assert opened.panel("scorecard").locator("tbody .value").count() == 8
    opened.close()
