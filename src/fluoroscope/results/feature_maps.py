"""FeatureMaps: what layers put out for some examples."""

from __future__ import annotations

from typing import ClassVar

from fluoroscope.errors import LayerError
from fluoroscope.results.record import Array, record, value
from fluoroscope.results.result import Result, Samples

__all__ = ["FeatureMaps"]


@record
class FeatureMaps(Result):
    """Outputs of one or more layers, raw, in the order in which the layers ran.

    ``maps`` has an array per layer, shaped by ``axes``: (N, C, H, W) for images, (N, C, T) for series, (N, C, Z, H, W)
    for volumes, (N, L, D) for tokens, (N, D) for dense layers. ``selected`` has, per layer, the channel numbers that
    are kept where a method keeps only some of them.
    """

    kind: ClassVar[str] = "feature-maps"
    maps: dict[str, Array] = value(join="concat")
    axes: dict[str, tuple[str, ...]] = value()
    selected: dict[str, tuple[int, ...]] = value(default_factory=dict)
    samples: Samples = value(default_factory=Samples)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they ran."""
        return tuple(self.maps)

    @property
    def values(self) -> Array:
        """The array of the only layer; with several layers use ``maps[name]``. Raises LayerError then."""
        if len(self.maps) != 1:
            raise LayerError(
                "several layers have no single array", got=f"{len(self.maps)} layers", remedy="use .maps[name]"
            )
        return next(iter(self.maps.values()))
