"""How the activations of a training are seen: by hooks, by one more forward, or not at all."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from fluoroscope.model.activation_watch import ActivationWatch, compiled
from fluoroscope.model.eager_activations import EagerActivations
from fluoroscope.training.recorder.ranks import Ranks
from fluoroscope.training.recorder.requested.aside import several
from fluoroscope.training.recorder.settings import Settings
from fluoroscope.training.recorder.watched import clean_name

__all__ = ["activations_of"]

HIDDEN = "activations are not seen in a compiled network"
REMEDY = "activations='eager' runs it once more, not compiled, every so many steps"
EAGER = "activations are those of one more forward with the same inputs, which is not compiled"


class _Recording(Protocol):
    model: nn.Module
    settings: Settings

    def note(self, text: str) -> None: ...


def activations_of(
    recording: _Recording, network: nn.Module, ranks: Ranks
) -> tuple[ActivationWatch | EagerActivations | None, str]:
    """What watches the activations, and what a reader has to know of it; None and nothing where they are not wanted."""
    model, settings = recording.model, recording.settings
    if not (ranks.writes and settings.activations_every > 0):
        return None, HIDDEN if compiled(model) else ""
    if not compiled(model):
        return ActivationWatch(network, clean=clean_name), ""
    if not settings.eager:
        return None, f"{HIDDEN}; {REMEDY}"
    if ranks.spread or (several() and _waits(network)):
        return None, f"{HIDDEN} that waits for other processes in its forward"
    return EagerActivations(model, network, clean_name, recording.note), EAGER


def _waits(network: Any) -> bool:
    return any(isinstance(m, nn.SyncBatchNorm) for m in network.modules())
