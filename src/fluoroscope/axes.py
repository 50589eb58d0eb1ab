"""The names of axes: one letter each, the same in every result, docstring and drawing."""

from __future__ import annotations

N = "N"  #: examples of a batch
K = "K"  #: targets asked for per example
C = "C"  #: channels
Z = "Z"  #: depth, for volumes
H = "H"  #: height (rows)
W = "W"  #: width (columns)
T = "T"  #: time or position along a series
L = "L"  #: tokens
A = "A"  #: attention heads
D = "D"  #: features

NAMES: dict[str, str] = {
    N: "example",
    K: "target",
    C: "channel",
    Z: "depth",
    H: "height",
    W: "width",
    T: "time",
    L: "token",
    A: "head",
    D: "feature",
}

SPACE = (Z, H, W, T)
"""Axes along which a layer has positions."""


def spatial(rank: int) -> tuple[str, ...]:
    """Names of ``rank`` spatial axes: 1 is a series, 2 an image, 3 a volume."""
    return {0: (), 1: (T,), 2: (H, W), 3: (Z, H, W)}[rank]


def describe(axes: tuple[str, ...], shape: tuple[int, ...]) -> str:
    """``N=4 C=512 H=7 W=7``, for messages and captions."""
    return " ".join(f"{a}={s}" for a, s in zip(axes, shape, strict=True))
