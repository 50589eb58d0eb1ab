"""What is traced, folded and unfolded again is exactly what a plain dispatch mode sees."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fluoroscope as fs
from fluoroscope.model.graph.nested import mapped, tensors_in
from fluoroscope.model.graph.tracing import trace
from fluoroscope.model.graph.unfolding import executed
from tests.model.graph.networks import CASES

pytestmark = pytest.mark.parametrize("name", list(CASES))


class Plain(TorchDispatchMode):
    """The slow reference: hooks for the module that runs, a list of all operations."""

    def __init__(self, module):
        super().__init__()
        self.module, self.path, self.seen = module, [""], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        shapes = tuple(tuple(t.shape) for t in tensors_in(result))
        self.seen.append((self.path[-1], str(func), shapes))
        return result

    def left(self, module, args, output):
        self.path.pop()

    def run(self, args, kwargs):
        handles = []
        for name, part in self.module.named_modules():
            handles.append(part.register_forward_pre_hook(lambda m, a, name=name: self.path.append(name)))
            handles.append(part.register_forward_hook(self.left, always_call=True))
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), self:
            self.module(*args, **kwargs)
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
        return self.seen


def made(name):
    torch.manual_seed(0)
    build, args, kwargs = CASES[name]
    return build().eval(), args, kwargs


def found(module, args, kwargs, **options):
    steps = trace(module, args, kwargs, **options)
    assert steps.error is None
    return [(path, call[0], call[1]) for path, _, call in executed(steps.root)]


def test_real_trace_is_the_reference(name):
    module, args, kwargs = made(name)
    expected = Plain(module).run(args, kwargs)
    module, *_ = made(name)
    assert found(module, args, kwargs, real=True, share=False) == expected


def test_memory_changes_nothing(name):
    module, args, kwargs = made(name)
    full = found(module, args, kwargs, real=False, share=False)
    assert found(module, args, kwargs, real=False, share=True) == full
    assert len(full) > 3


def test_shapes_are_those_of_the_meta_device(name):
    module, args, kwargs = made(name)
    mine = found(module, args, kwargs, real=False, share=True)
    module, args, kwargs = made(name)
    args, kwargs = mapped((args, kwargs), lambda t: t.to("meta"))
    with torch.device("meta"):  # what the networks make themselves, too
        expected = Plain(module.to("meta")).run(args, kwargs)
    assert mine == expected


def test_folded_graph_unfolds_to_the_full_one(name):
    module, args, kwargs = made(name)
    options = {"device": "meta"}
    inputs = args or kwargs
    folded = fs.Architecture(**options)(module, inputs)
    full = fs.Architecture(fold=False, **options)(module, inputs)
    mine = [(n, *key(node)) for n, node in folded.unfolded() if node.role in ("module", "operation")]
    assert mine == [(n, *key(node)) for n, node in full.unfolded() if node.role in ("module", "operation")]
    for total in ("operations", "flops", "parameters", "activation_bytes", "modules"):
        assert getattr(folded, total) == getattr(full, total)
    assert folded.operations == sum(node.operations for _, node in folded.unfolded() if not folded.children(node.id))


def key(node):
    return node.role, node.type, tuple((o.shape, o.dtype) for o in node.outputs), node.operations, node.flops


def test_costs_are_those_of_the_layer_table(name):
    module, args, kwargs = made(name)
    inputs = args or kwargs
    graph = fs.Architecture()(module, inputs)
    real = fs.Architecture(device="as is")(module, inputs)
    part = {k: v[:1] for k, v in kwargs.items()} if kwargs else tuple(a[:1] for a in args)
    one = fs.Architecture()(module, part)
    table = fs.LayerTable()(module, part if kwargs else part[0])
    assert one.flops == table.flops
    assert graph.flops == real.flops
    assert (graph.parameters, graph.trainable, graph.parameter_bytes) == (
        table.parameters,
        table.trainable,
        table.parameter_bytes,
    )


def test_edges_are_those_of_a_full_trace(name):
    """Every edge of the folded graph stands for edges of the full one, and all of those are stood for."""
    module, args, kwargs = made(name)
    inputs = args or kwargs
    folded = fs.Architecture(device="meta")(module, inputs)
    full = fs.Architecture(fold=False, device="meta")(module, inputs)
    canonical = {}
    numbers = {}
    for _, node in folded.unfolded():
        numbers.setdefault(len(numbers), node.id)
    for number, (_, node) in enumerate(full.unfolded()):
        canonical[node.id] = numbers[number]
    expected = {(canonical[e.source], canonical[e.target], e.output) for e in full.edges}
    assert {(e.source, e.target, e.output) for e in folded.edges} == expected
