"""Graphs built by hand, as the tracer would build them."""

from __future__ import annotations

from itertools import pairwise

from fluoroscope.results import GraphEdge, GraphNode, GraphTensor, ModelGraph


class Builder:
    """Adds nodes and edges one by one."""

    def __init__(self) -> None:
        self.nodes: list[GraphNode] = []
        self.edges: list[GraphEdge] = []

    def node(self, name, type="", parent=-1, role="module", shape=(), dtype="float32", **more) -> int:
        size = 4
        for n in shape:
            size *= n
        outputs = (GraphTensor(shape=tuple(shape), dtype=dtype, bytes=size),) if shape else ()
        number = len(self.nodes)
        defaults = {"alike": number, "activation_bytes": size if shape else 0}
        made = {**defaults, **more}
        self.nodes.append(GraphNode(id=number, parent=parent, role=role, name=name, type=type, outputs=outputs, **made))
        return number

    def edge(self, source, target, **more) -> None:
        outputs = self.nodes[source].outputs
        more = {"tensor": outputs[0] if outputs else None, **more}
        self.edges.append(GraphEdge(source=source, target=target, **more))

    def chain(self, *ends) -> None:
        for a, b in pairwise(ends):
            self.edge(a, b)

    def graph(self, **more) -> ModelGraph:
        top = [n for n in self.nodes if n.parent == -1]
        totals = {
            "parameters": sum(n.parameters * n.times for n in top),
            "flops": sum(n.flops * n.times for n in top),
            "modules": sum(n.role == "module" for n in self.nodes),
            "operations": sum(n.operations * n.times for n in top),
        }
        return ModelGraph(nodes=tuple(self.nodes), edges=tuple(self.edges), **{**totals, **more})


def convolution(b, name, previous, channels, size, parent=-1, kernel=3, given=3, **more) -> int:
    parameters = channels * (given * kernel**2 + 1)
    node = b.node(
        name,
        "Conv2d",
        parent,
        shape=(1, channels, size, size),
        parameters=parameters,
        trainable=parameters,
        flops=2 * parameters * size**2,
        operations=1,
        attributes={"kernel_size": (kernel, kernel)},
        **more,
    )
    if previous is not None:
        b.edge(previous, node)
    return node


def lenet() -> ModelGraph:
    b = Builder()
    x = b.node("x", role="input", shape=(1, 1, 32, 32))
    c1 = convolution(b, "conv1", x, 6, 28, kernel=5, given=1)
    r1 = b.node("relu", "relu", role="operation", shape=(1, 6, 28, 28), operations=1)
    p1 = b.node("pool1", "MaxPool2d", shape=(1, 6, 14, 14), operations=1)
    c2 = convolution(b, "conv2", p1, 16, 10, kernel=5, given=6)
    r2 = b.node("relu", "relu", role="operation", shape=(1, 16, 10, 10), operations=1)
    p2 = b.node("pool2", "MaxPool2d", shape=(1, 16, 5, 5), operations=1)
    f = b.node("flatten", "Flatten", shape=(1, 400), operations=1)
    fc = [
        b.node(
            f"fc{i}", "Linear", shape=(1, w), parameters=v * w + w, trainable=v * w + w, flops=2 * v * w, operations=1
        )
        for i, (v, w) in enumerate([(400, 120), (120, 84), (84, 10)], 1)
    ]
    out = b.node("output", role="output", shape=(1, 10))
    b.chain(c1, r1, p1)
    b.chain(c2, r2, p2, f, *fc, out)
    return b.graph(title="LeNet-5")


