"""Several runs on the page, in a browser."""

from __future__ import annotations

import pytest

from fluoroscope.render.page import page, write_page
from fluoroscope.render.template import TEMPLATE
from tests.browser import sample_media
from tests.browser import sample_results as sample
from tests.browser.view import View, eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]


@pytest.fixture
def view(chromium, tmp_path):
    opened = View(chromium, write_page(page([sample.compared_runs()], title="Runs"), tmp_path / "runs.html"))
    yield opened
    opened.close()


def test_runs_of_one_setting_are_shown_as_mean_and_range(view):
    panel = view.panel("history")
    panel.get_by_text("Mean and range", exact=True).click()
    chart = panel.locator("figure").first
    assert panel.locator("select").input_value() == "by lr"  # the seeds are averaged over
    said = [entry.inner_text().replace("\n", " ") for entry in chart.locator("li").all()]
    assert [entry.split(": ")[0] for entry in said] == ["lr 0.1", "lr 0.1", "lr 1", "lr 1"]
    assert [entry.rsplit("n = ")[1] for entry in said] == ["2", "2", "0 of 1", "1"]  # the run of lr 1 ends in NaN
    assert chart.locator("path.band").count() >= 2 and chart.locator("circle.best").count() == 0
    assert "200 values are NaN or infinite: left out of the mean" in panel.inner_text()
    panel.locator("select").select_option("run")
    assert len(chart.locator("li").all()) == 2
    panel.get_by_role("button", name="run 2").first.click()
    assert "n = 2" in chart.locator("li").first.inner_text()
    panel.get_by_text("Every run", exact=True).click()
    assert chart.locator("circle.best").count() == 2


@pytest.fixture
def logged(chromium, tmp_path):
    opened = View(chromium, write_page(page([sample_media.media()], title="Logged"), tmp_path / "logged.html"))
    yield opened
    opened.close()  # which sees that no text became markup


def test_pictures_and_texts_by_step(logged):
    panel = logged.panel("media")
    color = """i => { const c = document.createElement('canvas'); c.width = i.naturalWidth; c.height = i.naturalHeight;
        const g = c.getContext('2d'); g.drawImage(i, 0, 0); return [...g.getImageData(0, 0, 1, 1).data, c.width] }"""
    image = panel.locator("figure").first.locator("img")
    assert image.evaluate(color) == [200, 40, 90, 255, 24]  # the newest step
    slider = panel.locator("input[type=range]").first
    slider.focus()
    logged.page.keyboard.press("Home")
    assert "step 0" in panel.locator("figcaption").first.inner_text()
    assert eventually(logged.page, lambda: image.evaluate(color) == [0, 40, 90, 255, 24])
    assert panel.locator("figure").nth(1).locator("img").count() == 2
    text = panel.locator("pre").inner_text()
    assert text.startswith("text at 40 </script><img src=x")


def test_a_page_carries_no_more_pictures_than_its_bound(monkeypatch, chromium, tmp_path):
    from fluoroscope.render.panels import media

    monkeypatch.setattr(media, "BYTES", 600)
    result = sample_media.media()
    opened = View(chromium, write_page(page([result], title="Logged"), tmp_path / "bounded.html"))
    panel = opened.panel("media")
    assert "have no room on this page" in panel.inner_text()
    assert panel.locator("img").count() >= 1
    opened.close()


def test_a_print_of_what_is_not_decoded_yet_says_so(chromium, tmp_path):
    results = [sample.grad_cam(), sample.feature_maps(), sample.compared_runs(), sample_media.media()]
    path = write_page(page(results, title="Early"), tmp_path / "early.html")
    context = chromium.new_context(offline=True)
    early = context.new_page()
    early.add_init_script(
        "window.seen = []; new MutationObserver(() => seen.push(document.documentElement.hasAttribute('data-pending')))"
        ".observe(document, { attributes: true, subtree: true, attributeFilter: ['data-pending'] })"
    )
    early.emulate_media(media="print")
    early.goto(path.as_uri())
    early.evaluate("dispatchEvent(new Event('beforeprint'))")
    decoded = "seen.length > 0 && !document.documentElement.hasAttribute('data-pending')"
    assert eventually(early, lambda: early.evaluate(decoded))
    assert early.evaluate("[seen[0], seen.at(-1)]") == [True, False]
    sentence = early.locator(".pending")
    assert not sentence.is_visible()
    early.evaluate("document.documentElement.toggleAttribute('data-pending', true)")
    assert sentence.is_visible()
    early.emulate_media(media="screen")
    assert not sentence.is_visible()
    context.close()
