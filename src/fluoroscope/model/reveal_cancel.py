"""The RevealCancel rule: positive and negative parts of a difference from a reference are handed back apart.

The network runs once on three rows of each example: the example x, its reference r, and q, which is the reference with
the positive part of the difference: q = r + D+, x = q + D-. What changes no sign (views, sums, averages) takes the
parts along by itself, and so does its backward: a gradient at x is the multiplier of D-, gradients at x and q together
are the multiplier of D+. Functions that change signs or bend are replaced while the network runs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from fluoroscope.errors import NotApplicable
from fluoroscope.model.differences import tensors_in
from fluoroscope.model.parts import bent, pooled
from fluoroscope.model.rescale import SOFTMAX, RescaleRule

__all__ = ["RevealCancelRule"]

WEIGHTED = frozenset({"linear", *(f"conv{t}{rank}d" for t in ("", "_transpose") for rank in (1, 2, 3))})
"""Linear layers: (input, weight, bias, ...)."""
MATRIX = frozenset({"matmul", "rmatmul", "mm", "bmm", "mv"})
"""Products of two matrices."""
SCALED = frozenset({"mul", "multiply", "rmul", "imul", "div", "divide", "true_divide", "truediv", "itruediv"})
"""Products with constants, place by place."""
SUMS = {
    "add": (1, 1),
    "radd": (1, 1),
    "iadd": (1, 1),
    "sub": (1, -1),
    "subtract": (1, -1),
    "isub": (1, -1),
    "rsub": (-1, 1),
}
"""Sums of two, with the signs of both."""

_KEPT = """
    get getitem setitem view view_as reshape reshape_as flatten unflatten permute transpose swapaxes swapdims movedim
    moveaxis t unsqueeze squeeze expand expand_as contiguous clone copy to type type_as float double half bfloat16 cpu
    cuda cat concat concatenate stack hstack vstack dstack chunk split split_with_sizes tensor_split unbind select
    narrow index_select gather take_along_dim masked_fill where pad mean sum cumsum flip roll rot90 repeat
    repeat_interleave tile ravel diagonal unfold fold avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample pixel_shuffle pixel_unshuffle channel_shuffle dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout requires_grad retain_grad
