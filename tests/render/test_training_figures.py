"""Figures of a training: what is drawn has the numbers that were recorded."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from fluoroscope.errors import OptionError
from fluoroscope.render import design
from fluoroscope.render.figures import draw
from fluoroscope.results import Finding, Findings, History, Series, TensorHistograms, TensorHistory
from fluoroscope.results.envelope import envelope, moving_average

HOSTILE = "$\\frac{x}$ <b>\u202e"


def texts(ax):
    return {t.get_text() for t in ax.texts}


def line(ax, label):
    return next(drawn for drawn in ax.get_lines() if drawn.get_label() == label)


def test_more_points_than_pixels_become_a_band_that_keeps_every_spike():
    values = np.random.default_rng(0).normal(size=50_000)
    values[33_333], values[7] = 99.0, np.nan
    steps = np.arange(50_000)
    ax = draw(History(series={"loss": Series(steps=steps, values=values)}), Figure().subplots())
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == 99.0
    assert band[:, 1].min() == np.nanmin(values)
    expected = envelope(steps, values, 0, 49_999, 1000)
    drawn = line(ax, "loss").get_ydata()
    np.testing.assert_array_equal(np.isnan(drawn), expected.missing > 0)
    np.testing.assert_allclose(drawn[1:], expected.mean[1:])
    assert "× 1 not finite" in texts(ax)


def test_smoothing_shows_the_average_and_the_raw_values_behind_it():
    values = np.random.default_rng(0).normal(size=400)
    values[100] = np.nan
    result = History(series={"loss": Series(steps=np.arange(400), values=values)})
    ax = draw(result, Figure().subplots(), smoothing=0.9)
    np.testing.assert_allclose(line(ax, "loss").get_ydata(), moving_average(values, 0.9))
    np.testing.assert_array_equal(line(ax, "_raw").get_ydata(), values)
    with pytest.raises(OptionError):
        draw(result, Figure().subplots(), smoothing=2.0)


def validated(several=False):
    x = np.arange(200.0)
    trained, held_out = np.exp(-x / 40), np.exp(-x / 40) + 0.3 + np.clip(x - 90, 0, None) / 300
    one = History(
        series={
            "loss": Series(steps=x, values=trained, group="loss", times=50 + 3600 * x),
            "val_loss": Series(steps=x, values=held_out, group="loss"),
        },
        configs={"": {"lr": 0.1, HOSTILE: 1}},
    )
    other = one.replace(configs={"": {"lr": 0.2, HOSTILE: 1}})
    return History.compared({"a": one, HOSTILE: other}) if several else one, held_out


def test_the_best_step_and_the_onset_of_overfitting_are_marked():
    result, held_out = validated()
    ax = draw(result, Figure().subplots())
    best = line(ax, "_best")
    assert best.get_xdata()[0] == np.argmin(held_out)
    assert best.get_ydata()[0] == held_out.min()
    assert abs(line(ax, "_onset").get_xdata()[0] - np.argmin(held_out)) <= 10  # within the smoothing's reach
    assert "overfitting sets in" in texts(ax)


def test_runs_have_colours_and_settings_may_colour_them():
    result, _ = validated(several=True)
    ax = draw(result, Figure().subplots())
    colors = {h.get_label(): h.get_color() for h in ax.get_lines() if not h.get_label().startswith("_")}
    assert len(colors) == 4 and len(set(colors.values())) == 2
    figure = draw(result)
    figure.canvas.draw()
    assert "lr 0.1" in figure._supxlabel.get_text() and "lr 0.2" in figure._supxlabel.get_text()
    draw(result, Figure().subplots(), color_by="lr")
    with pytest.raises(OptionError, match="lr"):
        draw(result, Figure().subplots(), color_by="depth")


def test_what_others_are_held_against_is_dashed_and_muted():
    steps = np.arange(5)
    series = {
        n: Series(steps=steps, values=v * np.ones(5), group="curvature")
        for n, v in {"curvature/largest": 12.0, "curvature/limit": 20.0}.items()
    }
    (ax,) = [a for a in History(series=series).plot().figure.axes if a.get_visible()]
    limit, largest = line(ax, "curvature/limit"), line(ax, "curvature/largest")
    assert (limit.get_linestyle(), largest.get_linestyle()) == ("--", "-")
    assert limit.get_color() != largest.get_color()
    found = ax.get_legend()
    keys = zip(found.get_texts(), found.legend_handles, strict=True)
    legend = {text.get_text(): handle.get_linestyle() for text, handle in keys}
    assert legend == {"curvature/largest": "-", "curvature/limit": "--"}


def test_time_counts_from_the_start_and_axes_that_are_missing_are_told():
    result, _ = validated()
    ax = draw(result, Figure().subplots(), axis="time")
    np.testing.assert_array_equal(line(ax, "loss").get_xdata(), 3600 * np.arange(200))
    assert ax.get_xlabel() == "time (days)"
    assert "no epoch was recorded" in texts(draw(result, Figure().subplots(), axis="epoch"))


def test_a_restarted_run_is_drawn_in_two_parts():
    steps = np.array([0, 1, 2, 1, 2, 3])
    ax = draw(History(series={"loss": Series(steps=steps, values=np.arange(6.0))}), Figure().subplots())
    assert line(ax, "_old").get_ydata().tolist() == [0, 1, 2]
    assert line(ax, "loss").get_xdata().tolist() == [1, 2, 3]


def tensors(**changes):
    rng = np.random.default_rng(0)
    norms = 10 ** rng.normal(size=(3, 40))
    norms[1, 5] = np.inf
    recorded = np.ones((3, 40), bool)
    recorded[2, :4] = False
    norms[2, :4] = np.nan
    edges = np.concatenate([-(10.0 ** np.arange(0, -4, -1)), [0], 10.0 ** np.arange(-3, 1)])
    histograms = TensorHistograms(
        steps=np.arange(4) * 10, edges=edges, counts=rng.integers(1, 9, (3, 4, len(edges) - 1))
    )
    found = {
        "names": ("a.weight", HOSTILE, "c.weight"),
        "steps": np.arange(40) * 5,
        "statistics": {
            "gradient/norm": norms,
            "update/ratio": np.full((3, 40), 1e-3),
            "activation/dead": norms * np.nan,
        },
        "recorded": {"gradient/norm": recorded, "activation/dead": np.zeros((3, 40), bool)},
        "units": {"activation/dead": "share"},
        "histograms": {"gradient": histograms},
    }
    return TensorHistory(**{**found, **changes})


def test_layers_by_steps_are_one_picture_on_a_logarithmic_scale():
    result = tensors()
    ax = draw(result, Figure().subplots())
    shown = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    expected = result.statistics["gradient/norm"].copy()
    expected[~np.isfinite(expected)] = np.nan
    np.testing.assert_array_equal(shown, expected)
    assert isinstance(ax.images[0].norm, LogNorm)
    hatched = [c for c in ax.collections if c.get_label() == "not finite"]
    assert len(hatched[0].get_paths()) == 1  # the infinite cell, not those that were not recorded
    figure = draw(result)
    figure.canvas.draw()
    assert "never recorded" in {t.get_text() for a in figure.axes for t in a.texts}


def test_a_healthy_update_is_neutral():
    ax = draw(tensors(), Figure().subplots(), quantity="update/ratio")
    image = ax.images[0]
    assert image.norm(1e-3) == pytest.approx(0.5)
    assert image.cmap.name.endswith("diverging")
    with pytest.raises(OptionError, match="update/ratio"):
        draw(tensors(), Figure().subplots(), quantity="update/ration")


def test_ridges_are_shares_of_the_layer_with_the_latest_in_front():
    result = tensors()
    ax = draw(result, Figure().subplots(), layer="c.weight")
    counts = result.histograms["gradient"].counts[2]
    shares = counts / counts.sum(1, keepdims=True)
    assert len(ax.collections) == 4
    for i, ridge in enumerate(ax.collections):
        heights = ridge.get_paths()[0].vertices[1:-2, 1] + i
        np.testing.assert_allclose(heights, 3.4 * shares[i] / shares.max(), atol=1e-12)
        assert ridge.get_zorder() == 2 + i
    with pytest.raises(OptionError, match="weight"):
        draw(result, Figure().subplots(), layer="d.weight")
    assert "no histograms of this layer" in texts(
        draw(
            result.replace(
                histograms={
                    "gradient": result.histograms["gradient"].replace(counts=np.zeros_like(counts)[None].repeat(3, 0))
                }
            ),
            Figure().subplots(),
            layer="a.weight",
        )
    )


def test_nothing_recorded_is_told():
    empty = TensorHistory(names=(), steps=np.zeros(0), statistics={})
    assert "no statistics were recorded" in texts(draw(empty, Figure().subplots()))
    draw(empty).canvas.draw()
    bars = TensorHistograms(
        steps=np.arange(2), edges=np.array([-1.0, 0.0, 1.0]), counts=np.ones((1, 2, 2)), sampled=1.0
    )
    only = TensorHistory(names=("a",), steps=np.arange(2), statistics={}, histograms={"values": bars})
    assert any("plot(layer=" in text for text in texts(draw(only, Figure().subplots())))


def test_findings_have_words_and_the_curve_with_its_reference():
    steps = np.arange(50)
    item = Finding(
        rule="r",
        title=HOSTILE,
        severity="problem",
        confidence=0.9,
        layers=("a", "b"),
        steps=(3, 40),
        evidence="It fell.",
        numbers={"ratio": 1e-5},
        series={"ratio": Series(steps=steps, values=10.0 ** -(steps / 10))},
        reference=1e-3,
        advice=("Try this.",),
        source="Somebody (2000)",
    )
    figure = draw(Findings(items=(item, Finding(rule="s", title="plain")), checked=("r", "s"), skipped={"t": "why"}))
    figure.canvas.draw()
    words = {t.get_text() for ax in figure.axes for t in ax.texts}
    assert {
        "It fell.",
        "→ Try this.",
        "Source: Somebody (2000)",
        "Hint: plain" if item.severity == "hint" else "Warning: plain",
    } <= words
    curve = figure.axes[1]
    assert curve.get_yscale() == "log"
    np.testing.assert_allclose(line(curve, "ratio").get_ydata(), item.series["ratio"].values)
    assert any(list(drawn.get_ydata()) == [1e-3, 1e-3] for drawn in curve.get_lines())
    assert "Nothing to report." in texts(draw(Findings(), Figure().subplots()))
    draw(Findings()).canvas.draw()


def test_findings_keep_the_whole_evidence_and_a_logarithmic_axis_beside_zeros():
    steps = np.arange(50)
    loss, zeros = np.ones(50), np.zeros(50)
    loss[5] = 7500.0
    evidence = "The loss rose and rose, and nobody stopped it. " * 6 + "It may follow from: Units are dead."
    item = Finding(
        rule="r",
        title="t",
        evidence=evidence,
        series={"loss": Series(steps=steps, values=loss), "update": Series(steps=steps, values=zeros)},
    )
    figure = draw(Findings(items=(item,), checked=("r",)))
    figure.canvas.draw()
    block, curve = figure.axes
    assert evidence in " ".join(t.get_text() for t in block.texts)
    assert curve.get_yscale() == "log"
    boxes = sorted((t.get_window_extent() for t in block.texts), key=lambda box: -box.y0)
    assert all(above.y0 > below.y0 + 0.7 * below.height for above, below in pairwise(boxes))  # a line each


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([*10.0 ** -np.arange(0, 6, 0.1), 0.0, 0.0], "log"),
        ([*10.0 ** -np.arange(0, 6, 0.1), 0.0, -1.0], "linear"),
        ([0.0, 1e-4, *[0.5] * 40], "linear"),  # all but two points are well seen
        ([0.0, 0.0], "linear"),
    ],
)
def test_a_finding_whose_only_curve_has_zeros_is_readable(values: list[float], scale: str):
    series = {"loss": Series(steps=np.arange(len(values)), values=np.array(values))}
    figure = draw(Findings(items=(Finding(rule="r", title="t", series=series),)))
    assert figure.axes[1].get_yscale() == scale
    assert ("▼ 2 zero: below a log axis" in texts(figure.axes[1])) == (scale == "log")


def test_norms_are_readable_where_the_last_update_is_zero():
    steps = np.arange(30)
    norms = {"weight": np.full(30, 300.0), "gradient": np.full(30, 0.2), "update": np.append(np.full(29, 1.0), 0.0)}
    series = {f"norm/{n}": Series(steps=steps, values=v, group="norm") for n, v in norms.items()}
    ax = draw(History(series=series), Figure().subplots())
    assert ax.get_yscale() == "log" and "▼ 1 zero: below a log axis" in texts(ax)
    near = {n: s.replace(values=s.values.clip(None, 3.0)) for n, s in series.items()}
    assert draw(History(series=near), Figure().subplots()).get_yscale() == "linear"


def test_a_finding_says_what_of_its_layers_is_drawn():
    dead = {n: Series(steps=np.arange(5), values=np.ones(5), unit="share", group="dead units") for n in ("0", "4")}
    figure = draw(Findings(items=(Finding(rule="r", title="t", series=dead, reference=0.67),)))
    figure.canvas.draw()
    curve = figure.axes[1]
    assert curve.get_title(loc="left") == "dead units"
    assert [t.get_text() for t in curve.get_legend().get_texts()] == ["reference 67 %", "0", "4"]
    assert all(t.get_text().endswith("%") for t in curve.get_yticklabels())


def seeds():
    found = {}
    for i, (rate, length) in enumerate([(0.1, 50), (0.1, 30), (1.0, 50)]):
        values = np.full(50, float(i + 1))
        values[20] = np.nan if i == 0 else values[20]
        series = {"loss": Series(steps=np.arange(length), values=values[:length])}
        found[f"run {i}"] = History(series=series, configs={"": {"lr": rate, "seed": i}})
    return History.compared(found)


def test_runs_of_one_setting_become_a_mean_and_a_band():
    ax = draw(seeds(), Figure().subplots(), group_by="lr")
    parts = [line for line in ax.get_lines() if line.get_label() in ("lr 0.1 (n = 2)", "_part")]
    drawn = {float(x): float(y) for part in parts for x, y in zip(*part.get_data(), strict=True)}
    assert [drawn[x] for x in (0, 19, 20, 21, 29, 30, 49)] == [1.5, 1.5, 2, 1.5, 1.5, 1, 1]
    assert all(len(set(part.get_ydata())) == 1 for part in parts)  # no line joins means of other numbers of runs
    assert {part.get_alpha() for part in parts if part.get_ydata()[0] in (1, 2)} == {0.4}
    assert ax.collections[0].get_paths()[0].get_extents().bounds == (0, 1, 19, 1)
    assert "| a run is not finite" in texts(ax)
    assert line(ax, "lr 1.0 (n = 1)").get_ydata().tolist() == [3.0] * 50
    together = draw(seeds(), Figure().subplots(), group_by=(), band="quartiles")
    assert line(together, "all runs (n = 3)").get_ydata()[0] == 2
    assert together.collections[0].get_paths()[0].get_extents().bounds[1::2] == (1.5, 1)
    with pytest.raises(OptionError, match="lr"):
        draw(seeds(), Figure().subplots(), group_by="rate")


def test_a_legend_names_every_line_or_says_how_many_are_left_out():
    for count, named in ((10, 10), (30, 11)):
        series = {
            f"loss/{i}": Series(steps=np.arange(5), values=np.arange(5.0) + i, group="loss") for i in range(count)
        }
        (ax,) = draw(History(title="t", series=series)).axes
        said = [text.get_text() for text in ax.get_legend().get_texts()]
        assert len([t for t in said if t.startswith("loss/")]) == named
        assert (f"and {count - named} more" in said) == (count > named)


@pytest.mark.parametrize("dark", [False, True])
def test_no_ridge_and_no_curve_sinks_into_the_ground(dark):
    ground = design.theme(dark).surface
    figure = tensors().plot(layer="a.weight", dark=dark).figure
    lines = [to_rgb(c) for ax in figure.axes for p in ax.get_lines() if (c := p.get_color()) != "none"]
    ridges = [
        e[:3] for ax in figure.axes for c in (*ax.collections, *ax.patches) for e in np.atleast_2d(c.get_edgecolor())
    ]
    shown = [c for c in (*lines, *ridges) if np.ptp(c) > 0.15]  # what has a hue, which grid lines have not
    assert len(shown) >= 4
    assert min(design.contrast(np.array(c), ground) for c in shown) > 1.9


def test_bytes_that_hardly_differ_have_ticks_that_do():
    series = Series(steps=np.arange(5), values=np.linspace(352_340_000, 352_470_000, 5), unit="bytes", group="memory")
    figure = Figure()
    ax = draw(History(series={"memory/process": series}), figure.subplots())
    figure.draw_without_rendering()
    marks = [t.get_text() for t in ax.get_yticklabels()]
    assert len(set(marks)) == len(marks) > 3
    assert all(m.endswith("MB") for m in marks)
    assert "352 MB" in texts(ax)  # the last value


def test_zeros_on_a_logarithmic_axis_are_marked_and_no_gaps():
    values = np.geomspace(1, 1e-6, 60)
    values[[20, 21, 40]], values[50], values[30] = 0.0, np.nan, -2.0
    result = History(series={"norm": Series(steps=np.arange(60) * 10, values=values)})
    ax = draw(result, Figure().subplots(), log=True)
    assert {"× 1 not finite", "▼ 3 zero, 1 negative: below a log axis"} <= texts(ax)
    np.testing.assert_array_equal(line(ax, "_below").get_xdata(), [200, 210, 300, 400])
    assert line(ax, "_gap").get_xdata() == [500]  # the middle of 490 and 510
    drawn = line(ax, "norm").get_ydata()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(drawn)), [20, 21, 30, 40, 50])
    linear = draw(result, Figure().subplots(), log=False)
    assert not any(text.startswith("▼") for text in texts(linear))
    assert line(linear, "norm").get_ydata()[20] == 0


def test_a_mean_of_zero_is_marked_on_a_logarithmic_axis():
    runs = {
        f"run {i}": History(series={"x": Series(steps=np.arange(4), values=np.array([4.0, 0, i, 1]))}) for i in range(2)
    }
    ax = draw(History.compared(runs), Figure().subplots(), group_by=(), log=True)
    assert line(ax, "_below").get_xdata().tolist() == [1]
    assert "▼ 1 zero: below a log axis" in texts(ax)
    assert np.isnan(line(ax, "all runs (n = 2)").get_ydata()).tolist() == [False, True, False, False]


def test_very_many_zeros_make_few_marks():
    values = np.zeros(100_000)
    values[::2] = 1e-3
    result = History(series={"norm": Series(steps=np.arange(100_000), values=values)})
    ax = draw(result, Figure().subplots(), log=True)
    assert "▼ 50,000 zero: below a log axis" in texts(ax)
    assert 300 < len(line(ax, "_below").get_xdata()) <= 401
    np.testing.assert_allclose(line(ax, "norm").get_ydata(), 1e-3)  # zeros among them break no line of means
