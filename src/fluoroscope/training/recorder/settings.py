"""What a recorder looks at, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fluoroscope.errors import OptionError
from fluoroscope.options import check_options, option

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of :func:`fluoroscope.record`, checked.

    Raises:
        OptionError: a value that is not accepted.
    """

    title: ClassVar[str] = "fs.record"

    every: int = option(1, "steps from one look at tensors to the next", low=1)
    exact_every: int = option(100, "steps from one exact statistic to the next, 0 for never", low=0)
    activations_every: int = option(10, "steps from one look at activations to the next", low=0)
    sample: int = option(512, "entries looked at in each tensor", low=16, high=65535)
    updates: str = option("auto", "how norms of updates are had", choices=("auto", "exact", "sampled"))
    histograms: bool = option(True, "whether histograms are kept")
    memory_every: int = option(20, "steps from one look at memory to the next", low=1)
    eager: bool = option(False, "whether a compiled network runs once more, not compiled")
    curvature_every: int = option(100, "steps from one curvature to the next", low=1)
    noise_scale_every: int = option(0, "steps from one noise scale to the next, 0 for never", low=0)
    alignment: str = option("off", "cosines of a step and the last one", choices=("off", "sampled", "exact"))

    def __post_init__(self) -> None:
        check_options(self)
        if self.alignment != "off" and self.every != 1:
            raise OptionError(
                "fs.record: 'alignment' compares a step with the one before it", got=f"every={self.every}", expected="1"
            )

    def due(self, period: int, step: int) -> bool:
        """Whether something done every ``period`` steps, the first one among them, is done at ``step`` (from 1)."""
        return period > 0 and (step - 1) % period == 0
