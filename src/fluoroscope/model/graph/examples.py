"""Example inputs for a network that came without: shapes that its first layers or its configuration suggest."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from fluoroscope.model.graph.tracing import parts_of

__all__ = ["Example", "examples"]

SIZES = (224, 32, 28, 64, 96, 128, 256, 299, 384)
TOKENS = 16
Example = tuple[tuple[Any, ...], dict[str, Any]]


def examples(module: nn.Module, shape: tuple[int, ...] | None) -> Iterator[Example]:
    """(args, kwargs) to try in turn, each for one example; tensors are on the meta device but for token numbers."""
    if shape is not None:
        yield from (((t,), {}) for t in _of_shape(module, shape))
        return
    config = getattr(module, "config", None)
    if config is not None and hasattr(module, "main_input_name"):
        yield from _by_configuration(module, config)
    yield from (((t,), {}) for t in _by_first_layer(module))
    dummy = getattr(module, "dummy_inputs", None)
    if isinstance(dummy, dict):
        yield (), dummy


def _of_shape(module: nn.Module, shape: tuple[int, ...]) -> Iterator[torch.Tensor]:
    first = _first(module)
    tokens, values = torch.zeros(1, *shape, dtype=torch.long), torch.empty(1, *shape, device="meta")
    yield from (tokens, values) if isinstance(first, nn.Embedding) else (values, tokens)


def _by_configuration(module: nn.Module, config: Any) -> Iterator[Example]:
    """What networks of transformers take, by the names of their forward's arguments."""
    text = getattr(config, "text_config", config)
    vision = getattr(config, "vision_config", config)
    tokens = torch.zeros(1, TOKENS, dtype=torch.long)
    size = getattr(vision, "image_size", 224)
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    known: dict[str, torch.Tensor] = {
        "input_ids": tokens,
        "pixel_values": torch.empty(1, channels if isinstance(channels, int) else 3, *sides, device="meta"),
        "input_values": torch.empty(1, 16000, device="meta"),
        "input_features": torch.empty(
            1, getattr(text, "num_mel_bins", 80), 2 * getattr(text, "max_source_positions", 1500), device="meta"
        ),
        "decoder_input_ids": tokens,
    }
    takes = inspect.signature(module.forward).parameters
    main = str(getattr(module, "main_input_name", "input_ids"))
    extra = ["decoder_input_ids"] if getattr(config, "is_encoder_decoder", False) else []
    for names in ([main, *extra], [main, "pixel_values", *extra], [main, "input_ids", *extra], ["input_ids"]):
        wanted = {n: known[n] for n in names if n in known and n in takes}
        if wanted:
            yield (), wanted


def _first(module: nn.Module) -> nn.Module | None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.Linear, nn.RNNBase)
    return next((m for _, m in parts_of(module) if isinstance(m, kinds)), None)


def _by_first_layer(module: nn.Module) -> Iterator[torch.Tensor]:
    first: Any = _first(module)
    if isinstance(first, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        rank = len(first.kernel_size)
        for size in SIZES if rank < 3 else (32, 64):
            yield torch.empty(1, first.in_channels, *[size] * rank, device="meta")
    elif isinstance(first, nn.Embedding):
        yield torch.zeros(1, TOKENS, dtype=torch.long)
    elif isinstance(first, nn.RNNBase):
        yield torch.empty(1, TOKENS, first.input_size, device="meta")
    elif isinstance(first, nn.Linear):
        yield torch.empty(1, first.in_features, device="meta")
        yield torch.empty(1, TOKENS, first.in_features, device="meta")
    else:
        yield torch.empty(1, 3, 32, 32, device="meta")
        yield torch.empty(1, TOKENS, device="meta")
