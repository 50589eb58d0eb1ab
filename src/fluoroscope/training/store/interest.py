"""The order in which people look at the series of a run."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["by_interest"]

WORDS = ("loss", "acc", "error", "perplexity")
RECORDED = ("curvature_residual", "learning_rate", "memory", "noise_scale_parts", "norm", "time")
"""What the recorder adds by itself stands behind what the user logs."""

UNCERTAINTY = "standard_error"
"""No error of a network: it stands with the value that it belongs to."""


def by_interest(names: Iterable[str]) -> list[str]:
    """Names of series: losses first, then accuracies, then what else was logged, then what the recorder adds."""
    return sorted(names, key=_place)


def _place(name: str) -> tuple[bool, int]:
    first, lower = name.partition("/")[0], name.lower().removesuffix(UNCERTAINTY)
    return first in RECORDED, next((i for i, word in enumerate(WORDS) if word in lower), len(WORDS))
