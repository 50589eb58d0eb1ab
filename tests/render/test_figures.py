"""Figures: what is drawn is what was found, on the Axes given, and nothing else changes."""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fluoroscope.errors import FluoroscopeError, OptionError
from fluoroscope.render import design
from fluoroscope.render.figures import draw
from fluoroscope.render.figures.distribution import quantiles
from fluoroscope.render.figures.label import number, shortened
from fluoroscope.results import (
    Attribution,
    FeatureMaps,
    Finding,
    Findings,
    History,
    LayerRow,
    LayerSummary,
    Samples,
    Scorecard,
    Series,
    TensorHistory,
    TensorRecord,
    TensorSummary,
)
from tests.browser import sample_results

HOSTILE = r"$\frac{1}{2}$ <b>x</b> $$ \n"


def rng():
    return np.random.default_rng(7)


def attribution(data=None, axes=("N", "K", "H", "W"), images=True, **changes):
    data = rng().random((2, 3, 4, 5)) if data is None else data
    n, k = len(data), data.shape[1] if "K" in axes else 1
    shape = (n, k) if "K" in axes else (n,)
    pictures = rng().integers(0, 256, (n, 8, 10, 3), dtype=np.uint8) if images else None
    fields = {
        "title": "Maps",
        "data": data,
        "axes": axes,
        "scores": np.arange(n * k, dtype=float).reshape(shape) / 4,
        "targets": np.arange(n * k).reshape(shape),
        "labels": tuple(tuple(f"class {i}.{j}" for j in range(k)) for i in range(n)),
        "unit": "logit",
        "samples": Samples(names=tuple(f"{i}.png" for i in range(n)), images=pictures),
    }
    return Attribution(**{**fields, **changes})


def tensor(name="conv.weight", shape=(4, 3, 3, 3), form="filters", values=None, role="weight"):
    values = rng().normal(size=shape) if values is None else values
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, 20)
    stats = {"mean": finite.mean(), "std": finite.std(), "min": finite.min(), "max": finite.max(), "l2": 1.0}
    stats = {k: float(v) for k, v in stats.items()} | {"zero_share": 0.0, "nonfinite": float(values.size - finite.size)}
    return TensorRecord(
        name=name,
        shape=values.shape,
        dtype="float32",
        role=role,
        statistics=stats,
        edges=edges,
        counts=counts,
        picture=values,
        form=form,
    )


def history(**series):
    return History(title="Run", series=series or {"loss": Series(steps=np.arange(5), values=np.arange(5.0) + 1)})


def layers(count=5):
    rows = [LayerRow(name="", type="Net", leaf=False, parameters=100 * count, flops=50, calls=1)]
    rows += [
        LayerRow(name=f"layer{i}", type="Linear", depth=1, parameters=100, flops=10, calls=1) for i in range(count)
    ]
    return LayerSummary(title="Layers", rows=tuple(rows), parameters=100 * count, flops=50)


def scorecard(**changes):
    fields = {
        "title": "Scores",
        "rows": ("a", HOSTILE),
        "columns": ("hits", "seconds"),
        "table": np.array([[0.9, 2.0], [0.25, np.nan]]),
        "errors": np.array([[0.02, 0.1], [0.05, np.nan]]),
        "units": ("share", "s"),
        "better": ("high", "low"),
        "reference": (0.1, np.nan),
    }
    return Scorecard(**{**fields, **changes})


def feature_maps(data=None, axes=("N", "C", "H", "W"), **changes):
    data = rng().random((2, 6, 3, 4)) if data is None else data
    return FeatureMaps(title="Activations", **{"maps": {"layer.$1$": data}, "axes": {"layer.$1$": axes}, **changes})


