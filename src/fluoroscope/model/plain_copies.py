"""Copies of a network under watch are plain: ``copy.deepcopy`` and ``torch.save`` take no hooks of ours along.

Hooks stand in the dictionaries of each module, which copying and pickling go through: a copy would have them for ever,
and a file could not be written, or not be read without this package. So while a module is watched, it has a
``__reduce_ex__`` of its own, which is asked what to copy, and which leaves them out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

__all__ = ["PlainCopies"]

NAME = "__reduce_ex__"
HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


class PlainCopies:
    """Stands in ``module`` until :meth:`remove`, and leaves the hooks of the numbers ``hooks`` out of its copies."""

    def __init__(self, module: nn.Module, hooks: Collection[int]) -> None:
        self._module, self._hooks = module, frozenset(hooks)
        self._own = module.__dict__.get(NAME)
        module.__dict__[NAME] = self

    def __call__(self, protocol: Any) -> Any:
        """What makes a copy of the module: that of its class, or its own, less what we put in."""
        made = type(self._module).__reduce_ex__(self._module, protocol) if self._own is None else self._own(protocol)
        if not isinstance(made, tuple) or len(made) < 3 or not isinstance(made[2], dict):
            return made
        state = {name: value for name, value in made[2].items() if name != NAME}
        for name in HOOKS:
            if isinstance(state.get(name), dict):
                kept = type(state[name])()
                kept.update((key, hook) for key, hook in state[name].items() if key not in self._hooks)
                state[name] = kept
        return (*made[:2], state, *made[3:])

    def __deepcopy__(self, memo: dict[int, Any]) -> PlainCopies | None:
        """For a module with a ``__deepcopy__`` of its own, which copies its dictionary as it is: the hooks are copied
        with it, so that they are left out of further copies too.
        """
        copied = memo.get(id(self._module))
        if copied is None:
            return None
        made = PlainCopies.__new__(PlainCopies)
        made._module, made._hooks, made._own = copied, self._all_hooks(), None
        return made

    def _all_hooks(self) -> frozenset[int]:
        return self._hooks | (self._own._all_hooks() if isinstance(self._own, PlainCopies) else frozenset())

    def remove(self) -> None:
        """The module is copied as before. Where another one stands before this, that goes on without it."""
        self._hooks = frozenset()
        if self._module.__dict__.get(NAME) is self:
            del self._module.__dict__[NAME]
            own = self._own
            while isinstance(own, PlainCopies) and not own._hooks:
                own = own._own
            if own is not None:
                self._module.__dict__[NAME] = own