def bottleneck(b, parent, name, previous, channels, size, times=1, project=False) -> tuple[int, int]:
    """A residual block of ResNet-50; returns the block and its last operation."""
    more = {"times": times, "repeat": "repetition" if times > 1 else ""}
    members = tuple(f"{name}.{i}" for i in range(times)) if times > 1 else ()
    block = b.node(name, "Bottleneck", parent, shape=(1, 4 * channels, size, size), members=members, **more)
    at = previous
    for i, (out, kernel) in enumerate([(channels, 1), (channels, 3), (4 * channels, 1)], 1):
        at = convolution(b, f"{name}.conv{i}", at, out, size, block, kernel, given=channels)
        norm = b.node(f"{name}.bn{i}", "BatchNorm2d", block, shape=(1, out, size, size), parameters=2 * out)
        b.edge(at, norm)
        at = norm
        if i < 3:
            relu = b.node(f"{name}.relu", "ReLU", block, shape=(1, out, size, size))
            b.edge(at, relu)
            at = relu
    skip = previous
    if project:
        down = b.node(f"{name}.downsample", "Sequential", block, shape=(1, 4 * channels, size, size))
        skip = convolution(b, f"{name}.downsample.0", previous, 4 * channels, size, down, 1, given=channels)
        norm = b.node(f"{name}.downsample.1", "BatchNorm2d", down, shape=(1, 4 * channels, size, size))
        b.edge(skip, norm)
        skip = norm
    add = b.node(f"{name}.add", "add", block, role="operation", shape=(1, 4 * channels, size, size))
    b.edge(at, add)
    b.edge(skip, add)
    last = b.node(f"{name}.relu", "ReLU", block, shape=(1, 4 * channels, size, size))
    b.edge(add, last)
    if times > 1:
        b.edge(last, block + 1, fold="carried")
    own = [n for n in b.nodes[block + 1 :] if n.parent == block]
    sums = {k: sum(getattr(n, k) for n in own) for k in ("parameters", "flops")}
    b.nodes[block] = b.nodes[block].replace(**sums)
    return block, last


def resnet50() -> ModelGraph:
    b = Builder()
    x = b.node("x", role="input", shape=(1, 3, 224, 224))
    at = convolution(b, "conv1", x, 64, 112, kernel=7)
    for name, cls, size in [("bn1", "BatchNorm2d", 112), ("relu", "ReLU", 112), ("maxpool", "MaxPool2d", 56)]:
        node = b.node(name, cls, shape=(1, 64, size, size))
        b.edge(at, node)
        at = node
    for i, (channels, size, blocks) in enumerate([(64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3)], 1):
        layer = b.node(f"layer{i}", "Sequential", shape=(1, 4 * channels, size, size))
        _, at = bottleneck(b, layer, f"layer{i}.0", at, channels, size, project=True)
        _, at = bottleneck(b, layer, f"layer{i}.1", at, channels, size, times=blocks - 1)
        inner = [n for n in b.nodes if n.parent == layer]
        sums = {k: sum(getattr(n, k) * n.times for n in inner) for k in ("parameters", "flops")}
        b.nodes[layer] = b.nodes[layer].replace(**sums)
    for name, cls, shape in [
        ("avgpool", "AdaptiveAvgPool2d", (1, 2048, 1, 1)),
        ("flatten", "flatten", (1, 2048)),
        ("fc", "Linear", (1, 1000)),
    ]:
        node = b.node(name, cls, shape=shape, parameters=2049000 if name == "fc" else 0)
        b.edge(at, node)
        at = node
    out = b.node("output", role="output", shape=(1, 1000))
    b.edge(at, out)
    return b.graph(title="ResNet-50")


