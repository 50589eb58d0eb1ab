"""Feature ablation: by how much the score falls when a group of input positions is replaced."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fluoroscope import axes as ax
from fluoroscope.methods.base import method, option
from fluoroscope.methods.perturbation.covering import Covering, Shaped
from fluoroscope.methods.perturbation.features import Features, Layout, features_of, groups_of
from fluoroscope.model.program.regions import Groups, Regions
from fluoroscope.results import Array, Attribution

__all__ = ["FeatureAblation"]


@method
class FeatureAblation(Covering):
    r"""Feature ablation: the fall of the target's score when one feature at a time is replaced by the baseline.

    .. math:: M_g = s(x) - s\big(x \odot (1 - m_g) + b \odot m_g\big)

    m_g is 1 at the positions of feature g, b the baseline. Features are the cells of a grid, superpixels, or positions
    with the same number in an array that is given as ``segments``; columns of tables and tokens are features one by
    one unless numbers group them. ``baseline`` and ``score`` are as for :class:`~fluoroscope.Occlusion`.

    Source: leaving one covariate out, as in Lei et al., *Distribution-Free Predictive Inference for Regression*, 2018,
    section 6, here without fitting again; as an attribution for networks Li et al., *Understanding Neural Networks
    through Representation Erasure*, 2016. Effects of features that act only together are not seen: see Shapley values
    for those.

    Cost: as for occlusion; features that lie in a small box take a small part of a forward.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W) (the grid's own resolution, else
    each position has its feature's value, not shared out among positions), (N, T), (N, D) or (N, L); K after N for K
    targets; signed, in units of the score.

    Raises:
        OptionError: segments or a baseline that do not fit the input.
        TargetError: the target does not fit the output.
        NumericalError: NaN in the input or in the score of a changed input.
    """

    name: ClassVar[str] = "feature-ablation"
    title: ClassVar[str] = "Feature ablation"
    source: ClassVar[str] = "Li et al., Understanding Neural Networks through Representation Erasure, 2016"

    segments: Any = option("grid", "features: 'grid', 'superpixels', or an array of numbers shaped like the positions")
    count: int = option(49, "about how many cells or superpixels an image or series is cut into", low=1)

    def regions(self, main: torch.Tensor, place: Layout, start: int) -> list[tuple[Regions, Shaped]]:
        """The features of each example."""
        found = features_of(main, place, self.segments, self.count, start)
        groups = {id(f): Groups.of(f.labels) for f in found}
        return [(groups[id(f)], _painted(f)) for f in found]

    def groups(self, main: torch.Tensor, place: Layout, start: int) -> Array | None:
        """Columns that numbers put together."""
        if place.axes != (ax.D,):  # superpixels of pictures would be looked for once more
            return None
        return groups_of(features_of(main, place, self.segments, self.count, start), place)

    def finished(self, result: Attribution, place: Layout) -> Attribution:
        """What the values are, in words."""
        return result.replace(caption=f"fall of the {self.score} when a feature is replaced")


def _painted(features: Features) -> Shaped:
    def shaped(falls: torch.Tensor) -> torch.Tensor:
        if features.grid is not None:
            return falls.reshape(len(falls), *features.grid)
        return falls[:, features.labels.to(falls.device)]

    return shaped