EVERY = {
    "attribution": attribution,
    "map": lambda: attribution(images=False),
    "tokens": lambda: attribution(rng().normal(size=(2, 6)), ("N", "L"), images=False, signed=True),
    "table": lambda: attribution(rng().normal(size=(2, 6)), ("N", "D"), images=False, signed=True),
    "series": lambda: attribution(rng().normal(size=(2, 30)), ("N", "T"), images=False, signed=True),
    "volume": lambda: attribution(rng().normal(size=(1, 3, 4, 5)), ("N", "Z", "H", "W"), images=False),
    "feature-maps": feature_maps,
    "feature-tokens": lambda: feature_maps(rng().normal(size=(1, 5, 8)), ("N", "L", "D")),
    "feature-dense": lambda: feature_maps(rng().normal(size=(3, 8)), ("N", "D")),
    "tensors": lambda: TensorSummary(tensors=(tensor(), tensor("fc", (3, 4), "matrix"), tensor("b", (5,), "vector"))),
    "many tensors": lambda: TensorSummary(tensors=tuple(tensor(f"block.{i}.w", (8,), "vector") for i in range(160))),
    "large matrix": sample_results.large_matrix,
    "spectra": sample_results.spectra,
    "layers": layers,
    "history": history,
    "scorecard": scorecard,
    "tensor-history": lambda: TensorHistory(
        names=("a", "b"), steps=np.arange(3), statistics={"gradient/norm": np.arange(6.0).reshape(2, 3)}
    ),
    "findings": lambda: Findings(
        items=(Finding(rule="r", title="t", series={"loss": Series(steps=np.arange(3), values=np.arange(3.0))}),)
    ),
}


def texts(artist):
    return [t.get_text() for t in artist.findobj(mpl.text.Text) if t.get_text()]


def drawn_figure(result, **options):
    figure = draw(result, **options)
    figure.draw_without_rendering()
    return figure


# ---- the contract, for every kind -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_a_new_figure_wears_the_theme_and_leaves_settings_alone(name, dark):
    before = dict(mpl.rcParams)
    figure = drawn_figure(EVERY[name](), dark=dark)
    assert dict(mpl.rcParams) == before
    assert to_hex(figure.get_facecolor()) == design.theme(dark).surface
    assert any(ax.has_data() for ax in figure.axes) or name == "layers"


@pytest.mark.parametrize("name", EVERY)
def test_given_axes_are_returned_and_their_figure_is_not_changed(name):
    before = dict(mpl.rcParams)
    figure = Figure()
    mine, other = figure.subplots(1, 2)
    size, face = tuple(figure.get_size_inches()), figure.get_facecolor()
    assert draw(EVERY[name](), mine) is mine
    figure.draw_without_rendering()
    assert figure.axes == [mine, other]
    assert not other.has_data()
    assert not other.texts
    assert figure.get_suptitle() == ""
    assert (tuple(figure.get_size_inches()), figure.get_facecolor()) == (size, face)
    assert dict(mpl.rcParams) == before


def test_no_pyplot_figure_is_made():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    for make in EVERY.values():
        draw(make())
        draw(make(), Figure().subplots())
    assert plt.get_fignums() == before


def test_drawing_does_not_import_pyplot(tmp_path):
    import subprocess

    code = (
        "import sys, numpy as np\n"
        "from fluoroscope.results import History, Series\n"
        "h = History(series={'a': Series(steps=np.arange(3), values=np.arange(3.))})\n"
        f"h.plot().savefig({str(tmp_path / 'a.png')!r})\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=dict(_environment()))
    assert (tmp_path / "a.png").stat().st_size > 1000


def _environment():
    import os

    yield from os.environ.items()
    yield "PYTHONPATH", os.pathsep.join(p for p in sys.path if p)


def test_given_dark_axes_get_light_text():
    figure = Figure(facecolor="#101010")
    ax = figure.subplots()
    ax.set_facecolor("#101010")
    draw(attribution(), ax)
    (label,) = [t for t in ax.findobj(mpl.text.Text) if t.get_text() == "class 0.0"]
    assert to_hex(label.get_color()) == design.theme(dark=True).text


def test_a_figure_shows_itself_as_a_picture_in_notebooks():
    assert draw(history())._repr_png_().startswith(b"\x89PNG")


def test_show_without_a_window_says_what_to_do(monkeypatch):
    monkeypatch.setattr(mpl, "get_backend", lambda: "agg")
    with pytest.raises(FluoroscopeError, match="savefig"):
        history().show()


def test_show_lends_a_window_to_the_figure_itself(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(mpl, "get_backend", lambda: "qtagg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.figure(n).canvas.figure for n in plt.get_fignums()))
    figure = draw(history())
    figure.show()
    plt.close("all")
    assert shown == [figure]


def test_an_unknown_option_is_told_with_the_nearest():
    with pytest.raises(OptionError, match="'target'") as caught:
        draw(attribution(), targt=1)
    assert "index" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"over": "photo"}, "'map'"), ({"alpha": 3.0}, "0 to 1"), ({"index": -1}, "0 or more"), ({"index": 9}, "0 to 1")],
)
def test_values_that_an_option_does_not_take_are_told(options, expected):
    with pytest.raises(OptionError, match=expected):
        draw(attribution(), **options)


