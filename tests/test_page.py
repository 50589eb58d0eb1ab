"""The page's file: what goes in can be read back, nothing in it is markup, and it stays small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from fluoroscope.errors import FluoroscopeError, InputError, ResultFileError
from fluoroscope.render import template as template_module
from fluoroscope.render.blobs import Blobs, storage
from fluoroscope.render.page import PanelError, Section, page, write_page
from fluoroscope.render.panels import kinds
from fluoroscope.render.plain import plain
from fluoroscope.results import Attribution, FeatureMaps, History, Samples, Scorecard, Series
from tests.browser import sample_media
from tests.browser import sample_results as sample

built = pytest.mark.skipif(
    not template_module.TEMPLATE.is_file(), reason="the page has not been built: npm run build in web/"
)


class Parts(HTMLParser):
    """What an HTML parser sees: scripts with their text, and every other tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.title = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        else:
            self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._open == "title":
            self.title += data

    def block(self, name):
        return next(text for attributes, text in self.scripts if attributes.get("id") == name)

    def document(self):
        return json.loads(self.block("fs-document"))

    def array(self, ref):
        data = gzip.decompress(base64.b64decode(self.block(f"fs-blob-{ref['blob']}"), validate=True))
        return np.frombuffer(data, np.dtype("<" + ref["dtype"])).reshape(ref["shape"])

    def image(self, ref):
        data = base64.b64decode(self.block(f"fs-blob-{ref['blob']}"), validate=True)
        return Image.open(io.BytesIO(data))


def everything():
    return [
        sample.layer_summary(),
        sample.tensor_summary(),
        sample.spectra(),
        sample.history(),
        sample.tensor_history(),
        sample.findings(),
        sample.compared_runs(),
        sample.grad_cam(),
        sample.occlusion(),
        sample.saliency(),
        sample.scorecard(),
        sample.tokens(),
        sample.columns(),
        sample.series(),
        sample.feature_maps(),
        sample.model_graph(),
        sample.neuron_diagram(),
        sample_media.media(),
    ]


@pytest.fixture(scope="module")
def text():
    return page(everything(), title="Sample", subtitle=sample.BREAKOUT, facts=[(sample.BREAKOUT, sample.RTL), ("n", 3)])


@pytest.fixture(scope="module")
def parts(text):
    return Parts(text)


def panel(parts, kind, number=0):
    found = [p for s in parts.document()["sections"] for p in s["panels"] if p["kind"] == kind]
    return found[number]


@built
def test_every_kind_of_sample_has_a_panel_without_error(parts):
    panels = [p for s in parts.document()["sections"] for p in s["panels"]]
    assert {p["kind"] for p in panels} == set(kinds())
    assert [p.get("error") for p in panels] == [None] * len(panels)
    assert len({p["id"] for p in panels}) == len(panels)


@built
def test_neighbouring_attributions_of_the_same_samples_share_a_panel(parts):
    assert [m["title"] for m in panel(parts, "attribution")["methods"]] == ["Grad-CAM", "Occlusion", "Saliency"]
    apart = Parts(page([sample.grad_cam(), sample.scorecard(), sample.occlusion()], title="t"))
    assert [len(panel(apart, "attribution", i)["methods"]) for i in (0, 1)] == [1, 1]
    others = sample.occlusion().replace(samples=sample.samples().replace(names=("a", "b", "c")))
    assert len(panel(Parts(page([sample.grad_cam(), others], title="t")), "attribution")["methods"]) == 1


@built
def test_attribution_maps_scores_and_ranges_come_back(parts):
    shown = panel(parts, "attribution")
    for m, result in enumerate((sample.grad_cam(), sample.occlusion())):
        for n in range(3):
            for k in range(2):
                cell = shown["items"][n]["cells"][m][k]
                np.testing.assert_array_equal(parts.array(cell["map"]), result.data[n, k])
                assert cell["score"] == pytest.approx(float(result.scores[n, k]))
                assert cell["label"] == sample.LABELS[n][k]
    low, high = shown["methods"][1]["range"]
    finite = sample.occlusion().data[np.isfinite(sample.occlusion().data)]
    assert (low, high) == (pytest.approx(finite.min()), pytest.approx(finite.max()))
    assert shown["items"][0]["cells"][1][0]["centers"] == [[8.0, 4.0], [8.0, 4.0]]


@built
def test_the_series_comes_back_with_its_attribution():
    result = sample.series()
    parts = Parts(page([result, result.replace(title="Again")], title="t"))
    (item,) = panel(parts, "attribution")["items"]
    np.testing.assert_array_equal(parts.array(item["series"]), result.samples.series[0])
    other = result.replace(samples=result.samples.replace(series=result.samples.series + 1))
    assert len(panel(Parts(page([result, other], title="t")), "attribution")["methods"]) == 1


