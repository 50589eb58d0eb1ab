"""What verdicts say where maps are empty, the score does not change, or only some inputs have a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.trust.check import Measure
from fluoroscope.trust.similarity import overlap
from fluoroscope.trust.standing import standing
from fluoroscope.trust.trial import Trial


def deaf() -> nn.Module:
    """A network whose score hangs on nothing."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    nn.init.zeros_(made[4].weight)
    return made


METHODS = [fs.Saliency(), fs.InputXGradient()]
SAID = {
    "Sensitivity-n": "no answer (its values or the score do not vary)",
    "Infidelity": "no answer (its values or the score do not vary)",
    "Max-sensitivity": "can't be told: its maps are empty",
    "Agreement between methods": "can't be told: constant maps have no order",
    "Randomization": "can't be told: its maps are empty",
}


@pytest.mark.parametrize(
    "check",
    [
        fs.SensitivityN(), fs.Infidelity(), fs.MaxSensitivity(samples=2), fs.Agreement(), fs.Agreement(by="overlap"),
        fs.Randomization(shares=(1.0,)),
    ],
    ids=lambda c: c.title,
)  # fmt: skip
def test_empty_maps_get_no_praise(check: fs.SensitivityN) -> None:
    """Neither steady, nor alike, nor of one input; and no number that is not one."""
    card = check(METHODS, deaf(), torch.rand(3, 3, 16, 16))
    assert card.verdicts[:2] == (SAID[check.title],) * 2


def test_the_number_of_inputs_is_of_those_that_were_compared() -> None:
    trial = Trial.of(METHODS, deaf(), torch.rand(4, 3, 8, 8), None, "predicted")
    row = next(iter(trial.maps))
    control = trial.chance(row)

    def said(*numbers: float) -> str:
        values = {row: np.array(numbers), control: np.array([1.0, 2.0, 1.5, 0.5])}
        return standing(Measure("", values, better="high"), row, trial)

    assert said(1.0, 1.9, np.nan, 0.6) == "no better than a random map on 3 inputs"
    assert said(1.0, np.nan, np.nan, np.nan) == "not told apart from a random map by one input"
    assert said(*[np.nan] * 4).startswith("no answer")
    assert said(3.0, 4.0, 3.5, 2.6).startswith("better than a random map")


def test_constant_maps_overlap_with_nothing() -> None:
    flat, other = np.zeros(20), np.arange(20.0)
    assert np.isnan(overlap(flat, flat, 0.2))
    assert overlap(flat, other, 0.2) == 0


def test_all_layers_random_is_called_so() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    card = fs.Randomization(shares=(1.0,), independent=False)(METHODS, network, torch.rand(3, 3, 8, 8))
    assert card.columns[0] == "rank correlation, all layers random"
    assert "all layers are random" in card.verdicts[0]
    assert "top layers" not in card.verdicts[0]
