"""Incremental inference against whole forwards, on networks of every habit; what it can't prove it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.program.compiling import Unsupported, compiled
from fluoroscope.model.program.incremental import Incremental
from fluoroscope.model.program.operations import recorded
from fluoroscope.model.program.patches import Clean, Place
from fluoroscope.model.program.plan import Plan
from fluoroscope.model.program.reach import Reach, Slide, clusters
from fluoroscope.model.program.regions import Windows
from fluoroscope.model.program.steps import Sliding
from fluoroscope.model.replacement import Replacement
from fluoroscope.model.study import Study
from fluoroscope.model.subject import as_subject

SIZE = (37, 45)
COVER = 4.0


pytestmark = pytest.mark.usefixtures("one_thread")


class Network(nn.Module):
    """Convolutions with all that may follow them, written by ``body``; two scores."""

    def __init__(self, body: Callable[[Network, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = body
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.same, self.other = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.down, self.short = nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(6, 8, 1, 2)
        self.depth = nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=8)
        self.act = nn.ReLU(inplace=True)
        self.squeeze, self.widen = nn.Linear(8, 3), nn.Linear(3, 8)
        self.head = nn.Linear(8, 2)
        nn.init.uniform_(self.norm.running_mean, -0.3, 0.3)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(self, x)
        return self.head(y.mean((2, 3))) if y.ndim == 4 else y


def stem(n: Network, x: torch.Tensor) -> torch.Tensor:
    return n.act(n.norm(n.first(x)))


def residual(n: Network, x: torch.Tensor) -> torch.Tensor:
    x = stem(n, x)
    y = n.act(n.same(x))
    y = n.same(y)  # one module twice
    y += n.other(x)
    y = n.act(y)
    z = n.down(y)
    z += n.short(y)
    return F.relu(z)


def functional(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = F.conv2d(x, n.first.weight, n.first.bias, padding=1)
    y = F.batch_norm(y, n.norm.running_mean, n.norm.running_var, n.norm.weight, n.norm.bias)
    y = torch.relu_(y) * 2 - 0.5
    return F.relu6(F.conv2d(F.silu(y), n.down.weight, n.down.bias, 2, 1))


def read_twice(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = n.first(x)  # read by the norm and by the sum: must not be folded away
    z = n.norm(y) + y
    y.relu_()
    return n.down(z + y)


def pooled(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = F.max_pool2d(stem(n, x), 3, 2, 1)
    y = F.avg_pool2d(n.same(y), 2)
    return n.depth(n.down(y))


def joined(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = stem(n, x)
    parts = torch.cat([y, n.same(y), torch.sigmoid(n.other(y))], 1)
    return n.down(F.conv2d(parts, torch.ones(6, 18, 1, 1) / 9))


def excited(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = n.down(stem(n, x))
    gate = torch.sigmoid(n.widen(F.relu(n.squeeze(F.adaptive_avg_pool2d(y, 1).flatten(1)))))
    return n.depth(y * gate[:, :, None, None])


def flattened(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = F.adaptive_avg_pool2d(n.down(stem(n, x)), (2, 2))
    return n.head(y.view(y.size(0), -1).reshape(len(y), 8, 4).mean(2))


def per_channel(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = (x - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7]).view(1, 3, 1, 1)
    return n.down(stem(n, y))


def padded(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = F.conv2d(F.pad(x, (0, 1, 0, 1)), n.down.weight[:6, :3], None, 2)  # the odd pixel right and below
    y = F.relu(F.conv2d(F.pad(y, (3, 1, 2, 0), value=0.5), n.same.weight, n.same.bias))
    y = n.same(y)[:, :, ::2, ::2]
    return F.pad(y[:, :], (0, 0, 0, 0, 1, 1), value=0.3) * 2


def position_code(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = stem(n, x)
    return n.down(y * torch.linspace(0, 1, y.shape[-1]))


BODIES = [
    stem,
    residual,
    functional,
    read_twice,
    pooled,
    joined,
    excited,
    flattened,
    per_channel,
    padded,
    position_code,
]


def widened(body: Callable[..., Any]) -> Callable[..., Any]:
    """Bodies that end in six channels go through ``down``, so that the head fits."""

    def full(n: Network, x: torch.Tensor) -> torch.Tensor:
        y = body(n, x)
        return n.down(y) if y.ndim == 4 and y.shape[1] == 6 else y

    return full


def windows(window: tuple[int, int] = (7, 9), stride: tuple[int, int] = (5, 6)) -> Windows:
    return Windows.sliding(SIZE, window, stride)[0]


def picture(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(5)).to(dtype)


def both_ways(network: nn.Module, x: torch.Tensor, parts: Windows) -> tuple[torch.Tensor, torch.Tensor, Incremental]:
    """Outputs of all windows by patches, and by whole forwards."""
    with torch.no_grad():
        score, record = recorded(lambda: network(x), x)
        engine = Incremental(compiled(record, [record.number(score)]), record, parts.boxes)
        image, base = Clean(x), Clean(torch.full_like(x, COVER))

        def patch(which: Any, place: Place) -> torch.Tensor:
            return torch.where(
                parts.masks_at(which, place)[:, None], base.at(None, place, place), image.at(None, place, place)
            )

        found = engine.run(patch)[0]
        whole = torch.where(parts.masks(np.arange(len(parts.boxes)))[:, None], COVER, x)
        return found, network(whole), engine


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_equals_whole_forwards(body: Any, dtype: torch.dtype) -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found, expected, engine = both_ways(Network(widened(body)), picture(dtype), windows())
    finally:
        torch.set_default_dtype(default)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    assert (expected - expected[:1]).abs().max() > 1e-4  # windows do make a difference
    assert engine.plan.share < (1.3 if body in (excited, position_code) else 0.8)


def test_windows_of_all_places_and_sizes() -> None:
    network = Network(widened(residual)).double()
    for window, stride in (((1, 1), (9, 11)), ((37, 3), (40, 4)), ((16, 16), (8, 8)), ((60, 60), (8, 8))):
        found, expected, _ = both_ways(network, picture(), windows(window, stride))
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_random_stacks(seed: int) -> None:
    """Kernel, stride, padding and dilation drawn at random: every border case of the reach arithmetic."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for _ in range(4):
        kernel, dilation = int(rng.integers(1, 5)), int(rng.integers(1, 3))
        padding = int(rng.integers(0, kernel // 2 + 1))
        stride = int(rng.integers(1, 4)) if len(layers) < 4 else 1
        kind = rng.integers(0, 3)
        if kind == 0:
            layers.append(nn.MaxPool2d(kernel, stride, padding, min(dilation, 1 + (kernel < 3))))
        elif kind == 1:
            layers.append(nn.AvgPool2d(kernel, stride, padding))
        else:
            layers += [nn.Conv2d(3, 3, kernel, stride, padding, min(dilation, 1 + (kernel < 3)))]
        layers.append(nn.Tanh())
    torch.manual_seed(seed)
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    x = picture()
    if network[:-2](x).shape[2:].numel() < 1:
        pytest.skip("nothing is left of the map")
    window = int(rng.integers(1, 14)), int(rng.integers(1, 14))
    found, expected, _ = both_ways(network, x, windows(window, (5, 7)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# --------------------------------------------------------------------------------------------------- what is refused


def read_by_python(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = n.down(stem(n, x))
    return y if float(y.mean()) > 0 else -y


def random_noise(n: Network, x: torch.Tensor) -> torch.Tensor:
    return n.down(F.dropout(stem(n, x), 0.5, training=True))


def written_view(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = stem(n, x)
    y[:, :2].mul_(0.5)
    return n.down(y)


def written_buffer(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros(len(x), 6, *x.shape[2:])
    y[:] = stem(n, x)
    return n.down(y)


def over_the_batch(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = stem(n, x)
    return n.down(y - y.mean(0, keepdim=True) * 0.5)


def cropped(n: Network, x: torch.Tensor) -> torch.Tensor:
    return n.down(stem(n, x)[:, :, 3:-2])


def ceiled(n: Network, x: torch.Tensor) -> torch.Tensor:
    return n.down(F.max_pool2d(stem(n, x), 2, ceil_mode=True))


@pytest.mark.parametrize(
    "body",
    [read_by_python, random_noise, written_view, written_buffer, over_the_batch, ceiled, cropped],
    ids=lambda b: b.__name__,
)
def test_what_is_not_proven_is_refused(body: Any) -> None:
    network, x = Network(body), picture(torch.float32)
    with torch.no_grad():
        score, record = recorded(lambda: network(x), x)
        with pytest.raises(Unsupported):
            compiled(record, [record.number(score) or 0])


def falls(
    network: nn.Module, x: torch.Tensor, parts: Windows, precision: str = "float32"
) -> tuple[torch.Tensor, Study]:
    with Study(as_subject(network)) as study:
        base = torch.full_like(x, COVER)
        asked = Replacement(study, Inputs((x,), {}, 1), base, 1, lambda output, scores: scores, precision=precision)
        return asked.falls(parts), study


@pytest.mark.parametrize(
    "body", [read_by_python, written_view, written_buffer, ceiled, residual], ids=lambda b: b.__name__
)
def test_the_way_round_is_right(body: Any) -> None:
    network, x, parts = Network(widened(body)), picture(torch.float32), windows()
    found, study = falls(network, x, parts)
    with torch.no_grad():
        whole = torch.where(parts.masks(np.arange(len(parts.boxes)))[:, None], COVER, x)
        expected = network(x) - torch.cat([network(row[None]) for row in whole])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)
    assert found.abs().max() > 1e-4
    assert (study.facts["incremental"] == "yes") == (body is residual)


@pytest.mark.parametrize("body", [residual, read_by_python], ids=lambda b: b.__name__)
def test_bfloat16_on_request_is_near_and_says_how_near(body: Any) -> None:
    network, x, parts = Network(widened(body)), picture(torch.float32), windows()
    exact, _ = falls(network, x, parts)
    rough, study = falls(network, x, parts, "bfloat16")
    gap = float((rough - exact).abs().max() / exact.abs().max())
    assert (study.facts["incremental"] == "yes") == (body is residual)
    assert rough.dtype == torch.float32
    assert 1e-4 < gap < 0.2
    assert 0 < study.facts["precision_difference"] < 0.1


def test_what_the_record_can_not_see_is_found_out() -> None:
    """A detour through NumPy, out of sight of modes, hides that a factor depends on the input: only whole forwards
    tell.
    """

    def hidden(n: Network, x: torch.Tensor) -> torch.Tensor:
        y = n.down(stem(n, x))
        with torch._C.DisableTorchFunction():
            means = torch.from_numpy(x.detach().numpy().mean(axis=(1, 2, 3), keepdims=True).copy())
        return y * (1 + 20 * means)

    network, x, parts = Network(hidden), picture(torch.float32), windows()
    found, study = falls(network, x, parts)
    assert any("did not give the network's answers" in note for note in study.notes)
    with torch.no_grad():
        whole = torch.where(parts.masks(np.arange(len(parts.boxes)))[:, None], COVER, x)
        torch.testing.assert_close(found, network(x) - network(whole), rtol=1e-4, atol=1e-4)


def test_a_planted_fault_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach that is one position too small must not pass."""
    right = Reach.through

    def short(self: Reach, slide: Slide, size: int) -> Reach:
        found = right(self, slide, size)
        return Reach(found.low, np.maximum(found.high - 1, found.low + 1), size)

    monkeypatch.setattr(Reach, "through", short)
    found, expected, _ = both_ways(Network(widened(residual)).double(), picture(), windows())
    assert (found - expected).abs().max() > 1e-6


# --------------------------------------------------------------------------------------------------- arithmetic


def test_reach_by_trying() -> None:
    """Intervals against a network of ones: which outputs differ when the inputs within differ."""
    for kernel, stride, padding, dilation in (
        (3, 1, 1, 1),
        (7, 2, 3, 1),
        (2, 2, 0, 1),
        (3, 2, 1, 2),
        (1, 2, 0, 1),
        (5, 3, 2, 1),
    ):
        convolution = nn.Conv1d(1, 1, kernel, stride, padding, dilation, bias=False).double()
        nn.init.ones_(convolution.weight)
        for low in range(20):
            for high in range(low + 1, min(low + 7, 21)):
                x = torch.zeros(1, 1, 21, dtype=torch.float64)
                x[..., low:high] = 1
                touched = torch.nonzero(convolution(x)[0, 0].detach()).flatten().numpy()
                size = convolution(x).shape[-1]
                found = Reach(np.array([low]), np.array([high]), 21).through(
                    Slide(kernel, stride, padding, dilation), size
                )
                if len(touched):
                    assert found.low[0] <= touched[0]
                    assert found.high[0] > touched[-1]
                    assert kernel > 1 or (found.low[0], found.high[0]) == (touched[0], touched[-1] + 1)


def test_batch_norm_addition_and_activation_join_the_convolution() -> None:
    network, x = Network(residual), picture(torch.float32)
    with torch.no_grad():
        score, record = recorded(lambda: network(x), x)
        program = compiled(record, [record.number(score)])
    assert all(isinstance(step, Sliding) for step in program.local)
    assert len(program.local) == 6  # convolutions that run, one step each


def test_regions_cost_less_than_the_whole() -> None:
    network, x = Network(widened(residual)), picture(torch.float32)
    with torch.no_grad():
        score, record = recorded(lambda: network(x), x)
        program = compiled(record, [record.number(score)])
    small, large = (Plan(program, (3, *SIZE), windows((w, w), (6, 6)).boxes, 4) for w in (3, 30))
    assert small.share < large.share < 1.5
    assert sorted(np.concatenate(small.batches).tolist()) == list(range(len(small.boxes)))


def test_clusters_put_like_to_like() -> None:
    lengths = [np.array([3, 9, 3, 9, 4, 3])]
    group = clusters(lengths, [1.0], 2)
    assert len(set(group[[0, 2, 4, 5]])) == 1
    assert group[1] == group[3] != group[0]
