"""Program: a recorded forward as steps of known reach, batch norms folded, additions and activations joined to
convolutions.

Convolution and what follows it become one step only where the record shows that nothing else reads what lies between.
Steps up to the first ones that need whole maps (flattening, means, dense layers) are local; the rest is the tail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_map

from fluoroscope.model.program.kernels import Convolution, activation_of
from fluoroscope.model.program.operations import Operation, Operations, Ref
from fluoroscope.model.program.reach import Slide
from fluoroscope.model.program.steps import Concatenation, Elementwise, Sliding, Step, Whole
from fluoroscope.model.program.translation import TRANSLATIONS, Unsupported

__all__ = ["Program", "Unsupported", "compiled", "differentiable"]

aten = torch.ops.aten
SAME = {aten.alias.default, aten.detach.default, aten.lift_fresh.default, aten.clone.default}
CUTS = {aten.detach.default, aten.lift_fresh.default}
NORMS = {aten.native_batch_norm.default: 5, aten._native_batch_norm_legit_no_training.default: None}
ELEMENTWISE = {aten.hardswish.default, aten._prelu_kernel.default}
RESHAPES = {aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.squeeze.dim, aten.squeeze.dims} | {
    aten.unsqueeze.default, aten.flatten.using_ints,
}  # fmt: skip
WHOLE = {aten._adaptive_avg_pool2d.default, aten.adaptive_max_pool2d.default, aten.addmm.default, aten.mm.default} | {
    aten.linear.default, aten._softmax.default, aten._log_softmax.default,
}  # fmt: skip
REDUCTIONS = {aten.mean.dim, aten.sum.dim_IntList, aten.amax.default}


@dataclass
class Program:
    """Steps in order: ``local`` ones, and the ``tail``; ``crossing`` are the values that the tail or the user reads
    whole.
    """

    local: list[Step]
    tail: list[Step]
    crossing: list[int]
    outputs: list[int]
    tail_dtype: torch.dtype | None = None
    """Format in which the tail computes, where that is another than the recorded one."""

    def entering(self, values: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Crossing values in the tail's format."""
        return {i: v.to(self.tail_dtype) for i, v in values.items()} if self.tail_dtype is not None else values

    def with_wide_tail(self) -> Program:
        """The same with a tail in float32: it costs little, and the scores keep their digits.

        A tail that does more than work on single values and dense layers stays as it is.
        """
        tail: list[Step] = []
        for step in self.tail:
            if not isinstance(step, (Whole, Elementwise)):
                return self
            tail.append(replace(step, operation=_wide(step.operation)))
        return replace(self, tail=tail, tail_dtype=torch.float32)

    @property
    def cost(self) -> float:
        """Floating-point operations of one whole forward."""
        return sum(step.whole_cost for step in (*self.local, *self.tail))


def compiled(record: Operations, outputs: list[int]) -> Program:
    """The program that computes ``outputs`` of the record.

    Raises:
        Unsupported: something in the record is not understood.
    """
    if record.reason is not None:
        raise Unsupported(record.reason)
    if record.values[0].ndim != 4:
        raise Unsupported("the input is no image (N, C, H, W)")
    return _Compiler(record, outputs).program()


def differentiable(record: Operations, operations: Iterable[Operation]) -> list[Step]:
    """Some of the record's operations as steps on whole values that autograd follows, nothing joined.

    Raises:
        Unsupported: something is not understood, or the network cuts the gradient off there (``detach``).
    """
    compiler, steps = _Compiler(record, []), []
    for operation in operations:
        if operation.function in CUTS:
            raise Unsupported("the network detaches something")
        step = compiler._translated(operation)
        if isinstance(step, Sliding) and step.kernel is not None:
            step.kernel.fused = False
        steps.append(step)
    return steps


