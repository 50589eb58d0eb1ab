"""Real networks: costs are those of the layer table, unfolding gives the full trace, and a real run gives the same."""

from __future__ import annotations

import pytest
import torch

import fluoroscope as fs

INPUTS = {
    "resnet20_cifar10": torch.zeros(1, 3, 32, 32),
    "resnet56_cifar10": torch.zeros(1, 3, 32, 32),
    "mobilenet_v2_imagenet": torch.zeros(1, 3, 224, 224),
    "lenet_cifar10": torch.zeros(1, 3, 32, 32),
    "vit_mnist": torch.zeros(1, 1, 28, 28),
    "gpt_sort": torch.zeros(1, 11, dtype=torch.long),
    "lstm_chars": torch.ones(1, 20, dtype=torch.long),
    "mlp_titanic": torch.zeros(1, 12),
}


@pytest.mark.parametrize("name", list(INPUTS))
def test_real_network(name, load_asset):
    model, *_ = load_asset(name)
    x = INPUTS[name]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    graph = fs.Architecture()(model, x)
    assert graph.complete, graph.notes
    full = fs.Architecture(fold=False)(model, x)
    real = fs.Architecture(device="as is")(model, x)
    table = fs.LayerTable()(model, x)
    assert graph.flops == full.flops == real.flops == table.flops
    assert (graph.parameters, graph.trainable) == (table.parameters, table.trainable)
    assert steps(graph) == steps(full)
    assert not any(n.assumed for n in graph.nodes)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    outputs = [[t.shape for t in n.outputs] for g in (graph, real) for n in g.nodes if n.role == "output"]
    assert outputs[: len(outputs) // 2] == outputs[len(outputs) // 2 :]


def steps(graph):
    return [(name, n.type, [t.shape for t in n.outputs]) for name, n in graph.unfolded() if n.role != "parameter"]


def test_a_resnet_folds(load_asset):
    model, *_ = load_asset("resnet56_cifar10")
    graph = fs.Architecture()(model, INPUTS["resnet56_cifar10"])
    assert sorted(n.times for n in graph.nodes if n.type == "BasicBlock" and n.times > 1) == [8, 8, 9]
