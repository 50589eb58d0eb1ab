"""Architecture: networks of any size traced on shapes, folded and laid out; beside the peers at the size of GPT-2."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.moe import MoETransformer
from bench.peers import load_peer
from bench.timing import ratio_row, time_pair

TRILLIONS, TRILLIONS_MEMORY, LLAMA, PEERS, SAME = Bar(8.0), Bar(700.0), Bar(2.0), Bar(1.0), Bar(0.0)
TOKENS = 64
PROCESS = """
import gc, json, sys, time, torch
import fluoroscope as fs
import bench.moe as moe
from fluoroscope.model.graph.skeleton import weightless
from fluoroscope.render.graph import layouts

def high():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

torch.set_num_threads({threads})
layouts(fs.Architecture()(moe.MoETransformer(2, 32, 4, 2, 16, experts=4, chosen=2, dense_hidden=32, words=50)))
tokens, before = torch.zeros(1, {tokens}, dtype=torch.long), high()
start = time.perf_counter()
with weightless():
    network = moe.{network}()
built = time.perf_counter()
graph = fs.Architecture()(network, tokens)
traced = time.perf_counter()
layouts(graph)
done = time.perf_counter()
found = dict(built=built - start, traced=traced - built, laid=done - traced, total=done - start, memory=high() - before)
found |= dict(parameters=graph.parameters, operations=graph.operations, modules=graph.modules, nodes=len(graph.nodes))
if {full}:
    full = fs.Architecture(fold=False)(network, tokens)
    def steps(of):
        for name, node in of.unfolded():
            if node.role in ("module", "operation"):
                yield name, node.type, tuple(t.shape for t in node.outputs)
    mine, theirs = steps(graph), steps(full)
    from itertools import zip_longest
    found["different"] = sum(a != b for a, b in zip_longest(mine, theirs)) + abs(graph.operations - full.operations)
print(json.dumps(found))
"""


@case("architecture", "Architecture graphs", on_accelerator=False)
def architecture(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.Architecture()` in processes of their own, after the imports and one tiny network: built without weights,
    traced on shapes for 64 tokens, folded, and every module laid out. Memory is the high-water mark above that after
    the imports. The first network is a mixture-of-experts transformer of 2.0 trillion parameters with one module for
    each of its 24,000 experts; the second has the shape of Llama-2-70B. The unfolded graph is compared step by step
    (module, operation, shapes) with a trace in which nothing was remembered and nothing folded. At the size of GPT-2
    each peer makes its graph as its manual shows it, without drawing: torchview and torchlens from a forward on the
    CPU, torchviz from the tape, torchvista with its page; what each has captured stands beside it.
    """
    for name, network, bar in (("2.0 T", "trillions", TRILLIONS), ("Llama-70B", "llama_70b", LLAMA)):
        yield from _large(name, network, bar, setting)
    yield from _peers(setting)


def _large(name: str, network: str, bar: Bar, setting: Setting) -> Iterator[Row | Unmeasured]:
    runs = [_process(network, False, setting) for _ in range(1 if setting.quick else 3)]
    best = min(runs, key=lambda r: r["total"])
    totals = sorted(r["total"] for r in runs)
    parts = f"built {best['built']:.2f} s, traced and folded {best['traced']:.2f} s, laid out {best['laid']:.2f} s"
    detail = (
        f"{parts}; {best['parameters']:,} parameters, {best['modules']:,} modules, "
        f"{best['operations']:,} operations in {best['nodes']} nodes"
    )
    yield Row(
        f"{name}: built, traced, folded, laid out", totals[len(totals) // 2], "s", bar, totals[0], totals[-1], detail
    )
    memory_bar = TRILLIONS_MEMORY if network == "trillions" else None
    yield Row(f"{name}: memory", max(r["memory"] for r in runs), "MB", memory_bar)
    if setting.quick and network == "trillions":
        yield Unmeasured(f"{name}: steps that differ from the full trace", "takes a minute; not with --quick")
        return
    full = _process(network, True, setting)
    yield Row(f"{name}: steps that differ from the full trace", full["different"], "", SAME, values=True)


def _process(network: str, full: bool, setting: Setting) -> dict[str, Any]:
    program = PROCESS.replace("{threads}", str(setting.threads)).replace("{tokens}", str(TOKENS))
    program = program.replace("{network}", network).replace("{full}", str(full))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _peers(setting: Setting) -> Iterator[Row | Unmeasured]:
    network = MoETransformer(12, 768, 12, 12, experts=0, dense_hidden=2048, words=50257).eval()
    tokens = torch.arange(TOKENS)[None]
    graph = fs.Architecture()(network, tokens)
    mine = f"ours {graph.operations:,} operations, {graph.modules} modules, in {len(graph.nodes)} nodes"
    for module, run, captured in (
        ("torchview", _torchview, _torchview_captured),
        ("torchlens", _torchlens, _torchlens_captured),
        ("torchviz", _torchviz, _torchviz_captured),
        ("torchvista", _torchvista, lambda found: "an HTML page"),
    ):
        if load_peer(module) is None:
            yield Unmeasured(f"GPT-2 size, ours / {module}", "not installed")
            continue
        theirs = copy.deepcopy(network)
        reading = "autograd" if module == "torchviz" else "forward"
        ours = fs.Architecture(reading=reading)
        pair = time_pair(_calling(ours, network, tokens), _calling(run, theirs, tokens), rounds=min(setting.rounds, 5))
        row = ratio_row(f"GPT-2 size, ours / {module}", pair, PEERS, "ours", module)
        found = captured(run(theirs, tokens))
        yield Row(row.name, row.value, row.unit, row.bar, row.low, row.high, f"{row.detail}; {mine}; theirs {found}")


def _calling(run: Callable[..., Any], network: nn.Module, tokens: torch.Tensor) -> Callable[[], object]:
    return lambda: run(network, tokens)


def _torchview(network: nn.Module, tokens: torch.Tensor) -> Any:
    import torchview

    return torchview.draw_graph(network, input_data=tokens, device="cpu", expand_nested=True, depth=20)


def _torchview_captured(found: Any) -> str:
    return f"{len(found.edge_list):,} edges between functions and modules, nothing folded"


def _torchlens(network: nn.Module, tokens: torch.Tensor) -> Any:
    import torchlens

    return torchlens.trace(network, tokens)


def _torchlens_captured(found: Any) -> str:
    return f"{found.num_ops:,} functions, {found.num_modules:,} modules, with all values"


def _torchviz(network: nn.Module, tokens: torch.Tensor) -> Any:
    import torchviz

    return torchviz.make_dot(network(tokens), params=dict(network.named_parameters()), show_saved=True)


def _torchviz_captured(found: Any) -> str:
    return f"{found.source.count('->'):,} edges of the tape, no modules, nothing folded (ours: the autograd reading)"


def _torchvista(network: nn.Module, tokens: torch.Tensor) -> Any:
    import torchvista

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.html"
        return torchvista.trace_model(network, tokens, export_format="html", export_path=str(path))
