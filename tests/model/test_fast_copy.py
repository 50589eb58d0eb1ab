"""The fast copy: the network's own answers, the network as it was, and the truth where there is no faster copy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluoroscope.model import fast_copy
from fluoroscope.model.fast_copy import FastCopy, close
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.program import kernels
from fluoroscope.model.study import Study
from fluoroscope.model.subject import as_subject
from tests.contract.networks import Functional, Plain, differences, images, network, snapshot


def compared(model: nn.Module, x: torch.Tensor) -> tuple[FastCopy, torch.Tensor, torch.Tensor]:
    """The copy, its scores and the network's own for another batch than the probe."""
    with Study(as_subject(model)) as study, torch.no_grad():
        made = FastCopy(study, Inputs((x[:2],), {}, 2))
        inputs = Inputs((x,), {}, len(x))
        return made, made.scored(inputs)[1], study.scored(inputs)[1]


@pytest.mark.parametrize("kind", [Plain, Functional])
def test_gives_the_networks_answers(kind: type[Plain]) -> None:
    model = network(kind)
    before = snapshot(model)
    made, scores, expected = compared(model, images(5))
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)
    assert made.folded == 2
    assert made.note is None
    assert not any(isinstance(m, nn.BatchNorm2d) for m in made.module.modules())
    assert differences(before, snapshot(model)) == []
    kept = {t.data_ptr() for t in model.state_dict().values()}
    assert not kept & {t.data_ptr() for t in made.module.state_dict().values() if t.numel()}


class Between(Plain):
    """Something happens between convolution and norm, or the convolution's output is read elsewhere as well."""

    def __init__(self, what: str = "") -> None:
        super().__init__()
        self.what = what

    def features(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem[0](x)
        if self.what == "in place":
            y.mul_(2)
        z = self.stem[1](y if self.what != "function" else F.relu(y))
        if self.what == "read":
            z = z + y
        if self.what == "twice":
            z = self.stem[1](z)
        return self.block(z)


@pytest.mark.parametrize("what", ["in place", "function", "read", "twice"])
def test_a_norm_is_folded_only_where_that_is_right(what: str) -> None:
    model = network(Between)
    model.what = what
    made, scores, expected = compared(model, images(4))
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)
    assert made.folded <= 1
    assert (made.note is not None) == (what == "read")  # found by the numbers, not by what modules are given


class Viewing(nn.Module):
    """``view`` needs memory in the usual order, which channels last is not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 12 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).view(len(x), -1))


class Uncopied(Plain):
    """Refuses to be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copies")


@pytest.mark.parametrize("kind", [Viewing, Uncopied])
def test_the_network_itself_runs_where_no_copy_does(kind: Any) -> None:
    model = kind() if kind is Viewing else network(kind)
    made, scores, expected = compared(model, images(3))
    assert made.module is model
    assert made.note is not None
    assert "as it is" in made.note
    assert torch.equal(scores, expected)


def test_a_planted_fault_in_folding_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fast_copy._fold

    def wrong(module: nn.Module, probe: Inputs) -> int:
        count = right(module, probe)
        with torch.no_grad():
            module.stem[0].bias.add_(0.01)
        return count

    monkeypatch.setattr(fast_copy, "_fold", wrong)
    made, scores, expected = compared(network(), images(3))
    assert made.folded == 0
    assert made.note is not None
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


def test_logits_behind_a_softmax() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Softmax(1)).eval()
    made, scores, expected = compared(model, torch.rand(3, 3, 3, 4))
    assert made.module is not model
    torch.testing.assert_close(scores, expected)
    assert not torch.allclose(scores.sum(1), torch.ones(3))


def test_close_is_about_the_range_of_scores() -> None:
    expected = torch.tensor([[100.0, 100.1]])
    assert close(expected + 1e-5, expected)
    assert not close(expected + 1e-3, expected)
    assert not close(torch.tensor([[float("nan"), 0.0]]), expected)
    assert not close(expected[:, :1], expected)


@pytest.mark.skipif(not kernels._onednn(), reason="torch without oneDNN's joined operations")
def test_weights_lie_as_each_shape_of_inputs_wants_them() -> None:
    """Packed for one picture they would be turned round at every call with several; equal layouts are kept once."""
    weight = torch.randn(128, 128, 3, 3)
    found = kernels.Convolution(weight, None, (1, 1), 1)
    shapes = [(count, 128, side, side) for count in (1, 2, 3) for side in (56, 28)]
    wanted = set()
    for shape in shapes:
        x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found(x, (1, 1), (2, 2)), F.conv2d(x, weight, None, 2, 1))
        fresh = torch.ops.mkldnn._reorder_convolution_weight(found.weight, [1, 1], [2, 2], [1, 1], 1, list(shape))
        assert kernels._layout(found._weight(x, (1, 1), (2, 2))) == kernels._layout(fresh)
        wanted.add(kernels._layout(fresh))
    assert len(found._layouts) == len(wanted)