def test_an_unknown_kind_is_told():
    class Strange:
        kind = "strange-kind"

    with pytest.raises(FluoroscopeError, match="strange-kind"):
        draw(Strange())
    with pytest.raises(FluoroscopeError, match="result"):
        draw(3)


@pytest.mark.parametrize("kind", ["scale", "canvas", "..errors", "registry"])
def test_modules_of_the_package_are_no_kinds(kind):
    class Strange:
        pass

    Strange.kind = kind
    with pytest.raises(FluoroscopeError, match="no drawing"):
        draw(Strange())


# ---- attribution ----------------------------------------------------------------------------------------------------


def overlays(figure):
    return [ax.images[-1] for ax in figure.axes if ax.images and ax.images[-1].get_alpha() is not None]


def test_the_grid_shares_one_scale_and_shows_the_original():
    result = attribution()
    figure = drawn_figure(result)
    drawn = overlays(figure)
    assert len(drawn) == 6
    assert len({id(image.norm) for image in drawn}) == 1
    assert (drawn[0].norm.vmin, drawn[0].norm.vmax) == (0, result.data.max())
    originals = [ax.images[0].get_array() for ax in figure.axes if len(ax.images) == 1]
    assert any(np.array_equal(o, result.samples.images[1]) for o in originals)
    assert "logit" in texts(figure)


def test_the_overlay_is_the_resized_map_and_its_opacity_grows_with_the_value():
    result = attribution()
    ax = draw(result, Figure().subplots(), index=1, target=2, alpha=0.6)
    values = result.resized(8, 10)[1, 2]
    image = ax.images[-1]
    assert np.asarray(image.get_array()) == pytest.approx(values)
    assert image.get_alpha() == pytest.approx(0.6 * values / result.data[1, 2].max())
    assert "class 1.2" in texts(ax)
    assert f"score {number(float(result.scores[1, 2]))}" in texts(ax)


def test_the_bare_map_keeps_its_own_resolution_and_place():
    result = attribution(size=(8, 10), centers=((2.0, 1.0), (3.0, 1.5)))
    ax = draw(result, Figure().subplots(), over="map", target=1)
    image = ax.images[-1]
    assert np.array_equal(np.asarray(image.get_array()), result.data[0, 1])
    assert image.get_extent() == pytest.approx([2.25, 9.75, 5.5, 1.5])
    assert ax.get_xlim() == (0, 10)


def test_without_a_picture_over_image_is_refused_but_the_default_draws_the_map():
    result = attribution(images=False)
    with pytest.raises(OptionError, match="over='map'"):
        draw(result, over="image")
    assert np.array_equal(np.asarray(draw(result, Figure().subplots()).images[-1].get_array()), result.data[0, 0])


@pytest.mark.parametrize("signed", [True, False])
def test_signed_values_are_centred_on_zero(signed):
    data = np.array([[[-1.0, 0.5], [0.2, 0.0]]])  # negative values are never cut off, even where none were promised
    image = draw(attribution(data, ("N", "H", "W"), signed=signed), Figure().subplots()).images[-1]
    assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
    assert image.cmap.name == "fluoroscope-diverging"


