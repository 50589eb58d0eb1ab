"""Graphs of ONNX files: structure, shapes and costs by hand; files that are broken or mean harm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluoroscope.errors import FluoroscopeError, InputError, MissingExtra, ModelError
from fluoroscope.model.graph.files.onnx_graph import onnx_graph

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
FLOAT, INT64 = 1, 7
helper = onnx.helper


def weight(name: str, *shape: int) -> Any:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return onnx.numpy_helper.from_array(values, name)


def save(
    path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], weights: list[Any] = (), **more: Any
) -> Path:  # type: ignore[assignment]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in outputs.items()],
        list(weights),
    )
    path.write_bytes(helper.make_model(graph, **more).SerializeToString())
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A convolution, a ReLU, a mean over positions, a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["a"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    weights = [
        weight("conv.weight", 8, 3, 3, 3),
        weight("conv.bias", 8),
        weight("fc.weight", 5, 8),
        weight("fc.bias", 5),
    ]
    return save(tmp_path / "small.onnx", nodes, {"x": ["batch", 3, 16, 16]}, {"y": ["batch", 5]}, weights)


def test_structure_shapes_and_costs_by_hand(small: Path) -> None:
    graph = onnx_graph(small)
    assert [(n.role, n.type) for n in graph.nodes] == [
        ("input", ""),
        ("module", "Conv"),
        ("operation", "Relu"),
        ("operation", "GlobalAveragePool"),
        ("operation", "Flatten"),
        ("module", "Gemm"),
        ("output", ""),
    ]
    assert [n.outputs[0].shape for n in graph.nodes[1:6]] == [(1, 8, 8, 8), (1, 8, 8, 8), (1, 8, 1, 1), (1, 8), (1, 5)]
    assert [(e.source, e.target) for e in graph.edges] == [(i, i + 1) for i in range(6)]
    assert graph.node("conv").parameters == 8 * 27 + 8
    assert graph.node("conv").flops == 2 * 8 * 8 * 8 * 27
    assert graph.node("fc").flops == 2 * 5 * 8
    assert graph.parameters == 8 * 27 + 8 + 45
    assert graph.parameter_bytes == 4 * graph.parameters
    assert graph.operations == 5
    assert any("batch" in note for note in graph.notes)


def test_open_sizes_can_be_given(small: Path) -> None:
    graph = onnx_graph(small, sizes={"batch": 7})
    assert graph.node("fc").outputs[0].shape == (7, 5)


def test_repeated_blocks_fold_and_unfold(tmp_path: Path) -> None:
    nodes, weights, last = [], [], "x"
    for i in range(12):
        weights += [weight(f"w{i}", 8, 8)]
        nodes += [
            helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"], name=f"/layers.{i}/linear/MatMul"),
            helper.make_node("Relu", [f"m{i}"], [f"r{i}"], name=f"/layers.{i}/act/Relu"),
            helper.make_node("Add", [f"r{i}", last], [f"a{i}"], name=f"/layers.{i}/Add"),
        ]
        last = f"a{i}"
    path = save(tmp_path / "deep.onnx", nodes, {"x": [1, 8]}, {last: [1, 8]}, weights)
    folded, whole = onnx_graph(path), onnx_graph(path, fold=False)
    block = next(n for n in folded.nodes if n.times > 1)
    assert (block.times, block.repeat, block.members) == (12, "repetition", ("layers.0 … layers.11",))
    assert folded.operations == whole.operations == 36
    assert folded.parameters == whole.parameters == 12 * 64
    assert len(folded.nodes) < len(whole.nodes) / 5


def test_a_weight_used_twice_counts_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    graph = onnx_graph(save(tmp_path / "tied.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, [weight("w", 4, 4)]))
    assert graph.parameters == 16
    assert graph.flops == 2 * 2 * 16


def branches(depth: int) -> Any:
    if not depth:
        return helper.make_graph(
            [helper.make_node("Relu", ["x"], ["r0"])], "b", [], [helper.make_tensor_value_info("r0", FLOAT, [1, 4])]
        )
    node = helper.make_node("If", ["c"], [f"r{depth}"], then_branch=branches(depth - 1), else_branch=branches(0))
    return helper.make_graph([node], "b", [], [helper.make_tensor_value_info(f"r{depth}", FLOAT, [1, 4])])


def test_branches_are_modules(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["c"], ["y"], name="choose", then_branch=branches(1), else_branch=branches(0)),
    ]
    graph = onnx_graph(save(tmp_path / "if.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}))
    choose = graph.node("choose")
    assert choose.type == "If"
    assert any("depends on data" in text for text in choose.assumed)
    assert {n.name for n in graph.children(choose.id)} >= {"choose.then_branch", "choose.else_branch"}
    relus = [n.id for n in graph.nodes if "Relu" in (n.type, n.attributes.get("operation"))]
    assert len(relus) == 3
    assert {e.source for e in graph.edges if e.target in relus} == {graph.node("x").id}


def test_functions_of_the_file_are_modules(tmp_path: Path) -> None:
    body = [helper.make_node("MatMul", ["p", "q"], ["m"]), helper.make_node("Relu", ["m"], ["o"])]
    opset = helper.make_opsetid("", 17)
    function = helper.make_function("mine", "Block", ["p", "q"], ["o"], body, [opset])
    nodes = [helper.make_node("Block", ["x", "w"], ["y"], domain="mine", name="block")]
    path = save(
        tmp_path / "function.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, [weight("w", 4, 4)], functions=[function],
        opset_imports=[opset, helper.make_opsetid("mine", 1)],
    )  # fmt: skip
    graph = onnx_graph(path)
    assert graph.node("block").type == "Block"
    assert [n.type for n in graph.nodes if n.parent == graph.node("block").id] == ["MatMul", "Relu"]
    assert graph.parameters == 16


def test_recurrent_flops(tmp_path: Path) -> None:
    length, size, hidden = 5, 3, 4
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)]
    weights = [weight("w", 1, 4 * hidden, size), weight("r", 1, 4 * hidden, hidden)]
    graph = onnx_graph(
        save(tmp_path / "lstm.onnx", nodes, {"x": [length, 1, size]}, {"y": [length, 1, 1, hidden]}, weights)
    )
    assert graph.flops == 2 * length * 4 * hidden * (size + hidden)


def test_truncated_anywhere_is_one_clear_error(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    refused = 0
    for place in range(1, len(whole), max(1, len(whole) // 60)):
        cut = tmp_path / "cut.onnx"
        cut.write_bytes(whole[:place])
        try:
            onnx_graph(cut)
        except ModelError as error:
            assert "cut.onnx" in str(error)
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("content", [b"\x00" * 100, b"not a network", b"\xff" * 1000, b"\x08" + b"\x80" * 40])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        onnx_graph(path)


@pytest.mark.parametrize("dims", [[10**6, 10**6], [-1, 4], [2**62, 8]])
def test_sizes_that_lie_are_found_before_anything_is_made(tmp_path: Path, dims: list[int]) -> None:
    lie = weight("w", 4, 4)
    del lie.dims[:]
    lie.dims.extend(dims)
    with pytest.raises(ModelError, match="'w'"):
        onnx_graph(
            save(
                tmp_path / "lie.onnx",
                [helper.make_node("MatMul", ["x", "w"], ["y"])],
                {"x": [1, 4]},
                {"y": [1, 4]},
                [lie],
            )
        )


def test_weights_in_files_beside_are_not_opened(tmp_path: Path) -> None:
    outside = weight("w", 4, 4)
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    graph = onnx_graph(
        save(
            tmp_path / "beside.onnx",
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            {"x": [1, 4]},
            {"y": [1, 4]},
            [outside],
        )
    )
    assert graph.parameters == 16


def test_names_are_kept_as_they_are(tmp_path: Path) -> None:
    name = '<script>"alert"</script> \n{[|]} ☃'
    graph = onnx_graph(
        save(tmp_path / "names.onnx", [helper.make_node("Relu", [name], ["y"])], {name: [1]}, {"y": [1]})
    )
    assert graph.nodes[0].name == name


def test_missing_file_and_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        onnx_graph(tmp_path / "none.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtra, match="onnx"):
        onnx_graph(small)


def test_real_networks(assets: Path) -> None:
    """Counts that the files themselves have: operations are their nodes, constants left out."""
    for file in (assets / "models").glob("*.onnx"):
        graph, model = onnx_graph(file), onnx.load(str(file))
        nodes = list(every_node(model.graph))
        assert graph.operations == sum(n.op_type != "Constant" for n in nodes)
        weights = [w for g in every_graph(model.graph) for w in g.initializer if w.data_type == FLOAT]
        used = {name for n in nodes for name in n.input}
        assert graph.parameters == sum(math.prod(w.dims) for w in weights if w.name in used)
        assert graph.complete


def every_graph(graph: Any) -> Any:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_graph(attribute.g)


def every_node(graph: Any) -> Any:
    for inner in every_graph(graph):
        yield from inner.node


def test_error_is_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.write_bytes(helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString())
    with pytest.raises(FluoroscopeError, match="no operations"):
        onnx_graph(path)


def test_the_weights_of_a_file_can_be_looked_at(small: Path) -> None:
    import fluoroscope as fs
    from fluoroscope.model.weights import Checkpoint

    found = Checkpoint.open(small)
    assert [w.name for w in found.weights] == ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
    expected = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    record = fs.WeightMaps()(small).tensor("fc.weight")
    assert record.shape == (5, 8)
    np.testing.assert_allclose(record.statistics["l2"], np.linalg.norm(expected.astype(np.float64)), rtol=1e-6)
    small.write_bytes(small.read_bytes()[:100])
    with pytest.raises(ModelError):
        Checkpoint.open(small)
