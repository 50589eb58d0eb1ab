"""Max-sensitivity: how much a map changes when the input hardly does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import option
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.seeding import generator
from fluoroscope.results import Array
from fluoroscope.trust.check import Check, Measure, check, mean
from fluoroscope.trust.trial import Trial

__all__ = ["MaxSensitivity"]


@check
class MaxSensitivity(Check):
    r"""Max-sensitivity: the greatest relative change of a map under small random changes of the input.

    .. math:: \max_{\|\delta\|_\infty \le r} \frac{\|M(x + \delta) - M(x)\|}{\|M(x)\|}

    estimated over ``samples`` uniform draws. Source: Yeh et al., *On the (In)fidelity and Sensitivity of Explanations*,
    NeurIPS 2019, definition 3.1, divided by the map's own length. ``radius`` is a share of the range of each input.
    Lower is steadier; a map of zeros has no number. Cost: each method runs ``samples`` more times.

    Raises:
        NotApplicable: the input is whole numbers, which can't be changed a little.
    """

    title: ClassVar[str] = "Max-sensitivity"
    source: ClassVar[str] = "Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, def. 3.1"
    not_claimed: ClassVar[str] = "A steady map is not a true one: a map that never changes is the steadiest of all."

    radius: float = option(0.02, "greatest change of a value, as a share of the input's range", low=0)
    samples: int = option(10, "random changes per example", low=1)

    def measures(self, trial: Trial) -> list[Measure]:
        """One column: the greatest relative change, per example."""
        if not trial.inputs.main.is_floating_point():
            raise NotApplicable("whole numbers can't be changed a little", got=str(trial.inputs.main.dtype))
        most = {row: np.full(trial.inputs.count, np.nan) for row in trial.maps}
        for number in range(self.samples):
            changed = self._changed(trial.inputs, number)
            for row, found in trial.maps.items():
                after = trial.explained(row, trial.subject, changed)
                most[row] = np.fmax(most[row], _change(found.data, after.data))
        return [Measure("greatest relative change", most, "", "low")]

    def _changed(self, inputs: Inputs, number: int) -> Inputs:
        main = inputs.main
        flat = main.flatten(1)
        reach = (flat.amax(1) - flat.amin(1)) * self.radius
        drawn = [
            torch.rand(main.shape[1:], generator=generator(self.seed, n * 10_007 + number)) for n in range(len(main))
        ]
        return inputs.with_main(
            main + (2 * torch.stack(drawn).to(main) - 1) * reach.reshape(-1, *[1] * (main.ndim - 1))
        )

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """How much of the map a change of that size can turn around."""
        most = mean(found[0].values[row])
        if not np.isfinite(most):
            return "can't be told: its maps are empty"
        steady = "steady" if most < 0.5 else "unsteady"
        draws = f"the greatest of {self.samples} draws, mean over inputs"
        return f"{steady}: a change of {self.radius:.0%} of the input's range changes the map by {most:.0%} ({draws})"


def _change(before: Array, after: Array) -> Array:
    a, b = (np.nan_to_num(m.astype(np.float64)).reshape(len(m), -1) for m in (before, after))
    length = np.linalg.norm(a, axis=1)
    moved = np.linalg.norm(b - a, axis=1)
    return np.asarray(np.divide(moved, length, out=np.full(len(a), np.nan), where=length > 0))
