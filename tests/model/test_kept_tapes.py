"""Kept tapes: from the third call on a program answers, and never after anything about the network has changed."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.model import kept as keeping
from fluoroscope.model import kept_tapes
from tests.contract.networks import differences, snapshot

pytestmark = pytest.mark.usefixtures("small_programs")

SCALE = 1.5
SETTINGS = {"scale": 1.0}


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x * SCALE


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
        self.side = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(y)) + self.side(x))


class Network(nn.Module):
    """Stem, two blocks, head; ``how`` chooses a habit."""

    table = (1.0,)

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how, self.factor, self.kept = how, 1.0, [1.0]
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layer1, self.layer2, self.fc = Block(8, 8), Block(8, 12, 2), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layer2(self.between(self.layer1(F.relu(self.stem(x)))))
        if self.how == "detached":
            y = y + y.detach()
        if self.how == "straight":
            y = Straight.apply(y)
        scores = self.fc(y.mean((2, 3)))
        return F.softmax(scores, 1) if self.how == "softmax" else {"a": scores} if self.how == "dict" else scores

    def between(self, x: torch.Tensor) -> torch.Tensor:
        x = scaled(x) * self.factor * self.kept[0] * self.table[0]
        if self.how == "setting":
            return x * SETTINGS["scale"]
        if self.how == "branch":
            return x if bool(x.mean() > 1e9) else 2 * x
        if self.how == "object":
            return x * self.extra.scale  # type: ignore[union-attr]
        return x


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 3 * gradient * gradient.sign() + 0.1


def made(how: str = "", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    network = Network(how)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.no_grad():
        network.fc.weight.add_(0.2)
    return network.eval()


def pictures(count: int, seed: int = 1, size: int = 20) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


METHOD = fs.GradCAM(layer="layer2")


def own(network: nn.Module, x: torch.Tensor, method: Any = METHOD, **options: Any) -> Any:
    """What the network itself gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLUOROSCOPE_PROGRAMS", "0")
        return method(network, x, **options)


def same(found: Any, expected: Any) -> None:
    largest = np.abs(expected.values).max()
    assert largest > 0
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5 * largest)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)


def kept(network: nn.Module) -> list[keeping.Kept]:
    return list(keeping._KEPT.get(network, {}).values())


def warm(network: nn.Module, x: torch.Tensor, method: Any = METHOD) -> None:
    """Called so often that a program would answer next."""
    for _ in range(3):
        method(network, x, target=1)


def runs(network: nn.Module, call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call gives, and how often the network's stem ran meanwhile."""
    stem, count = network.get_submodule("stem"), []
    right = type(stem)._conv_forward

    def counted(self: Any, *args: Any) -> Any:
        if self is stem:
            count.append(1)
        return right(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "_conv_forward", counted)
        return call(), len(count)


def test_the_third_call_runs_a_program_that_gives_the_same() -> None:
    network, x = made(), pictures(3)
    before = snapshot(network)
    expected = own(network, x)
    METHOD(network, x), METHOD(network, x)
    other = pictures(3, seed=5)
    found, count = runs(network, lambda: METHOD(network, other))
    assert count == 0
    assert [k.refused for k in kept(network)] == [None]
    same(found, own(network, other))
    same(METHOD(network, x), expected)
    assert found.meta["forwards"] == 3
    assert differences(before, snapshot(network)) == []


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer1.conv2", "layer2.act", "layer2.side", "layer2.bn2"])
@pytest.mark.parametrize("method", [fs.GradCAM, fs.GradCAMPlusPlus, fs.LayerCAM, fs.HiResCAM])
def test_every_layer(layer: str, method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_tapes, "WORTH_SHARE", 0.0)
    network, x = made(), pictures(2)
    made_method = method(layer=layer)
    warm(network, x, made_method)
    found, count = runs(network, lambda: made_method(network, x, target=2))
    assert count == 0
    same(found, own(network, x, made_method, target=2))


def test_several_layers_on_one_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_tapes, "WORTH_SHARE", 0.0)
    network, x = made(), pictures(2)
    methods = [fs.GradCAM(layer="layer1"), fs.LayerCAM(layer="layer2")]
    expected = own(network, x, lambda n, x: fs.explain(n, x, methods))
    for _ in range(3):
        found = fs.explain(network, x, methods)
    assert [k.refused for k in kept(network)] == [None]
    for name in ("grad-cam", "layer-cam"):
        same(found[name], expected[name])


def test_many_targets_and_other_batches() -> None:
    network, x = made(), pictures(4)
    warm(network, x)
    same(
        METHOD(network, x, target=[[0, 1], [2, 3], [4, 0], [1, 1]]),
        own(network, x, target=[[0, 1], [2, 3], [4, 0], [1, 1]]),
    )
    one, count = runs(network, lambda: METHOD(network, x[:1], target=1))
    assert count == 1  # a size of batch that was not compared before
    same(one, own(network, x[:1], target=1))
    again, count = runs(network, lambda: METHOD(network, x[1:2], target=1))
    assert count == 0
    same(again, own(network, x[1:2], target=1))
    wide = pictures(4, size=28)
    same(METHOD(network, wide, target=1), own(network, wide, target=1))


def test_the_logits_behind_a_softmax_are_noted_again() -> None:
    network, x = made("softmax"), pictures(2)
    expected = own(network, x)
    warm(network, x)
    found, count = runs(network, lambda: METHOD(network, x))
    assert count == 0
    same(found, expected)
    assert found.meta["notes"] == expected.meta["notes"]


