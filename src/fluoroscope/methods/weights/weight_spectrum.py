"""Weight spectra: singular values of every weight matrix, beside those of noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import method, option
from fluoroscope.methods.weights.experts import expert_of, fused_layer, grids
from fluoroscope.methods.weights.looking import WeightMethod
from fluoroscope.methods.weights.noise_edge import noise_edges, noise_values
from fluoroscope.methods.weights.power_law import tail_exponent
from fluoroscope.methods.weights.singular_values import SingularValues, all_values, largest_values
from fluoroscope.methods.weights.unfolding import Unfolding
from fluoroscope.model.weights import PartWeight, Weight
from fluoroscope.results import Spectra, Spectrum

__all__ = ["WeightSpectrum"]

TURNED = 1 << 24  # entries of one output, beyond which a tensor is not turned to its inputs


@method
class WeightSpectrum(WeightMethod):
    """Weight spectra: singular values of every weight matrix, with ranks, and what noise of its size would have.

    ``WeightSpectrum()(network)``, or with the path of a file of weights, which is read piece by piece.

    Matrices whose smaller side is at most ``exact`` get all singular values, in double precision. Of larger ones the
    ``count`` largest are found by a seeded randomized method (block Krylov; Musco and Musco, 2015; Halko et al., 2011);
    ``errors`` bounds each: some singular value of the matrix lies within it, and the true i-th value is not
    smaller. A convolution is unfolded as outputs x (inputs x kernel), or with ``unfold="input"`` as inputs x (outputs
    x kernel); ``unfolding`` says it. A tensor of all experts of a layer counts as a matrix for each expert.

    With s_i the singular values: spectral norm s_1; stable rank sum(s_i^2) / s_1^2; effective rank
    exp(-sum(p_i log p_i)) with p = s / sum(s) (Roy and Vetterli, 2007); condition s_1 / s_min (infinite where
    s_min is below the rounding error); ``alpha``, the exponent
    of a power law fitted to the tail of s^2 (Martin and Mahoney, 2021). The reference is Marchenko and Pastur's: the
    same size, independent entries of the same root mean square; ``above_edge`` counts values beyond its upper edge.
    What needs all singular values is NaN where only the largest are known.

    Returns a :class:`~fluoroscope.results.Spectra`; singular values in the units of the weights.

    Raises:
        NotApplicable: the network has no weight matrices, or they have no values.
        OptionError: no tensor's name fits ``match``.
        ModelError: a file is truncated, corrupt, or promises what it does not hold.
    """

    name: ClassVar[str] = "spectrum"
    title: ClassVar[str] = "Spectra of the weights"
    family: ClassVar[str] = "weights"
    phase: ClassVar[Any] = "before"
    returns: ClassVar[type[Spectra]] = Spectra
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False
    source: ClassVar[str] = "Martin and Mahoney, JMLR 2021; Halko et al., 2011"

    match: str = option("*", "which tensors, as a pattern of names: 'layer1.*', '*.weight'")
    exact: int = option(1024, "smaller side of a matrix up to which all singular values are computed", low=1)
    count: int = option(64, "singular values of larger matrices", low=1, high=4096)
    unfold: Literal["output", "input"] = option(
        "output", "which axis of a convolution stays", choices=("output", "input")
    )

    def look(self, weights: Sequence[Weight], note: Callable[[str], None], advance: Callable[[], None]) -> Spectra:
        """One matrix after the other."""
        found: list[Spectrum] = []
        for weight in weights:
            for part in _matrices(weight):
                made = self._spectrum(part, note)
                found += [made] if made is not None else []
            advance()
        if not found:
            raise NotApplicable("there is no spectrum: none of the chosen tensors is a matrix of finite values")
        return Spectra(
            title=self.title,
            caption=f"{len(found):,} {'matrix' if len(found) == 1 else 'matrices'}, "
            f"{sum(s.exact for s in found):,} with all singular values",
            spectra=tuple(found),
            grids=grids(cell for s in found for cell in _cells(s)),
        )

    def _spectrum(self, weight: Weight, note: Callable[[str], None]) -> Spectrum | None:
        turned = self.unfold == "input" and len(weight.shape) > 2 and weight.columns <= TURNED
        matrix = Unfolding(weight, "input" if turned else "output")
        squares, lost = matrix.sums()
        if min(matrix.shape) < 2 or not weight.size:
            return None
        if lost:
            note(f"{weight.name} holds {lost:,} values NaN or infinite and has no spectrum")
            return None
        exact = min(matrix.shape) <= self.exact
        values = all_values(matrix) if exact else largest_values(matrix, self.count, self.seed)
        spread = (squares / weight.size) ** 0.5
        return Spectrum(
            name=weight.name,
            shape=weight.shape,
            dtype=weight.dtype,
            role=weight.role,
            shared_with=weight.shared_with,
            unfolding=matrix.text,
            matrix=matrix.shape,
            values=values.values,
            errors=values.errors,
            exact=values.exact,
            reference=noise_values(*matrix.shape, spread, len(values.values)),
            statistics=_statistics(values, matrix.shape, squares, spread),
        )


def _matrices(weight: Weight) -> Iterator[Weight]:
    """The tensor itself where it is a matrix or a convolution, or each expert of a layer."""
    if len(weight.shape) == 3 and fused_layer(weight.name) is not None:
        yield from (PartWeight.of(weight, e) for e in range(weight.shape[0]))
    elif len(weight.shape) > 1:
        yield weight


def _statistics(found: SingularValues, shape: tuple[int, int], squares: float, spread: float) -> dict[str, float]:
    values, nan = found.values, float("nan")
    largest = float(values[0])
    edge = noise_edges(*shape, spread)[1]
    whole = found.exact and largest > 0
    return {
        "spectral_norm": largest,
        "frobenius": squares**0.5,
        "stable_rank": squares / largest**2 if largest > 0 else nan,
        "effective_rank": _effective_rank(values) if whole else nan,
        "condition": (largest / float(values[-1]) if values[-1] > found.errors[-1] else float("inf")) if whole else nan,
        "noise_edge": edge,
        "above_edge": float((values > edge).sum()),
        "alpha": tail_exponent(np.square(values)) if whole else nan,
    }


def _effective_rank(values: Any) -> float:
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _cells(spectrum: Spectrum) -> Iterator[tuple[str, int, int, dict[str, float]]]:
    numbers = {"spectral norm": spectrum.statistics["spectral_norm"], "stable rank": spectrum.statistics["stable_rank"]}
    place = expert_of(spectrum.name)
    if place is not None:
        yield place.pattern, place.layer, place.expert, numbers
    fused = fused_layer(spectrum.name.rpartition("[")[0]) if spectrum.name.endswith("]") else None
    if fused is not None:
        yield fused[0], fused[1], int(spectrum.name.rpartition("[")[2][:-1]), numbers
