"""Formulas in double precision, written plainly: what both our numbers and a peer's are held against."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["ablation_cam"]


def ablation_cam(network: nn.Module, layer: str, inputs: Tensor, targets: Sequence[int]) -> np.ndarray:
    """Ablation-CAM (N, H, W): the ReLU of the channels' maps weighed by the fall of the score without each channel.

    Every channel of ``layer`` (N, C, H, W) is set to zero in turn in a copy of the network in float64 on the CPU.
    """
    network, inputs = copy.deepcopy(network).cpu().double().eval(), inputs.detach().cpu().double()
    seen: list[Tensor] = []
    changed: list[Tensor] = []

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        seen.append(output.clone())  # what follows may work in place
        return changed[0].clone() if changed else None

    handle = network.get_submodule(layer).register_forward_hook(hook)
    maps = []
    with torch.no_grad():
        for example, target in zip(inputs, targets, strict=True):
            changed.clear()
            score = network(example[None])[0, target]
            whole = seen[-1][0]
            weights = []
            for channel in range(len(whole)):
                changed[:] = [whole[None].clone()]
                changed[0][:, channel] = 0
                weights.append(score - network(example[None])[0, target])
            maps.append(torch.einsum("c,chw->hw", torch.stack(weights), whole).relu().numpy())
    handle.remove()
    return np.stack(maps)
