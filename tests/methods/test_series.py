"""Series: networks with time first or channels first, trained on waves whose evidence has a known place."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, ModelError

STEPS, CHANNELS = 40, 3
LENGTH, CARRIER = 8, 1
"""The evidence: a few steps of a fast wave in the second channel, which only the second class has."""


def waves(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slow waves with noise (N, T, C), every second one with a burst, and where each burst begins."""
    random = torch.Generator().manual_seed(seed)
    t = torch.arange(STEPS) / STEPS
    phase = torch.rand(count, 1, CHANNELS, generator=random) * 6.3
    series = 0.5 * torch.sin(6.3 * t[None, :, None] + phase)
    series += 0.1 * torch.randn(count, STEPS, CHANNELS, generator=random)
    labels, starts = torch.arange(count) % 2, torch.randint(2, STEPS - LENGTH - 2, (count,), generator=random)
    for n in range(1, count, 2):
        series[n, starts[n] : starts[n] + LENGTH, CARRIER] += 2 * torch.tensor([1.0, -1.0]).repeat(LENGTH // 2)
    return series, labels, starts


def detected(steps: torch.Tensor) -> torch.Tensor:
    """Scores of no burst, which is 0, and of a burst, the largest of those of all steps (N, T, 1)."""
    found = steps.amax(1)
    return torch.cat([torch.zeros_like(found), found], 1)


class Recurrent(nn.Module):
    """An LSTM or a GRU, batch first."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn: Any = kind(CHANNELS, 12, batch_first=True)  # type: ignore[call-arg]
        self.head = nn.Linear(12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return detected(self.head(self.rnn(x)[0]))


class Attending(nn.Module):
    """A transformer encoder on projected steps with learnt positions."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(CHANNELS, 16)
        self.place = nn.Parameter(0.02 * torch.randn(STEPS, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return detected(self.head(self.encoder(self.project(x) + self.place)))


class Convolving(nn.Module):
    """Convolutions along time; ``turned`` takes (N, T, C) and turns it itself."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.conv, self.norm = nn.Conv1d(CHANNELS, 12, 5, padding=2), nn.BatchNorm1d(12)
        self.second, self.head = nn.Conv1d(12, 12, 3, padding=1), nn.Linear(12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 2, 1) if self.turned else x
        x = (x - 0.1) / 0.9
        return detected(self.head(self.second(self.norm(self.conv(x)).relu()).relu().mT))


NETWORKS = {
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
    "transformer": Attending,
    "turning cnn": lambda: Convolving(True),
    "cnn": lambda: Convolving(False),
}


def given(name: str, series: torch.Tensor) -> torch.Tensor:
    """Series (N, T, C) as the network takes them."""
    return series.transpose(1, 2).contiguous() if name == "cnn" else series


@cache
def trained(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = NETWORKS[name]()
        series, labels, _ = waves(256, 0)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(150):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(given(name, series)), labels)
            loss.backward()
            optimizer.step()
    unseen, truth, _ = waves(64, 1)
    with torch.no_grad():
        right = (network.eval()(given(name, unseen)).argmax(1) == truth).float().mean()
    assert right > 0.97
    return network


STARTS = waves(8, 2)[2][1::2].tolist()


def bursts(name: str) -> torch.Tensor:
    """Four series with bursts that begin at ``STARTS``."""
    return given(name, waves(8, 2)[0][1::2])


def near(start: int) -> np.ndarray[Any, Any]:
    """The steps of a burst, with a few around it that a window or a state reaches."""
    steps = np.arange(STEPS)
    return (steps >= start - 3) & (steps < start + LENGTH + 3)


METHODS = [
    fs.Saliency(),
    fs.InputXGradient(),
    fs.IntegratedGradients(baseline="mean"),
    fs.Occlusion(window=4, stride=2, baseline="mean"),
    fs.FeatureAblation(count=10, baseline="mean"),
    fs.LIME(count=10, samples=200, baseline="mean"),
    fs.KernelSHAP(count=10, samples=200, baseline="mean"),
    fs.ShapleySampling(count=10, samples=200, baseline="mean"),
    fs.RISE(samples=600, cells=10, baseline="mean"),
    fs.HSIC(samples=600, count=10, baseline="mean"),
    fs.Sobol(samples=1200, count=10, baseline="mean"),
]


FORGETTING = {("lstm", "saliency"), ("lstm", "input-x-gradient")}
"""A cell that is full remembers the burst without a gradient at it: the slope is where the series ends."""


def along_time(found: fs.Attribution, n: int) -> np.ndarray[Any, Any]:
    """The map of example ``n`` at every step."""
    values = found.map(n)
    step = STEPS / len(values) if found.centers is None else found.centers[0][1]
    first = step / 2 if found.centers is None else found.centers[0][0]
    places = first + step * np.arange(len(values))
    return np.interp(np.arange(STEPS) + 0.5, places, np.abs(values))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_burst_is_found(name: str, method: Any) -> None:
    found = method(trained(name), bursts(name), target=1)
    assert "T" in found.axes and found.size == (STEPS,)
    assert found.axes in (("N", "T"), ("N", "C", "T"))
    for n, start in enumerate(STARTS if (name, method.name) not in FORGETTING else ()):
        values, inside = along_time(found, n), near(start)
        assert inside[values.argmax()], (n, start, values.round(3))
        assert values[inside].mean() > 2 * values[~inside].mean()
    if "C" in found.axes and (name, method.name) not in FORGETTING:
        assert found.data.shape[1] == CHANNELS
        assert np.abs(found.data).sum((0, 2)).argmax() == CARRIER
    assert found.samples.series is not None
    assert found.samples.series.shape[1:] == (CHANNELS, STEPS, 1)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_a_network_that_turns_its_input_gets_what_the_other_way_round_gets(method: Any) -> None:
    plain = trained("cnn")
    turning = Convolving(True).eval()
    turning.load_state_dict(plain.state_dict())
    x = bursts("cnn")
    one, other = method(plain, x, target=1), method(turning, x.transpose(1, 2).contiguous(), target=1)
    assert one.axes == other.axes
    np.testing.assert_allclose(other.values, one.values, atol=2e-5)
    np.testing.assert_allclose(other.samples.series, one.samples.series)


@pytest.mark.parametrize("name", ["lstm", "gru", "turning cnn", "cnn"])
def test_what_is_sure_needs_no_note(name: str) -> None:
    assert fs.Saliency()(trained(name), bursts(name)).notes == ()


def test_what_is_assumed_is_noted_and_can_be_told() -> None:
    (note,) = fs.Saliency()(trained("transformer"), bursts("transformer")).notes
    assert "(N, T, C)" in note and "layout='NCT'" in note
    flat = nn.Sequential(nn.Flatten(), nn.Linear(STEPS * CHANNELS, 2))
    x = bursts("lstm")
    found = fs.Saliency()(flat, x)
    assert found.data.shape == (4, CHANNELS) and "layout='NTC'" in found.notes[0]
    told = fs.Saliency()(fs.Subject(flat, layout="NTC"), x)
    assert told.data.shape == (4, STEPS) and told.notes == ()
    with pytest.raises(ModelError, match="NTC"):
        fs.Subject(flat, layout="TNC")
    with pytest.raises(InputError, match="layout"):
        fs.Saliency()(fs.Subject(flat, layout="NHWC"), x)


def test_examples_along_another_axis_are_refused() -> None:
    network = nn.LSTM(CHANNELS, 4)
    with pytest.raises(InputError, match="examples along another axis"):
        fs.Saliency()(network, torch.zeros(6, 2, CHANNELS), target=0)


def step_by_step(cell: nn.Module, x: torch.Tensor) -> torch.Tensor:
    state = x.new_zeros(len(x), 5)
    for row in x.unbind(1):
        state = cell(row, state)
    return state


class ByHand(nn.Module):
    """What a network does with a series (N, T, C) of 6 steps of 3 channels, besides a layer of torch's own."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.cell, self.conv = way, nn.GRUCell(3, 5), nn.Conv1d(3, 5, 3)
        self.rnn, self.pool, self.mix = nn.GRU(3, 5, batch_first=True), nn.AvgPool1d(3), nn.Linear(6, 5)
        self.attend, self.head = nn.MultiheadAttention(3, 1, batch_first=True), nn.Linear(5, 2)
        self.few = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        match self.way:
            case "cell":
                y = step_by_step(self.cell, x)
            case "packed":
                lengths = torch.full((len(x),), x.shape[1])
                packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
                y = self.rnn(packed)[1][0]
            case "pooled":
                y = self.mix(x.mT).mean(1) + self.pool(x.mT).mean()
            case "attended":
                y = self.few(self.attend(x, x, x)[0].mean(1))
            case "normalized":
                x = nn.functional.layer_norm(x, (3,)) * 2
                y = self.conv(torch.cat([x, x[:, -1:]], 1).movedim(1, 2)).mean(2)
            case _:
                y = self.few((x - x.mean(1, keepdim=True)).mean(1))
        return self.head(y)


@pytest.mark.parametrize("way", ["cell", "packed", "pooled", "attended", "normalized", "averaged"])
@pytest.mark.parametrize("steps", [6, 3])
def test_the_way_of_a_series_is_followed(way: str, steps: int) -> None:
    """Also where there are as many steps as channels, so that no size tells them apart."""
    if way == "pooled" and steps == 3:
        pytest.skip("its dense layer takes six steps")
    torch.manual_seed(0)
    found = fs.InputXGradient()(ByHand(way), torch.rand(2, steps, 3), target=0)
    assert found.axes == ("N", "C", "T") and found.data.shape == (2, 3, steps)
    x = torch.rand(2, steps, 3)
    plain = fs.InputXGradient()(fs.Subject(ByHand(way), layout="NTC"), x, target=0)
    assert plain.axes == ("N", "C", "T")


@pytest.mark.parametrize("layer", ["rnn", "conv", "second", "encoder.layers.0", "project"])
def test_a_layer_along_time_is_mapped_along_time(layer: str) -> None:
    name = {"rnn": "lstm", "conv": "turning cnn", "second": "cnn"}.get(layer, "transformer")
    found = fs.GradCAM(layer=layer)(trained(name), bursts(name), target=1)
    assert found.axes == ("N", "T") and found.data.shape == (4, STEPS)
    if layer in ("second", "encoder.layers.0"):
        assert all(near(start)[row.argmax()] for start, row in zip(STARTS, found.data, strict=True))


def test_a_recurrent_layer_equals_the_formulas() -> None:
    """Saliency and Grad-CAM of states (N, T, D), by autograd."""
    network, x = trained("lstm"), bursts("lstm").requires_grad_()
    states = network.rnn(x)[0]
    score = network.head(states)[..., 0].amax(1)
    slope, gradient = torch.autograd.grad(score.sum(), [x, states])
    found = fs.Saliency()(network, x.detach(), target=1)
    np.testing.assert_allclose(found.data, slope.abs().amax(2), atol=1e-6)
    cam = fs.GradCAM(layer="rnn")(network, x.detach(), target=1)
    expected = (gradient.mean(1, keepdim=True) * states).sum(2).relu().detach()
    np.testing.assert_allclose(cam.data, expected, atol=1e-6)
    assert expected.max() > 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_trust_looks_at_times(name: str) -> None:
    card = fs.Insertion()(["saliency"], trained(name), bursts(name), target=1)
    assert card.values.shape[-1] >= 1
