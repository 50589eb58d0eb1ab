"""Runs made of formulas, to ask one rule at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.results import Finding, Findings, History, Series, TensorHistory
from fluoroscope.training.diagnosis import diagnose

STEPS = np.arange(1, 301)


def falling(start: float = 2.3, end: float = 0.2, noise: float = 0.05, steps: int = 300, seed: int = 0) -> Any:
    """An ordinary loss: exponential fall with multiplicative noise, whose first value is ``start``."""
    t = np.arange(steps)
    curve = end + (start - end) * np.exp(-5 * t / steps)
    factor = np.exp(noise * np.random.default_rng(seed).standard_normal(steps))
    factor[0] = 1.0
    return curve * factor


def noisy(level: Any, noise: float = 0.15, seed: int = 1) -> Any:
    """``level`` with multiplicative noise, a new one for each entry."""
    level = np.asarray(level, dtype=np.float64)
    return level * np.exp(noise * np.random.default_rng(seed).standard_normal(level.shape))


def history(**curves: Any) -> History:
    """Series over steps 1, 2, …; a pair is (steps, values)."""
    series = {}
    for name, found in curves.items():
        steps, values = found if isinstance(found, tuple) else (np.arange(1, len(found) + 1), found)
        series[name] = Series(steps=np.asarray(steps), values=np.asarray(values, dtype=np.float64))
    return History(series=series)


def tensors(names: tuple[str, ...], meta: dict[str, Any] | None = None, **statistics: Any) -> TensorHistory:
    """Statistics (L, S) by name with ``_`` for the slash, ``gradient_norm=``; rows all NaN were not recorded."""
    found = {k.replace("_", "/", 1): np.asarray(v, dtype=np.float64) for k, v in statistics.items()}
    steps = np.arange(1, next(iter(found.values())).shape[1] + 1)
    recorded = {k: ~np.isnan(v).all(1, keepdims=True) & np.ones(v.shape, dtype=bool) for k, v in found.items()}
    return TensorHistory(names=names, steps=steps, statistics=found, recorded=recorded, meta=meta or {})


def asked(rule: str, run: Any, tensor: Any = None, **options: Any) -> tuple[Finding, ...]:
    """The findings of one rule, which must have been applied."""
    found = ask(rule, run, tensor, **options)
    assert rule in found.checked, found.skipped
    return found.items


def ask(rule: str, run: Any, tensor: Any = None, **options: Any) -> Findings:
    return diagnose(run, tensor, rules=[rule], **options)
