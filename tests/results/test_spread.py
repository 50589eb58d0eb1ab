"""Runs together: mean, range and number at every place, against a plain loop."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from fluoroscope.results import History, Series
from fluoroscope.results.spread import run_groups, spread

NAN = math.nan


def plainly(xs, values, place):
    """The value of a run at a place, the definition written down with fractions; None where it has none."""
    points = [
        (x, v) for i, (x, v) in enumerate(zip(xs, values, strict=True)) if all(x < later for later in xs[i + 1 :])
    ]
    for x, v in points:
        if x == place:
            return Fraction(v) if math.isfinite(v) else None
    for (a, u), (b, v) in pairwise(points):
        if a < place < b and math.isfinite(u) and math.isfinite(v):
            return Fraction(u) + (Fraction(place) - Fraction(a)) / (Fraction(b) - Fraction(a)) * (
                Fraction(v) - Fraction(u)
            )
    return None


def members(seed):
    """Runs of different lengths and places, with gaps, one that went back, one that is empty."""
    rng = np.random.default_rng(seed)
    found = []
    for length in (40, 25, 1, 31, 0):
        xs = np.cumsum(rng.integers(1, 4, length)).astype(float)
        values = rng.normal(size=length)
        values[rng.random(length) < 0.1] = rng.choice([NAN, np.inf, -np.inf])
        found.append((xs, values))
    xs, values = found[0]
    found[0] = np.concatenate([xs[:20], xs[12:]]), np.concatenate([values[:20] + 7, values[12:]])
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quartiles", [False, True])
def test_every_place_agrees_with_the_definition(seed, quartiles):
    runs = members(seed)
    found = spread(runs, quartiles=quartiles)
    assert found.total == 5
    np.testing.assert_array_equal(found.xs, sorted({x for xs, _ in runs for x in xs.tolist()}))
    for i, place in enumerate(found.xs.tolist()):
        there = [v for v in (plainly(xs.tolist(), values.tolist(), place) for xs, values in runs) if v is not None]
        assert found.runs[i] == len(there)
        if not there:
            assert np.isnan([found.mean[i], found.low[i], found.high[i]]).all()
            continue
        floats = [float(v) for v in there]
        ends = np.quantile(floats, [0.25, 0.75]) if quartiles else (min(floats), max(floats))
        assert found.mean[i] == pytest.approx(float(sum(there) / len(there)), rel=1e-12, abs=1e-14)
        np.testing.assert_allclose((found.low[i], found.high[i]), ends, rtol=1e-12, atol=1e-14)


def test_a_short_run_is_not_carried_on_and_a_gap_is_not_crossed():
    steps = np.array([0.0, 10, 20, 30])
    found = spread([(steps, np.array([1.0, NAN, 1, 1])), (steps[:3], np.array([3.0, 3, 3]))])
    np.testing.assert_array_equal(found.runs, [2, 1, 2, 1])
    np.testing.assert_array_equal(found.mean, [2, 3, 2, 1])
    np.testing.assert_array_equal(found.gaps, [10])
    alone = spread([(np.array([0.0, 10, 20]), np.array([1.0, NAN, 1])), (np.array([5.0, 15]), np.array([NAN, NAN]))])
    np.testing.assert_array_equal(alone.runs, [1, 0, 0, 0, 1])  # 5 and 15 lie beside the gap


def test_too_many_places_are_thinned_and_that_is_told(monkeypatch):
    monkeypatch.setattr("fluoroscope.results.spread.MOST", 50)
    xs = np.arange(100.0)
    found = spread([(xs, xs), (xs, xs + 2)])
    assert found.stride == 4
    np.testing.assert_array_equal(found.mean, xs[::4] + 1)


def test_runs_are_put_together_by_settings():
    one = {"loss": Series(steps=np.arange(2), values=np.zeros(2))}
    settings = {"a": {"lr": 0.1, "seed": 0}, "b": {"lr": 0.2, "seed": 0}, "c": {"lr": 0.1, "seed": 1}, "d": {"seed": 1}}
    both = History.compared({name: History(series=one, configs={"": config}) for name, config in settings.items()})
    assert run_groups(both, ["lr"]) == {"lr 0.1": ["a", "c"], "lr 0.2": ["b"], "lr –": ["d"]}
    assert run_groups(both, []) == {"all runs": ["a", "b", "c", "d"]}
    assert list(run_groups(both, ["lr", "seed"])) == [
        "lr 0.1, seed 0",
        "lr 0.2, seed 0",
        "lr 0.1, seed 1",
        "lr –, seed 1",
    ]
