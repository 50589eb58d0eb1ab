"""The fast forward: the network's own answers whichever way is taken, and the truth about what bfloat16 changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fluoroscope.errors import NotApplicable
from fluoroscope.model import fast_forward
from fluoroscope.model.fast_forward import FastForward
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.program.runner import Runner
from fluoroscope.model.study import Study
from fluoroscope.model.subject import as_subject
from tests.contract.networks import Functional, Plain, Wrapped, differences, images, network, snapshot


def compared(
    model: nn.Module, x: torch.Tensor, precision: str = "float32"
) -> tuple[FastForward, torch.Tensor, torch.Tensor]:
    """The way, its scores and the network's own for a batch of which only the first picture was probed."""
    inputs = Inputs((x,), {}, len(x))
    with Study(as_subject(model)) as study, torch.no_grad():
        made = FastForward(study, inputs.part(0, 1), precision)
        return made, made.scored(inputs)[1], study.scored(inputs)[1]


@pytest.mark.parametrize("kind", [Plain, Functional])
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_a_program_gives_the_networks_answers(kind: Any, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "_rows", lambda self, itemsize: rows)
    model = network(kind)
    before = snapshot(model)
    made, scores, expected = compared(model, images(7))
    assert made.kind == "program"
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)
    assert differences(before, snapshot(model)) == []


def test_an_output_of_several_parts_takes_the_copy() -> None:
    made, scores, expected = compared(network(Wrapped), images(3))
    assert made.kind == "copy"
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


class Branching(nn.Module):
    """What it does depends on the numbers of its input: seen by the record, or hidden in NumPy."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.fc, self.how = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.how == "branch":
            y = y * 2 if x.mean() > 0 else y
        elif self.how == "numpy":
            y = y * float(np.abs(x.detach().numpy()).mean())
        elif self.how == "list":
            y = y * x.flatten().tolist()[0]
        elif self.how == "array":
            y = y + torch.from_numpy(x.mean((2, 3), keepdim=True).numpy()).mean(1, keepdim=True)
        elif self.how == "hidden":
            with torch._C.DisableTorchFunction():
                y = y * float(np.abs(x.detach().numpy()).mean())
        return self.fc(y.mean((2, 3)))


@pytest.mark.parametrize("how", ["branch", "numpy", "list", "array", "hidden"])
def test_numbers_that_leave_the_record_are_no_program(how: str) -> None:
    """The last is seen by nothing but the comparison, since another picture is recorded than is compared."""
    torch.manual_seed(0)
    made, scores, expected = compared(Branching(how), images(1))
    assert made.kind != "program"
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


def test_a_planted_fault_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Runner.__call__
    monkeypatch.setattr(Runner, "__call__", lambda self, x: [v * 1.01 for v in right(self, x)])
    made, scores, expected = compared(network(), images(2))
    assert made.kind == "copy"
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_says_by_how_much_it_differs() -> None:
    model, x = network(), images(6)
    inputs = Inputs((x,), {}, len(x))
    with Study(as_subject(model)) as study, torch.no_grad():
        made = FastForward(study, inputs.part(0, 1), "bfloat16")
        _, scores = made.scored(inputs)
        _, expected = study.scored(inputs)
    gap = float((scores - expected).abs().max() / (expected.max() - expected.min()))
    assert scores.dtype == torch.float32
    assert study.facts["precision_difference"] == pytest.approx(gap, rel=1e-4)
    assert 1e-5 < gap < 0.05


def test_a_network_that_does_not_run_in_bfloat16_says_so() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.conv(x).mean((2, 3)) @ torch.ones(2, 2)).float()

    with pytest.raises(NotApplicable, match="bfloat16"):
        compared(Stubborn(), images(1), "bfloat16")


def test_told_apart_is_a_share_of_the_range() -> None:
    expected = torch.tensor([[0.0, 4.0], [1.0, 2.0]])
    found = expected.clone()
    found[1, 0] += 0.5
    assert fast_forward.told_apart(found, expected) == pytest.approx(0.125)
