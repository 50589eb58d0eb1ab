"""The page by keyboard alone: everything is reached, is seen to be reached, says what it is, and can be left again."""

from __future__ import annotations

import pytest

from fluoroscope.render import design
from fluoroscope.render.page import page, write_page
from fluoroscope.render.template import TEMPLATE
from tests.browser import sample_media
from tests.browser import sample_results as sample
from tests.browser.test_legible_page import colour
from tests.browser.view import View

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"),
]

REACHED = """() => {
    const e = document.activeElement;
    if (!e || e === document.body) return null;
    e.dataset.reached = '';
    if (e.type === 'radio') for (const one of document.getElementsByName(e.name)) one.dataset.reached = '';
    const small = e.getBoundingClientRect().width < 4, on = small ? e.closest('label') : e;  // its label is seen
    const s = getComputedStyle(on), r = on.getBoundingClientRect();
    let ground = parseFloat(s.outlineOffset) > 0 ? on.parentElement : on;  // what the ring lies on
    while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
    return { what: e.outerHTML.slice(0, 160), name: e.ariaLabel || e.innerText || e.labels?.[0]?.innerText || e.title,
        style: s.outlineStyle, width: parseFloat(s.outlineWidth), colour: s.outlineColor,
        ground: getComputedStyle(ground).backgroundColor,
        seen: r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth };
}"""
MISSED = """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
    .filter((e) => e.getClientRects().length && e.tabIndex >= 0 && !e.disabled && e.dataset.reached === undefined)
    .map((e) => e.outerHTML.slice(0, 160))"""
UNNAMED = """() => [...document.querySelectorAll('article canvas, article svg')]
    .filter((e) => !e.closest('[aria-hidden=true]') && !e.closest('[aria-label]'))
    .map((e) => e.parentElement.outerHTML.slice(0, 160))"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    results = [
        sample.layer_summary(), sample.tensor_summary(), sample.large_matrix(), sample.spectra(), sample.model_graph(),
        sample.history(), sample.tensor_history(), sample.findings(), sample.compared_runs(), sample_media.media(),
        sample.grad_cam(), sample.tokens(), sample.columns(), sample.feature_maps(), sample.scorecard(),
        sample.neuron_diagram(),
    ]  # fmt: skip
    return write_page(page(results, title="Keys"), tmp_path_factory.mktemp("page") / "keys.html")


@pytest.fixture(params=["light", "dark"])
def view(chromium, made, request):
    opened = View(chromium, made, scheme=request.param)
    yield opened
    opened.close()


def test_every_control_is_reached_named_and_seen_to_have_the_focus(view):
    view.page.evaluate("scrollTo(0, 0)")
    reached = []
    for _ in range(600):
        view.page.keyboard.press("Tab")
        found = view.page.evaluate(REACHED)
        if found is None:
            break
        reached.append(found)
    assert len(reached) > 100
    assert [r["what"] for r in reached if not (r["name"] or "").strip()] == []
    assert [r["what"] for r in reached if not r["seen"]] == []
    assert [r["what"] for r in reached if r["style"] == "none" or r["width"] < 2] == []
    faint = [r["what"] for r in reached if design.contrast(colour(r["colour"]), colour(r["ground"])) < 3]
    assert faint == []
    assert view.page.evaluate(MISSED) == []
    assert view.page.evaluate(UNNAMED) == []


def test_arrow_keys_read_what_the_pointer_reads(chromium, made):
    view = View(chromium, made)
    text = view.panel("attribution", 1)
    tokens = text.locator(".tokens").first
    tokens.focus()
    for key in ("ArrowRight", "ArrowRight", "End"):
        view.page.keyboard.press(key)
    last = text.locator(".token").last if text.locator(".tokens").count() == 1 else tokens.locator(".token").last
    assert last.inner_text().strip() in text.locator(".read").first.inner_text()
    view.page.keyboard.press("Escape")
    assert text.locator(".read").first.inner_text() == ""

    neurons = view.panel("neuron-diagram")
    neurons.locator("svg[role=application]").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        view.page.keyboard.press(key)
    assert neurons.locator("p[aria-live]").inner_text() == "hidden 1: activation 0"
    assert neurons.locator(".dot.at").count() == 1

    weights = view.panel("tensor-summary")
    weights.get_by_role("application", name="Values of features.0.weight").focus()
    for _ in range(3):
        view.page.keyboard.press("ArrowRight")
    assert weights.locator(".spot").count() == 1
    said = weights.locator(".under p").inner_text()
    view.page.keyboard.press("End")
    assert weights.locator(".under p").inner_text() != said
    view.close()


def test_escape_closes_what_was_opened_and_gives_the_focus_back(chromium, made):
    view = View(chromium, made)
    cell = view.panel("attribution").locator("button[data-row]").first
    cell.focus()
    view.page.keyboard.press("Enter")
    assert view.page.locator("dialog[open]").count() == 1
    view.page.keyboard.press("Escape")
    assert view.page.locator("dialog[open]").count() == 0
    assert cell.evaluate("e => e === document.activeElement")
    graph = view.panel("model-graph")
    graph.get_by_role("button", name="Full page").focus()
    view.page.keyboard.press("Enter")
    assert graph.locator(".graph.full").count() == 1
    view.page.keyboard.press("Escape")
    assert graph.locator(".graph.full").count() == 0
    view.close()