@built
def test_colours_end_before_outliers_only_where_there_are_many_cells(parts):
    coarse, _, fine = panel(parts, "attribution")["methods"]
    assert coarse["span"] == coarse["range"]
    assert fine["range"][1] == 30.0
    assert fine["span"][1] < 5


@built
def test_channels_of_an_attribution_are_summed():
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    result = Attribution(data=data, axes=("N", "C", "H", "W"), scores=np.zeros(2), targets=np.zeros(2), size=(4, 5))
    found = Parts(page([result], title="t"))
    cell = panel(found, "attribution")["items"][1]["cells"][0][0]
    np.testing.assert_array_equal(found.array(cell["map"]), data[1].sum(0))


@built
def test_feature_maps_keep_the_strongest_channels_and_say_so(parts):
    first, second, *_ = panel(parts, "feature-maps")["layers"]
    assert (len(first["channels"]), first["total"]) == (16, 16)
    assert (len(second["channels"]), second["total"]) == (64, 100)
    data = sample.feature_maps().maps[second["name"]]
    strength = np.abs(data).mean((0, 2, 3))
    assert strength[second["channels"]].min() >= np.delete(strength, second["channels"]).max()
    np.testing.assert_allclose(parts.array(second["data"]), data[:, second["channels"]], rtol=6e-4, atol=2e-6)


@built
def test_feature_maps_number_channels_as_the_network_does():
    result = FeatureMaps(
        maps={"a": np.ones((1, 2, 3, 3), np.float32) * np.array([1, 5])[None, :, None, None]},
        axes={"a": ("N", "C", "H", "W")},
        selected={"a": (40, 17)},
    )
    layer = panel(Parts(page([result], title="t")), "feature-maps")["layers"][0]
    assert (layer["channels"], layer["total"]) == ([17, 40], None)


@built
def test_numbers_that_are_not_finite_are_spelled_out(parts):
    card = panel(parts, "scorecard")
    assert card["table"][3] == ["nan", "inf"]
    loss = panel(parts, "history")["series"][0]
    np.testing.assert_allclose(parts.array(loss["values"]), sample.history().series["loss"].values, rtol=1e-6)
    bias = panel(parts, "tensor-summary")["tensors"][2]
    assert bias["statistics"]["nonfinite"] == 2
    nothing = Attribution(
        data=np.full((1, 2, 2), np.nan), axes=("N", "H", "W"), scores=np.array([np.inf]), targets=np.zeros(1)
    )
    shown = panel(Parts(page([nothing], title="t")), "attribution")
    assert shown["items"][0]["cells"][0][0]["score"] == "inf"
    assert shown["methods"][0]["range"] == [0.0, 0.0]


@built
def test_hostile_text_is_never_markup(text, parts):
    clean = Parts(page([], title="Sample"))
    assert parts.tags == clean.tags  # the data adds no tag at all
    assert len(parts.scripts) == len(clean.scripts) + text.count('id="fs-blob-')
    assert parts.document()["subtitle"] == sample.BREAKOUT
    assert parts.document()["facts"] == [[sample.BREAKOUT, sample.RTL], ["n", "3"]]
    data = text[text.index('id="fs-document"') :]
    assert "onerror=" in data
    assert "<img" not in data
    assert "<!--" not in data


@built
@pytest.mark.parametrize(
    "title", [sample.BREAKOUT, "</title><b>", "\udcff lone", "&amp; <!--", "x" * 5000, "\u202eשלום"]
)
def test_hostile_titles_are_text(title, tmp_path):
    written = write_page(page([], title=title), tmp_path / "a.html")
    found = Parts(written.read_text(encoding="utf-8"))
    assert found.title == title.encode("utf-8", "replace").decode()
    assert found.document()["title"] == title


@built
def test_the_policy_names_the_hash_of_the_only_script_and_style(text, parts):
    policy = next(a["content"] for t, a in parts.tags if a.get("http-equiv") == "Content-Security-Policy")
    run = [s for a, s in parts.scripts if a.get("type") in (None, "module", "text/javascript")]
    assert len(run) == 1
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == _hash(run[0])
    assert rules["style-src"] == _hash(style[0])
    assert "unsafe" not in policy


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@built
def test_the_template_is_small_and_names_no_other_place():
    raw = template_module.TEMPLATE.read_bytes()
    assert len(gzip.compress(raw, 9)) < 150_000  # 300 kB is the limit that must never be reached
    addresses = set(re.findall(rb"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']+""", raw.split(b"<script")[0]))
    assert not addresses


