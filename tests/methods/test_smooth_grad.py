"""SmoothGrad against a plain loop over the same noise, and what its sampling promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.methods.gradient.sampling import generator
from tests.methods.small_networks import Bends, Words, made, normal, plain_gradient


def noisy_gradients(
    model: nn.Module, x: torch.Tensor, target: int, sigma: float, samples: int, seed: int
) -> np.ndarray:
    """Gradients (samples, N, ...) one example and one sample at a time."""
    rows = []
    for n, example in enumerate(x):
        random = generator(seed, n)
        scale = sigma * float(example.max() - example.min())
        noise = [torch.randn(example.shape, generator=random, dtype=torch.float64) for _ in range(samples)]
        rows.append([plain_gradient(lambda v: model(v)[:, target], (example + scale * e)[None])[0] for e in noise])
    return np.array(rows).swapaxes(0, 1)


def test_equals_its_formula() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    gradients = noisy_gradients(model, x, 1, 0.2, 10, seed=4)
    found = fs.SmoothGrad(samples=10, sigma=0.2, seed=4, reduce="none")(model, x, target=1)
    np.testing.assert_allclose(found.values, gradients.mean(0), rtol=1e-8, atol=1e-12)
    error = gradients.std(0, ddof=1) / np.sqrt(10)
    expected = np.linalg.norm(error.reshape(2, -1), axis=1) / np.linalg.norm(found.values.reshape(2, -1), axis=1)
    np.testing.assert_allclose(found.meta["standard_error_per_example"], expected, rtol=1e-6)
    assert found.meta["standard_error"] == pytest.approx(expected.max())
    largest = fs.SmoothGrad(samples=10, sigma=0.2, seed=4)(model, x, target=1)
    np.testing.assert_allclose(largest.values, np.abs(gradients.mean(0)).max(1), rtol=1e-8, atol=1e-12)


def test_without_noise_it_is_the_gradient() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    found = fs.SmoothGrad(samples=3, sigma=0.0)(model, x, target=1)
    np.testing.assert_allclose(found.values, fs.Saliency()(model, x, target=1).values, rtol=1e-9)
    assert found.meta["standard_error"] == 0


def test_the_standard_error_is_honest() -> None:
    model, x = made(Bends), normal(1, 2, 4, 4)
    truth = fs.SmoothGrad(samples=1200, seed=99, reduce="none", batch_size=256)(model, x, target=1).values
    runs = [fs.SmoothGrad(samples=30, seed=s, reduce="none")(model, x, target=1) for s in range(8)]
    errors = [np.linalg.norm(r.values - truth) / np.linalg.norm(r.values) for r in runs]
    stated = [r.meta["standard_error"] for r in runs]
    assert 0.8 < np.mean(errors) / np.mean(stated) < 1.25


def test_goes_on_until_the_error_is_small_enough() -> None:
    model, x = made(Bends), normal(3, 2, 8, 8)
    found = fs.SmoothGrad(samples=8, stop_error=0.15)(model, x, target=1)
    assert found.meta["standard_error"] <= 0.15
    counts = found.meta["samples_per_example"]
    assert min(counts) > 8
    assert found.meta["samples"] == sum(counts)
    single = fs.SmoothGrad(samples=8, stop_error=0.15, batch_size=1)(model, x, target=1)
    assert single.meta["samples_per_example"] == counts
    np.testing.assert_allclose(single.values, found.values, rtol=1e-9)
    short = fs.SmoothGrad(samples=8, stop_error=1e-4, max_samples=24)(model, x, target=1)
    assert short.meta["samples_per_example"] == [24, 24, 24]
    assert any("max_samples=24" in n for n in short.notes)


def test_the_class_is_that_of_the_clean_input() -> None:
    model, x = made(Bends), normal(4, 2, 8, 8)
    classes = model(x).argmax(1).tolist()
    predicted = fs.SmoothGrad(samples=6, sigma=1.0)(model, x)
    np.testing.assert_array_equal(
        predicted.values, fs.SmoothGrad(samples=6, sigma=1.0)(model, x, target=classes).values
    )


def test_tokens() -> None:
    found = fs.SmoothGrad(samples=6)(made(Words), torch.tensor([[1, 5, 2, 5]]), target=1)
    assert found.axes == ("N", "L")
    assert (found.values > 0).all()
