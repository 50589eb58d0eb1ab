"""The graph panel in a browser: what opens, what is found, what is said, and that nothing leaves its place."""

from __future__ import annotations

import base64
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from fluoroscope.render.page import page, write_page
from fluoroscope.render.template import TEMPLATE
from tests.browser import sample_graphs as sample
from tests.browser.sample_results import BREAKOUT, grad_cam, history, tensor_summary
from tests.browser.view import View, eventually, spoken
from tests.render.graphs import resnet50

pytestmark = pytest.mark.skipif(not TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/")
MODEL = sample.language_model()
INSIDE = [n.name.split(".")[-1] for n in MODEL.children(MODEL.node("transformer").id)]
GRAPHS = (sample.language_model, resnet50, sample.hostile, sample.failed, sample.autograd)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page with each of the graphs."""
    folder = tmp_path_factory.mktemp("graphs")
    return {make: write_page(page([make()], title="Graph"), folder / f"{make.__name__}.html") for make in GRAPHS}


class GraphView(View):
    """A page of graphs; one of them is worked with."""

    def __init__(self, chromium, path, **more) -> None:
        super().__init__(chromium, path, **{"reduced": "reduce", **more})  # moves of the camera end at once
        self.graph = self.panel("model-graph")
        self.canvas = self.graph.locator("canvas[role=application]")
        self.canvas.wait_for()
        self.search = self.graph.get_by_role("combobox", name="Search the graph")

    def show(self, tab: str) -> None:
        self.graph.get_by_text(tab, exact=True).click()

    def find(self, text: str) -> None:
        """Search, and go to the first match: it is chosen and in the middle of the picture."""
        self.search.fill(text)
        self.search.press("Enter")
        self.settle()

    def rows(self):
        return self.graph.get_by_role("treeitem")

    def names(self) -> list[str]:
        return self.graph.locator("[role=treeitem] .title").all_inner_texts()

    def details(self) -> str:
        return self.graph.locator(".side .body, .sheet").first.inner_text()

    def middle(self) -> dict[str, float]:
        box = self.canvas.bounding_box()
        return {"x": box["width"] / 2, "y": box["height"] / 2}

    def pixels(self) -> np.ndarray:
        """The picture (H, W, RGB), one pixel for each of the window."""
        self.settle()
        png = base64.b64decode(self.canvas.evaluate("c => c.toDataURL()").split(",")[1])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture
def view(chromium, report):
    opened = GraphView(chromium, report[sample.language_model])
    yield opened
    opened.close()


def close_to(pixels: np.ndarray, colour: str, within: int = 12) -> np.ndarray:
    """Where the picture has that colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(pixels[..., :3].astype(int) - wanted) <= within).all(-1)


def within(node: int, block: int) -> bool:
    """Whether a node of the language model lies inside of a block, at any depth."""
    parent = MODEL.nodes[node].parent
    return parent == block or (parent >= 0 and within(parent, block))


def test_tree_and_picture_open_together(view):
    view.show("Tree")
    assert view.names()[:5] == ["input_ids", "attention_mask", "transformer", *INSIDE[:2]]
    everything = view.rows().count()
    block = view.rows().filter(has_text="12")
    assert block.get_attribute("aria-expanded") == "true"
    assert block.get_attribute("aria-level") == "2"
    block.click()
    before = view.pixels()
    view.graph.get_by_role("tree").press("ArrowLeft")
    inside = sum(within(n.id, MODEL.node("transformer.h.0").id) for n in MODEL.nodes)
    assert view.rows().count() == everything - inside
    assert (view.pixels() != before).any()
    view.graph.get_by_role("tree").press("ArrowRight")
    assert view.rows().count() == everything
    assert eventually(view.page, lambda: (view.pixels() == before).all())  # it stays where it was


def test_double_click_and_chevron_open_a_block_where_it_is(view):
    view.find("GPT2Attention")
    view.show("Tree")
    before = view.rows().count()
    chosen = view.graph.locator("[role=treeitem][aria-selected=true]")
    assert chosen.get_attribute("aria-expanded") == "true"
    view.canvas.focus()
    view.page.keyboard.press("Enter")
    assert chosen.get_attribute("aria-expanded") == "false"
    assert view.rows().count() == before - 4
    view.find("GPT2Attention")  # closed, it lies in the middle
    view.canvas.dblclick(position=view.middle())
    assert view.rows().count() == before


