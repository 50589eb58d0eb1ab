"""A page that asks again: what the reader did stays where the same thing comes again."""

from __future__ import annotations

import json

import pytest

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.page import document, filled, json_text
from fluoroscope.render.template import TEMPLATE, template
from fluoroscope.studio.app import LIVE_POLICY, POLICY
from tests.browser import sample_results as sample

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]


def test_a_graph_keeps_what_was_opened(chromium):
    blobs = Blobs()
    found = document([sample.model_graph()], blobs, title="First")
    found["live"] = {
        "address": "/live",
        "blobs": "/blobs/",
        "curves": "/curve",
        "seconds": 0.2,
        "stamp": "1",
        "home": "",
    }
    html = filled(template().replace(POLICY, LIVE_POLICY, 1), found, blobs.blocks())
    context = chromium.new_context()
    view = context.new_page()
    answers = 0

    def live(route):
        nonlocal answers
        answers += 1
        newer = {**json.loads(json_text(found)), "title": f"Answer {answers}"}
        newer["live"]["stamp"] = str(answers + 1)
        route.fulfill(body=json.dumps(newer), content_type="application/json")

    view.route("http://studio.test/", lambda route: route.fulfill(body=html, content_type="text/html"))
    view.route("http://studio.test/live**", live)
    view.goto("http://studio.test/")
    panel = view.locator('article[data-kind="model-graph"]')
    panel.scroll_into_view_if_needed()
    panel.get_by_role("application").first.wait_for()
    search = panel.locator("input[type=search]").first
    search.fill("conv")
    view.evaluate("window.canvas = document.querySelector('article[data-kind=model-graph] [role=application]')")
    before = answers
    while answers < before + 3:
        view.wait_for_timeout(100)
    assert view.locator("h1").inner_text().startswith("Answer")
    assert search.input_value() == "conv"
    assert view.evaluate("window.canvas.isConnected")
    context.close()
