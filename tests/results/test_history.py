"""History: comparing runs, envelopes, smoothing, and the course of validation, beside plain formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.results import History, Series, open_result
from fluoroscope.results.course import best_step, higher_is_better, overfitting_onset, pairs
from fluoroscope.results.envelope import envelope, gaussian, moving_average, stretches

values_with_gaps = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1, max_size=60
)


def plain_buckets(steps, values, start, end, buckets):
    """One loop over points, the definition word for word."""
    found = {}
    for step, value in zip(steps, values, strict=True):
        if start <= step <= end:
            where = min(math.floor((step - start) / ((end - start) / buckets)), buckets - 1) if end > start else 0
            found.setdefault(where, []).append(value)
    rows = []
    for where, seen in sorted(found.items()):
        finite = [v for v in seen if math.isfinite(v)]
        low, high = (min(finite), max(finite)) if finite else (math.nan, math.nan)
        rows.append((where, low, high, len(seen) - len(finite)))
    return rows


@settings(max_examples=200, deadline=None)
@given(values_with_gaps, st.integers(1, 16), st.integers(0, 30), st.integers(1, 64))
def test_envelope_is_exact_at_any_zoom(values, buckets, start, width):
    steps = np.cumsum(np.arange(len(values)) % 3)  # repeats and jumps; buckets of a power of two have exact bounds
    buckets = 2 ** (buckets % 5)
    width = 2 ** (width % 7)
    found = envelope(steps, np.array(values), start, start + width, buckets)
    expected = plain_buckets(steps, values, start, start + width, buckets)
    assert len(found.low) == len(expected)
    for i, (where, low, high, missing) in enumerate(expected):
        assert found.centers[i] == start + (where + 0.5) * width / buckets
        assert np.array_equal([found.low[i], found.high[i]], [low, high], equal_nan=True)
        assert found.missing[i] == missing


def plain_average(values, weight):
    """Each point's weighted mean written out: weights w^k over the finite values since the last gap."""
    out = []
    for i in range(len(values)):
        if not math.isfinite(values[i]):
            out.append(math.nan)
            continue
        start = i
        while start > 0 and math.isfinite(values[start - 1]):
            start -= 1
        weights = [weight ** (i - j) for j in range(start, i + 1)]
        out.append(sum(w * v for w, v in zip(weights, values[start : i + 1], strict=True)) / sum(weights))
    return out


@settings(max_examples=100, deadline=None)
@given(values_with_gaps, st.sampled_from([0.0, 0.6, 0.9, 0.99]))
def test_moving_average_restarts_after_a_gap(values, weight):
    np.testing.assert_allclose(
        moving_average(np.array(values), weight), plain_average(values, weight), rtol=1e-9, atol=1e-6
    )


@settings(max_examples=100, deadline=None)
@given(values_with_gaps, st.sampled_from([0.5, 1.0, 3.0]))
def test_gaussian_never_crosses_a_gap(values, sigma):
    expected = []
    radius = math.ceil(3 * sigma)
    for i, v in enumerate(values):
        total, weight = 0.0, 0.0
        for direction in (range(i, max(i - radius, 0) - 1, -1), range(i + 1, min(i + radius, len(values) - 1) + 1)):
            for j in direction:
                if not math.isfinite(values[j]):
                    break
                w = math.exp(-0.5 * ((i - j) / sigma) ** 2)
                total, weight = total + w * values[j], weight + w
        expected.append(total / weight if math.isfinite(v) else math.nan)
    np.testing.assert_allclose(gaussian(np.array(values), sigma), expected, rtol=1e-9, atol=1e-5)


def test_steps_that_go_back_begin_a_new_stretch():
    assert stretches(np.array([0, 1, 1, 5, 3, 4, 0])) == [slice(0, 4), slice(4, 6), slice(6, 7)]
    assert stretches(np.array([])) == []


def series(values, **more):
    return Series(steps=np.arange(len(values)), values=np.asarray(values, float), **more)


def test_pairs_are_found_by_name_within_one_run():
    history = History(
        series={
            "a: loss": series([1], run="a", name="loss"),
            "a: val_loss": series([1], run="a", name="val_loss"),
            "b: train/acc": series([1], run="b", name="train/acc"),
            "b: Validation/acc": series([1], run="b", name="Validation/acc"),
            "b: val_loss": series([1], run="b", name="val_loss"),
            "interval": series([1]),
        }
    )
    assert [(p.trained, p.held_out) for p in pairs(history)] == [
        ("a: loss", "a: val_loss"),
        ("b: train/acc", "b: Validation/acc"),
        ("", "b: val_loss"),
    ]
    assert [higher_is_better(n) for n in ("val_loss", "top1 accuracy", "error", "speed")] == [False, True, False, None]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_overfitting_onset_is_where_validation_turns(noise):
    x = np.linspace(0, 1, 200)
    scatter = noise * np.random.default_rng(0).standard_normal((2, 200))
    trained, held_out = series(2 * np.exp(-4 * x) + scatter[0]), series(1 + (x - 0.4) ** 2 * 4 + scatter[1])
    onset = overfitting_onset(trained, held_out)
    assert onset is not None and abs(onset - 80) <= (2 if noise == 0 else 14)
    assert overfitting_onset(series(-trained.values), series(-held_out.values), high=True) == onset
    assert overfitting_onset(series(-trained.values), held_out) is None  # training gets worse as well: not overfitting


def test_no_onset_where_validation_only_scatters():
    x = np.linspace(0, 1, 200)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        held_out = series(np.exp(-5 * x) + 0.05 * rng.standard_normal(200))
        assert overfitting_onset(series(np.exp(-6 * x)), held_out) is None


def test_best_step_passes_over_what_is_not_finite():
    assert best_step(series([np.nan, 3, 1, 1, np.inf]), high=False) == 2
    assert best_step(series([np.nan, 3, 1, np.inf]), high=True) == 1
    assert best_step(series([np.nan]), high=True) is None


def test_comparing_runs_shows_what_differs(tmp_path):
    one = History(
        series={"loss": series([2, 1], times=np.array([5.0, 6.0]))}, configs={"x": {"lr": 0.1, "m": {"d": 1}}}
    )
    two = History(series={"loss": series([3, 2])}, configs={"x": {"lr": 0.2, "m": {"d": 1}, "seed": 3}})
    both = History.compared({"a": one, "b": two})
    assert both.runs == ("a", "b")
    assert both.differences == {"lr": {"a": 0.1, "b": 0.2}, "seed": {"a": None, "b": 3}}
    assert [(s.run, s.name, s.group) for s in both.series.values()] == [("a", "loss", "loss"), ("b", "loss", "loss")]
    again = open_result(both.save(tmp_path / "runs.fluo"))
    assert again.configs == both.configs
    np.testing.assert_array_equal(again.series["a: loss"].times, [5, 6])