def test_levels_open_and_close(view):
    view.show("Tree")
    closer = view.graph.get_by_role("button", name="Close a level")
    counts = []
    while closer.is_enabled():
        counts.append(view.rows().count())
        closer.click()
    assert "Level 0 of" in view.graph.inner_text()
    assert view.names() == ["input_ids", "attention_mask", "transformer", "lm_head", "logits"]
    assert all(a > b for a, b in itertools.pairwise([*counts, 5]))


def test_search_counts_steps_and_opens_what_holds_the_match(view):
    view.show("Tree")
    while view.graph.get_by_role("button", name="Close a level").is_enabled():
        view.graph.get_by_role("button", name="Close a level").click()
    view.search.fill("conv1d")
    count = sum(n.type == "Conv1D" for n in sample.language_model().nodes)
    assert view.graph.locator(".search .count").inner_text() == str(count)
    assert view.graph.locator(".search [role=option]").count() == count
    view.search.press("Enter")
    assert view.graph.locator(".search .count").inner_text() == f"1 of {count}"
    assert view.graph.locator("[role=treeitem][aria-selected=true] .title").inner_text() == "c_attn"
    view.search.press("Shift+Enter")
    assert view.graph.locator(".search .count").inner_text() == f"{count} of {count}"
    view.search.fill("no such thing")
    assert view.graph.locator(".search .count").inner_text() == "none"


def test_details_say_what_the_result_says(view):
    view.find("GPT2Block")
    block = next(n for n in sample.language_model().nodes if n.type == "GPT2Block")
    text = view.details()
    assert "12 in a row, each fed by the one before" in text
    assert "transformer.h.0 … transformer.h.11" in text
    assert f"{block.parameters / 1e6:.3g}" in text
    assert f"{12 * block.parameters / 1e6:.3g}\u2009M in all 12" in text
    assert "1 × 64 × 768" in text
    view.find("lm_head")
    assert "transformer.wte.weight" in view.details()
    assert "transformer.ln_f" in view.details()  # what it takes
    view.graph.get_by_role("button", name="transformer.ln_f").click()
    assert view.graph.locator(".side h4").inner_text() == "ln_f"


def test_costs_sort_and_choose(view):
    view.show("Costs")
    view.graph.get_by_role("button", name="Parameters").click()
    rows = view.graph.locator("tbody tr")
    shown = [spoken(v.split("\u2009")[0]) for v in rows.locator("td:nth-child(2)").all_inner_texts()[:3]]
    assert shown == [84.9, 56.6, 38.6]  # twelve blocks, the feed-forward parts of them, the embedding
    rows.nth(2).click()
    assert rows.nth(2).get_attribute("aria-selected") == "true"
    view.show("Details")
    assert view.graph.locator(".side h4").inner_text() == "wte"


def test_keys_move_zoom_and_walk(view):
    view.canvas.focus()
    before = view.pixels()
    view.page.keyboard.press("ArrowLeft")
    after = view.pixels()
    half = slice(200, 500)
    assert (after[half, 70:400] == before[half, 10:340]).all()  # 60 pixels to the right
    view.page.keyboard.press("ArrowRight")
    assert (view.pixels() == before).all()
    view.page.keyboard.press("+")
    assert (view.pixels() != before).any()
    view.page.keyboard.press("0")
    whole = view.pixels()
    ground = whole[2, 2]
    assert (whole[:8] == ground).all()
    assert (whole[-8:] == ground).all()  # the picture's upper and lower end are inside
    walked = []
    for key in ("Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"):
        view.page.keyboard.press(key)
        walked.append(view.graph.locator(".side h4").inner_text())
    assert walked == ["input_ids", "attention_mask", "transformer", INSIDE[0]]
    view.page.keyboard.press("Escape")
    assert "Choose a box" in view.details()


