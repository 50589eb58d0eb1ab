"""Winograd's algorithm against convolutions in double precision; where it is used, and that it is worth its memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluoroscope.model import fast_forward
from fluoroscope.model.fast_forward import FastForward
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.program import compiling, winograd
from fluoroscope.model.program.kernels import Convolution
from fluoroscope.model.program.steps import Sliding
from fluoroscope.model.program.winograd import Winograd
from fluoroscope.model.study import Study
from fluoroscope.model.subject import as_subject
from tests.contract.networks import differences, snapshot

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"), reason="torch without oneDNN's packed products"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_matrices_multiply_polynomials() -> None:
    """One axis in double precision: four sums of three products for any numbers."""
    transform, kernel, back = map(torch.from_numpy, winograd._matrices())
    data, weights = normal(6).double(), normal(3, seed=1).double()
    expected = F.conv1d(data[None, None], weights[None, None])[0, 0]
    torch.testing.assert_close(back @ ((kernel @ weights) * (transform @ data)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (7, 7), (5, 10), (1, 3), (14, 13)])
def test_equals_a_convolution(
    size: tuple[int, int], biased: bool, added: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in portions, from inputs of either layout; rounding within ten times that of the direct one."""
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 36 * 12 * 160 * 4 * 2)
    weight, bias = normal(160, 129, 3, 3, seed=1) / 34, normal(160, seed=2) if biased else None
    x, addend = normal(5, 129, *size, seed=3), normal(5, 160, *size, seed=4) if added else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    expected = expected if addend is None else expected + addend
    direct = F.conv2d(x, weight, bias, padding=1)
    direct = direct if addend is None else direct + addend
    limit = max(10 * float((direct - expected).abs().max()), 2e-6 * float(expected.abs().max()))
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        found = Winograd(weight, bias)(given, addend)
        assert found.shape == expected.shape
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert float((found - expected).abs().max()) <= limit


def test_where_it_suits() -> None:
    wide = torch.zeros(128, 128, 3, 3)
    assert Winograd.suits(wide, (128, 7, 7))
    assert not Winograd.suits(wide, (128, 5, 5))  # four tiles for 25 positions
    assert not Winograd.suits(wide[:64], (64, 28, 28))
    assert not Winograd.suits(wide[:, :, :1, :1], (128, 28, 28))
    assert not Winograd.suits(wide.double(), (128, 28, 28))
    torch.set_num_threads(winograd.MOST_THREADS + 1)
    assert not Winograd.suits(wide, (128, 7, 7))


class Wide(nn.Module):
    """Two wide convolutions with a shortcut, one with a stride, one of a module used with another padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.norm = nn.Conv2d(3, 128, 3, 2, 1), nn.BatchNorm2d(128)
        self.one, self.two = nn.Conv2d(128, 128, 3, 1, 1, bias=False), nn.Conv2d(128, 128, 3, 1, 1)
        self.down, self.bare, self.head = nn.Conv2d(128, 128, 3, 2, 1), nn.Conv2d(128, 128, 3), nn.Linear(128, 5)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        y = self.two(F.relu(self.norm(self.one(x))))
        y += x
        return self.head(self.bare(F.relu(self.down(F.relu(y)))).mean((2, 3)))


def ran(model: nn.Module, runs: int) -> tuple[FastForward, torch.Tensor, torch.Tensor]:
    inputs = Inputs((torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)),), {}, 3)
    with Study(as_subject(model)) as study, torch.no_grad():
        made = FastForward(study, inputs.part(0, 1), "float32", runs)
        return made, made.scored(inputs)[1], study.scored(inputs)[1]


def taken(made: FastForward) -> list[Convolution]:
    assert made.runner is not None
    kernels = [s.kernel for s in made.runner.program.local if isinstance(s, Sliding) and s.kernel is not None]
    return [k for k in kernels if k.winograd is not None]


def test_programs_for_many_runs_use_it() -> None:
    model = Wide()
    before = snapshot(model)
    made, scores, expected = ran(model, fast_forward.MANY)
    assert len(taken(made)) == 2
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert differences(before, snapshot(model)) == []
    assert taken(ran(model, fast_forward.MANY - 1)[0]) == []


def test_memory_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "WINOGRAD_BYTES", 1.5 * Winograd.memory(torch.zeros(128, 128, 3, 3)))
    made, scores, expected = ran(Wide(), fast_forward.MANY)
    assert len(taken(made)) == 1
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_what_is_refused_runs_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> torch.Tensor:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(Winograd, "__call__", refuses)
    _, scores, expected = ran(Wide(), fast_forward.MANY)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)
