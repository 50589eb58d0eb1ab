"""A small network in a file, small pictures, and the command line as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import fluoroscope
from fluoroscope.cli import main

SOURCE = str(Path(fluoroscope.__file__).parents[1])
"""What a process of its own needs on its path."""

NETWORK = '''
import torch
from torch import nn
from fluoroscope import ImagePreprocess


class Net(nn.Module):
    """Two convolutions and a dense layer; class 0 is the mean of red, class 1 of green, class 2 of blue."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.unused = nn.Linear(2, 2)
        self.fc = nn.Linear(8, 3)

    def features(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class NoGradient(Net):
    def forward(self, x):
        return super().forward(x).detach()


class Nan(Net):
    def forward(self, x):
        return super().forward(x) / 0.0 * 0.0


class Faulty(Net):
    def forward(self, x):
        raise RuntimeError("wires crossed")


class Quits(Net):
    def forward(self, x):
        raise KeyboardInterrupt


def net(kind="Net", width=4, loud=False):
    torch.manual_seed(0)
    if loud:
        print("building a network")
    return globals()[kind](), ImagePreprocess(size=16), ["red", "green", "\\x1b[31mblue"]


def bare():
    return net()[0]


def table():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
'''


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``net.py`` and ``photos/`` with three pictures and a text."""
    made = tmp_path_factory.mktemp("user")
    (made / "net.py").write_text(NETWORK)
    (made / "photos").mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(random.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(made / "photos" / name)
    (made / "photos" / "notes.txt").write_text("not a picture")
    return made


@pytest.fixture(scope="session")
def model(folder: Path) -> str:
    return f"{folder / 'net.py'}:net"


@pytest.fixture(scope="session")
def photos(folder: Path) -> str:
    return str(folder / "photos")


@pytest.fixture
def run() -> Callable[..., Result]:
    """The command line in this process: ``run("layers", model)``; no exception may leave it."""

    def started(*arguments: Any) -> Result:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return started


@pytest.fixture
def process(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line as a process of its own."""

    def started(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": SOURCE, "MPLBACKEND": "Agg"}
        command = [sys.executable, "-m", "fluoroscope.cli", *map(str, arguments)]
        options = {"capture_output": True, "text": True, "timeout": 120, "cwd": folder, **options}
        return subprocess.run(command, env=environment, check=False, **options)

    return started


def one_error(result: Result, code: str) -> str:
    """The message of the only error, which is of kind ``code`` and no traceback."""
    text = result.stderr
    assert "Traceback" not in text
    assert text.count("FS-") == 1, text
    assert f"{code}:" in text
    assert len(text[text.index("FS-") :].splitlines()) <= 7
    return text


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)