def test_paths_light_up_and_are_let_go(view):
    view.find("sdpa")
    view.graph.get_by_role("button", name="Upstream").click()
    assert "Feeds sdpa" in view.details()
    accent = "#2457c5"
    assert close_to(view.pixels(), accent).sum() > 200
    view.graph.get_by_role("button", name="Clear").click()
    view.find("ln_f")
    view.graph.get_by_role("button", name="Path to").click()
    view.find("split")
    assert "split to ln_f, 5 steps" in view.details()


def test_hub_edges_wait_until_they_are_asked_for(view):
    view.search.focus()
    before = view.pixels()
    box = view.graph.get_by_label("Hub edges")
    box.check()
    hubs = (view.pixels() != before).any(-1).sum()
    assert hubs > 20
    box.uncheck()
    assert (view.pixels() == before).all()
    view.find("attention_mask")
    assert "hub" in view.details()
    assert close_to(view.pixels(), "#ae8549", 45).sum() > 20  # amber, through which the ground shows


def test_colours_by_cost_and_by_numbers_of_ones_own(view):
    before = view.pixels()
    choice = view.graph.get_by_label("Colour")
    choice.select_option("parameters")
    assert "log scale" in view.graph.get_by_label("Legend").inner_text()
    assert (view.pixels() != before).any()
    choice.select_option("heat <i>")
    legend = view.graph.get_by_label("Legend").inner_text()
    assert "\u22123" in legend  # a signed scale is symmetric
    view.find("lm_head")
    y, x = (int(v) for v in (view.middle()["y"], view.middle()["x"]))
    red, _, blue = view.pixels()[y + 16, x + 30, :3].astype(int)
    assert red > blue + 60
    assert "heat <i>" in view.details()


def test_names_are_text_everywhere(chromium, report):
    view = GraphView(chromium, report[sample.hostile])
    view.show("Tree")
    assert view.names()[0] == BREAKOUT
    assert view.graph.locator("img, b:not(.x)").count() == 0
    view.rows().nth(1).click()
    assert BREAKOUT in view.details() or view.show("Details") or BREAKOUT in view.details()
    view.show("Costs")
    view.search.fill("<b>odd")
    assert view.graph.locator(".search [role=option]").count() == 1
    view.search.press("Enter")
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 1280
    view.close()


def test_errors_and_assumptions_are_on_the_picture(chromium, report):
    view = GraphView(chromium, report[sample.failed])
    assert "ended early" in view.graph.locator(".partial").inner_text()
    bad, warn = "#b3261e", "#8f5600"
    assert close_to(view.pixels(), bad).sum() > 150
    assert close_to(view.pixels(), warn).sum() > 40
    view.find("cannot be multiplied")
    assert "mat1 and mat2 shapes cannot be multiplied" in view.graph.locator(".alarm.bad").inner_text()
    view.find("choice")
    assert "Assumed: the branch for True was taken" in view.details()
    view.close()


def test_the_autograd_graph_has_its_own_colours(chromium, report):
    view = GraphView(chromium, report[sample.autograd])
    assert view.graph.get_by_label("Legend").locator("li").all_inner_texts()[:4] == [
        "Leaf tensor",
        "Function",
        "Saved tensor",
        "Output",
    ]
    pixels = view.pixels()
    rows = {}
    for role, colour in (
        ("leaf", "#b2d5e8"),
        ("saved", "#f8e2b3"),
        ("output", "#b3e2d5"),
    ):  # blue, orange, green on white
        there = close_to(pixels, colour, 2)
        assert there.sum() > 500
        rows[role] = np.argwhere(there)[:, 0].mean()
    assert rows["leaf"] < rows["output"]
    view.find("mat1")
    assert "24 B" in view.details()
    view.close()