@built
def test_equal_data_is_kept_once():
    once = page([sample.grad_cam()], title="t")
    twice = page([sample.grad_cam(), sample.scorecard(), sample.grad_cam()], title="t")
    assert twice.count('id="fs-blob-') == once.count('id="fs-blob-')


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([True, False]), "u1"),
        (np.arange(5), "i4"),
        (np.array([2**40]), "f8"),
        (np.linspace(-1, 1, 100), "f4"),
        (np.linspace(-1, 1, 100_000), "f2"),
        (np.linspace(-1, 1, 100_000) * 1e6, "f4"),
        (np.linspace(-1, 1, 100_000) * 1e-6, "f4"),
        (np.array([1e300]), "f8"),
        (np.array([np.nan, np.inf]), "f4"),
        (np.zeros((0, 3)), "f4"),
    ],
)
def test_storage_is_the_smallest_type_that_keeps_the_numbers(values, dtype):
    assert storage(values) == np.dtype("<" + dtype)
    kept = values.astype(storage(values)).astype(np.float64)
    np.testing.assert_allclose(kept, values.astype(np.float64), rtol=5e-4, atol=5e-7 * np.abs(values).max(initial=0))


def test_exact_arrays_are_never_halved():
    assert storage(np.linspace(-1, 1, 100_000), exact=True) == np.dtype("<f4")


@pytest.mark.parametrize(("size", "mime", "tolerance"), [(64, "image/png", 0), (200, "image/webp", 4)])
def test_small_pictures_are_exact_and_large_ones_close(size, mime, tolerance):
    y, x = np.mgrid[:size, :size]
    picture = np.stack([y * 255 // size, x * 255 // size, (x + y) * 127 // size], -1).astype(np.uint8)
    blobs = Blobs()
    ref = blobs.image(picture)
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(blobs.blocks()[ref["blob"]]))).convert("RGB"))
    assert (ref["mime"], ref["width"], ref["height"]) == (mime, size, size)
    assert np.abs(back.astype(int) - picture).mean() <= tolerance


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="uint8"):
        Blobs().image(np.zeros((4, 4, 3)))


@built
def test_one_result_that_cannot_be_drawn_leaves_the_rest():
    broken = Scorecard(rows=("a",), columns=("b",), table=None)
    found = Parts(page([broken, sample.scorecard()], title="t"))
    assert "AttributeError" in panel(found, "scorecard", 0)["error"]
    assert "error" not in panel(found, "scorecard", 1)


@built
def test_sections_and_errors_keep_their_order():
    sections = [Section("One two!", "A", "lead", [PanelError("Attention", "none here")]), Section("One two!", "B")]
    document = Parts(page([sample.scorecard()], title="t", sections=sections)).document()
    assert [(s["id"], s["title"]) for s in document["sections"]] == [
        ("part-one-two", "A"),
        ("part-one-two-2", "B"),
        ("part-after", "After training"),
    ]
    assert document["sections"][0]["panels"][0]["error"] == "none here"


def test_provenance_of_any_type_becomes_text_and_numbers():
    meta = {
        "a": np.float32(1.5),
        "b": (1, 2),
        "c": {"d": float("-inf")},
        "e": np.arange(3),
        "f": np.zeros(1000),
        "g": object,
    }
    found = plain(meta)
    json.dumps(found, allow_nan=False)
    assert found["a"] == 1.5
    assert found["c"] == {"d": "-inf"}
    assert found["e"] == [0, 1, 2]
    assert found["f"] == "float64 array of shape (1000,)"


def test_a_template_that_was_not_built_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(template_module, "TEMPLATE", tmp_path / "report.html")
    with pytest.raises(FluoroscopeError, match="npm ci && npm run build"):
        page([], title="t")
    (tmp_path / "report.html").write_text("<html></html>")
    with pytest.raises(FluoroscopeError, match="npm ci && npm run build"):
        page([], title="t")


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultFileError):
        write_page("<html>", tmp_path / "folder")
    assert [p.name for p in tmp_path.rglob("*")] == ["folder"]


@built
def test_samples_without_names_are_numbered():
    result = sample.grad_cam().replace(samples=Samples())
    items = panel(Parts(page([result], title="t")), "attribution")["items"]
    assert [(i["name"], i["image"]) for i in items] == [("example 1", None), ("example 2", None), ("example 3", None)]


