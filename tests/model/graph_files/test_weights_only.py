"""The tree of a file of weights: no flow, but modules, parameters, bytes and what repeats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import fluoroscope as fs
from fluoroscope.errors import ModelError
from fluoroscope.model.graph.files.weights_graph import weights_graph


def saved(path: Path) -> Path:
    tensors = {"embed.weight": torch.zeros(100, 8, dtype=torch.bfloat16), "scale": torch.zeros(())}
    for i in range(12):
        tensors |= {f"layers.{i}.fc.weight": torch.zeros(8, 8), f"layers.{i}.fc.bias": torch.zeros(8)}
        tensors |= {
            f"layers.{i}.norm.weight": torch.zeros(8),
            f"layers.{i}.norm.steps": torch.zeros(1, dtype=torch.int64),
        }
    save_file(tensors, path)
    return path


def test_modules_parameters_bytes_and_repeats(tmp_path: Path) -> None:
    graph = weights_graph(saved(tmp_path / "net.safetensors"))
    block = next(n for n in graph.nodes if n.times > 1)
    assert (block.times, block.repeat, block.members) == (12, "repetition", ("layers.0 … layers.11",))
    assert block.parameters == 64 + 8 + 8
    assert graph.parameters == 800 + 1 + 12 * 80
    assert graph.parameter_bytes == 1600 + 4 + 12 * 80 * 4
    assert graph.trainable == 800 + 1 + 12 * 80
    assert graph.edges == ()
    assert graph.operations == 0
    assert any("does not say what flows" in note for note in graph.notes)
    assert graph.node("layers.0.fc").attributes == {"bias": "float32 8", "weight": "float32 8 x 8"}
    whole = weights_graph(saved(tmp_path / "net.safetensors"), fold=False)
    assert sum(n.name.endswith(".fc") for n in whole.nodes) == 12
    assert whole.parameters == graph.parameters


def test_layers_that_differ_do_not_fold(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({f"layers.{i}.weight": torch.zeros(4, 4 + (i == 2)) for i in range(4)}, path)
    graph = weights_graph(path)
    assert sum(n.times for n in graph.nodes if n.name.startswith("layers.")) == 4
    assert max(n.times for n in graph.nodes) <= 2


def test_the_method_reads_it_and_broken_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors")
    assert fs.Architecture()(path).parameters == weights_graph(path).parameters
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="net"):
        weights_graph(path)


def test_real_weights(assets: Path) -> None:
    """Buffers of batch norms are told apart: the numbers are those of the networks."""
    for name, parameters in (("resnet20_cifar10", 269_722), ("vit_mnist", 499_722)):
        assert weights_graph(assets / "models" / f"{name}.safetensors").parameters == parameters
