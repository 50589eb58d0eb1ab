"""Networks and inputs that break tools."""

from __future__ import annotations

import copy
import threading
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import ModelError
from fluoroscope.model.graph.tracing import trace
from fluoroscope.model.graph.unfolding import executed
from tests.contract.networks import differences, snapshot
from tests.model.graph.networks import CASES, Experts, Inside, Language, Pyramid, Recurrent, Shared, image


class Nested(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + 1


def nested(depth):
    module = nn.Linear(4, 4)
    for _ in range(depth):
        module = Nested(module)
    return module


@pytest.mark.parametrize("depth", [3, 600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_any_depth(depth, tmp_path):
    module = nested(depth)
    graph = fs.Architecture()(module, image(1, 4))
    assert graph.complete
    assert graph.operations == depth + 2
    assert len(graph.nodes) == 2 * depth + 2  # every wrapper but the network itself, every addition, input, output
    assert fs.open_result(graph.save(tmp_path / "deep.fluo")).operations == graph.operations
    assert not any(e.error for e in graph.nodes)


def test_a_module_called_a_thousand_times():
    graph = fs.Architecture()(Recurrent(), image(1, 1000, 6))
    loop = next(n for n in graph.nodes if n.times == 1000)
    assert loop.repeat == "recurrence"
    assert len(graph.nodes) < 20
    cell = graph.node("cell")
    assert cell.parameters == sum(p.numel() for p in nn.GRUCell(6, 8).parameters())
    assert graph.parameters == cell.parameters
    assert loop.parameters == cell.parameters
    assert any(e.fold == "carried" for e in graph.edges)


def test_wrong_shape_gives_the_graph_up_to_there():
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(9, 2)), nn.ReLU())
    graph = fs.Architecture()(module, image(1, 4))
    assert not graph.complete
    failing = [n for n in graph.nodes if n.error]
    assert [n.name for n in failing] == ["2.0"]
    assert "RuntimeError" in failing[0].error
    assert [n.name for n in graph.nodes if n.role == "module"] == ["0", "1", "2", "2.0"]
    assert "trace ended early" in graph.notes[-1]


def test_an_exception_in_the_networks_own_forward_is_a_node():
    class Raises(nn.Module):
        def forward(self, x):
            raise ValueError("planted <b>")

    graph = fs.Architecture()(Raises(), image(1, 4))
    assert [n.error for n in graph.nodes if n.error] == ["ValueError: planted <b>"]


def test_an_exception_that_the_network_catches_is_none():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(9, 4), nn.Linear(4, 4)

        def forward(self, x):
            try:
                return self.a(x)
            except RuntimeError:
                return self.b(x)

    graph = fs.Architecture()(Tries(), image(1, 4))
    assert graph.complete
    assert graph.node("b").outputs[0].shape == (1, 4)


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("options", [{}, {"device": "as is"}, {"reading": "autograd"}])
def test_the_network_is_as_before(name, options):
    build, args, kwargs = CASES[name]
    module = build().train()
    args, kwargs = copy.deepcopy((args, kwargs))
    before, inputs = snapshot(module), copy.deepcopy((args, kwargs))
    fs.Architecture(**options)(module, args or kwargs)
    assert differences(before, snapshot(module)) == []
    assert all(torch.equal(a, b) for a, b in zip(args, inputs[0], strict=True))
    assert all(not vars(a) for a in args)


def test_state_in_objects_is_kept_and_never_remembered():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.state = nn.Linear(4, 4), SimpleNamespace(calls=0)

        def forward(self, x):
            self.state.calls += 1
            return self.fc(x) if self.state.calls % 2 else F.relu(self.fc(x))

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Part()

        def forward(self, x):
            for _ in range(6):
                x = self.part(x)
            return x

    module = Loop()
    steps = trace(module, (image(1, 4),), real=False, share=True)
    assert sum(call[0] == "aten.relu.default" for _, _, call in executed(steps.root)) == 3
    assert module.part.state.calls == 0


def test_numbers_that_decide_are_assumed_on_shapes_and_followed_for_real():
    class Decides(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            y = self.fc(x)
            if bool((y * 0 == 0).all()):  # always so
                return y.sigmoid()
            return y.tanh()

    module = Decides()
    assumed = fs.Architecture(device="meta")(module, image(1, 4))
    real = fs.Architecture()(module, image(1, 4))
    assert [n.name for n in assumed.nodes if n.assumed] == ["bool"]
    assert {"tanh"} == {n.name for n in assumed.nodes} & {"tanh", "sigmoid"}
    assert {"sigmoid"} == {n.name for n in real.nodes} & {"tanh", "sigmoid"}
    assert not any(n.assumed for n in real.nodes)
    with torch.device("meta"):
        weightless = Decides()
    assert any(n.assumed for n in fs.Architecture()(weightless, image(1, 4)).nodes)


def test_routing_is_spread_evenly():
    graph = fs.Architecture(device="meta")(Experts(), image(1, 16, 8))
    group = next(n for n in graph.nodes if n.times == 8)
    assert group.repeat == "parallel"
    assert group.members == ("experts.0 … experts.7",)
    where = next(n for n in graph.nodes if n.name == "where")
    assert "4 of 32" in where.assumed[0]  # 16 tokens, 2 of 8 experts each: 4 for each expert
    assert graph.node("experts.0").outputs[0].shape == (4, 8)
    assert group.flops == 2 * 2 * 4 * 8 * 16


def test_integer_inputs_keep_their_values():
    class Lengths(nn.Module):
        def forward(self, x, lengths):
            return x[:, : int(lengths.max())].cumsum(1)

    graph = fs.Architecture(device="meta")(Lengths(), (image(2, 9), torch.tensor([3, 5])))
    assert graph.nodes[-1].outputs[0].shape == (2, 5)
    assert not any(n.assumed for n in graph.nodes)


def test_shared_layers_count_once_and_say_so():
    graph = fs.Architecture()(Shared(), image(2, 8))
    assert graph.parameters == 2 * 72
    assert sum(n.parameters for n in graph.nodes if n.parent == -1) == 144
    assert ("fc",) in [n.shares for n in graph.nodes]
    tied = fs.Architecture()(Language(), torch.zeros(1, 8, dtype=torch.long))
    assert tied.node("head").shares == ("embed",)
    assert tied.node("head").parameters == 0


def test_writes_are_edges():
    graph = fs.Architecture()(Inside(), image(2, 3, 8, 8))
    by_id = {n.id: n for n in graph.nodes}
    into_mean = {by_id[e.source].name for e in graph.edges if by_id[e.target].name == "mean"}
    assert {"add_", "fill_", "setitem"} & into_mean  # what was written through views reaches what is read later
    assert any(n.role == "buffer" and n.name == "seen" for n in graph.nodes)


def test_outputs_of_some_instances_leave_a_fold():
    graph = fs.Architecture()(Pyramid(), image(2, 8))
    stack = next(n for n in graph.nodes if n.name == "stack")
    assert [e.fold for e in graph.edges if e.target == stack.id] == ["each"]


def test_masks_and_rotary_tables_are_hubs():
    graph = fs.Architecture()(Language(12), torch.zeros(1, 8, dtype=torch.long))
    hubs = {graph.nodes[e.source].name for e in graph.edges if e.hub}
    assert hubs == {"tril"}


def test_lazy_layers_are_refused():
    with pytest.raises(ModelError, match="never run"):
        fs.Architecture()(nn.Sequential(nn.LazyLinear(3)), image(1, 4))


def test_hostile_names_and_no_modules():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module('a"<b>]🙂', nn.Linear(4, 4))

        def forward(self, x):
            return self.get_submodule('a"<b>]🙂')(x)

    assert fs.Architecture()(Odd(), image(1, 4)).node('a"<b>]🙂').flops == 32
    assert fs.Architecture()(nn.Identity(), image(1, 4)).complete


def test_other_threads_are_not_watched():
    other, seen = nn.Linear(4, 4), []
    weight = torch.rand(1, 4)

    class Waits(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            thread = threading.Thread(target=lambda: seen.append(other(weight)))
            thread.start()
            thread.join()
            return self.fc(x)

    graph = fs.Architecture()(Waits(), image(1, 4))
    assert graph.operations == 2
    assert torch.equal(seen[0], other(weight))


def test_functional_calls_in_the_right_module():
    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Conv2d(3, 4, 3))

        def forward(self, x):
            return F.adaptive_avg_pool2d(F.relu(self.inner(x), inplace=True), 1).flatten(1)

    graph = fs.Architecture()(Calls(), image(1, 3, 8, 8))
    names = [(n.name, n.parent) for n in graph.nodes if n.role == "operation"]
    assert names == [("relu", -1), ("adaptive_avg_pool2d", -1), ("flatten", -1)]
    assert all("test_survives.py:" in n.code for n in graph.nodes if n.role == "operation")


def test_depth_closes_modules():
    whole = fs.Architecture()(Language(), torch.zeros(1, 8, dtype=torch.long))
    top = fs.Architecture(depth=1)(Language(), torch.zeros(1, 8, dtype=torch.long))
    assert {n.parent for n in top.nodes} == {-1}
    assert (top.flops, top.operations) == (whole.flops, whole.operations)
    block = top.node("layers.0")
    assert {(e.source, e.fold) for e in top.edges if e.target == block.id} >= {(block.id, "carried")}
