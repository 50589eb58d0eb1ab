"""Likeness of maps against slow, plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fluoroscope.trust.similarity import complexity, overlap, ranks, spearman, ssim


def plain_ranks(values: np.ndarray) -> list[float]:
    return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]


def plain_correlation(a: list[float], b: list[float]) -> float:
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    top = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return top / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    a, b = ((m - m.min()) / (m.max() - m.min()) for m in (a, b))
    found = []
    for i in range(a.shape[0] - 6):
        for j in range(a.shape[1] - 6):
            p, q = a[i : i + 7, j : j + 7].ravel(), b[i : i + 7, j : j + 7].ravel()
            cov = sum((x - p.mean()) * (y - q.mean()) for x, y in zip(p, q, strict=True)) / 49
            top = (2 * p.mean() * q.mean() + 1e-4) * (2 * cov + 9e-4)
            found.append(top / ((p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (p.var() + q.var() + 9e-4)))
    return sum(found) / len(found)


def test_rank_correlation_with_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 40), rng.integers(0, 6, 40)
    np.testing.assert_allclose(ranks(a), plain_ranks(a))
    expected = plain_correlation(plain_ranks(a), plain_ranks(b))
    assert abs(expected) > 0.01
    assert spearman(a, b) == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_sees_order_only() -> None:
    a = np.random.default_rng(1).random((5, 6))
    assert spearman(a, np.exp(3 * a)) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)


def test_constant_maps() -> None:
    a, flat = np.arange(12.0).reshape(3, 4), np.zeros((3, 4))
    assert spearman(a, flat) == 0.0
    assert ssim(a, flat) == 0.0
    assert math.isnan(spearman(flat, flat))
    assert math.isnan(ssim(flat, flat))


def test_structural_similarity() -> None:
    rng = np.random.default_rng(2)
    a = rng.random((11, 9))
    b = a + 0.3 * rng.random((11, 9))
    expected = plain_ssim(a, b)
    assert 0.2 < expected < 0.99
    assert ssim(a, b) == pytest.approx(expected, abs=1e-10)
    assert ssim(a, 5 * a + 2) == pytest.approx(1)


def test_overlap_of_random_maps_is_the_one_by_chance() -> None:
    rng = np.random.default_rng(3)
    found = [overlap(rng.random(400), rng.random(400), 0.2) for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.2 / 1.8, abs=0.006)
    assert overlap(np.arange(10), np.arange(10), 0.3) == 1
    assert overlap(np.arange(10), -np.arange(10), 0.3) == 0


def test_complexity_is_the_entropy_of_the_histogram() -> None:
    assert complexity(np.repeat(np.arange(4.0), 5), 4) == pytest.approx(math.log(4))
    assert complexity(np.array([0.0] * 9 + [1.0]), 2) == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
