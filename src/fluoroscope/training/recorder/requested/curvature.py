"""The largest curvature of the loss: measured beside the training, held against what the learning rate bears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError, InputError
from fluoroscope.training.recorder.requested.aside import aside, refuse, trained
from fluoroscope.training.recorder.requested.eigenvalue import Eigenpair, largest_eigenvalue
from fluoroscope.training.recorder.requested.hessian import WHAT, Differences, Flat, TwiceDifferentiated, agree, unable
from fluoroscope.training.recorder.requested.stability import Stability, stability

__all__ = ["Curvature", "CurvatureMeter"]

RESTART = 10
"""Measurements after which the search begins anew: a warm start may stay beside an eigenvalue that has overtaken."""
UNCHECKED = ", not checked"
STRAY = 0.1
"""How much chance is mixed into a warm start."""


@dataclass(frozen=True)
class Curvature:
    """The largest eigenvalue of the Hessian of a loss at the weights as they are.

    ``value``: a Rayleigh quotient, never above the true one but for rounding; ``residual``: ||H v - value v|| over
    |value|; ``limit``: what the optimizer bears, 2 (1 + momentum) / lr, None where one number can't say it.
    ``preconditioned``, ``preconditioned_residual``, ``preconditioned_limit``: the same of P^-1 H, of Adam and of
    learning rates that differ; None elsewhere. ``loss``: that of the function; ``products``: of the Hessian with
    vectors; ``how``: by second derivatives or by differences of gradients.
    """

    value: float
    residual: float
    limit: float | None
    preconditioned: float | None
    preconditioned_residual: float | None
    preconditioned_limit: float | None
    loss: float
    products: int
    how: str

    @property
    def series(self) -> dict[str, float]:
        """By the names under which it is recorded."""
        found = {
            "curvature/largest": self.value,
            "curvature/limit": self.limit,
            "curvature_residual/plain": self.residual,
            "preconditioned_curvature/largest": self.preconditioned,
            "preconditioned_curvature/limit": self.preconditioned_limit,
            "curvature_residual/preconditioned": self.preconditioned_residual,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class CurvatureMeter:
    """Measures; remembers the last eigenvectors, from which the next search starts."""

    model: nn.Module
    optimizers: Sequence[Any]
    iterations: int = 20
    tolerance: float = 0.01
    _last: dict[str, torch.Tensor] = field(default_factory=dict)
    _count: int = 0
    _differences: bool = False
    _agrees: bool | str | None = None

    def __call__(self, closure: Callable[[], Any]) -> Curvature:
        """Measure the curvature of the loss that ``closure`` returns. Network and random generators are as before.

        Raises:
            InputError: the function returns no loss; nothing is trained.
            ModelError: parameters are spread over processes, or no second derivative can be had.
        """
        parameters = trained(self.model, self.optimizers)
        if not parameters:
            raise InputError(f"{WHAT} is that of the parameters that are trained", got="none")
        refuse(WHAT, self.model, parameters)
        flat, bears = Flat(parameters), stability(self.optimizers, parameters)
        if not self._differences:
            try:
                with aside(self.model, parameters):
                    product = TwiceDifferentiated(closure, flat)
                    if self._agrees is None:
                        self._agrees = self._checked(closure, product, flat)
                    if self._agrees is not False:
                        return self._measured(product, flat, bears)
            except (RuntimeError, NotImplementedError) as error:
                if not unable(error):
                    raise
            self._differences = True
        with aside(self.model, parameters):
            return self._measured(Differences(closure, flat, list(self.model.buffers())), flat, bears)

    def _checked(self, closure: Callable[[], Any], product: TwiceDifferentiated, flat: Flat) -> bool | str:
        """Whether second derivatives are what differences of gradients say; a word where that can't be told."""
        start = torch.randn(sum(flat.sizes), generator=torch.Generator().manual_seed(0), dtype=flat.dtype)
        try:
            differences = Differences(closure, flat, list(self.model.buffers()))
        except FluoroscopeError:
            return UNCHECKED
        with torch.no_grad():
            vector = largest_eigenvalue(_outside(product), start.to(flat.device), 2).vector
        try:
            return agree(product, differences, vector + start.to(flat.device) / torch.linalg.vector_norm(start))
        finally:
            differences.close()

    def _measured(self, product: TwiceDifferentiated | Differences, flat: Flat, bears: Stability) -> Curvature:
        try:
            plain = self._search("plain", product, flat)
            scaled = None
            if bears.scales is not None:
                root = flat.vector(bears.scales).sqrt_()
                scaled = self._search("scaled", lambda v: root * product(root * v), flat)
        finally:
            product.close()
        self._count += 1
        return Curvature(
            value=plain.value,
            residual=plain.residual,
            limit=bears.limit,
            preconditioned=scaled.value if scaled else None,
            preconditioned_residual=scaled.residual if scaled else None,
            preconditioned_limit=bears.scaled_limit if scaled else None,
            loss=product.loss,
            products=plain.products + (scaled.products if scaled else 0),
            how=product.how + (UNCHECKED if self._agrees == UNCHECKED else ""),
        )

    def _search(self, kind: str, multiply: Callable[[torch.Tensor], torch.Tensor], flat: Flat) -> Eigenpair:
        generator = torch.Generator().manual_seed(self._count)
        chance = torch.randn(sum(flat.sizes), generator=generator, dtype=flat.dtype).to(flat.device)
        last = self._last.get(kind)
        warm = last is not None and last.shape == chance.shape and last.device == chance.device
        if warm and last is not None and self._count % RESTART:
            chance = last + STRAY / torch.linalg.vector_norm(chance) * chance
        with torch.no_grad():
            found = largest_eigenvalue(_outside(multiply), chance, self.iterations, self.tolerance)
        if bool(torch.isfinite(found.vector).all()) and found.value == found.value:
            self._last[kind] = found.vector
        else:
            self._last.pop(kind, None)
        return found


def _outside(multiply: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The product with gradients switched on, inside of a search that needs none."""

    def product(vector: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            return multiply(vector).detach()

    return product