@pytest.mark.parametrize("constant", [0.0, 2.5])
def test_a_constant_map_has_a_scale_from_zero(constant):
    image = draw(attribution(np.full((1, 1, 1), constant), ("N", "H", "W")), Figure().subplots()).images[-1]
    assert (image.norm.vmin, image.norm.vmax) == (0, constant or 1)
    assert np.all(image.get_alpha() == (0.85 if constant else 0))


def test_an_all_zero_map_says_so():
    assert any(
        "All values are zero" in t for t in texts(drawn_figure(attribution(np.zeros((1, 2, 2)), ("N", "H", "W"))))
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_hatched_and_told(bad):
    data = np.ones((1, 2, 4))
    data[0, 1, 2] = bad
    figure = drawn_figure(attribution(data, ("N", "H", "W"), size=(8, 16)))
    assert any("1 of 8 values not finite" in t for t in texts(figure))
    (hatch,) = figure.findobj(PolyCollection)
    assert hatch.get_hatch()
    (box,) = hatch.get_paths()
    assert box.get_extents().extents == pytest.approx([8, 4, 12, 8])
    assert np.isfinite(np.asarray(overlays(figure)[0].get_array())).all()


def test_grey_pictures_are_drawn():
    pictures = rng().integers(0, 256, (1, 8, 4), dtype=np.uint8)
    result = attribution(np.ones((1, 2, 2)), ("N", "H", "W"), samples=Samples(images=pictures))
    figure = drawn_figure(result)
    assert np.array_equal(np.asarray(figure.axes[0].images[0].get_array()), pictures[0])
    assert figure.axes[0].images[0].norm.vmax == 255


def test_hostile_names_stay_literal_and_short():
    result = attribution(labels=((HOSTILE, "y" * 500, "a\nb\x1b[31m\u202e"),) * 2)
    figure = drawn_figure(result)
    figure._repr_png_()
    shown = texts(figure)
    assert shortened(HOSTILE, 30) in shown
    assert "$" in shortened(HOSTILE, 30)
    assert max(len(t) for t in shown if "y" * 5 in t) <= 30
    assert not any("\x1b" in t or "\u202e" in t for t in shown)
    assert not any(t.get_parse_math() for t in figure.findobj(mpl.text.Text) if HOSTILE[:4] in t.get_text())


def test_many_examples_are_cut_and_told():
    figure = drawn_figure(attribution(rng().random((20, 2, 2)), ("N", "H", "W"), images=False), limit=3)
    assert sum(bool(ax.images) for ax in figure.axes if ax.get_label() != "<colorbar>") == 3
    assert any("first 3 of 20 examples" in t for t in texts(figure))


def test_tokens_carry_their_text_and_colour():
    names = ("the", "$cat$", "sat")
    data = np.array([[1.0, -2.0, np.nan]])
    result = attribution(data, ("N", "L"), images=False, signed=True, samples=Samples(features=(names,)))
    ax = draw(result, Figure().subplots())
    assert [t.get_text() for t in ax.texts if t.get_text() in names] == list(names)
    assert ax.patches[0].get_facecolor()[:3] == pytest.approx(design.color_at("diverging", 0.75))
    assert ax.patches[1].get_facecolor()[:3] == pytest.approx(design.color_at("diverging", 0.0))
    assert ax.patches[2].get_hatch()


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("notes", [(), ("a long note " * 20,) * 4])
def test_tokens_are_not_cut_by_what_stands_below(count, notes):
    figure = draw(
        attribution(rng().normal(size=(count, 6)), ("N", "L"), images=False, signed=True, meta={"notes": notes})
    )
    figure.draw_without_rendering()
    *panels, bar = figure.axes
    letters = design.points("s") / 72 * figure.dpi
    for ax in panels:
        assert ax.get_window_extent().height > 1.3 * letters
        assert ax.get_window_extent().y0 >= bar.get_window_extent().y1


def test_tokens_that_do_not_fit_are_told():
    result = attribution(rng().random((1, 3000)), ("N", "L"), images=False)
    assert any("of 3,000 tokens" in t for t in texts(draw(result, Figure().subplots())))


def test_no_examples_are_told():
    with pytest.raises(OptionError, match="nothing to draw"):
        draw(attribution(np.ones((0, 2, 2)), ("N", "H", "W"), images=False))
    with pytest.raises(OptionError, match="an example"):
        draw(attribution(np.ones((0, 2, 2)), ("N", "H", "W"), images=False), Figure().subplots())


def test_bars_are_sorted_by_magnitude_and_the_others_summed():
    data = np.array([[0.1, -3.0, 2.0, 0.2, 0.3]])
    names = ("a", "b", "c", "d", "e")
    result = attribution(data, ("N", "D"), images=False, signed=True, samples=Samples(features=(names,)))
    ax = draw(result, Figure().subplots(), top=2)
    assert [p.get_width() for p in ax.patches] == pytest.approx([-3.0, 2.0, 0.6])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "c", "3 others together"]