@built
def test_a_graph_travels_as_columns_with_the_layout_of_each_container(parts):
    graph, shown = sample.model_graph(), panel(parts, "model-graph")
    text = parts.array(shown["graph"]).tobytes().decode()
    data = json.loads(text)
    nodes, texts = data["nodes"], data["texts"]
    assert shown["size"] == [len(graph.nodes), len(graph.edges)]
    assert shown["totals"]["parameters"] == graph.parameters
    assert nodes["name"] == [n.name for n in graph.nodes]
    assert [texts[i] for i in nodes["type"]] == [n.type for n in graph.nodes]
    assert nodes["parameters"] == [n.parameters for n in graph.nodes]
    shapes = [[data["tensors"][t]["shape"] for t in tensors] for tensors in nodes["outputs"]]
    assert shapes == [[list(t.shape) for t in n.outputs] for n in graph.nodes]
    assert [bool(h) for h in data["edges"]["hub"]] == [e.hub for e in graph.edges]
    assert data["values"] == {
        "gradient norm": [{"transformer.wte": 0.25, "lm_head": "nan"}.get(n.name) for n in graph.nodes]
    }
    last = str(len(graph.nodes) - 1)
    assert data["rare"]["error"] == {last: graph.nodes[-1].error}
    for node, layout in enumerate(nodes["layout"]):
        children = [i for i, parent in enumerate(nodes["parent"]) if parent == node]
        assert (layout >= 0) == bool(children)
        if children:
            items = [item for row in data["layouts"][layout]["rows"] for item in row if item >= 0]
            assert sorted(items) == list(range(len(children)))
    assert "values" not in shown["meta"]


@built
def test_runs_that_are_compared_carry_settings_marks_and_times(parts):
    shown = panel(parts, "history", 1)
    result = sample.compared_runs()
    assert shown["runs"] == [f"run 0 {sample.BREAKOUT}", "run 1", "run 2"]
    assert shown["differences"] == [
        {"name": "lr", "values": [0.1, 0.1, 1.0]},
        {"name": "seed", "values": [0, 1, 2]},
    ]
    marked = {(m["kind"], m["series"]): m["index"] for m in shown["marks"]}
    held_out = list(result.series.values())[1]
    assert marked["best", 1] == int(np.argmin(held_out.values))
    assert abs(marked["overfitting", 1] - marked["best", 1]) <= 2
    assert ("overfitting", 5) not in marked  # its training diverged
    first = shown["series"][0]
    assert first["steps"] == {"first": 0.0, "step": 1.0, "count": 300}
    times = first["times"]["origin"] + parts.array(first["times"]["offsets"]).astype(float)
    np.testing.assert_array_equal(times, result.series[next(iter(result.series))].times)


@built
def test_layers_by_steps_keep_apart_what_is_missing_and_what_is_broken(parts):
    shown, result = panel(parts, "tensor-history"), sample.tensor_history()
    quantity = shown["quantities"][0]
    state, values = parts.array(quantity["state"]), parts.array(quantity["values"])
    assert (state[2, :10] == 0).all() and (state[1, 20:23] == 2).all() and (state[3:] == 1).all()
    known = result.statistics["gradient/norm"]
    np.testing.assert_allclose(values[state == 1], known[state == 1], rtol=1e-6)
    shares = parts.array(shown["histograms"][0]["shares"])
    counts = result.histograms["gradient"].counts
    np.testing.assert_allclose(shares[:4], counts[:4] / counts[:4].sum(2, keepdims=True), rtol=1e-3)
    assert not shares[4].any()


@built
def test_many_steps_share_columns_that_show_the_largest_value_and_any_nan():
    rng = np.random.default_rng(0)
    norms = rng.random((300, 5000))
    norms[7, 4321] = np.nan
    result = sample.tensor_history().replace(
        names=tuple(f"l{i}" for i in range(300)),
        steps=np.arange(5000),
        statistics={"gradient/norm": norms},
        recorded={"gradient/norm": np.ones((300, 5000), bool)},
        histograms={},
    )
    parts = Parts(page([result], title="t"))
    shown = panel(parts, "tensor-history")
    steps, quantity = parts.array(shown["steps"]).astype(int), shown["quantities"][0]
    values, state = parts.array(quantity["values"]), parts.array(quantity["state"])
    assert len(steps) * 300 <= 400_000
    ends = [*steps[1:], 5000]
    for column, (a, b) in enumerate(zip(steps, ends, strict=True)):
        np.testing.assert_allclose(values[:, column], np.nanmax(norms[:, a:b], axis=1), rtol=1e-6)
        assert state[7, column] == (2 if a <= 4321 < b else 1)
    assert "each shows its largest value" in shown["notes"][-1]


@built
def test_of_very_many_series_the_page_has_the_first_and_says_so(monkeypatch):
    from fluoroscope.render.panels import history

    monkeypatch.setattr(history, "MOST", 10)
    one = {f"s{i}": Series(steps=np.arange(2), values=np.full(2, float(i))) for i in range(30)}
    shown = panel(Parts(page([History(series=one)], title="t")), "history")
    assert [s["name"] for s in shown["series"]] == [f"s{i}" for i in range(10)]
    assert shown["notes"][0].startswith("20 more series")
    both = History.compared({"a": History(series=one), "b": History(series=one)})
    shown = panel(Parts(page([both], title="t")), "history")
    assert [s["name"] for s in shown["series"]] == [f"s{i}" for i in range(5)] * 2
