"""Activations of a compiled network, whose hooks are not called: from one more forward that is not compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from fluoroscope.errors import FluoroscopeError
from fluoroscope.model.activation_watch import ActivationWatch
from fluoroscope.model.guard import Guard

__all__ = ["EagerActivations"]


class _Before:
    """Calls ``look(module, args, kwargs)`` before ``own``, the call of a module that ``module.compile()`` compiled in
    place; a hook would be compiled with it.
    """

    def __init__(self, module: nn.Module, own: Callable[..., Any], look: Callable[[nn.Module, Any, Any], None]) -> None:
        self._module, self._own, self._look = module, own, look
        module._compiled_call_impl = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._look(self._module, args, kwargs)
        return self._own(*args, **kwargs)

    def remove(self) -> None:
        """The module's calls are as they were; where it was compiled anew meanwhile, that stays."""
        if self._module._compiled_call_impl is self:
            self._module._compiled_call_impl = self._own


class EagerActivations:
    """Like an :class:`ActivationWatch`: before the next forward of ``outer`` with gradients switched on, ``network``
    (the one inside) runs once more with copies of the same inputs, not compiled, under guard; the training is the same.

    ``failed(text)`` is told once why that was not possible; nothing is looked at from then on.
    """

    def __init__(
        self, outer: nn.Module, network: nn.Module, clean: Callable[[str], str], failed: Callable[[str], None]
    ) -> None:
        self._outer, self._network, self._failed = outer, network, failed
        self._watch = ActivationWatch(network, clean=clean)
        self._handle: RemovableHandle | _Before | None = None
        self._able, self._looking = True, False

    @property
    def armed(self) -> bool:
        """Whether the next forward is looked at, or was."""
        return self._handle is not None

    @property
    def order(self) -> list[str]:
        """Layers in the order in which they began."""
        return self._watch.order

    def table(self) -> tuple[list[str], torch.Tensor]:
        """Names of the layers, and what was seen of them."""
        return self._watch.table()

    def arm(self) -> None:
        """Look before the next forward; what was found before is forgotten."""
        self.disarm()
        self._watch = ActivationWatch(self._network, clean=self._watch.clean)
        if not self._able:
            return
        compiled = self._outer._compiled_call_impl
        if compiled is not None:
            self._handle = _Before(self._outer, compiled, self._look)
        else:
            self._handle = self._outer.register_forward_pre_hook(self._look, with_kwargs=True)

    def disarm(self) -> None:
        """Look no longer."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = None

    def _look(self, _: nn.Module, args: Any, kwargs: Any) -> None:
        if self._watch.order or self._looking or not torch.is_grad_enabled() or not self._able:
            return
        args, kwargs = tree_map(_copied, (args, kwargs))
        self._looking = True
        try:
            with Guard(self._network), torch.compiler.set_stance("force_eager"):
                for parameter in self._network.parameters():
                    parameter.requires_grad_(False)  # nothing is kept for a backward
                self._watch.arm()
                try:
                    self._network(*args, **kwargs)
                finally:
                    self._watch.disarm()
        except (RuntimeError, FluoroscopeError) as error:
            self._able = False
            self._watch.disarm()
            self._failed(f"activations of the compiled network could not be had: {error}".splitlines()[0])
        finally:
            self._looking = False


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
