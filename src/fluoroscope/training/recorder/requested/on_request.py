"""What a recording measures when it is asked: curvature and gradient noise scale."""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Callable, Iterator
from typing import Any

from fluoroscope.model.activation_watch import ActivationWatch
from fluoroscope.model.eager_activations import EagerActivations
from fluoroscope.training.recorder.requested.beside import Beside
from fluoroscope.training.recorder.requested.curvature import Curvature
from fluoroscope.training.recorder.requested.noise_scale import NoiseScale
from fluoroscope.training.store import RunWriter

__all__ = ["OnRequest"]


class OnRequest:
    """Measurements of a :class:`Recording` that cost forwards and backwards of their own. The training is as before."""

    step: int
    _beside: Beside
    _writer: RunWriter | None
    _activations: ActivationWatch | EagerActivations | None

    def curvature(self, loss: Callable[[], Any]) -> Curvature | None:
        """The largest eigenvalue of the Hessian of the loss that ``loss`` returns, at the weights as they are.

        It is recorded as ``curvature/largest``, beside it as ``curvature/limit`` what the optimizer bears: 2 / lr, with
        momentum b 2 (1 + b) / lr. Of Adam and AdamW ``preconditioned_curvature/largest`` is that of P^-1 H, with the
        limit 38 / lr at b1 = 0.9. ``curvature_residual/…``: ||H v - value v|| / |value|. The trained parameters are
        meant, in the mode in which the network is. By LOBPCG from the last eigenvector, with Hessian-vector products by
        second derivatives, which takes two to three times the time and memory of a gradient each; where these can't
        be had (compiled networks), by differences of gradients, which the result says. Weights, buffers, gradients and
        random generators are bit for bit as before; a loader that the function reads from is not.

        Source: Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484 (Adam); Knyazev 2001 (LOBPCG).

        Returns:
            What was found; None in a process that does not write.

        Raises:
            InputError: the function returns no loss, or calls ``backward()``.
            ModelError: parameters are spread over processes, or there is no way to a second derivative.
        """
        if self._writer is None:
            return None
        with self._unseen():
            found = self._beside.curvature(loss)
        self._writer.scalars(self.step, found.series, clock.time())
        return found

    def noise_scale(self, loss_of: Callable[[Any], Any], batch: Any, parts: int = 4) -> NoiseScale | None:
        """The gradient noise scale tr(Sigma) / |G|^2 in examples: much smaller batches are too noisy, much larger ones
        wasteful. Sigma is the covariance of the gradients of single examples, G the gradient of the true loss.

        ``batch`` (a tensor, or tuples, lists, dicts of them) is split along its first axis into ``parts`` equal parts,
        of each of which ``loss_of(part)`` returns the mean loss; numerator and denominator come without bias from the
        squares of the gradients of parts and whole, and their moving averages over the calls are recorded, as
        ``noise_scale/examples`` with ``noise_scale/standard_error``. It takes the time of a step and
        memory for ``parts`` gradients. With batch norm in training mode the loss is no mean over examples, and the
        number is that of the network as it normalizes.

        Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1.

        Returns:
            What this batch says; None in a process that does not write.

        Raises:
            InputError: the batch can't be split, or ``loss_of`` returns no loss.
            OptionError: fewer than two parts.
            ModelError: parameters are spread over processes.
        """
        if self._writer is None:
            return None
        with self._unseen():
            found, series = self._beside.noise_scale(loss_of, batch, parts)
        if series:
            self._writer.scalars(self.step, series, clock.time())
        return found

    @contextlib.contextmanager
    def _unseen(self) -> Iterator[None]:
        """Forwards and backwards inside are no part of the training."""
        watch = self._activations
        waiting = watch is not None and watch.armed and not watch.order
        if watch is not None and waiting:
            watch.disarm()
        try:
            with self._beside.unseen():
                yield
        finally:
            if watch is not None and waiting:
                watch.arm()
