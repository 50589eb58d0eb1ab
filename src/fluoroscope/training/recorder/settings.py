"""What a recorder looks at, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fluoroscope.errors import OptionError

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of :func:`fluoroscope.record`, checked.

    Raises:
        OptionError: a value that is not accepted.
    """

    every: int = 1
    exact_every: int = 100
    activations_every: int = 10
    sample: int = 512
    updates: Literal["auto", "exact", "sampled"] = "auto"
    histograms: bool = True
    memory_every: int = 20
    eager: bool = False
    curvature_every: int = 100
    noise_scale_every: int = 0
    alignment: Literal["off", "sampled", "exact"] = "off"

    def __post_init__(self) -> None:
        least = {"every": 1, "exact_every": 0, "activations_every": 0, "sample": 16}
        for name, low in {**least, "curvature_every": 1, "noise_scale_every": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise OptionError(f"fs.record: option {name!r} is out of range", got=value, expected=f"at least {low}")
        if self.sample > 65535:
            raise OptionError("fs.record: option 'sample' is out of range", got=self.sample, expected="16 to 65535")
        if self.updates not in ("auto", "exact", "sampled"):
            raise OptionError(
                "fs.record: option 'updates' has no such choice", got=self.updates, expected="auto, exact or sampled"
            )

        if self.alignment not in ("off", "sampled", "exact"):
            raise OptionError(
                "fs.record: option 'alignment' has no such choice", got=self.alignment, expected="off, sampled or exact"
            )
        if self.alignment != "off" and self.every != 1:
            raise OptionError(
                "fs.record: 'alignment' compares a step with the one before it", got=f"every={self.every}", expected="1"
            )

    def due(self, period: int, step: int) -> bool:
        """Whether something done every ``period`` steps, the first one among them, is done at ``step`` (from 1)."""
        return period > 0 and (step - 1) % period == 0
