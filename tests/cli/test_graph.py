"""``fluoroscope graph``: the table, JSON, files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

import fluoroscope as fs
from tests.cli.conftest import as_json


@pytest.fixture
def stack(folder):
    (folder / "stack.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Block(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 4)\n"
        "    def forward(self, x):\n"
        "        return x + self.b(torch.relu(self.a(x)))\n"
        "def build(layers=5):\n"
        "    return nn.Sequential(*[Block() for _ in range(layers)])\n"
    )
    return f"{folder / 'stack.py'}:build"


def test_table(run, stack):
    result = run("graph", stack, "--input-shape", "4")
    assert result.exit_code == 0
    block = next(line for line in result.stdout.splitlines() if "× 5" in line)
    # 4 x 8 + 8 and 8 x 4 + 4 parameters; 2 multiply-adds of 32 weights, twice
    assert block.split()[:3] == ["0", "…", "4"] and "Block" in block and " 76 " in block and " 128 " in block
    assert "repetition" in block
    assert "380 parameters, 640 FLOPs" in result.stdout


def test_json_has_the_librarys_numbers(run, stack):
    answer = as_json(run("graph", stack, "--json", "--arg", "layers=3"))
    graph = fs.Architecture()(fs.load(stack, layers=3))
    assert answer["operations"] == graph.operations
    assert [n["name"] for n in answer["nodes"]] == [n.name for n in graph.nodes]
    assert answer["complete"] is True


def test_no_fold_and_depth(run, stack):
    assert len(as_json(run("graph", stack, "--json", "--no-fold"))["nodes"]) > 20
    flat = as_json(run("graph", stack, "--json", "--depth", "1"))["nodes"]
    assert {n["parent"] for n in flat} == {-1}


def test_autograd(run, stack):
    answer = as_json(run("graph", stack, "--json", "--autograd"))
    assert answer["reading"] == "autograd"
    assert {"leaf", "function", "saved"} <= {n["role"] for n in answer["nodes"]}


def test_files(run, stack, folder):
    paths = [folder / f"net{ending}" for ending in (".fluo", ".svg", ".dot", ".json", ".html")]
    outs = [part for path in paths for part in ("--out", str(path))]
    result = run("graph", stack, *outs)
    assert result.exit_code == 0
    assert fs.open_result(paths[0]).parameters == 380
    ElementTree.fromstring(paths[1].read_text())
    assert paths[2].read_text().startswith("digraph")
    assert json.loads(paths[3].read_text())
    assert "model-graph" in paths[4].read_text()


def test_unknown_ending(run, stack, folder):
    result = run("graph", stack, "--out", str(folder / "net.bmp"))
    assert result.exit_code == 2
    assert ".svg" in result.stderr


def test_a_failing_forward_is_a_line(run, stack):
    result = run("graph", stack, "--input-shape", "5", "--partial")
    assert result.exit_code == 0
    assert "RuntimeError" in result.stdout
    assert "trace ended early" in result.stderr
