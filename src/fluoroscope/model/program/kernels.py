"""Convolution with what follows it (batch norm folded in, addition, activation) in one pass over memory.

On a CPU in single precision or bfloat16 the weights are put into the layout of oneDNN once, and addition and activation
ride on the convolution; the values are those of the separate calls up to rounding. Elsewhere the separate calls are
made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)

__all__ = ["Activation", "Convolution", "activation_of"]

aten = torch.ops.aten
Pair = tuple[int, int]
SHAPES = 64
"""Shapes of inputs for which a convolution remembers its layout."""
ONEDNN = ("_convolution_pointwise", "_reorder_convolution_weight", "_get_mkldnn_serialized_md")
FORMATS = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Activation:
    """A function of single numbers, with the name and the numbers by which oneDNN knows it."""

    function: Any
    arguments: tuple[Any, ...]
    name: str
    scalars: tuple[float, ...] = ()


def activation_of(function: Any, arguments: tuple[Any, ...]) -> Activation | None:
    """The activation that can ride on a convolution; ``arguments`` are those after the tensor. None for all others."""
    if function is aten.relu.default:
        return Activation(function, (), "relu")
    if function is aten.hardtanh.default:
        low, high = [*arguments, -1.0, 1.0][:2] if len(arguments) != 1 else (arguments[0], 1.0)
        return Activation(function, (low, high), "hardtanh", (low, high))
    if function is aten.silu.default:
        return Activation(function, (), "swish")
    return None


class Convolution:
    """``activation(conv(x) + addend)``, with a padding given at each call."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dilation: Pair, groups: int) -> None:
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias, self.dilation, self.groups = bias, dilation, groups
        self.activation: Activation | None = None
        self._packed: dict[tuple[Pair, torch.Size], torch.Tensor] = {}
        self._layouts: dict[bytes, torch.Tensor] = {}
        self._turned: Convolution | None = None
        self._bare: Convolution | None = None
        self.fused = weight.device.type == "cpu" and weight.dtype in FORMATS and _onednn()

    def folded(self, scale: torch.Tensor, shift: torch.Tensor) -> Convolution:
        """The convolution followed by ``x * scale + shift`` per channel."""
        bias = shift if self.bias is None else self.bias * scale + shift
        return Convolution(self.weight * scale[:, None, None, None], bias, self.dilation, self.groups)

    def __call__(
        self, x: torch.Tensor, padding: Pair, stride: Pair, addend: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, C', P, Q) of (B, C, P, Q); ``addend`` has the shape of the result."""
        if self.fused:
            try:
                return self._fused(x, padding, stride, addend)
            except (RuntimeError, NotImplementedError) as error:
                if "memory" in str(error):
                    raise
                self.fused = (
                    False  # this build of torch lacks it, or it lacks this shape: the separate calls do the same
                )
        y = F.conv2d(x, self.weight, self.bias, stride, padding, self.dilation, self.groups)
        y = y if addend is None else y + addend
        return y if self.activation is None else self.activation.function(y, *self.activation.arguments)

    def bare(self) -> Convolution:
        """The same without the activation."""
        if self._bare is None:
            self._bare = Convolution(self.weight, self.bias, self.dilation, self.groups)
        return self._bare

    def slope(self, gradient: torch.Tensor, shape: torch.Size, padding: Pair, stride: Pair) -> torch.Tensor:
        """The gradient with respect to ``x`` of ``shape``, from that with respect to the sum before the activation.

        With a stride of 1 this is a convolution itself, with the weights turned round.
        """
        kernel = self.weight.shape[2:]
        around = tuple(d * (k - 1) - p for d, k, p in zip(self.dilation, kernel, padding, strict=True))
        if stride == (1, 1) and min(around) >= 0 and self.fused:
            self._turned = self._turned or Convolution(
                _turned(self.weight, self.groups), None, self.dilation, self.groups
            )
            return self._turned(gradient, (around[0], around[1]), (1, 1))
        blank = gradient.new_empty(shape).contiguous(memory_format=torch.channels_last)  # only its shape is read
        found: torch.Tensor = aten.convolution_backward(
            gradient, blank, self.weight, None, stride, padding, self.dilation, False, (0, 0), self.groups,
            (True, False, False),
        )[0]  # fmt: skip
        return found

    def _fused(self, x: torch.Tensor, padding: Pair, stride: Pair, addend: torch.Tensor | None) -> torch.Tensor:
        ops: Any = torch.ops.mkldnn
        name, scalars = (self.activation.name, list(self.activation.scalars)) if self.activation else (None, [])
        common = self.bias, list(padding), list(stride), list(self.dilation), self.groups
        weight = self._weight(x, padding, stride)
        if addend is None:
            return ops._convolution_pointwise(x, weight, *common, name or "none", scalars, "")  # type: ignore[no-any-return]
        return ops._convolution_pointwise.binary(x, addend, weight, *common, "add", 1.0, name, scalars, "")  # type: ignore[no-any-return]

    def _weight(self, x: torch.Tensor, padding: Pair, stride: Pair) -> torch.Tensor:
        """The weights in the layout that oneDNN wants for an input of this shape. In another one it would take them
        too, and turn them into its own at every call.
        """
        found = self._packed.get((stride, x.shape))
        if found is None:
            found = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, list(padding), list(stride), list(self.dilation), self.groups, list(x.shape)
            )
            if len(self._packed) >= SHAPES:
                self._packed.clear()
                self._layouts.clear()
            found = self._layouts.setdefault(_layout(found), found)
            self._packed[stride, x.shape] = found
        return found


def _layout(packed: torch.Tensor) -> bytes:
    """What tells a layout of oneDNN from others; shapes that want the same one share the weights."""
    described: bytes = torch.ops.mkldnn._get_mkldnn_serialized_md(packed).numpy().tobytes()
    return described


def _turned(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Weights (O, I / groups, P, Q) as those (I, O / groups, P, Q) of the convolution that carries gradients back."""
    outputs, inputs, *kernel = weight.shape
    parts = weight.flip(2, 3).reshape(groups, outputs // groups, inputs, *kernel)
    return parts.transpose(1, 2).reshape(groups * inputs, outputs // groups, *kernel)


def _onednn() -> bool:
    """Whether torch was built with oneDNN and its joined operations."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in ONEDNN)