def test_the_wheel_zooms_only_where_it_was_aimed(view):
    view.page.evaluate("scrollTo(0, 0)")
    box = view.canvas.bounding_box()
    view.page.mouse.move(box["x"] + 200, box["y"] + 200)
    before = view.pixels()
    view.page.mouse.wheel(0, 120)
    assert eventually(view.page, lambda: view.page.evaluate("scrollY") > 0)  # one move is no aim: it came by itself
    view.page.mouse.move(box["x"] + 230, box["y"] + 120)
    view.page.mouse.move(box["x"] + 240, box["y"] + 120)
    view.page.wait_for_timeout(300)  # a scroll that glides has ended
    scrolled = view.page.evaluate("scrollY")
    view.page.mouse.wheel(0, 120)
    assert eventually(view.page, lambda: (view.pixels() != before).any())
    assert view.page.evaluate("scrollY") == scrolled


def test_dragging_moves_the_picture_and_chooses_nothing(view):
    box = view.canvas.bounding_box()
    before = view.pixels()
    view.page.mouse.move(box["x"] + 300, box["y"] + 300)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + 310, box["y"] + 320)
    view.page.mouse.move(box["x"] + 330, box["y"] + 350)
    view.page.mouse.up()
    view.page.mouse.move(box["x"] - 20, box["y"] + 300)
    after = view.pixels()
    assert (after[150:500, 130:400] == before[100:450, 100:370]).all()
    assert "Choose a box" in view.details()


def test_full_page_and_back(view):
    view.graph.get_by_role("button", name="Full page").click()
    assert eventually(view.page, lambda: view.canvas.bounding_box()["width"] > 850)
    assert view.canvas.bounding_box()["height"] > 600
    view.page.keyboard.press("Escape")
    assert eventually(view.page, lambda: view.canvas.bounding_box()["width"] < 700)


def test_light_dark_and_paper(chromium, report):
    view = GraphView(chromium, report[sample.language_model], scheme="dark")
    assert tuple(view.pixels()[3, 3, :3]) == (19, 20, 23)
    view.page.get_by_role("button", name="Theme").click()
    assert tuple(view.pixels()[3, 3, :3]) == (246, 246, 244)
    view.close()


def test_a_phone_taps_pinches_and_never_scrolls_sideways(chromium, report):
    view = GraphView(chromium, report[sample.language_model], width=390)
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 390
    view.canvas.scroll_into_view_if_needed()
    view.find("GPT2Block")
    view.search.fill("")
    assert "12 in a row" in view.graph.locator(".sheet").inner_text()
    view.graph.locator(".sheet").get_by_role("button", name="Close", exact=True).first.click()
    assert view.graph.locator(".sheet").count() == 0
    before = view.pixels()
    session = view.context.new_cdp_session(view.page)
    box = view.canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 120

    def touch(kind: str, *points: tuple[float, float]) -> None:
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": a, "y": b, "id": i} for i, (a, b) in enumerate(points)]},
        )

    touch("touchStart", (x - 30, y), (x + 30, y))
    for d in (40, 60, 80):
        touch("touchMove", (x - d, y), (x + d, y))
    touch("touchEnd")
    assert (view.pixels() != before).any()
    assert view.graph.locator(".sheet").count() == 0  # a pinch chooses nothing
    view.close()


def test_what_nobody_scrolled_to_is_printed(chromium, tmp_path):
    results = [tensor_summary(), history(), resnet50(), grad_cam(), sample.language_model()]
    path = write_page(page(results, title="Print"), tmp_path / "print.html")
    opened = chromium.new_page(viewport={"width": 1280, "height": 700})
    opened.goto(path.as_uri())
    assert eventually(opened, lambda: not opened.locator(".body.waiting").count())  # without a scroll
    opened.locator("article canvas[role=application]").nth(1).wait_for(state="attached")
    assert opened.locator("article canvas[role=application]").count() == 2
    opened.close()


def test_ten_thousand_boxes_are_there_without_ten_thousand_elements(chromium, tmp_path):
    from bench.cases.graph_page import wide

    path = write_page(page([wide(10_000)], title="Wide"), tmp_path / "wide.html")
    view = GraphView(chromium, path)
    view.graph.get_by_role("button", name="Open a level").click()
    view.show("Tree")
    assert view.rows().count() < 60
    view.find("blocks.99.98")
    assert view.graph.locator("[role=treeitem][aria-selected=true]").get_attribute("aria-posinset") == "99"
    assert view.page.evaluate("document.querySelectorAll('*').length") < 1500
    view.close()
