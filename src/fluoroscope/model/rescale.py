"""The rescale rule: a backward through nonlinear functions that carries differences from a reference, not slopes.

The network runs once on a batch whose second half are the references of the first half. For every function of one
variable the backward multiplies by (f(x) - f(r)) / (x - r), which is exact for the difference however far x and r are
apart. Functions are replaced while the network runs, so functional calls, in-place ones and shared modules are seen
alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode

from fluoroscope.model.differences import POOLS, apart, max_pooled, slope, tensors_in

__all__ = ["RescaleRule"]

_ONE_VARIABLE = """
    relu relu6 hardtanh leaky_relu elu selu celu gelu silu mish softplus sigmoid expit logsigmoid log_sigmoid tanh
    hardswish hardsigmoid softsign tanhshrink hardshrink softshrink threshold prelu rrelu exp exp2 expm1 log log2
    log10 log1p sqrt rsqrt abs absolute sin cos tan sinh cosh atan arctan asinh erf pow rpow square clamp clip
    clamp_min clamp_max reciprocal rdiv rtruediv sign round floor ceil
"""
ONE_VARIABLE = frozenset(_ONE_VARIABLE.split())
"""Functions of one tensor, place by place; by name, so that every spelling of them is meant."""

_PRODUCTS = """
    mul multiply matmul rmatmul mm bmm mv dot inner outer einsum tensordot addmm addbmm baddbmm addcmul addcdiv div
    divide true_divide truediv itruediv imul imatmul pow linear conv1d conv2d conv3d bilinear
    scaled_dot_product_attention maximum minimum fmax fmin max min where atan2 hypot kron chain_matmul multi_dot
    conv_transpose2d
"""
PRODUCTS = frozenset(_PRODUCTS.split())
"""Linear in one tensor; in two that both depend on the input the rule does not hold."""

_BROKEN = """
    layer_norm group_norm instance_norm rms_norm local_response_norm normalize norm vector_norm var std var_mean
    std_mean lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell multi_head_attention_forward
    glu prod cumprod logsumexp softmin gumbel_softmax amax amin aminmax median mode sort topk kthvalue quantile
    cdist cosine_similarity pairwise_distance grid_sample lp_pool1d lp_pool2d fractional_max_pool2d cummax cummin
    logcumsumexp