class _Compiler:
    def __init__(self, record: Operations, outputs: list[int]) -> None:
        self.record, self.outputs = record, outputs
        self.steps: dict[int, Step] = {}
        self.local: set[int] = {0}
        self.needed = self._alive()
        self.readers = Counter(i for s in self.needed for i in s.inputs) + Counter(outputs)

    def _alive(self) -> list[Operation]:
        wanted, kept = set(self.outputs), []
        for step in reversed(self.record.steps):
            if step.out in wanted:
                wanted.update(step.inputs)
                kept.append(step)
        return kept[::-1]

    def program(self) -> Program:
        for operation in self.needed:
            self._add(operation)
        steps = list(self.steps.values())
        local = [s for s in steps if s.out in self.local]
        tail = [s for s in steps if s.out not in self.local]
        crossing = {i for s in tail for i in s.inputs if i in self.local} | (set(self.outputs) & self.local)
        return Program(local, tail, sorted(crossing), self.outputs)

    def _add(self, operation: Operation) -> None:
        step = self._joined(operation) or self._translated(operation)
        self.steps[step.out] = step
        if not isinstance(step, Whole) and len(step.size) == 3 and self.local.issuperset(step.inputs):
            self.local.add(step.out)

    # ------------------------------------------------------------------ joining

    def _joined(self, operation: Operation) -> Step | None:
        """The convolution before ``operation``, doing its work as well; None where that is not proven to be right."""
        function, inputs = operation.function, operation.inputs
        if function in NORMS and len(inputs) == 1:
            return self._normed(operation)
        if function is aten.add.Tensor and len(inputs) == 2 and inputs[0] != inputs[1] and len(operation.args) == 2:
            if not operation.kwargs and self._size(inputs[0]) == self._size(inputs[1]):
                return self._summed(operation)
            return None
        if len(inputs) == 1 and isinstance(operation.args[0], Ref) and not operation.kwargs:
            activation = activation_of(function, operation.args[1:])
            before = self._open(inputs[0]) if activation else None
            if before is not None and before.kernel is not None:
                before.kernel.activation = activation
                return self._moved(before, operation.out)
        return None

    def _open(self, index: int) -> Sliding | None:
        """The convolution that gives value ``index`` for one reader only and has no activation yet."""
        step = self.steps.get(index)
        if isinstance(step, Sliding) and step.kernel is not None and self.readers[index] == 1:
            return step if step.kernel.activation is None else None
        return None

    def _moved(self, step: Sliding, out: int, added: tuple[int, ...] = ()) -> Sliding:
        del self.steps[step.out]
        self.local.discard(step.out)
        return replace(step, out=out, inputs=(*step.inputs, *added))

    def _normed(self, operation: Operation) -> Step | None:
        scale, shift = _affine(operation)
        before = self._open(operation.inputs[0])
        if before is None or before.kernel is None or len(before.inputs) > 1:
            return None
        kernel = before.kernel.folded(scale, shift)
        return replace(self._moved(before, operation.out), kernel=kernel, apply=kernel)

    def _summed(self, operation: Operation) -> Step | None:
        for index, other in (operation.inputs, operation.inputs[::-1]):
            before = self._open(index)
            if before is not None and len(before.inputs) == 1:
                return self._moved(before, operation.out, (other,))
        return None

    # ------------------------------------------------------------------ translating

    def _size(self, index: int) -> tuple[int, ...]:
        return tuple(self.record.values[index].shape[1:])

    def _translated(self, operation: Operation) -> Step:
        function, inputs, out = operation.function, tuple(operation.inputs), operation.out
        size = self._size(out)
        if any(self.record.values[i].shape[:1] != (1,) for i in (*inputs, out)):
            raise Unsupported(f"{function} does not keep the batch axis")
        if function is aten.convolution.default:
            return self._convolution(operation, size)
        if function in TRANSLATIONS:
            return TRANSLATIONS[function](operation, self._size(inputs[0]), size)
        if function in NORMS:
            scale, shift = (t[:, None, None] if len(size) == 3 else t for t in _affine(operation))
            return Elementwise(inputs, out, size, Operation(lambda x: x * scale + shift, (Ref(inputs[0]),), {}, out))
        if function is aten.cat.default and len(size) == 3 and (operation.args[1:] or (0,))[0] in (1, -3):
            if len(inputs) == len(operation.args[0]):
                return Concatenation(inputs, out, size)
            raise Unsupported("channels of the input and constants are put together")
        if function in SAME:
            return Elementwise(inputs, out, size, Operation(lambda x: x, (Ref(inputs[0]),), {}, out))
        if (torch.Tag.pointwise in function.tags or function in ELEMENTWISE) and self._constants_fit(operation):
            alike = all(self._size(i)[1:] == size[1:] for i in inputs) and len(size) == 3
            return (Elementwise if alike and self._positionless(operation) else Whole)(inputs, out, size, operation)
        if function in RESHAPES and len(inputs) == 1:
            return Whole(inputs, out, size, operation, reshapes=True)
        if (function in WHOLE and self._heads(operation)) or (
            function in REDUCTIONS and _keeps_batch(operation, len(self._size(inputs[0])) + 1)
        ):
            return Whole(inputs, out, size, operation)
        raise Unsupported(f"{function} is not known to work on each example by itself")

    def _heads(self, operation: Operation) -> bool:
        """Whether only the tensor that is worked on depends on the input, and not, say, a weight."""
        position = 1 if operation.function is aten.addmm.default else 0
        return isinstance(operation.args[position], Ref) and len(operation.inputs) == 1

    def _constants_fit(self, operation: Operation) -> bool:
        return all(t.ndim < len(self._size(operation.out)) + 1 or len(t) == 1 for t in _constants(operation))

    def _positionless(self, operation: Operation) -> bool:
        return all(
            t.ndim == 0 or t.numel() == 1 or (t.ndim >= 3 and t.shape[-2:] == (1, 1)) for t in _constants(operation)
        )

    def _convolution(self, operation: Operation, size: tuple[int, ...]) -> Step:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = operation.args
        if isinstance(weight, Ref) or isinstance(bias, Ref) or transposed or weight.ndim != 4:
            raise Unsupported("a convolution that is transposed, not two-dimensional or made from the input")
        kernel = Convolution(weight.detach(), bias.detach() if bias is not None else None, tuple(dilation), groups)
        slides = tuple(map(Slide, weight.shape[2:], stride, padding, dilation))
        return Sliding(
            (x.index,), operation.out, size, (slides[0], slides[1]), kernel, work=2.0 * weight.numel(), kernel=kernel
        )


def _constants(operation: Operation) -> list[torch.Tensor]:
    return [a for a in (*operation.args, *operation.kwargs.values()) if isinstance(a, torch.Tensor)]


def _wide(operation: Operation) -> Operation:
    def wide(leaf: Any) -> Any:
        halved = isinstance(leaf, torch.Tensor) and leaf.dtype in (torch.bfloat16, torch.float16)
        return leaf.float() if halved else leaf

    args, kwargs = tree_map(wide, (operation.args, operation.kwargs))
    return replace(operation, args=args, kwargs=kwargs)


def _affine(operation: Operation) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of a batch norm in eval mode."""
    weight, bias, mean, variance = operation.args[1:5]
    training = NORMS[operation.function]
    if (training is not None and operation.args[training]) or mean is None:
        raise Unsupported("a batch norm that works on the statistics of the batch")
    scale = (variance + operation.args[-1]).rsqrt() * (1 if weight is None else weight)
    return scale, (0 if bias is None else bias) - mean * scale


def _keeps_batch(operation: Operation, rank: int) -> bool:
    axes = operation.args[1] if len(operation.args) > 1 else None
    return bool(axes) and all(a % rank != 0 for a in axes)  # type: ignore[union-attr]