def transformer(times=12, width=768, heads=12, length=64) -> ModelGraph:
    """A GPT: tied embedding, folded blocks, a mask that feeds each of them."""
    b = Builder()
    shape = (1, length, width)
    ids = b.node("input_ids", role="input", shape=(1, length), dtype="int64")
    mask = b.node("attention_mask", role="input", shape=(1, 1, length, length), dtype="bool")
    model = b.node("transformer", "GPT2Model", shape=shape)
    positions = b.node("arange", "arange", model, role="operation", shape=(1, length), dtype="int64")
    wte = b.node("transformer.wte", "Embedding", model, shape=shape, parameters=50257 * width)
    wpe = b.node("transformer.wpe", "Embedding", model, shape=shape, parameters=1024 * width)
    add = b.node("add", "add", model, role="operation", shape=shape)
    b.edge(ids, wte)
    b.edge(positions, wpe)
    b.edge(wte, add)
    b.edge(wpe, add)
    block = b.node(
        "transformer.h.0",
        "GPT2Block",
        model,
        shape=shape,
        times=times,
        repeat="repetition",
        members=(f"transformer.h.0 … transformer.h.{times - 1}",),
        parameters=12 * width**2,
        flops=24 * width**2 * length,
    )
    ln1 = b.node("transformer.h.0.ln_1", "LayerNorm", block, shape=shape, parameters=2 * width)
    attention = b.node("transformer.h.0.attn", "GPT2Attention", block, shape=shape, parameters=4 * width**2)
    qkv = b.node(
        "transformer.h.0.attn.c_attn", "Conv1D", attention, shape=(1, length, 3 * width), parameters=3 * width**2
    )
    split = b.node("split", "split", attention, role="operation", shape=shape)
    sdpa = b.node("sdpa", "scaled_dot_product_attention", attention, role="operation", shape=shape)
    proj = b.node("transformer.h.0.attn.c_proj", "Conv1D", attention, shape=shape, parameters=width**2)
    add1 = b.node("add", "add", block, role="operation", shape=shape)
    ln2 = b.node("transformer.h.0.ln_2", "LayerNorm", block, shape=shape, parameters=2 * width)
    mlp = b.node("transformer.h.0.mlp", "GPT2MLP", block, shape=shape, parameters=8 * width**2, flops=16 * width**2)
    up = b.node("transformer.h.0.mlp.c_fc", "Conv1D", mlp, shape=(1, length, 4 * width), parameters=4 * width**2)
    act = b.node("transformer.h.0.mlp.act", "NewGELU", mlp, shape=(1, length, 4 * width))
    down = b.node("transformer.h.0.mlp.c_proj", "Conv1D", mlp, shape=shape, parameters=4 * width**2)
    add2 = b.node("add", "add", block, role="operation", shape=shape)
    b.edge(add, ln1)
    b.chain(ln1, qkv, split, sdpa, proj, add1, ln2, up, act, down, add2)
    b.edge(mask, sdpa, hub=True, fold="each")
    b.edge(add, add1)
    b.edge(add1, add2)
    b.edge(add2, ln1, fold="carried")
    norm = b.node("transformer.ln_f", "LayerNorm", model, shape=shape, parameters=2 * width)
    head = b.node("lm_head", "Linear", shape=(1, length, 50257), shares=("transformer.wte.weight",))
    out = b.node("logits", role="output", shape=(1, length, 50257))
    b.chain(add2, norm, head, out)
    return b.graph(title="GPT-2", parameters=124_439_808)


def autograd() -> ModelGraph:
    """What the backward of a two-layer perceptron needs."""
    b = Builder()

    def leaf(name, *shape):
        return b.node(name, "AccumulateGrad", role="leaf", shape=shape)

    def function(name, **more):
        return b.node(name, name, role="function", **more)

    def saved(name, *shape):
        return b.node(name, "saved tensor", role="saved", shape=shape)

    w0, b0, w1, b1 = leaf("0.weight", 16, 8), leaf("0.bias", 16), leaf("2.weight", 4, 16), leaf("2.bias", 4)
    x = saved("mat1", 32, 8)
    t0, first = (
        function("TBackward0"),
        function("AddmmBackward0", attributes={"alpha": 1, "beta": 1, "mat1": "[saved]"}),
    )
    result = saved("result", 32, 16)
    relu, t1, last = function("ReluBackward0"), function("TBackward0"), function("AddmmBackward0")
    out = b.node("output", role="output", shape=(32, 4))
    b.chain(w0, t0, first, relu, last, out)
    b.chain(w1, t1, last)
    for source, target in ((b0, first), (b1, last), (x, first), (result, relu)):
        b.edge(source, target)
    return b.graph(title="Autograd graph", reading="autograd")
