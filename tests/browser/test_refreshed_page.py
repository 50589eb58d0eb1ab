"""A page that asks again: what the reader did stays where the same thing comes again, and silence is told."""

from __future__ import annotations

import json

import pytest

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.page import document, filled, json_text
from fluoroscope.render.template import TEMPLATE, template
from fluoroscope.studio.app import LIVE_POLICY, POLICY
from tests.browser import sample_results as sample
from tests.browser.view import PATIENCE, eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]


class Studio:
    """A studio that is played: each answer has a title of its own, none comes while it is told to be silent."""

    def __init__(self, chromium, result) -> None:
        blobs = Blobs()
        self.document = document([result], blobs, title="First")
        self.document["live"] = {
            "address": "/live",
            "blobs": "/blobs/",
            "curves": "/curve",
            "seconds": 0.3,
            "stamp": "1",
            "home": "",
        }
        html = filled(template().replace(POLICY, LIVE_POLICY, 1), self.document, blobs.blocks())
        self.answers, self.silent, self.unanswered = 0, False, []
        self.context = chromium.new_context()
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.page.route("http://studio.test/", lambda route: route.fulfill(body=html, content_type="text/html"))
        self.page.route(
            "http://studio.test/live**", lambda r: self.unanswered.append(r) if self.silent else self.say(r)
        )
        self.page.goto("http://studio.test/")

    def say(self, route) -> None:
        self.answers += 1
        newer = {**json.loads(json_text(self.document)), "title": f"Answer {self.answers}"}
        newer["live"]["stamp"] = str(self.answers + 1)
        route.fulfill(body=json.dumps(newer), content_type="application/json")


@pytest.fixture
def studio(chromium):
    played = Studio(chromium, sample.model_graph())
    yield played
    played.context.close()


def test_a_graph_keeps_what_was_opened(studio):
    panel = studio.page.locator('article[data-kind="model-graph"]')
    panel.scroll_into_view_if_needed()
    panel.get_by_role("application").first.wait_for()
    search = panel.locator("input[type=search]").first
    search.fill("conv")
    studio.page.evaluate("window.canvas = document.querySelector('article[data-kind=model-graph] [role=application]')")
    before = studio.answers
    assert eventually(studio.page, lambda: studio.answers >= before + 3)
    assert studio.page.locator("h1").inner_text().startswith("Answer")
    assert search.input_value() == "conv"
    assert studio.page.evaluate("window.canvas.isConnected")


def test_a_studio_that_hangs_is_told_until_it_answers(studio):
    trouble = studio.page.get_by_text("does not answer")
    assert eventually(studio.page, lambda: studio.answers)
    assert eventually(studio.page, lambda: trouble.count() == 0)
    studio.silent = True  # its connection stays open: the browser sees no error
    trouble.wait_for()
    assert len(studio.unanswered) == 1  # one question lies there, no heap of them
    studio.silent = False
    studio.say(studio.unanswered.pop())
    trouble.wait_for(state="detached")
    last = studio.answers
    assert eventually(studio.page, lambda: studio.answers > last)
