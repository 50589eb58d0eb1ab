"""What masks have in common computed once, against whole forwards, at every cut of networks of every habit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluoroscope.model.program.compiling import compiled
from fluoroscope.model.program.fields import Fields, windows
from fluoroscope.model.program.operations import recorded
from fluoroscope.model.program.rows import Contents, Rows
from fluoroscope.model.program.shared import Cut, Receptive, Shared
from tests.model.test_incremental import BODIES, COVER, SIZE, Network, picture, widened

FEATURES = 9


pytestmark = pytest.mark.usefixtures("one_thread")


def patchwork(seed: int = 0) -> np.ndarray:
    """Features of irregular shape: the nearest of some points."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (FEATURES, 2)) * SIZE
    places = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"), -1)
    labels: np.ndarray = ((places[:, :, None] - points) ** 2).sum(-1).argmin(-1)
    return labels


def drawn(count: int, real: bool, seed: int = 1) -> np.ndarray:
    """Masks that share some of what they keep."""
    rng = np.random.default_rng(seed)
    if real:
        masks: np.ndarray = rng.choice([0.0, 0.25, 1.0], (count, FEATURES))
        return masks
    return rng.uniform(size=(count, FEATURES)) < 0.7


def engine(network: nn.Module, x: torch.Tensor, masks: np.ndarray) -> tuple[Shared, Any]:
    """The engine, and the function that gives the contents of the input."""
    labels = patchwork()
    with torch.no_grad():
        score, record = recorded(lambda: network(x), x)
    program = compiled(record, [record.number(score)])
    shared = Shared(program, Receptive(labels, FEATURES), masks, x.shape[1], x.element_size())
    pixels = x[0].flatten(1).T

    def contents(positions: np.ndarray, which: np.ndarray) -> torch.Tensor:
        weight = torch.from_numpy(masks[which, labels.reshape(-1)[positions]])[:, None].to(x)
        return weight * pixels[torch.from_numpy(positions)] + (1 - weight) * COVER

    return shared, contents


def whole(network: nn.Module, x: torch.Tensor, masks: np.ndarray) -> torch.Tensor:
    weight = torch.from_numpy(masks[:, patchwork()])[:, None].to(x)
    with torch.no_grad():
        return network(weight * x + (1 - weight) * COVER)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_equals_whole_forwards_at_every_cut(body: Any, dtype: torch.dtype, tolerance: float, real: bool) -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        network, x, masks = Network(widened(body)), picture(dtype), drawn(23, real)
        expected = whole(network, x, masks)
        shared, contents = engine(network, x, masks)
        span, cuts = float(expected.max() - expected.min()), 0
        for steps, step in enumerate(shared.program.local, start=1):
            if windows(step) is None:
                break
            shared.cut, cuts = Cut(steps, 0.0), cuts + 1
            prepared = shared.prepared(contents)
            found = torch.cat([prepared.outputs(a, b)[0] for a, b in ((0, 10), (10, 23))])
            assert float((found - expected).abs().max()) <= tolerance * span
    finally:
        torch.set_default_dtype(default)
    assert cuts >= 1
    assert span > 1e-3  # masks do make a difference


@pytest.mark.parametrize("seed", range(8))
def test_fields_by_trying(seed: int) -> None:
    """A position's field holds a feature where the sum over its window of the feature's indicator is not zero."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for _ in range(3):
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        layers.append(nn.AvgPool2d(kernel, (int(rng.integers(1, 3)), int(rng.integers(1, 3))), padding))
    network, labels = nn.Sequential(*layers), patchwork(seed)
    x = torch.rand(1, 1, *SIZE, dtype=torch.float64)
    _, record = recorded(lambda: network(x), x)
    program = compiled(record, [len(record.values) - 1])
    receptive = Receptive(labels, FEATURES)
    indicators = (torch.from_numpy(labels) == torch.arange(FEATURES)[:, None, None]).double()[:, None]
    for step, layer in zip(program.local, layers, strict=True):
        fields = receptive.of(step, windows(step) or [])
        indicators = layer(indicators)
        assert np.array_equal(fields.sets[fields.of], (indicators[:, 0] > 0).permute(1, 2, 0).numpy())


@pytest.mark.parametrize("kinds", [2, 3, 1000])
def test_contents_are_told_apart_exactly(kinds: int) -> None:
    """Also where the numbers of contents go beyond 64 bits."""
    rng = np.random.default_rng(kinds)
    masks = rng.integers(0, kinds, (300, 80)).astype(np.float64)
    masks[150:] = masks[:150]  # every content twice
    masks[200, 70] = -1
    contents = Contents(masks)
    for chosen in (np.arange(80) < 3, np.arange(80) > 60, np.ones(80, bool), np.zeros(80, bool)):
        number, one = contents.on(chosen)
        _, expected = np.unique(masks[:, chosen], axis=0, return_inverse=True)
        assert len(one) == expected.max() + 1
        assert np.array_equal(number[:, None] == number, expected[:, None] == expected)
        assert np.array_equal(number[one], np.arange(len(one)))


def test_rows_find_what_they_stand_for() -> None:
    masks = drawn(40, False)
    fields = Fields.of_input(patchwork(), FEATURES)
    rows = Rows.of(fields, Contents(masks))
    positions, owners = rows.owners
    assert rows.count == len(positions) == 2 * SIZE[0] * SIZE[1]  # each pixel is kept or not
    content = masks[owners, patchwork().reshape(-1)[positions]]
    assert np.array_equal(content[rows.of_masks(3, 17)], masks[3:17][:, patchwork().reshape(-1)])


def test_a_cut_is_chosen_that_saves_work() -> None:
    """Three of nine features vary: whatever a position sees, there are few contents."""
    network, x = Network(widened(pooled_twice)).double(), picture()
    few = np.ones((200, FEATURES), bool)
    few[:, :3] = np.random.default_rng(0).uniform(size=(200, 3)) < 0.5
    many = np.random.default_rng(0).uniform(size=(200, FEATURES))
    cut = engine(network, x, few)[0].cut
    assert cut.steps >= 3
    assert cut.share < 0.5
    assert engine(network, x, many)[0].cut.share > cut.share


def test_memory_bounds_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, masks = Network(widened(pooled_twice)).double(), picture(), drawn(200, False)
    free = engine(network, x, masks)[0].cut.steps
    monkeypatch.setattr("fluoroscope.model.program.shared.MEMORY", 1e3)
    assert free > engine(network, x, masks)[0].cut.steps == 0


def pooled_twice(n: Network, x: torch.Tensor) -> torch.Tensor:
    y = F.max_pool2d(F.relu(n.norm(n.first(x))), 2)
    return n.down(F.max_pool2d(n.act(n.same(y)), 2))
