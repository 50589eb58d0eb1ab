"""The largest curvature that an optimizer bears before its steps grow along it: exact for SGD, Adam and AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["Stability", "stability"]


@dataclass(frozen=True)
class Stability:
    """``limit`` of the largest eigenvalue of the Hessian, where one learning rate holds for all; else, or beside it,
    ``scales``, one for each parameter (a tensor or a number): the limit ``scaled_limit`` is that of the largest
    eigenvalue of S H S with S = diag(sqrt(scale)), which are those of the preconditioned Hessian P^-1 H.
    """

    limit: float | None = None
    scales: list[torch.Tensor | float] | None = None
    scaled_limit: float | None = None


def stability(optimizers: Sequence[Any], parameters: Sequence[nn.Parameter]) -> Stability:
    """What these optimizers bear now, at their learning rates and, with Adam, at their second moments.

    Gradient descent: 2 / lr; with momentum b: 2 (1 + b) / lr, Nesterov's 2 (1 + b) / (1 + 2 b) / lr. Adam: (2 + 2 b1) /
    ((1 - b1) lr), which is 38 / lr for b1 = 0.9, of P^-1 H with P = (1 - b1^t) diag(sqrt(v / (1 - b2^t)) + eps).
    Parameters with other learning rates than the largest are scaled by their share of it. Weight decay is left out.
    Nothing is told of other optimizers, nor of mixtures of momenta.

    Source: Cohen et al. 2021, arXiv:2103.00065, appendix B; Cohen et al. 2022, arXiv:2207.14484, section 2.
    """
    rules = {id(p): (o, g) for o in optimizers for g in o.param_groups for p in g["params"]}
    found = [rules.get(id(p)) for p in parameters]
    kinds = {type(o) for o, _ in (f for f in found if f is not None)}
    if None in found or any(f is not None and f[1].get("maximize") for f in found):
        return Stability()
    groups = {id(g): g for _, g in (f for f in found if f is not None)}
    if kinds == {torch.optim.SGD}:
        return _of_sgd([g for _, g in (f for f in found if f is not None)], list(groups.values()))
    if kinds and kinds <= {torch.optim.Adam, torch.optim.AdamW}:
        return _of_adam([f for f in found if f is not None], parameters, list(groups.values()))
    return Stability()


def _of_sgd(by_parameter: list[Any], groups: list[Any]) -> Stability:
    moments = {(float(g.get("momentum") or 0), bool(g.get("nesterov")), float(g.get("dampening") or 0)) for g in groups}
    rates = [float(g["lr"]) for g in by_parameter]
    most = max(rates)
    if len(moments) != 1 or not most > 0:
        return Stability()
    momentum, nesterov, dampening = moments.pop()
    bears = 2 * (1 + momentum) / ((1 + 2 * momentum) if nesterov else 1) / most
    bears /= (1 - dampening) if momentum and dampening < 1 else 1
    if len(set(rates)) == 1:
        return Stability(limit=bears)
    return Stability(scales=[r / most for r in rates], scaled_limit=bears)


def _of_adam(found: list[tuple[Any, Any]], parameters: Sequence[nn.Parameter], groups: list[Any]) -> Stability:
    firsts = {float(g["betas"][0]) for g in groups}
    most = max(float(g["lr"]) for g in groups)
    if len(firsts) != 1 or not most > 0:
        return Stability()
    first = firsts.pop()
    scales: list[torch.Tensor | float] = []
    for (optimizer, group), parameter in zip(found, parameters, strict=True):
        scale = _scale_of(optimizer.state.get(parameter, {}), group)
        scales.append(0.0 if scale is None else scale * (float(group["lr"]) / most))
    if not any(isinstance(s, torch.Tensor) for s in scales):
        return Stability()
    return Stability(scales=scales, scaled_limit=(2 + 2 * first) / ((1 - first) * most))


def _scale_of(state: Any, group: Any) -> torch.Tensor | None:
    """1 / P of one parameter; None where it was never moved."""
    moment = state.get("max_exp_avg_sq", state.get("exp_avg_sq"))
    steps = state.get("step")
    if moment is None or steps is None or not float(steps) > 0:
        return None
    first, second = (float(b) for b in group["betas"])
    count = float(steps)
    spread = moment.detach() if moment.dtype == torch.float64 else moment.detach().float()
    root = (spread / (1 - second**count)).sqrt() + float(group["eps"])
    found: torch.Tensor = 1 / ((1 - first**count) * root)
    return found
