"""The simple noise scale of gradients: how many examples a batch needs before noise and gradient weigh the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import InputError, OptionError
from fluoroscope.results import Array
from fluoroscope.training.recorder.requested.aside import aside, loss_of_closure, refuse
from fluoroscope.training.recorder.requested.moving_ratio import ratio_error

__all__ = ["NoiseScale", "measured_noise_scale", "unbiased"]

WHAT = "the gradient noise scale"


@dataclass(frozen=True)
class NoiseScale:
    """tr(Sigma) / |G|^2 of one batch of ``examples`` in ``parts``: Sigma the covariance of the gradients of single
    examples, G the gradient of the true loss.

    ``value`` in examples, with its ``standard_error`` (jackknife over the parts); NaN where ``gradient`` is not above
    zero: the batch is too small to tell the gradient from noise. ``noise``: tr(Sigma); ``gradient``: |G|^2; both
    without bias.
    """

    value: float
    standard_error: float
    noise: float
    gradient: float
    covariance: Array
    examples: int
    parts: int


def unbiased(small: Any, large: Any, times: int, size: float = 1.0) -> tuple[Any, Any]:
    """tr(Sigma) and |G|^2 from the square ``small`` of the gradient of ``size`` examples and ``large`` of ``times``
    as many: with b and B examples, (|g_b|^2 - |g_B|^2) / (1 / b - 1 / B) and (B |g_B|^2 - b |g_b|^2) / (B - b).

    Source: McCandlish et al. 2018, An empirical model of large-batch training, arXiv:1812.06162, appendix A.1.
    """
    return (small - large) * size / (1 - 1 / times), (times * large - small) / (times - 1)


def measured_noise_scale(
    model: nn.Module, parameters: Sequence[nn.Parameter], loss_of: Callable[[Any], Any], batch: Any, parts: int
) -> NoiseScale:
    """Split ``batch`` along the first axis into equal parts, and compare their gradients with that of all together."""
    if parts < 2:
        raise OptionError(f"{WHAT} compares parts of a batch", got=parts, expected="at least 2 parts")
    if not parameters:
        raise InputError(f"{WHAT} is that of the parameters that are trained", got="none")
    refuse(WHAT, model, parameters)
    size = _examples(batch) // parts
    if size < 1:
        raise InputError(f"{WHAT} needs an example for each part", got=_examples(batch), expected=f"at least {parts}")
    gradients = []
    with aside(model, parameters):
        for i in range(parts):
            part = _part(batch, slice(i * size, (i + 1) * size))
            loss = loss_of_closure(partial(loss_of, part), WHAT)
            found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            gradients.append([g.detach() for g in found])
    products = np.array([[_product(a, b) for b in gradients] for a in gradients])
    return _estimate(products, size)


def _estimate(products: Array, size: int) -> NoiseScale:
    """From the inner products (M, M) of the gradients of M parts of ``size`` examples."""
    parts = len(products)
    noise, gradient = _pair(products, size)
    covariance = np.full((2, 2), np.nan)
    if parts > 2:
        rest = [np.delete(np.delete(products, i, 0), i, 1) for i in range(parts)]
        found = np.array([_pair(r, size) for r in rest])
        centred = found - found.mean(0)
        covariance = (parts - 1) / parts * centred.T @ centred
    value = noise / gradient if gradient > 0 else math.nan
    error = ratio_error(noise, gradient, covariance) if np.isfinite(covariance).all() else math.nan
    return NoiseScale(value, error, noise, gradient, covariance, parts * size, parts)


def _pair(products: Array, size: int) -> tuple[float, float]:
    parts = len(products)
    noise, gradient = unbiased(np.trace(products) / parts, products.sum() / parts**2, parts, size)
    return float(noise), float(gradient)


def _product(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    wide = [x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32 for x in a]
    flat = [(x.reshape(-1).to(t), y.reshape(-1).to(t)) for x, y, t in zip(a, b, wide, strict=True)]
    return float(sum(float(x.dot(y)) for x, y in flat))


def _tensors(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    members = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else ()
    return [t for member in members for t in _tensors(member)]


def _examples(batch: Any) -> int:
    sizes = {len(t) if t.ndim else 0 for t in _tensors(batch)}
    if len(sizes) != 1:
        raise InputError(
            f"{WHAT} needs a batch that can be split along its first axis",
            got=f"tensors of {sorted(sizes)} examples" if sizes else type(batch).__name__,
            expected="tensors of equally many examples, also in tuples, lists and dicts",
        )
    return sizes.pop()


def _part(batch: Any, where: slice) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[where]
    if isinstance(batch, Mapping):
        return {k: _part(v, where) for k, v in batch.items()}
    if isinstance(batch, tuple | list):
        found = [_part(v, where) for v in batch]
        return found if isinstance(batch, list) else tuple(found)
    return batch