"""
KEPT = frozenset(_KEPT.split()) | SOFTMAX
"""Functions that move values and add them with weights that are not negative: parts stay parts. (Of a softmax its input
is the score.)"""


class RevealCancelRule(RescaleRule):
    """While a forward on (examples, references, references with the positive differences) runs in it, positive and
    negative parts of differences go apart.

    ``dense``: after convolutions the rescale rule holds for both parts, RevealCancel elsewhere.
    """

    copies: ClassVar[int] = 3

    def __init__(self, dense: bool = False) -> None:
        super().__init__()
        self.dense = dense
        self._unknown: set[str] = set()
        self._count = 3
        self._convolved = WeakTensorKeyDictionary()
        self._together = False

    def rows(self, examples: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """The batch: the examples (N, ...), their references, and the references with the positive differences."""
        self._count = 3 * len(examples)
        return torch.cat([examples, references, torch.maximum(examples, references)])

    def contributions(
        self, multipliers: torch.Tensor, examples: torch.Tensor, references: torch.Tensor
    ) -> torch.Tensor:
        """What each value's difference adds (N, K, ...), from what the backward gave for all rows (3 N, K, ...)."""
        falling, _, more = multipliers.chunk(3)
        difference = (examples - references)[:, None]
        return difference * torch.where(difference > 0, falling + more, falling)

    def refusal(self, scores: torch.Tensor) -> str | None:
        """Why the rule does not hold for the network that has run."""
        names = ", ".join(sorted(self._unknown))
        return super().refusal(scores) or (f"RevealCancel is not known for {names}" if names else None)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.dense:
            return super().__torch_function__(func, types, args, kwargs)
        name = getattr(func, "__name__", "").strip("_")
        given = tensors_in([*args, *(kwargs or {}).values()])
        self._together = any(bool(self._convolved[t]) for t in given if t in self._convolved)
        after = name.startswith("conv") or (self._together and name not in WEIGHTED | MATRIX)
        result = super().__torch_function__(func, types, args, kwargs)
        for tensor in tensors_in([result]):
            self._convolved[tensor] = after
        return result

    def _curve(self, x: torch.Tensor, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
        return bent(self._checked(x), func, args, kwargs, together=self._together)

    def _pool(self, x: torch.Tensor, func: Any, name: str, args: Any, kwargs: Any) -> torch.Tensor:
        return pooled(self._checked(x), func, name, args, kwargs, together=self._together)

    def _other(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        if name in WEIGHTED | MATRIX:
            return self._weighted(func, name, args, kwargs)
        if name in SCALED | {"neg", "negative", "batch_norm"}:
            return self._scaled(func, name, args, kwargs)
        if name in SUMS:
            return self._sum(func, name, args, kwargs)
        result = func(*args, **kwargs)
        cubic = any(isinstance(v, str) and v == "bicubic" for v in (*args, *kwargs.values()))  # has negative weights
        if (name not in KEPT or cubic) and any(t.requires_grad for t in tensors_in([result])):
            self._unknown.add(name)
        return result

    def _checked(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim and len(x) and len(x) % self._count == 0:
            return x
        raise NotApplicable(
            "DeepLIFT's RevealCancel rule needs the examples along the first axis of all that is computed",
            got=f"a tensor of shape {tuple(x.shape)} in the network",
            remedy="use rule='rescale', or IntegratedGradients, which is complete for any network",
        )

    def _weighted(self, func: Any, name: str, args: Any, kwargs: Any) -> torch.Tensor:
        """A linear layer: differences whose product with the weight is positive add to the positive part."""
        x, weight, rest, options = _operands(args, kwargs)
        if name in WEIGHTED:
            bias = rest.pop(0) if rest else options.pop("bias", None)
            whole: torch.Tensor = func(x, weight, bias, *rest, **options)
        else:
            whole = func(x, weight)

        def product(t: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            if name in WEIGHTED:
                return func(t, w, None, *rest, **options)  # type: ignore[no-any-return]
            return func(t, w) if x.requires_grad else func(w, t)  # type: ignore[no-any-return]

        if name in WEIGHTED and not x.requires_grad:
            self._unknown.add(f"{name} with weights that depend on the input")
            return whole
        taped, fixed = (x, weight) if x.requires_grad else (weight, x)
        ours, reference, _ = self._checked(taped).chunk(3)
        if name in MATRIX and fixed.ndim > 2 and len(fixed) == len(taped):  # matrices of each example
            fixed = fixed[: len(ours)]
        difference = ours - reference
        half = 0.5 * (difference == 0)
        rising = product(difference * ((difference > 0) + half), fixed.clamp(min=0))
        rising = rising + product(difference * ((difference < 0) + half), fixed.clamp(max=0))
        ours, reference, _ = whole.chunk(3)
        return torch.cat([ours, reference, reference + rising])

    def _scaled(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """A product with a constant: where it is negative, positive parts become negative ones."""
        result = func(*args, **kwargs)
        if name in {"neg", "negative"}:
            negative: Any = True
        elif name == "batch_norm":
            place = 3 if func is functional.batch_norm else 1
            weight = args[place] if len(args) > place else kwargs.get("weight")
            if args[5] if len(args) > 5 else kwargs.get("training"):
                self._unknown.add("batch_norm with the statistics of the batch")
            negative = False if weight is None else (weight < 0).view(-1, *[1] * (result.ndim - 2))
        else:
            other = next(v for v in (*args, *kwargs.values()) if not (isinstance(v, torch.Tensor) and v.requires_grad))
            negative = other < 0
        if not (bool(negative.any()) if isinstance(negative, torch.Tensor) else negative):
            return result
        turned = self._turned(result)
        turned = torch.where(negative, turned, result) if isinstance(negative, torch.Tensor) else turned
        return args[0].copy_(turned) if args and result is args[0] else turned

    def _sum(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        args, rest = list(args), dict(kwargs)
        if len(args) < 2:
            args.append(rest.pop("other"))
        alpha = rest.get("alpha", 1)
        first, second = SUMS[name]
        signs = (first * alpha, second) if name == "rsub" else (first, second * alpha)
        for i, sign in enumerate(signs):
            if sign < 0 and isinstance(args[i], torch.Tensor) and args[i].requires_grad:
                args[i] = self._turned(args[i])
        return func(*args, **rest)

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        """The parts exchanged: q becomes r + D-, in whose place it is the one that comes first."""
        ours, reference, upper = self._checked(x).chunk(3)
        return torch.cat([ours, reference, ours + reference - upper])


def _operands(args: Any, kwargs: Any) -> tuple[torch.Tensor, torch.Tensor, list[Any], dict[str, Any]]:
    """(first, second, other arguments) of a linear layer or a product of matrices."""
    rest, options = list(args), dict(kwargs)
    first = rest.pop(0) if rest else options.pop("input")
    second = rest.pop(0) if rest else options.pop(next(k for k in ("weight", "other", "mat2", "vec") if k in options))
    return first, second, rest, options
