"""Products of the Hessian of a loss with vectors: by differentiating twice, or by differences of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import InputError, ModelError
from fluoroscope.model.guard import RandomState
from fluoroscope.training.recorder.requested.aside import loss_of_closure

__all__ = ["Differences", "Flat", "TwiceDifferentiated", "agree", "unable"]

WHAT = "the curvature"
_UNABLE = (
    "is not implemented",
    "double backward",
    "differentiate twice",
    "twice a function",
    "cannot be differentiated",
    "requires create_graph=False",
)


def unable(error: BaseException) -> bool:
    """Whether an error says that a second derivative can't be had of this network."""
    text = str(error)
    return isinstance(error, RuntimeError | NotImplementedError) and any(words in text for words in _UNABLE)


class Flat:
    """Parameters as one vector (P,) of float32 (float64 where they are that), on the device of the first."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.sizes = [p.numel() for p in self.parameters]
        double = any(p.dtype == torch.float64 for p in self.parameters)
        self.dtype = torch.float64 if double else torch.float32
        self.device = self.parameters[0].device

    def vector(self, parts: Sequence[torch.Tensor | float]) -> torch.Tensor:
        """One vector out of a tensor (or a number, for all entries) for each parameter."""
        found = [
            p.detach().reshape(-1).to(self.device, self.dtype)
            if isinstance(p, torch.Tensor)
            else torch.full((n,), p, dtype=self.dtype, device=self.device)
            for p, n in zip(parts, self.sizes, strict=True)
        ]
        return torch.cat(found)

    def parts(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """The vector as tensors like the parameters."""
        return [
            v.view(p.shape).to(p.device, p.dtype)
            for v, p in zip(torch.split(vector, self.sizes), self.parameters, strict=True)
        ]


class TwiceDifferentiated:
    """One forward and one gradient whose graph is kept: each product costs one more backward through it."""

    how = "second derivatives"

    def __init__(self, closure: Callable[[], Any], flat: Flat) -> None:
        self.flat = flat
        loss = loss_of_closure(closure, WHAT)
        self.loss = float(loss.detach())
        self._grads = _gradients(loss, flat.parameters, create_graph=True)

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """H v (P,)."""
        pairs = [(g, v) for g, v in zip(self._grads, self.flat.parts(vector), strict=True) if g.requires_grad]
        if not pairs:  # the loss is linear in the parameters
            return torch.zeros_like(vector)
        found = torch.autograd.grad(
            [g for g, _ in pairs],
            self.flat.parameters,
            [v for _, v in pairs],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return self.flat.vector(found)

    def close(self) -> None:
        """Let go of the graph."""
        self._grads = []


class Differences:
    """H v from the gradients a little before and behind: (g(w + e v) - g(w - e v)) / 2 e, two gradients a product.

    Weights are moved in place and put back bit for bit; the loss must be the same each time it is asked for.
    """

    how = "differences of gradients"

    def __init__(self, closure: Callable[[], Any], flat: Flat, buffers: Sequence[torch.Tensor]) -> None:
        narrow = {p.dtype for p in flat.parameters} - {torch.float32, torch.float64}
        if narrow:
            raise ModelError(
                f"{WHAT} can't be had: this network has no second derivatives, and its weights are too coarse for "
                "differences of gradients",
                got=str(next(iter(narrow))),
                expected="weights in float32, or operations that can be differentiated twice",
            )
        self.flat, self._closure = flat, closure
        self._random, self._buffers = RandomState(), [(b, b.clone()) for b in buffers]
        self._own = [p.detach().clone() for p in flat.parameters]
        size = float(torch.linalg.vector_norm(flat.vector(flat.parameters)))
        self._step = torch.finfo(flat.dtype).eps ** (1 / 3) * 0.1 * (1 + size)
        first, second = self._gradient()[0], self._gradient()[0]
        if not (first == second or math.isclose(first, second, rel_tol=1e-5) or first != first):
            raise InputError(
                f"{WHAT} by differences of gradients needs a function that gives the same loss each time",
                got=f"{first} and {second}",
                remedy="keep one batch for it: curvature=lambda: loss_of(model(x), y)",
            )
        self.loss = first

    def _gradient(self) -> tuple[float, torch.Tensor]:
        self._random.restore()
        with torch.no_grad():
            for buffer, value in self._buffers:
                buffer.data.copy_(value)  # .data: a backward may wait for the count of changes
        loss = loss_of_closure(self._closure, WHAT)
        return float(loss.detach()), self.flat.vector(_gradients(loss, self.flat.parameters))

    def __call__(self, vector: torch.Tensor, times: float = 1.0) -> torch.Tensor:
        """H v (P,), from a step ``times`` as long as usual."""
        step = times * self._step / float(torch.linalg.vector_norm(vector))
        try:
            sides = []
            for signed in (step, -step):
                for p, own, v in zip(self.flat.parameters, self._own, self.flat.parts(vector), strict=True):
                    p.data.copy_(own).add_(v, alpha=signed)
                sides.append(self._gradient()[1])
        finally:
            for p, own in zip(self.flat.parameters, self._own, strict=True):
                p.data.copy_(own)
        found: torch.Tensor = (sides[0] - sides[1]) / (2 * step)
        return found

    def close(self) -> None:
        """Let go of the copies."""
        self._own, self._buffers = [], []


def agree(twice: TwiceDifferentiated, differences: Differences, vector: torch.Tensor) -> bool:
    """Whether both products with ``vector`` are the same, as far as differences of two lengths agree among themselves.

    An operation of the user's own may give a first derivative that is right and a second one that is zero or wrong,
    without a word.
    """
    first, second, third = twice(vector), differences(vector), differences(vector, 2.0)
    size = float(torch.maximum(torch.linalg.vector_norm(first), torch.linalg.vector_norm(second)))
    noise = float(torch.linalg.vector_norm(second - third))
    return not float(torch.linalg.vector_norm(first - second)) > 0.1 * size + 3 * noise


def _gradients(loss: torch.Tensor, parameters: Sequence[nn.Parameter], create_graph: bool = False) -> list[Any]:
    try:
        return list(
            torch.autograd.grad(loss, parameters, create_graph=create_graph, allow_unused=True, materialize_grads=True)
        )
    except RuntimeError as error:
        if "use_reentrant" in str(error) or "not compatible with .grad()" in str(error):
            raise ModelError(
                "gradients beside the training can't be had of a network with reentrant checkpoints",
                remedy="torch.utils.checkpoint.checkpoint(..., use_reentrant=False)",
            ) from error
        if "second time" in str(error):
            raise InputError(
                f"{WHAT} needs a loss whose graph is still there",
                remedy="leave out backward() in the function: it only returns the loss",
            ) from error
        raise
