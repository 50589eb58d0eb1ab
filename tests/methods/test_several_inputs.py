"""Networks with several inputs: a map lies on the input that it is about; a note says which where none was named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable

FIRST = torch.zeros(2, 3, 12, 12)
SECOND = torch.full((2, 3, 12, 20), 0.5)


class Pair(nn.Module):
    """How much two pictures, which may differ in size, differ; ``scale`` is passed on."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, one: torch.Tensor, other: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        apart = (self.stem(one).relu().mean((2, 3)) - self.stem(other).relu().mean((2, 3))) ** 2
        found: torch.Tensor = self.head(apart if scale is None else apart * scale)
        return found


@pytest.mark.parametrize(
    "make",
    [fs.Saliency, fs.IntegratedGradients, fs.SmoothGrad, fs.DeepLIFT, fs.LIME, fs.KernelSHAP, fs.RISE, fs.HSIC],
)
def test_a_map_lies_on_the_input_that_it_is_about(make: type[fs.Method]) -> None:
    torch.manual_seed(0)
    model = Pair().eval()
    first, second = (make(input=n)(model, (FIRST, SECOND), target=1) for n in (0, 1))  # type: ignore[call-arg]
    for found, given, shade in ((first, FIRST, 0), (second, SECOND, 128)):
        assert found.size == tuple(given.shape[2:])
        assert found.samples.images is not None
        assert found.samples.images.shape == (2, *given.shape[2:], 3)
        assert (found.samples.images == shade).all()
        assert found.notes == () or not any("inputs of this kind" in note for note in found.notes)
    found.plot()


def test_what_is_meant_where_no_input_is_named_is_told() -> None:
    torch.manual_seed(0)
    model = Pair().eval()
    for method, other in ((fs.Saliency(), " (another: input=1)"), (fs.Occlusion(window=4), ""), (fs.GradCAM(), "")):
        found = method(model, (FIRST, SECOND, torch.ones(2, 4)), target=1)
        assert f"of 2 inputs of this kind the first is shown, and positions are its own{other}" in found.notes
        np.testing.assert_array_equal(found.size, FIRST.shape[2:])


@pytest.mark.parametrize("check", [fs.Deletion(), fs.ROAD(), fs.SensitivityN(), fs.Infidelity()], ids=lambda c: c.title)
def test_checks_do_not_judge_a_map_by_changes_of_another_input(check: Any) -> None:
    torch.manual_seed(0)
    model, pair = Pair().eval(), (torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12))
    with pytest.raises(NotApplicable, match="this map is about another"):
        check(fs.Saliency(input=1), model, pair, target=1)
    both = check([fs.Saliency(input=0), fs.Saliency(input=1)], model, pair, target=1)
    one = check(fs.Saliency(), model, pair, target=1)
    np.testing.assert_array_equal(both.table[0], one.table[0])
    assert both.rows[-1] == "Saliency 2"
    assert both.verdicts[-1].startswith("failed: checks change the first input")
