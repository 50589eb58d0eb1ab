"""The autograd reading against autograd itself, run for real."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fluoroscope as fs
from tests.model.graph.networks import CASES, Recurrent, image

PLAIN = ["inside", "branches", "pyramid", "keywords", "unet", "shared", "recurrent", "vgg", "counting"]


def functions(outputs):
    """Every function behind some tensors, once; leaves apart."""
    found, leaves, stack = {}, {}, [t.grad_fn for t in outputs if t.grad_fn is not None]
    while stack:
        at = stack.pop()
        if hasattr(at, "variable"):
            leaves[id(at.variable)] = at.variable
        elif id(at) not in found:
            found[id(at)] = at
            stack += [before for before, _ in at.next_functions if before is not None]
    return list(found.values()), list(leaves.values())


def tensors(item):
    if isinstance(item, torch.Tensor):
        return [item]
    parts = item.values() if isinstance(item, dict) else item
    return [t for part in parts for t in tensors(part)]


@pytest.mark.parametrize("name", PLAIN)
def test_functions_and_leaves_are_those_of_autograd(name):
    build, args, kwargs = CASES[name]
    module = build().train()
    graph = fs.Architecture(reading="autograd", fold=False)(module, args or kwargs)
    expected, leaves = functions(tensors(module(*args, **kwargs)))
    assert sorted(n.name for n in graph.nodes if n.role == "function") == sorted(f.name() for f in expected)
    names = {id(p): n for n, p in module.named_parameters()}
    assert {n.name for n in graph.nodes if n.role == "leaf"} == {names[id(v)] for v in leaves}


@pytest.mark.parametrize("name", ["branches", "pyramid", "shared", "recurrent"])
def test_saved_bytes_are_what_autograd_keeps(name):
    build, args, kwargs = CASES[name]
    module = build().train()
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(*args, **kwargs)
    graph = fs.Architecture(reading="autograd")(module, args or kwargs)
    assert graph.activation_bytes == sum(s.nbytes() for s in kept.values())


def test_it_is_folded_and_in_modules():
    graph = fs.Architecture(reading="autograd")(Recurrent(), image(1, 50, 6))
    loop = next(n for n in graph.nodes if n.times > 40)
    assert loop.repeat == "recurrence"
    full = fs.Architecture(reading="autograd", fold=False)(Recurrent(), image(1, 50, 6))
    assert graph.operations == full.operations == sum(n.role == "function" for n in full.nodes)
    assert graph.reading == "autograd"
    assert {n.role for n in graph.nodes} == {"module", "function", "leaf", "saved", "output"}


def test_a_frozen_part_has_no_functions():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[0].requires_grad_(False)
    graph = fs.Architecture(reading="autograd")(module, image(1, 4))
    assert {n.name for n in graph.nodes if n.role == "module"} == {"2"}


def test_an_input_that_asks_for_a_gradient_is_a_leaf():
    x = image(1, 4).requires_grad_()
    graph = fs.Architecture(reading="autograd")(nn.Linear(4, 2), x)
    assert {n.name for n in graph.nodes if n.role == "leaf"} == {"input", "weight", "bias"}
    assert x.grad is None
