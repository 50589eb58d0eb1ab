"""The drawings of graphs: what is on the sheet, and that matplotlib draws just that."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fluoroscope.errors import OptionError
from fluoroscope.render import design
from fluoroscope.render.figures import sheet as sheet_figure
from fluoroscope.render.graph.flow import FlowOptions, flow_sheet
from fluoroscope.render.graph.sheet import Path, Polygon, Rect, Text, text_width
from fluoroscope.render.graph.slab import slab_sheet
from fluoroscope.render.graph.tints import Tints, family
from fluoroscope.results import GraphNode
from tests.render.graphs import Builder, autograd, convolution, lenet, resnet50, transformer

THEME = design.theme()


def texts(sheet):
    return [m.text for m in sheet.marks if isinstance(m, Text)]


def sheet_of(graph, **options):
    return flow_sheet(graph, THEME, FlowOptions(**options))


def test_a_lenet_has_its_layers_shapes_and_costs():
    shown = texts(sheet_of(lenet()))
    assert [t for t in shown if t in ("Conv2d", "MaxPool2d", "Linear")] == ["Conv2d", "MaxPool2d"] * 2 + ["Linear"] * 3
    assert {"1×6×28×28", "1×16×5×5", "1×400"} <= set(shown)
    assert "156 params · 245 k FLOPs" in shown
    assert shown.count("1×6×28×28") == 1  # what relu passes on unchanged is not said again


@pytest.mark.parametrize("graph", [lenet, resnet50, transformer, autograd], ids=lambda g: g.__name__)
@pytest.mark.parametrize("direction", ["down", "right"])
def test_text_fits_its_box_and_everything_the_sheet(graph, direction):
    sheet = sheet_of(graph(), direction=direction, shapes="all")
    for mark in sheet.marks:
        if isinstance(mark, Text) and mark.align == "center":
            width = text_width(mark.text, mark.size, mark.bold)
            around = [
                r for r in sheet.marks
                if isinstance(r, Rect) and r.x <= mark.x <= r.x + r.width and r.y <= mark.y <= r.y + r.height
            ]  # fmt: skip
            inner = min(around, key=lambda r: r.width * r.height)
            assert width <= inner.width + 0.5
        if isinstance(mark, Rect):
            assert mark.x >= 0 and mark.y >= 0
            assert mark.x + mark.width <= sheet.width and mark.y + mark.height <= sheet.height


def test_folded_blocks_say_how_often_and_depth_opens_them():
    graph = resnet50()
    assert texts(sheet_of(graph)).count("× 5") == 1
    assert texts(sheet_of(graph, depth=0)).count("Bottleneck") == 0
    assert texts(sheet_of(graph, depth=2)).count("Bottleneck") == 8
    assert texts(sheet_of(graph, depth=2)).count("add") == 8
    assert texts(sheet_of(graph, depth=1)).count("add") == 0


def test_a_hub_is_told_at_what_it_feeds():
    graph = transformer()
    assert any("attention_mask" in t and "⊕" in t for t in texts(sheet_of(graph)))
    shown = sheet_of(graph, hubs=True)
    assert not any("⊕" in t for t in texts(shown))
    lines = [m for m in shown.marks if isinstance(m, Path) and m.dashed]
    assert len(lines) == 4  # one in each container on its way


def test_options_leave_out_and_add():
    graph = lenet()
    graph = graph.replace(nodes=tuple(n.replace(trainable=0) if n.name == "conv1" else n for n in graph.nodes))
    assert not any("×" in t for t in texts(sheet_of(graph, shapes="none")) if t not in ("1×1×32×32", "1×10"))
    assert not any("params" in t for t in texts(sheet_of(graph, costs=False)))
    assert "conv1" not in texts(sheet_of(graph, names=False))
    assert "1×6×28×28 float32" in texts(sheet_of(graph, dtypes=True))
    assert "kernel_size = (5, 5)" in texts(sheet_of(graph, attributes=True))
    trained = texts(sheet_of(graph, trainable=True))
    assert trained.count("frozen") == 1 and trained.count("trainable") == 4


def test_an_error_inside_of_a_closed_module_is_marked():
    graph = resnet50()
    nodes = list(graph.nodes)
    inner = next(n.id for n in nodes if n.name == "layer3.0.conv2")
    nodes[inner] = nodes[inner].replace(error="mat1 and mat2", assumed=("a mask of ones",))
    sheet = sheet_of(graph.replace(nodes=tuple(nodes), complete=False))
    assert texts(sheet).count("stopped here") == 1
    red = [m for m in sheet.marks if isinstance(m, Rect) and m.stroke == THEME.bad]
    assert len(red) == 1 and red[0].dashed and "Bottleneck" in red[0].title


@pytest.mark.parametrize(
    ("kind", "type"),
    [
        *(("convolution", n) for n in ("Conv2d", "conv1d", "Conv1D", "ConvTranspose2d", "SeparableConv2D")),
        *(("linear", n) for n in ("Linear", "addmm", "Dense", "einsum")),
        *(("normalization", n) for n in ("LlamaRMSNorm", "BatchNorm2d", "layer_norm", "GroupNorm")),
        *(("attention", n) for n in ("GPT2Attention", "scaled_dot_product_attention", "MultiheadAttention")),
        *(("activation", n) for n in ("NewGELUActivation", "relu_", "softmax", "ELU", "SiLU", "Tanh")),
        *(("pooling", n) for n in ("MaxPool2d", "max_pool2d", "AdaptiveAvgPool2d", "GlobalAveragePooling2D")),
        *(("embedding", n) for n in ("Embedding", "LlamaRotaryEmbedding")),
        *(("recurrent", n) for n in ("LSTM", "GRUCell")),
        *(("", n) for n in ("add", "view", "Sequential", "Flatten", "MyBlock", "Dropout", "ModuleList", "transpose")),
    ],
)  # fmt: skip
def test_layers_are_told_apart_by_their_names(kind, type):
    assert family(GraphNode(id=0, role="module", name="x", type=type)) == kind


def test_the_matrix_of_gpt2_is_no_convolution():
    node = GraphNode(id=0, role="module", name="x", type="Conv1D", code="transformers/pytorch_utils.py:117")
    assert family(node) == "linear"


def test_colours_follow_costs_and_numbers_of_the_user_s_own():
    graph = lenet()

    def fill(name, by):
        return Tints(graph, by, THEME).fill(graph.node(name))

    def darkness(name, by):
        return -design.luminance(fill(name, by))

    assert darkness("fc1", "parameters") > darkness("fc2", "parameters") > darkness("fc3", "parameters")
    assert darkness("conv2", "flops") > darkness("conv1", "flops") > darkness("fc3", "flops")
    signed = {"conv1": -1.0, "conv2": 2.0, "fc1": 0.0}
    assert fill("fc1", signed) == design.palette("diverging")[6]
    assert fill("conv2", signed) == design.palette("diverging")[-1]
    assert fill("fc2", signed) == fill("fc3", signed) != fill("conv1", signed)
    carried = graph.with_values("gradient norm", {"conv1": 1.0, "fc1": 3.0})
    assert Tints(carried, "gradient norm", THEME).legend([]).high == "3"
    with pytest.raises(OptionError, match="gradient norm"):
        Tints(carried, "gradient", THEME)


def test_autograd_has_the_colours_that_torchviz_users_know():
    graph = autograd()
    tints = Tints(graph, "class", THEME)
    hues = {}
    for node in graph.nodes:
        red, green, blue = design.rgb(tints.fill(node))
        hues[node.role] = (red, green, blue)
    assert hues["leaf"][2] > hues["leaf"][0] and hues["saved"][0] > hues["saved"][2]
    assert hues["output"][1] == max(hues["output"])
    assert max(hues["function"]) - min(hues["function"]) < 0.03
    assert "32×16 · 2.05 kB" in texts(sheet_of(graph))


def test_saved_tensors_and_attributes_are_left_out_and_shown():
    graph = autograd()
    bare = sheet_of(graph, saved=False)
    assert "result" not in texts(bare) and texts(bare).count("AddmmBackward0") == 2 and "2.bias" in texts(bare)
    wires = [len([m for m in sheet.marks if isinstance(m, Path)]) for sheet in (sheet_of(graph), bare)]
    assert wires[0] - wires[1] == 2
    assert "mat1 = [saved]" in texts(sheet_of(graph, attributes=True))
    assert "mat1…ved]" in texts(sheet_of(graph, attributes=True, attribute_length=9))


def slabs(sheet):
    """Height and width of the front faces, by what a pointer is told."""
    fronts = {}
    for mark in sheet.marks:
        if isinstance(mark, Polygon) and mark.title and len({x for x, _ in mark.points}) == 2:
            xs, ys = [x for x, _ in mark.points], [y for _, y in mark.points]
            if len(set(ys)) == 2:
                fronts.setdefault(mark.title.splitlines()[0], (max(ys) - min(ys), max(xs) - min(xs)))
    return fronts


def test_slabs_grow_with_resolution_and_channels():
    b = Builder()
    x = b.node("x", role="input", shape=(1, 3, 64, 64))
    one = convolution(b, "wide", x, 8, 64)
    two = convolution(b, "deep", one, 64, 16)
    relu = b.node("act", "ReLU", shape=(1, 64, 16, 16))
    three = b.node("fc", "Linear", shape=(1, 10))
    b.chain(two, relu, three)
    sheet = slab_sheet(b.graph(), THEME)
    fronts = slabs(sheet)
    (wide, thin), (low, thick) = fronts["wide: Conv2d"], fronts["deep: Conv2d"]
    assert wide == pytest.approx(2 * low) and thick > 2 * thin
    assert "act: ReLU" in fronts and fronts["act: ReLU"][0] == pytest.approx(low)
    shown = texts(sheet)
    assert {"64", "16×16", "Linear", "10"} <= set(shown) and "ReLU" not in shown


def test_skips_of_a_cnn_are_arcs_over_its_slabs():
    b = Builder()
    x = b.node("x", role="input", shape=(1, 8, 32, 32))
    one = convolution(b, "one", x, 8, 32)
    two = convolution(b, "two", one, 8, 32)
    add = b.node("add", "add", role="operation", shape=(1, 8, 32, 32))
    b.chain(two, add)
    b.edge(one, add)
    sheet = slab_sheet(b.graph(), THEME)
    arcs = [m for m in sheet.marks if isinstance(m, Path) and m.stroke == THEME.accent]
    assert len(arcs) == 1
    (curve,) = arcs[0].pieces
    assert min(y for _, y in curve[1:3]) < min(curve[0][1], curve[3][1])


@pytest.mark.parametrize("style", ["flow", "slab"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("format", ["png", "pdf", "svg"])
def test_figures_of_every_format(style, dark, format):
    figure = lenet().plot(style=style, dark=dark)
    file = io.BytesIO()
    figure.savefig(file, format=format)
    assert len(file.getvalue()) > 5000
    shown = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert shown.count("Conv2d") == 2


def test_given_axes_get_one_drawing_that_fits_them():
    figure = Figure(figsize=(8, 4))
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    assert lenet().plot(left) is left
    assert not right.texts and not right.collections
    canvas.draw()
    renderer = canvas.get_renderer()
    frame = left.get_window_extent(renderer)
    for text in left.texts:
        box = text.get_window_extent(renderer)
        assert frame.x0 - 2 <= box.x0 and box.x1 <= frame.x1 + 2
    pixels = np.asarray(canvas.buffer_rgba())
    assert (pixels[:, : pixels.shape[1] // 2] != 255).any()


def test_thousands_of_texts_are_outlines_at_the_places_of_texts(monkeypatch):
    def drawn(most):
        monkeypatch.setattr(sheet_figure, "MOST_ARTISTS", most)
        figure = lenet().plot().figure
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        (ax,) = [a for a in figure.axes if a.collections]
        return ax, canvas.get_renderer()

    ax, renderer = drawn(1000)
    boxes = [t.get_window_extent(renderer) for t in ax.texts]
    assert len(boxes) > 30 and len(ax.collections) == 1
    ax, _ = drawn(0)
    assert not ax.texts
    letters = [p for p in ax.collections[1].get_paths() if len(p.vertices) > 5]  # five: the ground of a text
    assert len(letters) == len(boxes)
    for path, box in zip(letters, boxes, strict=True):
        ink = ax.transData.transform_path(path).get_extents()
        slack = 3 + 0.1 * box.width  # Agg rounds the width of each letter to pixels
        assert abs(ink.x0 - box.x0) < slack and abs(ink.x1 - box.x1) < slack
        assert box.y0 - 2 < ink.y0 and ink.y1 < box.y1 + 2


def test_mistakes_in_options_are_told():
    with pytest.raises(OptionError, match="style"):
        lenet().plot(style="slabs")
    with pytest.raises(OptionError, match="depth"):
        lenet().plot(depth=-1)
    with pytest.raises(OptionError, match="color_by"):
        lenet().plot(color_by="colour")
