"""What a source of networks is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from fluoroscope.errors import OptionError, nearest

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """One network to load.

    ``name`` is what follows the scheme of the spec (``resnet18`` of ``timm:resnet18``); ``arguments`` go to whatever
    builds the network; ``trust`` allows sources that run code from the file; ``weights_follow`` says that a file of
    weights is loaded afterwards, so that the source need not fetch any; ``weightless`` asks for the structure alone.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False
    weights_follow: bool = False
    weightless: bool = False

    def building(self) -> AbstractContextManager[None]:
        """Around whatever builds the network: where only its structure is wanted, no weight is made."""
        from fluoroscope.model.graph.skeleton import weightless

        return weightless() if self.weightless else nullcontext()

    def only(self, *known: str) -> dict[str, Any]:
        """The arguments, where the source takes no others than ``known``. Raises OptionError."""
        for name in self.arguments:
            if name not in known:
                raise OptionError(
                    f"{self.name} takes no argument {name!r}",
                    got=name,
                    expected=", ".join(known) or "no arguments",
                    nearest=nearest(name, known),
                )
        return dict(self.arguments)
