"""SquareGrad against the mean square of a plain loop, and as the sum of SmoothGrad squared and VarGrad."""

from __future__ import annotations

import numpy as np

import fluoroscope as fs
from tests.methods.small_networks import Bends, made, normal
from tests.methods.test_smooth_grad import noisy_gradients


def test_equals_its_formula() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    gradients = noisy_gradients(model, x, 1, 0.3, 12, seed=2)
    found = fs.SquareGrad(samples=12, sigma=0.3, seed=2, reduce="none")(model, x, target=1)
    np.testing.assert_allclose(found.values, (gradients**2).mean(0), rtol=1e-8, atol=1e-14)
    squares = (gradients**2).reshape(12, 2, -1)
    error = np.linalg.norm(squares.std(0, ddof=1) / np.sqrt(12), axis=1) / np.linalg.norm(squares.mean(0), axis=1)
    np.testing.assert_allclose(found.meta["standard_error_per_example"], error, rtol=1e-5)


def test_is_the_squared_mean_plus_the_variance() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    square, mean, variance = (
        kind(samples=9, seed=1, reduce="none")(model, x, target=[[0, 2], [1, 1]]).values
        for kind in (fs.SquareGrad, fs.SmoothGrad, fs.VarGrad)
    )
    np.testing.assert_allclose(square, mean**2 + variance * 8 / 9, rtol=1e-8, atol=1e-14)
