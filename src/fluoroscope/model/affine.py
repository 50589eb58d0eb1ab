"""Affine tails: does a score follow from a layer's output by sums and constant factors alone?

Asked of the recorded operations: a composition of affine operations is affine, and what is not on the list counts as
nonlinear. One thing the record does not show: a factor that was computed from the layer without a gradient, such as the
mask in ``x * (x > 0)``. So whoever relies on the answer compares the score at a few other points as well.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["affine_obstacle"]

_ROUTES = (
    "Clone", "View", "UnsafeView", "ReshapeAlias", "Unsqueeze", "Squeeze", "Transpose", "T", "Permute", "Expand",
    "Select", "Slice", "Index", "IndexSelect", "Gather", "Unbind", "Split", "SplitWithSizes", "Cat", "Stack", "Alias",
    "AsStrided", "ToCopy", "Contiguous", "Narrow", "Diagonal", "Flip", "Roll", "ConstantPadNd", "Copy",
    "Repeat", "Movedim", "Unfold",
)  # fmt: skip
_SUMS = (
    "Add", "Sub", "Rsub", "Neg", "Mean", "Sum", "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D",
    "MkldnnAdaptiveAvgPool2D", "AvgPool1D", "AvgPool2D", "AvgPool3D", "UpsampleBilinear2D",
    "UpsampleNearest2D", "Cumsum",
)  # fmt: skip
_PRODUCTS = (
    "Mul", "Div", "Mm", "Mv", "Bmm", "Addmm", "Addmv", "Addbmm", "Baddbmm", "Dot", "Convolution", "MkldnnConvolution",
    "NativeBatchNorm", "CudnnBatchNorm", "Linear", "MkldnnLinear",
)  # fmt: skip


def affine_obstacle(score: torch.Tensor, leaf: torch.Tensor) -> str | None:
    """The recorded operation that keeps ``score`` from being an affine function of ``leaf``; None where it is one.

    ``score`` must come from a tape on which ``leaf`` alone asks for a gradient. Products count as
    affine where one factor alone depends on the leaf; batch norm in eval mode is a product with constants.
    """
    if score.grad_fn is None:
        return None if score is leaf else "no recorded operation"
    seen, left = set[Any](), [score.grad_fn]
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        name = node.name()
        if not name.endswith("AccumulateGrad") and not _passes(node, name, len(parents)):
            return name.removesuffix("Backward").rstrip("0123456789").removesuffix("Backward")
        left.extend(parents)
    return None


def _passes(node: Any, name: str, dependent: int) -> bool:
    stem = name.split("Backward", maxsplit=1)[0]
    if stem in _ROUTES or stem in _SUMS:
        return True
    if stem == "NativeBatchNorm" and getattr(node, "_saved_training", True):
        return False
    if stem == "Div" and node.next_functions[0][0] is None:
        return False  # the leaf is in the denominator
    return stem in _PRODUCTS and dependent == 1