def test_the_waterfall_leads_from_the_rest_to_the_score():
    data = np.array([[0.5, -3.0, 2.0]])
    result = attribution(data, ("N", "D"), images=False, signed=True, scores=np.array([1.25]))
    bars = draw(result, Figure().subplots(), waterfall=True).patches
    ends = [(p.get_x(), p.get_x() + p.get_width()) for p in bars]
    assert ends[0][1] == pytest.approx(1.25)
    assert [ends[i][0] for i in range(2)] == pytest.approx([ends[i + 1][1] for i in range(2)])
    assert ends[-1][0] == pytest.approx(1.25 - data.sum())


def test_series_has_the_line_with_its_gap_and_the_strip():
    data = np.array([[1.0, np.nan, 3.0, -4.0]])
    ax = draw(attribution(data, ("N", "T"), images=False, signed=True), Figure().subplots())
    line = max(ax.get_lines(), key=lambda drawn: len(drawn.get_ydata()))
    assert np.array_equal(line.get_ydata(), data[0], equal_nan=True)
    assert line.get_xdata() == pytest.approx([0, 1, 2, 3])
    strip = ax.images[-1].get_array()
    assert np.array_equal(np.ma.filled(strip, np.nan)[0], data[0], equal_nan=True)


def test_unknown_positions_are_refused():
    with pytest.raises(OptionError, match=r"\(N, A, L\)"):
        draw(attribution(np.ones((1, 2, 3)), ("N", "A", "L"), images=False))


# ---- the other kinds ------------------------------------------------------------------------------------------------


def test_channels_are_drawn_raw_with_numbers_on_one_scale():
    data = rng().random((2, 6, 3, 4))
    ax = draw(feature_maps(data, selected={"layer.$1$": (3, 7, 11, 20, 30, 41)}), Figure().subplots(), index=1)
    assert [np.asarray(i.get_array()).tolist() for i in ax.images] == data[1].tolist()
    assert len({id(i.norm) for i in ax.images}) == 1
    assert [t.get_text() for t in ax.texts][:6] == ["3", "7", "11", "20", "30", "41"]
    assert "layer.$1$" in texts(ax)


def test_each_channel_can_have_its_own_scale():
    data = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 5.0)])[None]
    ax = draw(feature_maps(data), Figure().subplots(), scale="channel")
    assert [i.norm.vmax for i in ax.images] == [1, 5]
    assert any("own scale" in t for t in texts(ax))


def test_the_strongest_channels_are_kept_and_broken_ones_first():
    data = np.ones((1, 10, 2, 2)) * np.arange(10)[:, None, None]
    data[0, 2, 0, 0] = np.nan
    ax = draw(feature_maps(data), Figure().subplots(), limit=3)
    assert [t.get_text() for t in ax.texts][:3] == ["2", "8", "9"]
    assert any("3 strongest of 10 channels" in t for t in texts(ax))


def test_one_channel_can_be_chosen_and_a_missing_layer_is_told():
    ax = draw(feature_maps(), Figure().subplots(), channel=4)
    assert len(ax.images) == 1
    with pytest.raises(OptionError, match=r"layer\.\$1\$"):
        draw(feature_maps(), layer="layer.1")


