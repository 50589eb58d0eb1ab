"""Rectifiers: another rule for the backward through every ReLU, however it is called, and a list of what else bends.

Guided backpropagation and the deconvnet differ from the plain gradient in the backward of rectifiers only:

=============  ====================================================
rule           gradient at the input, for gradient g at the output
=============  ====================================================
plain          g where the input was positive
guided         g where the input was positive and g is positive
deconvolved    g where g is positive, whatever the input was
=============  ====================================================

Hooks on ``nn.ReLU`` miss ``F.relu(x)``, ``x.relu_()`` and ``x.clamp(min=0)``, and the result is then silently the plain
gradient. Here the functions themselves are replaced while the network runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from torch.overrides import TorchFunctionMode

from fluoroscope.model.modes import RELU, SOFTMAX

__all__ = ["RectifierRule", "Rule", "deconvolved", "guided"]

Rule = Literal["plain", "guided", "deconvolved"]

_CLAMPS = frozenset({torch.clamp, torch.clamp_, torch.Tensor.clamp, torch.Tensor.clamp_, torch.clip, torch.Tensor.clip})
_CLAMP_MINS = frozenset({torch.clamp_min, torch.clamp_min_, torch.Tensor.clamp_min, torch.Tensor.clamp_min_})
_THRESHOLDS = frozenset({F.threshold, torch.threshold, torch.threshold_})
_IN_PLACE = frozenset(
    {torch.relu_, F.relu_, torch.Tensor.relu_, torch.clamp_, torch.Tensor.clamp_}
    | {torch.clamp_min_, torch.Tensor.clamp_min_, F.hardtanh_, torch.threshold_}
)
_SMOOTH = frozenset(
    {F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.elu_, F.selu, F.selu_, F.celu, F.celu_, F.softplus, F.glu}
    | {F.leaky_relu, F.leaky_relu_, F.prelu, torch.prelu, F.rrelu, F.rrelu_, F.softsign, F.tanhshrink, F.hardsigmoid}
    | {torch.tanh, torch.Tensor.tanh, F.tanh, torch.tanh_, torch.Tensor.tanh_, torch.sigmoid_, torch.Tensor.sigmoid_}
    | {F.hardtanh, F.hardtanh_, torch.threshold, torch.threshold_, F.threshold, F.softmin, F.hardshrink, F.softshrink}
    | {F.scaled_dot_product_attention, F.multi_head_attention_forward}
    | SOFTMAX
)


class RectifierRule(TorchFunctionMode):
    """While a forward runs in it, every rectifier on the tape takes its backward from :attr:`rule`.

    The rule is read when the backward runs, so one forward serves several: inside :meth:`using` another one holds.
    ``rectifiers`` counts the rectifiers on the tape by name, ``others`` the other nonlinear functions; a rectifier made
    of comparisons (``torch.where(x > 0, x, 0)``) can't be told from ordinary arithmetic and keeps its plain gradient.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule: Rule = rule
        self.rectifiers: Counter[str] = Counter()
        self._others: list[tuple[str, bool]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.relu6 and func not in _KNOWN:
            return func(*args, **kwargs)
        bounds = _bounds(func, args, kwargs)
        tensor = args[0] if args else kwargs.get("input")
        taped = isinstance(tensor, torch.Tensor) and tensor.requires_grad and torch.is_grad_enabled()
        if not taped:
            return func(*args, **kwargs)
        if bounds is None:
            if func in _SMOOTH:
                self._others.append((_name(func), func in SOFTMAX))
            return func(*args, **kwargs)
        self.rectifiers[_name(func).removesuffix("_")] += 1
        in_place = func in _IN_PLACE or bool(kwargs.get("inplace", _positional_inplace(func, args)))
        return _Rectify.apply(tensor, bounds[1], in_place, self)  # type: ignore[no-untyped-call]

    @property
    def others(self) -> Counter[str]:
        """Nonlinear functions on the tape that are no rectifiers; a last softmax or sigmoid (probabilities) aside."""
        seen = self._others[:-1] if self._others and self._others[-1][1] else self._others
        return Counter(name for name, _ in seen)

    @contextmanager
    def using(self, rule: Rule) -> Iterator[None]:
        """Another rule for the backwards that run inside."""
        kept, self.rule = self.rule, rule
        try:
            yield
        finally:
            self.rule = kept

    def refusal(self) -> str | None:
        """Why the rule changes nothing for the network that has run; None where it has rectifiers."""
        if self.rectifiers:
            return None
        found = ", ".join(sorted(self.others)) or "no nonlinear function at all"
        return f"it has no ReLU ({found}), so the result would be the plain gradient under another name"

    def warning(self) -> str | None:
        """What to say of nonlinear functions that keep their plain gradient beside rectifiers."""
        if not self.others:
            return None
        names = ", ".join(sorted(self.others))
        return f"only rectifiers follow the {self.rule} rule; the plain gradient holds for {names}"


def guided() -> RectifierRule:
    """The guided rule: a context for a forward, whose backwards let positive gradients alone through open rectifiers.

    Source: Springenberg et al., *Striving for Simplicity*, ICLR 2015 workshop, figure 1.
    """
    return RectifierRule("guided")


def deconvolved() -> RectifierRule:
    """The deconvnet's rule: a context for a forward, whose backwards rectify gradients, not what was rectified.

    Source: Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, section 2.1.
    """
    return RectifierRule("deconvolved")


class _Rectify(torch.autograd.Function):
    """min(max(x, 0), ceiling), with the backward of a rule that is looked up when it is needed."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, ceiling: float | None, in_place: bool, owner: RectifierRule) -> torch.Tensor:
        ctx.owner = owner
        ctx.save_for_backward(x > 0 if ceiling is None else (x > 0) & (x < ceiling))
        if in_place:
            ctx.mark_dirty(x)
            return x.clamp_(min=0, max=ceiling)
        return x.clamp(min=0, max=ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (positive,) = ctx.saved_tensors
        rule = ctx.owner.rule
        if rule != "deconvolved":
            gradient = gradient * positive
        return gradient if rule == "plain" else gradient.clamp(min=0), None, None, None


_KNOWN = RELU | _CLAMPS | _CLAMP_MINS | _SMOOTH | {F.relu6}


def _bounds(func: Callable[..., Any], args: Any, kwargs: Any) -> tuple[float, float | None] | None:
    """(0, ceiling or None) where the call is a rectifier, None where it is something else."""
    if func in RELU:
        return 0.0, None
    if func is F.relu6:
        return 0.0, 6.0
    if func in _THRESHOLDS:
        level, value = _argument(args, kwargs, 1, "threshold", None), _argument(args, kwargs, 2, "value", None)
        return (0.0, None) if level == 0 and value == 0 else None
    if func in (F.hardtanh, F.hardtanh_):
        low, high = _argument(args, kwargs, 1, "min_val", -1.0), _argument(args, kwargs, 2, "max_val", 1.0)
    elif func in _CLAMPS or func in _CLAMP_MINS:
        low, high = _argument(args, kwargs, 1, "min", None), _argument(args, kwargs, 2, "max", None)
    else:
        return None
    plain = not isinstance(low, torch.Tensor) and not isinstance(high, torch.Tensor)
    return (0.0, high) if plain and low == 0 and low is not None and (high is None or high > 0) else None


def _argument(args: Any, kwargs: Any, place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _positional_inplace(func: Callable[..., Any], args: Any) -> bool:
    places = {F.relu: 1, F.relu6: 1, F.hardtanh: 3, F.threshold: 3}
    place = places.get(func)
    return place is not None and len(args) > place and bool(args[place])


def _name(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", str(func))
