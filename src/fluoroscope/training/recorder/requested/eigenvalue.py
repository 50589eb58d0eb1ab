"""The largest eigenvalue of a symmetric operator that is known by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["Eigenpair", "largest_eigenvalue"]

LEAST = 3
"""Iterations that are always made, so that a start on another eigenvector is left."""


@dataclass(frozen=True)
class Eigenpair:
    """``value``, a unit ``vector`` (P,), ``residual`` ||A v - value v|| / |value|, and the number of ``products``.

    The value is a Rayleigh quotient: it is never above the largest eigenvalue, and an eigenvalue lies within
    ``residual`` times |value| of it.
    """

    value: float
    vector: torch.Tensor
    residual: float
    products: int


def largest_eigenvalue(
    multiply: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, iterations: int = 20, tolerance: float = 0.01
) -> Eigenpair:
    """The largest (not the largest in magnitude) eigenvalue, by LOBPCG with one vector.

    In each iteration the Rayleigh quotient is made largest in the plane of vector, residual and last direction: one
    product, six vectors of memory. Stops where the relative residual is at most ``tolerance``.

    Source: Knyazev 2001, Toward the optimal preconditioned eigensolver, SIAM J. Sci. Comput. 23 (2).
    """
    x = start / torch.linalg.vector_norm(start)
    ax = multiply(x)
    products, value = 1, float(x.dot(ax))
    p = ap = None
    for done in range(iterations):
        r = ax - value * x
        if not _finite(value) or float(torch.linalg.vector_norm(r)) <= 0:
            break
        if done >= LEAST and _relative(r, value) <= tolerance:
            break
        w = _orthogonal(r, x)
        if w is None:
            break
        aw, products = multiply(w), products + 1
        basis, images = [x, w], [ax, aw]
        if p is not None and ap is not None and (made := _beside(p, ap, basis, images)) is not None:
            basis.append(made[0])
            images.append(made[1])
        small = torch.tensor([[float(b.dot(a)) for a in images] for b in basis], dtype=torch.float64)
        if not bool(torch.isfinite(small).all()):
            value = float("nan")
            break
        c = torch.linalg.eigh((small + small.T) / 2).eigenvectors[:, -1].tolist()
        p = sum(k * b for k, b in zip(c[1:], basis[1:], strict=True))
        ap = sum(k * a for k, a in zip(c[1:], images[1:], strict=True))
        x, ax = c[0] * x + p, c[0] * ax + ap
        norm = torch.linalg.vector_norm(x)
        x, ax = x / norm, ax / norm
        value = float(x.dot(ax))
    if products > 1:  # what was carried along is held against a fresh product
        ax, products = multiply(x), products + 1
        value = float(x.dot(ax))
    return Eigenpair(value, x, _relative(ax - value * x, value), products)


def _finite(value: float) -> bool:
    return value - value == 0


def _relative(r: torch.Tensor, value: float) -> float:
    size = float(torch.linalg.vector_norm(r))
    return size / abs(value) if value else (0.0 if size == 0 else float("inf"))


def _orthogonal(vector: torch.Tensor, x: torch.Tensor) -> torch.Tensor | None:
    """The part of a vector beside the unit vector ``x``, of norm one; None where nothing is left."""
    norm = torch.linalg.vector_norm(vector)
    if not float(norm) > 0:
        return None
    w = vector / norm
    for _ in range(2):
        w = w - w.dot(x) * x
    norm = torch.linalg.vector_norm(w)
    return w / norm if float(norm) > 1e-6 else None


def _beside(
    p: torch.Tensor, ap: torch.Tensor, basis: list[torch.Tensor], images: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The part of ``p`` beside the basis, of norm one, and its image by the same combination."""
    whole = torch.linalg.vector_norm(p)
    if not float(whole) > 0:
        return None
    for b, a in zip(basis * 2, images * 2, strict=True):
        share = p.dot(b)
        p, ap = p - share * b, ap - share * a
    norm = torch.linalg.vector_norm(p)
    return (p / norm, ap / norm) if float(norm / whole) > 1e-3 else None