def test_dense_outputs_are_rows_of_one_heat_map():
    data = rng().normal(size=(3, 8))
    ax = draw(feature_maps(data, ("N", "D")), Figure().subplots())
    assert np.array_equal(np.asarray(ax.images[-1].get_array()), data)
    assert ax.images[-1].norm.vmax == np.abs(data).max()


def test_filters_of_three_channels_are_colours_about_mid_grey():
    record = tensor()
    ax = draw(TensorSummary(tensors=(record,)), Figure().subplots())
    limit = np.abs(record.picture).max()
    expected = np.moveaxis(record.picture[2] / (2 * limit) + 0.5, 0, -1)
    assert np.asarray(ax.images[2].get_array()) == pytest.approx(expected)


def test_other_filters_are_drawn_per_channel():
    record = tensor(shape=(3, 2, 3, 3))
    ax = draw(TensorSummary(tensors=(record,)), Figure().subplots())
    assert np.array_equal(np.asarray(ax.images[3].get_array()), record.picture[1, 1])
    assert len({id(i.norm) for i in ax.images}) == 1
    assert [t.get_text() for t in ax.texts][:6] == ["0·0", "0·1", "1·0", "1·1", "2·0", "2·1"]


def test_the_histogram_shows_the_counts_on_a_logarithmic_axis():
    record = tensor()
    ax = draw(TensorSummary(tensors=(record,)), Figure().subplots(), view="histogram")
    assert sorted(p.get_height() for p in ax.patches) == sorted(record.counts)
    assert ax.get_yscale() == "log"
    colors = {to_hex(p.get_facecolor()) for p in ax.patches}
    assert len(colors) == 2


def test_160_tensors_make_one_page():
    broken = tensor("block.159.w", values=np.array([1.0, np.nan, 3.0]), form="vector")
    figure = drawn_figure(TensorSummary(tensors=(*EVERY["many tensors"]().tensors[:159], broken)))
    assert len(figure.axes) == 3
    assert max(figure.get_size_inches()) <= 14
    std = figure.axes[1].collections[0].get_offsets()
    assert len(std) == 160
    assert any("block.159.w" in t for t in texts(figure) if "not finite" in t)


def test_quantiles_come_out_of_the_histogram():
    values = rng().normal(size=100_000)
    counts, edges = np.histogram(values, 400)
    shares = (0.01, 0.25, 0.5, 0.75, 0.99)
    assert quantiles(edges, counts, shares) == pytest.approx(np.quantile(values, shares), abs=0.02)
    assert np.isnan(quantiles(edges, np.zeros(400), [0.5])).all()
    spike = quantiles(np.array([0.0, 1, 2, 3]), np.array([0, 5, 0]), [0.0, 0.5, 1.0])
    assert spike == pytest.approx([1, 1.5, 2])


def test_the_table_has_a_bar_for_the_share_of_the_whole():
    ax = draw(layers(4), Figure(figsize=(10, 4)).subplots())
    widths = [p.get_width() for p in ax.patches if 0 < p.get_width() < 0.9]
    parameters = widths[::2]
    assert parameters[1:] == pytest.approx([parameters[0] / 4] * 4)
    assert "(the model)" in texts(ax)


def test_a_deep_network_shows_its_upper_levels_and_says_so():
    rows = [LayerRow(name=f"b{i}", type="Block", depth=0, leaf=False) for i in range(6)]
    rows += [LayerRow(name=f"b{i}.conv{j}", type="Conv2d", depth=1) for i in range(6) for j in range(30)]
    figure = drawn_figure(LayerSummary(rows=tuple(rows)))
    assert "b5" in texts(figure)
    assert not any("conv" in t for t in texts(figure))
    assert any("6 of 186 modules" in t for t in texts(figure))
    assert any("conv" in t for t in texts(drawn_figure(LayerSummary(rows=tuple(rows)), depth=1)))