def step(network: Network) -> None:
    with torch.no_grad():
        network.layer1.conv1.weight.add_(0.05)


def through_data(network: Network) -> None:
    network.layer1.conv1.weight.data.mul_(1.5)


def one_bit(network: Network) -> None:
    """The smallest change there is, past every counter; too small to see, so the weight is made to matter."""
    network.layer1.conv1.weight.data[0, 0, 0, 0] += 40.0


def through_numpy(network: Network) -> None:
    network.layer1.conv2.weight.detach().numpy()[:] *= -1


def shuffled(network: Network) -> None:
    """The same numbers at other places: sums stay what they were."""
    weights = network.layer1.conv1.weight.detach().numpy()
    weights[:] = weights[::-1].copy()


def swapped(network: Network) -> None:
    weight = network.layer1.conv1.weight
    weight.data = weight.data.flip(0).clone()


def statistics(network: Network) -> None:
    network.layer2.bn1.running_mean.data.add_(0.5)


def replaced(network: Network) -> None:
    network.stem = nn.Conv2d(3, 8, 3, padding=1)


def attribute(network: Network) -> None:
    network.factor = -2.0


def inside_a_list(network: Network) -> None:
    network.kept[0] = 3.0


def hooked(network: Network) -> None:
    network.layer1.register_forward_hook(lambda m, a, y: y * -2)


def padded(network: Network) -> None:
    network.stem.padding_mode = "reflect"
    network.stem._reversed_padding_repeated_twice = [1, 1, 1, 1]


def forwarded(network: Network) -> None:
    network.layer1.forward = functools.partial(lambda x: x * 3)  # type: ignore[method-assign]


class Loud(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x) - 1


def of_another_class(network: Network) -> None:
    network.layer1.__class__ = Loud


NUMBERS = [step, through_data, one_bit, through_numpy, shuffled, swapped, statistics]
OBJECTS = [replaced, attribute, inside_a_list, hooked, padded, forwarded, of_another_class]


@pytest.mark.parametrize("change", [*NUMBERS, *OBJECTS], ids=lambda f: f.__name__)
def test_a_changed_network_answers_itself(change: Callable[[Network], None]) -> None:
    network, x = made(), pictures(2)
    warm(network, x)
    old, count = runs(network, lambda: METHOD(network, x, target=1))
    assert count == 0
    change(network)
    expected = own(network, x, target=1)
    for _ in range(4):  # also when a new program has been made
        same(METHOD(network, x, target=1), expected)
    assert np.abs(old.values - expected.values).max() > 1e-3 * np.abs(old.values).max()


@pytest.mark.parametrize("what", ["global", "setting", "class", "method"])
def test_what_forward_reads_elsewhere_is_watched(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = made("setting"), pictures(2)
    warm(network, x)
    old, count = runs(network, lambda: METHOD(network, x, target=1))
    assert count == 0
    if what == "global":
        monkeypatch.setitem(globals(), "SCALE", -1.0)
    elif what == "setting":
        monkeypatch.setitem(SETTINGS, "scale", -3.0)
    elif what == "class":
        monkeypatch.setattr(Network, "table", (-2.0,))
    else:
        monkeypatch.setattr(Network, "between", lambda self, x: -x)
    expected = own(network, x, target=1)
    same(METHOD(network, x, target=1), expected)
    assert np.abs(old.values - expected.values).max() > 1e-3 * np.abs(old.values).max()


@pytest.mark.parametrize("how", ["detached", "straight", "dict", "branch", "object"])
def test_what_a_program_can_not_be_right_for_is_refused(how: str) -> None:
    network, x = made(how), pictures(2)
    network.extra = type("Settings", (), {"scale": 2.0})()  # type: ignore[assignment]
    expected = own(network, x, target=1)
    warm(network, x)
    found, count = runs(network, lambda: METHOD(network, x, target=1))
    assert count == 1
    same(found, expected)
    assert all(k.refused for k in kept(network))


def test_a_wrong_program_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = kept_tapes.TailedProgram.run

    def wrong(self: Any, x: torch.Tensor) -> Any:
        found = right(self, x)
        found.tensors = {i: t * 1.01 for i, t in found.tensors.items()}
        return found

    monkeypatch.setattr(kept_tapes.TailedProgram, "run", wrong)
    network, x = made(), pictures(2)
    warm(network, x)
    assert [k.refused for k in kept(network)] == ["the program did not give the network's answers"]
    same(METHOD(network, x, target=1), own(network, x, target=1))


def test_modes_of_the_user_are_left_to_the_network() -> None:
    network, x = made(), pictures(2)
    warm(network, x)

    class Louder(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            return found * 2 if func is F.relu else found

    with Louder():
        found, expected = METHOD(network, x, target=1), own(network, x, target=1)
    same(found, expected)
    assert np.abs(found.values - METHOD(network, x, target=1).values).max() > 0.01


def test_programs_go_with_their_network_and_are_few() -> None:
    networks, x = [made(seed=i) for i in range(3)], pictures(2)
    for network in networks:
        warm(network, x)
    assert sum(k.program is not None for n in networks for k in kept(n)) == keeping.MOST_KEPT
    gone = weakref.ref(networks[-1])
    del network
    networks.clear()
    gc.collect()
    assert gone() is None
    assert not keeping._KEPT


def test_a_network_in_training_mode_is_explained_as_it_is_evaluated() -> None:
    network, x = made().train(), pictures(2)
    expected = own(network, x, target=1)
    warm(network, x)
    found, count = runs(network, lambda: METHOD(network, x, target=1))
    assert (count, network.training) == (0, True)
    same(found, expected)
