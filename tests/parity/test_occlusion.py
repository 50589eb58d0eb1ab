"""Occlusion and feature ablation against captum: the same windows, the same values.

captum spreads each window's value over its positions and averages where windows overlap; the values of ours are spread
in the same way before they are compared. Tolerance 1e-4 of the largest value: float32, other batches, other kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fluoroscope as fs
from tests.contract.networks import images, network


def spread(values: np.ndarray, size: tuple[int, int], window: int, stride: int) -> np.ndarray:
    """The mean over the windows that hold each position."""
    total, count = np.zeros((len(values), *size)), np.zeros(size)
    for i in range(values.shape[1]):
        for j in range(values.shape[2]):
            part = np.s_[i * stride : i * stride + window, j * stride : j * stride + window]
            total[(slice(None), *part)] += values[:, i, j, None, None]
            count[part] += 1
    return total / count


@pytest.mark.parametrize(("size", "window", "stride"), [((32, 40), 8, 4), ((33, 41), 8, 5), ((40, 40), 16, 16)])
def test_same_values_as_captum(captum: Any, size: tuple[int, int], window: int, stride: int) -> None:
    """Also where the last windows are cut off at the border."""
    model, x = network().eval(), images(3, size)
    ours = fs.Occlusion(window=window, stride=stride, baseline=0.2)(model, x, target=[1, 2, 3])
    theirs = captum.attr.Occlusion(model).attribute(
        x, (3, window, window), (3, stride, stride), baselines=0.2, target=[1, 2, 3], perturbations_per_eval=8
    )
    found = spread(ours.values, size, window, stride)
    assert np.abs(found).max() > 1e-4
    np.testing.assert_allclose(found, theirs[:, 0].detach().numpy(), atol=1e-4 * np.abs(found).max())


def test_feature_ablation_gives_the_same_as_captum(captum: Any) -> None:
    model, x = network().eval(), images(2, (24, 24))
    labels = torch.randint(0, 9, (24, 24), generator=torch.Generator().manual_seed(2))
    ours = fs.FeatureAblation(segments=labels)(model, x, target=2)
    theirs = captum.attr.FeatureAblation(model).attribute(x, feature_mask=labels.expand(1, 3, 24, 24), target=2)
    assert np.abs(ours.values).max() > 1e-4
    np.testing.assert_allclose(ours.values, theirs[:, 0].detach().numpy(), atol=1e-4 * np.abs(ours.values).max())


def test_trained_networks_give_the_same_as_captum(captum: Any, trained: Any) -> None:
    """Photographs, the predicted class; incremental inference is what is compared where it saves work."""
    x, target = trained.inputs[:2], trained.predicted()[:2]
    window = x.shape[-1] // 7
    ours = fs.Occlusion(window=window, stride=window)(trained.network, x, target=target)
    with torch.no_grad():
        theirs = captum.attr.Occlusion(trained.network).attribute(
            x, (3, window, window), (3, window, window), target=target, perturbations_per_eval=8
        )
    assert ours.meta["incremental"] == "yes" or ours.meta["incremental"].startswith("no: it would save")
    found = spread(ours.values, tuple(x.shape[2:]), window, window)
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, theirs[:, 0].numpy(), atol=1e-4 * np.abs(found).max())
