"""What the record says about a run besides its numbers, whatever the user called it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluoroscope.training.diagnosis.evidence import Facts

__all__ = ["facts_of"]

CLASSES = ("classes", "num_classes", "n_classes", "nclasses", "num_labels", "n_labels", "vocab_size")
SEQUENCES = (list, tuple, set, frozenset)
EPOCH = ("steps_per_epoch", "iterations_per_epoch", "batches_per_epoch", "epoch_steps")


def facts_of(meta: Mapping[str, Any]) -> Facts:
    """Facts out of a run's provenance and its configuration, ``meta["config"]``; what is not understood is left out."""
    config = meta.get("config")
    flat = dict(_flat(config)) if isinstance(config, Mapping) else {}
    frozen = meta.get("frozen")
    optimizer = meta.get("optimizer", flat.get("optimizer"))
    momentum = meta.get("momentum", flat.get("momentum", 0.0))
    return Facts(
        classes=_count(flat, CLASSES, 2),
        steps_per_epoch=_count(flat, EPOCH, 1),
        optimizer=str(optimizer) if isinstance(optimizer, str) else None,
        frozen=_names(frozen) if isinstance(frozen, SEQUENCES) else None,
        outside=_names(meta.get("outside")),
        modules=_names(meta.get("modules")),
        momentum=float(momentum) if isinstance(momentum, (int, float)) and 0 <= momentum < 1 else 0.0,
    )


def _names(found: Any) -> frozenset[str]:
    return frozenset(map(str, found)) if isinstance(found, SEQUENCES) else frozenset()


def _flat(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Entries by the last part of their names, the outer ones last so that they win."""
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            found = _flat(value) + found
        else:
            found.append((str(key).rsplit("/", 1)[-1].rsplit(".", 1)[-1].lower(), value))
    return found


def _count(flat: Mapping[str, Any], names: tuple[str, ...], least: int) -> int | None:
    for name in names:
        value = flat.get(name)
        if isinstance(value, (list, tuple)) and name == "classes":
            value = len(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and value >= least:
            return int(value)
    return None
