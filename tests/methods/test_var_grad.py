"""VarGrad against the variance of a plain loop over the same noise."""

from __future__ import annotations

import numpy as np

import fluoroscope as fs
from tests.methods.small_networks import Bends, made, normal
from tests.methods.test_smooth_grad import noisy_gradients


def test_equals_its_formula() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    gradients = noisy_gradients(model, x, 1, 0.3, 12, seed=2)
    found = fs.VarGrad(samples=12, sigma=0.3, seed=2, reduce="none")(model, x, target=1)
    np.testing.assert_allclose(found.values, gradients.var(0, ddof=1), rtol=1e-8, atol=1e-14)
    assert found.values.max() > 1e-6
    assert not found.signed


def test_nothing_varies_without_noise_or_curvature() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    assert not fs.VarGrad(samples=4, sigma=0.0)(model, x, target=1).values.any()


def test_the_standard_error_is_honest() -> None:
    model, x = made(Bends), normal(1, 2, 4, 4)
    truth = fs.VarGrad(samples=1200, seed=99, reduce="none", batch_size=256)(model, x, target=1).values
    runs = [fs.VarGrad(samples=40, seed=s, reduce="none", batch_size=80)(model, x, target=1) for s in range(8)]
    errors = [np.linalg.norm(r.values - truth) / np.linalg.norm(r.values) for r in runs]
    assert 0.7 < np.mean(errors) / np.mean([r.meta["standard_error"] for r in runs]) < 1.4