"""
BROKEN = frozenset(_BROKEN.split())
"""Functions of many values at once that are not linear."""

SOFTMAX = frozenset({"softmax", "log_softmax"})


class RescaleRule(TorchFunctionMode):
    """While a forward on (examples, references) runs in it, nonlinear functions on the tape get the rescale rule.

    ``refused`` has the names of functions that the rule does not hold for, ``handled`` those that it replaced.
    :meth:`rows` makes the batch that the network runs on, ``copies`` times as long as the examples.
    """

    copies: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__()
        self.handled: set[str] = set()
        self.refused: set[str] = set()
        self._softmax: list[torch.Tensor] = []

    def rows(self, examples: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """The batch: the examples (N, ...), then their references."""
        return torch.cat([examples, references])

    def contributions(
        self, multipliers: torch.Tensor, examples: torch.Tensor, references: torch.Tensor
    ) -> torch.Tensor:
        """What each value's difference adds (N, K, ...), from the backward at all rows (copies N, K, ...)."""
        return multipliers[: len(examples)] * (examples - references)[:, None]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        taped = [v for v in (*tensors_in(args), *tensors_in(kwargs.values())) if v.requires_grad]
        if not taped or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        first = args[0] if args else kwargs.get("input")
        if name in SOFTMAX:
            self._softmax.append(taped[0])
        if name in BROKEN or (name in PRODUCTS and self._two(name, args, kwargs, taped)):
            self.refused.add(name)
            return func(*args, **kwargs)
        if name in ONE_VARIABLE and taped[0] is first and len(taped) == 1:
            return self._one_variable(func, name, args, kwargs)
        if name in ONE_VARIABLE:
            self.refused.add(name)
            return func(*args, **kwargs)
        if name in POOLS and taped[0] is first and not kwargs.get("return_indices"):
            self.handled.add(name)
            return self._pool(first, func, name, args[1:], {k: v for k, v in kwargs.items() if k != "input"})
        return self._other(func, name, args, kwargs)

    def _curve(self, x: torch.Tensor, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
        """A function of one variable, with the rule for its backward."""
        return _Rescale.apply(x, func, args, kwargs)  # type: ignore[no-untyped-call, no-any-return]

    def _pool(self, x: torch.Tensor, func: Any, name: str, args: Any, kwargs: Any) -> torch.Tensor:
        """Max pooling, with the rule for its backward."""
        return _Pool.apply(x, func, name, args, kwargs)  # type: ignore[no-untyped-call, no-any-return]

    def _other(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """A function that is linear in what is on the tape: its own backward hands differences on."""
        return func(*args, **kwargs)

    def _two(self, name: str, args: Any, kwargs: Any, taped: list[torch.Tensor]) -> bool:
        """Whether the call is more than linear in what is on the tape."""
        if name in {"max", "min"}:
            return True
        if name in {"addmm", "addbmm", "baddbmm", "where", "addcmul", "addcdiv", "linear"} or name.startswith("conv"):
            start = 0 if name.startswith("conv") or name == "linear" else 1
            values = [v for v in tensors_in([*args[start:], *kwargs.values()]) if v.requires_grad]
            return len(values) > 1 and name != "where"
        division = name in {"div", "divide", "true_divide", "truediv", "itruediv", "pow"}
        second = args[1] if len(args) > 1 else kwargs.get("other", kwargs.get("exponent"))
        if division:
            return isinstance(second, torch.Tensor) and second.requires_grad
        return len(taped) > 1

    def _one_variable(self, func: Any, name: str, args: Any, kwargs: Any) -> torch.Tensor:
        self.handled.add(name)
        x = args[0] if args else kwargs["input"]
        rest = {k: v for k, v in kwargs.items() if k != "input"}
        with torch.no_grad():
            copy = x.detach().clone()
            result = func(copy, *args[1:], **rest)
        in_place = result.data_ptr() == copy.data_ptr()
        made = self._curve(x.clone() if in_place else x, func, args[1:], rest)
        return x.copy_(made) if in_place else made

    def refusal(self, scores: torch.Tensor) -> str | None:
        """Why the rule does not hold for the network that has run; a last softmax, after the scores, is fine."""
        inner = {"softmax"} if any(t is not scores for t in self._softmax) else set()
        names = ", ".join(sorted(self.refused | inner))
        return f"it multiplies, normalizes or compares what it computes ({names})" if names else None


def _halves(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The examples' part and the references' part."""
    half = len(tensor) // 2
    return tensor[:half], tensor[half:]


class _Rescale(torch.autograd.Function):
    """A function of one variable whose backward multiplies by (f(x) - f(r)) / (x - r), by f'(x) where x = r."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, func: Callable[..., Any], args: Any, kwargs: Any) -> torch.Tensor:
        result: torch.Tensor = func(x.clone(), *args, **kwargs)
        ctx.call = (func, args, kwargs)
        ctx.save_for_backward(x.clone(), result)
        return result.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        x, result = ctx.saved_tensors
        ours, reference = _halves(result)
        difference, differs = apart(*_halves(x))
        multiplier = (ours - reference) / torch.where(differs, difference, torch.ones_like(difference))
        if not bool(differs.all()):
            multiplier = torch.where(differs, multiplier, slope(_halves(x)[0], *ctx.call))
        return torch.cat([_halves(gradient)[0] * multiplier, torch.zeros_like(reference)]), None, None, None


class _Pool(torch.autograd.Function):
    """Max pooling: where x's maximum lies gets max(y, y_r) - y_r, where r's lies gets y - max(y, y_r), over x - r."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, func: Any, name: str, args: Any, kwargs: Any) -> torch.Tensor:
        result, places = max_pooled(x, func, name, args, kwargs)
        ctx.rank = POOLS[name]
        ctx.save_for_backward(x.clone(), result.clone(), places)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        x, result, places = ctx.saved_tensors
        (ours, reference), (mine, theirs) = _halves(result), _halves(places)
        upper = torch.maximum(ours, reference)
        gradient = _halves(gradient)[0]
        difference, differs = apart(*_halves(x))
        flat = torch.zeros_like(difference).flatten(-ctx.rank)
        for share, place in ((upper - reference, mine), (ours - upper, theirs)):
            flat.scatter_add_(-1, place.flatten(-ctx.rank), (gradient * share).flatten(-ctx.rank))
        # Where x and r agree a maximum hands on nothing but its slope, which is 1 at the place of x's maximum.
        steep = torch.zeros_like(flat).scatter_add_(-1, mine.flatten(-ctx.rank), gradient.flatten(-ctx.rank))
        safe = torch.where(differs, difference, torch.ones_like(difference))
        made = torch.where(differs, flat.view_as(difference) / safe, steep.view_as(difference))
        return torch.cat([made, torch.zeros_like(made)]), None, None, None, None
