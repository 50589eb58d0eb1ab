"""Networks of transformers, built from their configurations."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fluoroscope as fs
from fluoroscope.model.graph.skeleton import weightless

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 100}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
CASES = {
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 64, "n_head": 4, "n_layer": 5, "vocab_size": 100}, 5),
    "LlamaForCausalLM": ("LlamaConfig", {**SMALL, **HEADS, "num_hidden_layers": 6}, 6),
    "MixtralForCausalLM": ("MixtralConfig", {**SMALL, **HEADS, "num_hidden_layers": 4}, 4),
    "Qwen2MoeForCausalLM": ("Qwen2MoeConfig", {**SMALL, **HEADS, "num_hidden_layers": 3, "num_experts": 8}, 3),
    "Gemma3ForCausalLM": ("Gemma3TextConfig", {**SMALL, **HEADS, "head_dim": 16, "num_hidden_layers": 6}, 5),
    "BertModel": ("BertConfig", {**SMALL, "num_attention_heads": 4, "num_hidden_layers": 4}, 4),
    "ViTForImageClassification": (
        "ViTConfig",
        {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 4},
        4,
    ),
    "T5ForConditionalGeneration": ("T5Config", {"d_model": 64, "d_ff": 96, "num_layers": 5, "num_heads": 4}, 4),
    "WhisperForConditionalGeneration": (
        "WhisperConfig",
        {"d_model": 48, "encoder_layers": 3, "decoder_layers": 3, "vocab_size": 60000},
        3,
    ),
    "MambaForCausalLM": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 3, "vocab_size": 100}, 3),
}


def built(name, meta=True):
    config, options, _ = CASES[name]
    kind, made = getattr(transformers, name, None), getattr(transformers, config, None)
    if kind is None or made is None:
        pytest.skip(f"this version of transformers has no {name}")
    if not meta:
        return kind(made(**options)).eval()
    with weightless():
        return kind(made(**options)).eval()


def steps(graph):
    """What is executed, under its own name, with its shapes."""
    return [
        (name, node.type, [t.shape for t in node.outputs])
        for name, node in graph.unfolded()
        if node.role in ("module", "operation")
    ]


@pytest.mark.parametrize("name", list(CASES))
def test_traced_without_weights_and_folded(name):
    module = built(name)
    graph = fs.Architecture()(module)
    assert graph.complete, graph.notes
    assert max(n.times for n in graph.nodes if n.role == "module" and not n.attributes.get("group")) == CASES[name][2]
    full = fs.Architecture(fold=False)(module)
    assert steps(graph) == steps(full)
    assert (graph.operations, graph.flops) == (full.operations, full.flops)


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM", "BertModel"])
def test_real_run_has_the_same_operations(name):
    module = built(name, meta=False)
    tokens = torch.arange(16)[None] % 100
    graph = fs.Architecture(device="as is")(module, {"input_ids": tokens})
    seen = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad(), Count():
        module(input_ids=tokens)
    assert graph.operations == len(seen)
    assert graph.flops == fs.Architecture()(module, {"input_ids": tokens}).flops
    assert graph.flops == fs.LayerTable()(module, {"input_ids": tokens}).flops