def test_curves_of_a_group_share_axes_and_gaps_are_marked():
    steps = np.arange(6)
    loss = np.array([3.0, 2.0, np.nan, np.inf, 1.0, 0.5])
    result = history(
        loss=Series(steps=steps, values=loss, group="loss"),
        held_out=Series(steps=steps, values=loss + 1, group="loss"),
        lr=Series(steps=steps, values=np.full(6, 0.1)),
    )
    figure = drawn_figure(result)
    first = figure.axes[0]
    curves = {line.get_label(): line for line in first.get_lines()}
    assert np.array_equal(curves["loss"].get_ydata(), [3, 2, np.nan, np.nan, 1, 0.5], equal_nan=True)
    assert {"loss", "held_out"} <= set(curves)
    assert "× 4 not finite" in texts(first)
    assert len(figure.axes) == 2
    assert next(p.get_x() for p in first.patches) == 1  # from the last value that was known
    assert next(p.get_x() + p.get_width() for p in first.patches) == 4


def test_a_wide_range_of_positive_values_gets_a_logarithmic_axis():
    steep = Series(steps=np.arange(4), values=np.array([1.0, 0.1, 0.01, 0.001]))
    assert draw(history(a=steep), Figure().subplots()).get_yscale() == "log"
    assert draw(history(a=steep), Figure().subplots(), log=False).get_yscale() == "linear"
    assert draw(history(), Figure().subplots()).get_yscale() == "linear"


def test_an_empty_history_says_so():
    empty = Series(steps=np.zeros(0), values=np.zeros(0))
    assert "nothing was logged yet" in texts(draw(history(a=empty), Figure().subplots()))
    assert "nothing was logged yet" in texts(drawn_figure(History(series={})))


def test_the_scorecard_has_dots_whiskers_and_chance():
    ax = draw(scorecard(), Figure().subplots())
    dots = next(line for line in ax.get_lines() if line.get_marker() == "o")
    assert dots.get_xdata() == pytest.approx([0.9, 0.25])
    whiskers = ax.collections[0].get_segments()
    assert whiskers[0][:, 0] == pytest.approx([0.9 - 1.96 * 0.02, 0.9 + 1.96 * 0.02])
    assert any(list(line.get_xdata()) == [0.1, 0.1] for line in ax.get_lines())
    assert "chance 10 %" in texts(ax)
    assert "90 %" in texts(ax)


def test_the_scorecard_tells_missing_values_and_keeps_names_literal():
    figure = drawn_figure(scorecard())
    assert "no value" in texts(figure)
    assert shortened(HOSTILE, 28) in texts(figure)
    with pytest.raises(OptionError, match="'hits'"):
        draw(scorecard(), column="hit")


# ---- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.03125, "0.0312"),
        (-2.5, "−2.5"),
        (1234.0, "1234"),
        (1e-7, "1e−07"),
        (np.nan, "NaN"),
        (-np.inf, "−∞"),
        (0.0, "0"),
    ],
)
def test_numbers_are_short_with_a_true_minus(value, text):
    assert number(value) == text


def test_shortening_keeps_both_ends_and_the_limit():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 7) == "abc…ijk"
    assert len(shortened("x" * 10**6, 20)) == 20
    assert shortened("a\tb\x07\u202e\udc80") == r"a b\x07\u202e\udc80"


def test_bars_of_nothing_are_one_bar():
    values = np.array([[0.0, 3.0, -0.0, 0.0, -1.0, 0.0]])
    result = Attribution(data=values, axes=("N", "D"), scores=np.ones(1), targets=np.zeros(1, int), signed=True)
    ax = draw(result, Figure().subplots())
    assert [t.get_text() for t in ax.get_yticklabels()] == ["feature 1", "feature 4", "4 others, each 0"]
    assert [p.get_width() for p in ax.patches] == [3, -1, 0]


def test_many_columns_of_a_scorecard_stand_in_lines_of_four():
    many = Scorecard(rows=("a", "b"), columns=tuple(f"c{i}" for i in range(6)), table=np.ones((2, 6)))
    figure = draw(many)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 6
    assert figure.get_figwidth() < 13
    named = [[t.get_text() for t in ax.get_yticklabels()] for ax in shown]
    assert named[0] == named[4] == ["a", "b"]
    assert named[1] == ["", ""]
