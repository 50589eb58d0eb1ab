"""The guided and the deconvnet rule reach every way to call a rectifier, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluoroscope.model.rectifiers import RectifierRule, deconvolved, guided

WAYS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU(inplace)": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu(x, True)": lambda x: F.relu(x, True),
    "torch.relu": torch.relu,
    "x.relu": lambda x: x.relu(),
    "x.relu_": lambda x: x.relu_(),
    "F.threshold": lambda x: F.threshold(x, 0, 0),
    "x.clamp(min=0)": lambda x: x.clamp(min=0),
    "x.clamp_(0)": lambda x: x.clamp_(0),
    "x.clamp_min(0)": lambda x: x.clamp_min(0),
    "torch.clip(x, 0)": lambda x: torch.clip(x, 0),
}
X = torch.tensor([-2.0, -1.0, 1.0, 2.0, 7.0])
G = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])


def run(way: Callable[[torch.Tensor], torch.Tensor], rule: RectifierRule) -> torch.Tensor:
    leaf = X.clone().requires_grad_()
    with rule:
        y = way(leaf * 1)
    (y * G).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_to_rectify_follows_the_rule(way: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert run(way, guided()).tolist() == [0, 0, 1, 0, 1]
    assert run(way, deconvolved()).tolist() == [1, 0, 1, 0, 1]
    assert run(way, RectifierRule("plain")).tolist() == [0, 0, 1, -1, 1]
    with guided():
        torch.testing.assert_close(way(X.clone().requires_grad_() * 1), F.relu(X))


@pytest.mark.parametrize("way", [nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, lambda x: x.clamp(0, 6)])
def test_relu6_closes_above_six(way: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert run(way, guided()).tolist() == [0, 0, 1, 0, 0]
    assert run(way, deconvolved()).tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("way", [F.gelu, F.silu, F.leaky_relu, lambda x: x.clamp(min=-1), torch.tanh, F.hardtanh])
def test_others_keep_their_gradient_and_are_told(way: Callable[[torch.Tensor], torch.Tensor]) -> None:
    leaf = X.clone().requires_grad_()
    (way(leaf) * G).sum().backward()
    rule = guided()
    torch.testing.assert_close(run(way, rule), leaf.grad)
    assert "no ReLU" in (rule.refusal() or "")


def test_in_place_calls_change_their_argument() -> None:
    with guided():
        y = X.clone().requires_grad_() * 1
        y.relu_()
    assert y.tolist() == [0, 0, 1, 2, 7]
    y.sum().backward()


def test_a_rule_can_be_changed_between_two_backwards() -> None:
    leaf = X.clone().requires_grad_()
    with guided() as rule:
        y = (F.relu(leaf) * G).sum()
    with rule.using("plain"):
        (plain,) = torch.autograd.grad(y, leaf, retain_graph=True)
    (ruled,) = torch.autograd.grad(y, leaf)
    assert plain.tolist() == [0, 0, 1, -1, 1]
    assert ruled.tolist() == [0, 0, 1, 0, 1]


def test_what_ran_is_counted() -> None:
    leaf = torch.rand(2, 4).requires_grad_()
    with guided() as rule:
        y = F.silu(F.relu(leaf).relu())
        y = y + torch.softmax(y, 1)
        torch.softmax(y * 2, 1)  # the probabilities at the end
        F.gelu(torch.rand(3))  # not on the tape
    assert rule.rectifiers == {"relu": 2}
    assert rule.others == {"silu": 1, "softmax": 1}
    assert rule.refusal() is None
    assert "silu, softmax" in (rule.warning() or "")
