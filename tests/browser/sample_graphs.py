"""Graphs that a page has to survive and to tell right: hostile names, an error, what was assumed, an autograd graph."""

from __future__ import annotations

from fluoroscope.results import ModelGraph
from tests.browser.sample_results import BREAKOUT, LONG, RTL
from tests.render.graphs import Builder, transformer


def language_model() -> ModelGraph:
    """Twelve folded blocks, a mask as a hub, a tied head; a number of the user's own for each named node."""
    heat = {"transformer.wte": -1.0, "transformer.h.0.ln_1": 0.25, "lm_head": 3.0}
    return transformer().replace(meta={"values": {"heat <i>": heat}})


def hostile() -> ModelGraph:
    """Names that are markup, turn text round or never end; two nodes of one name; a wire that goes up."""
    b = Builder()
    x = b.node(BREAKOUT, role="input", shape=(1, 3))
    outer = b.node(RTL, BREAKOUT, code=BREAKOUT, members=(BREAKOUT, LONG), shares=(BREAKOUT,))
    first = b.node(f"{RTL}.{BREAKOUT}", "<b>Odd</b>", outer, shape=(1, 3), attributes={BREAKOUT: BREAKOUT, "size": 3})
    second = b.node(LONG, LONG, outer, shape=(1, 3), assumed=(BREAKOUT,))
    third = b.node("", "", outer, shape=(1, 3))
    out = b.node("\U0001f40b\x00\n", role="output", shape=(1, 3))
    b.chain(x, first, second, third, out)
    b.edge(third, first)
    return b.graph(title=BREAKOUT)


def failed() -> ModelGraph:
    """A run that ended in its second layer, after something had to be assumed."""
    b = Builder()
    x = b.node("x", role="input", shape=(1, 3, 32, 32))
    conv = b.node("features.0", "Conv2d", shape=(1, 8, 30, 30), parameters=224, trainable=224, flops=400_000)
    choice = b.node("choice", "item", role="operation", assumed=("the branch for True was taken",))
    head = b.node(
        "head", "Linear", parameters=100, error="mat1 and mat2 shapes cannot be multiplied (240x30 and 10x10)"
    )
    b.chain(x, conv, choice, head)
    return b.graph(title="Failed", complete=False)


def autograd() -> ModelGraph:
    """What the backward of a small layer needs."""
    b = Builder()
    leaves = [
        b.node(name, "AccumulateGrad", role="leaf", shape=shape) for name, shape in (("weight", (4, 3)), ("bias", (4,)))
    ]
    product = b.node("AddmmBackward0", "AddmmBackward0", role="function")
    saved = b.node("mat1", "saved", role="saved", shape=(2, 3), activation_bytes=24)
    relu = b.node("ReluBackward0", "ReluBackward0", role="function")
    out = b.node("out", role="output", shape=(2, 4))
    for leaf in leaves:
        b.edge(leaf, product)
    b.edge(saved, product)
    b.chain(product, relu, out)
    return b.graph(title="Backward", reading="autograd", activation_bytes=24)
