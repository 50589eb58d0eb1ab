"""FLOPs of ONNX operations by their shapes: 2 x multiply-adds of matrix products, convolutions and recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["flops_of"]

Shapes = Sequence[tuple[int, ...]]
Rule = Callable[[Shapes, Shapes, Mapping[str, Any]], int]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def flops_of(kind: str, inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> int:
    """FLOPs of one operation; 0 for kinds that are not counted and where shapes are not known."""
    rule = RULES.get(kind)
    try:
        return rule(inputs, outputs, attributes) if rule else 0
    except (IndexError, ValueError, TypeError):  # a shape that is not known has no axes
        return 0


def _convolution(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> int:
    """Every output sums over the filter's channels and places."""
    return 2 * math.prod(outputs[0]) * math.prod(inputs[1][1:])


def _transposed(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> int:
    """Every input is spread over the filter's channels and places."""
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _product(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(outputs[0]) * inputs[0][-1]


def _gemm(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(outputs[0]) * inputs[0][0 if attributes.get("transA") else 1]


def _recurrent(kind: str) -> Rule:
    def rule(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> int:
        length, batch, size = inputs[0]
        directions, rows, hidden = inputs[2]
        if rows != GATES[kind] * hidden:
            raise ValueError(rows)
        return 2 * length * batch * directions * rows * (size + hidden)

    return rule


RULES: dict[str, Rule] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": lambda i, o, a: 2 * math.prod(o[0]) * math.prod(i[3][1:]),
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "MatMulInteger": _product,
    "Gemm": _gemm,
    "LSTM": _recurrent("LSTM"),
    "GRU": _recurrent("GRU"),
    "RNN": _recurrent("RNN"),
}
