"""What the parity tests share: the marker, the peers, networks with photographs, and networks whose ReLU is unusual."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
PHOTOS = ("dog_cat.jfif", "imagenet_00_243.jpg", "imagenet_02_438.jpg")
CIFAR = 6


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.addinivalue_line(
        "markers", "peers: needs the peers, which `make bench` installs in an environment of their own"
    )
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peers)


@pytest.fixture(scope="session")
def peers() -> Any:
    """``bench.peers``, which knows how to import them."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module("bench.peers")


@pytest.fixture(scope="session")
def exact(peers: Any) -> Any:
    """``bench.references``: formulas in double precision."""
    return importlib.import_module("bench.references")


@pytest.fixture(scope="session")
def captum(peers: Any) -> Any:
    module = peers.load_peer("captum")
    if module is None:
        pytest.skip("captum is not installed; bash bench/setup.sh, then .venv-bench/bin/python -m pytest tests/parity")
    return module


@pytest.fixture(params=["captum", "torchcam", "pytorch_grad_cam"])
def grad_cam_peer(request: pytest.FixtureRequest, peers: Any) -> Any:
    """Each peer that has a Grad-CAM; ``peer.raw(network, layer, inputs, targets)`` gives its map before any scaling."""
    peer = next(p for p in peers.GRAD_CAMS if p.module == request.param)
    if not peer.installed:
        pytest.skip(f"{request.param} is not installed; bash bench/setup.sh, then use .venv-bench/bin/python")
    return peer


@dataclass(frozen=True)
class Subject:
    """A network, inputs of its kind, and layers whose output nothing changes in place."""

    network: nn.Module
    inputs: Tensor
    layers: tuple[str, ...]

    def predicted(self) -> list[int]:
        """The predicted class of each input."""
        with torch.no_grad():
            return self.network(self.inputs).argmax(1).tolist()

    def second(self) -> list[int]:
        """The class in second place."""
        with torch.no_grad():
            return self.network(self.inputs).topk(2, dim=1).indices[:, 1].tolist()


class SmallNetwork(nn.Module):
    """Three convolutions; ``relu`` is what its activations are: a module, in place, or a call."""

    def __init__(self, relu: Callable[[], Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3, stride=2), nn.Conv2d(16, 12, 3)
        self.norm, self.classifier = nn.BatchNorm2d(16), nn.Linear(12, 10)
        self.block = nn.Identity()
        self.relu1, self.relu2, self.relu3 = relu(), relu(), relu()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.norm(self.second(self.relu1(self.first(x)))))
        x = self.relu3(self.third(self.block(x)))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


RELUS: dict[str, Callable[[], Any]] = {
    "module": nn.ReLU,
    "in place": lambda: nn.ReLU(inplace=True),
    "function": lambda: F.relu,
    "function in place": lambda: F.relu_,
    "method": lambda: torch.Tensor.relu,
}


@pytest.fixture(params=sorted(RELUS))
def small(request: pytest.FixtureRequest) -> Subject:
    """The small network with each kind of ReLU, float32, batch norm with statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = SmallNetwork(RELUS[request.param])
        network.train()(torch.randn(16, 3, 24, 24))
        inputs = torch.randn(4, 3, 24, 24)
    return Subject(network.eval(), inputs, ("block",))


@pytest.fixture(params=["mobilenet_v2_imagenet", "resnet20_cifar10", "resnet56_cifar10"])
def trained(request: pytest.FixtureRequest, assets: Path, load_asset: Callable[[str], Any]) -> Subject:
    """A trained network with photographs of the kind it was trained on."""
    network, preprocess, _ = load_asset(request.param)
    if request.param.startswith("mobilenet"):
        files = [assets / "photos" / name for name in PHOTOS]
        layers: tuple[str, ...] = ("head", "blocks.13")
    else:
        files = sorted((assets / "data" / "cifar10_test20").glob("*.png"))[:CIFAR]
        layers = ("layer3", "layer2")
    return Subject(network, torch.cat([preprocess(Image.open(f).convert("RGB")) for f in files]), layers)
