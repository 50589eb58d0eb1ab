"""Kept programs: what a forward reads of classes and functions is seen to change; memory goes with the network."""

from __future__ import annotations

import gc
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.model import kept as keeping
from tests.model.test_kept_tapes import kept, made, own, pictures, warm

pytestmark = pytest.mark.usefixtures("small_programs")

METHODS = (fs.Saliency(reduce="none"), fs.GradCAM(layer="second"))
TABLE = {"scale": 1.0}
Point = namedtuple("Point", "row column")


class Inner:
    scale = 1.0


class Settings:
    scale, inner = 1.0, Inner
    at = Point(1.0, 2.0)


class Helper:
    factor = 1.0

    @staticmethod
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x * Settings.scale

    @classmethod
    def multiplied(cls, x: torch.Tensor) -> torch.Tensor:
        return x * cls.factor


class Scaled(torch.autograd.Function):
    scale = 1.0

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * Scaled.scale

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * Scaled.scale


def times(x: torch.Tensor) -> torch.Tensor:
    return x * times.scale  # type: ignore[attr-defined, no-any-return]


times.scale = 1.0  # type: ignore[attr-defined]


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc, self.settings, self.read = nn.Linear(8, 4), Settings, TABLE.get

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.between(self.first(x).relu()))
        return self.fc(y.tanh().mean((2, 3)))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x


class OfClass(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x * Settings.scale


class OfAttribute(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.settings.inner.scale


class OfTuple(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x * Settings.at.row


class OfStatic(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return Helper.scaled(x)


class OfClassMethod(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return Helper.multiplied(x)


class OfAutograd(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = Scaled.apply(x)  # type: ignore[no-untyped-call]
        return found


class OfFunction(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return times(x)


class OfBoundMethod(Body):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.read("scale")


def put(where: Any, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(where, name, -2.0)


CHANGES: dict[type[Body], Callable[[pytest.MonkeyPatch], None]] = {
    OfClass: put(Settings, "scale"),
    OfAttribute: put(Inner, "scale"),
    OfTuple: lambda patch: patch.setattr(Settings, "at", Point(-2.0, 2.0)),
    OfStatic: put(Settings, "scale"),
    OfClassMethod: put(Helper, "factor"),
    OfAutograd: put(Scaled, "scale"),
    OfFunction: put(times, "scale"),
    OfBoundMethod: lambda patch: patch.setitem(TABLE, "scale", -2.0),
}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
@pytest.mark.parametrize("kind", CHANGES)
def test_what_a_forward_reads_is_seen_to_change(kind: type[Body], method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, x = kind().eval(), pictures(2)
    warm(network, x, method)
    assert [(k.refused, k.program is not None) for k in kept(network)] == [(None, True)]
    before = method(network, x, target=1).values
    CHANGES[kind](monkeypatch)
    found, expected = method(network, x, target=1), own(network, x, method, target=1)
    largest = np.abs(expected.values).max()
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5 * largest)
    assert np.abs(before - expected.values).max() > 0.1 * largest


def test_a_program_is_freed_with_its_network() -> None:
    network, x = made(), pictures(2)
    warm(network, x)
    (known,) = kept(network)
    gone = [weakref.ref(thing) for thing in (known.program, known.unchanged, network.layer2.conv1.weight)]
    del network, known
    gc.collect()
    assert [thing() for thing in gone] == [None] * 3


def test_a_network_that_holds_itself_is_not_kept_alive() -> None:
    network, x = made(), pictures(2)
    network.again = network.between
    expected = own(network, x, METHODS[0], target=1)
    warm(network, x, METHODS[0])
    assert [k.refused for k in kept(network)] == ["Network.again is the network itself"]
    np.testing.assert_array_equal(METHODS[0](network, x, target=1).values, expected.values)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_a_program_that_is_ready_outlives_its_being_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where another thread studies other networks between the proof and the run."""
    network, x = made(), pictures(2)
    expected = own(network, x, target=1)
    warm(network, x)
    right = keeping.Kept.ready

    def interrupted(self: Any, study: Any, inputs: Any) -> Any:
        found = right(self, study, inputs)
        self.drop()
        return found

    monkeypatch.setattr(keeping.Kept, "ready", interrupted)
    found = fs.GradCAM(layer="layer2")(network, x, target=1)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5 * np.abs(expected.values).max())
