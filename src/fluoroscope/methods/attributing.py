"""Attribution results from tensors: axes, size, samples and notes, the same for every family of attribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.methods.base import Batch, Method
from fluoroscope.model.inputs import Inputs, samples_of
from fluoroscope.model.positions import size_over
from fluoroscope.model.study import Study
from fluoroscope.model.target_regions import boxes_of, masks_of
from fluoroscope.model.targets import Picked
from fluoroscope.results import Attribution

__all__ = ["attribution", "input_axes", "note_empty_maps", "per_target", "to_numpy"]


def to_numpy(tensor: torch.Tensor) -> Any:
    """A tensor as a NumPy array; half formats become float32, which holds them exactly."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).contiguous().numpy()


def input_axes(inputs: Inputs) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Axis names of the input that attributions are about, and its size over positions: (H, W), (T), none for rows."""
    axes = inputs.axes_of(inputs.main)
    return axes, size_over(axes, tuple(inputs.main.shape))


def per_target(gradient: torch.Tensor, many: bool) -> list[torch.Tensor]:
    """The gradients (N, ...) of each target, from (N, ...) or (N, K, ...)."""
    return list(gradient.unbind(1)) if many else [gradient]


def attribution(
    method: Method,
    study: Study,
    batch: Batch,
    picked: Picked,
    values: torch.Tensor,
    axes: tuple[str, ...],
    *,
    signed: bool,
    unit: str,
    caption: str = "",
    about: torch.Tensor | None = None,
) -> Attribution:
    """The result for one batch. ``values`` has the axes ``axes``, without K; with several targets K is second.
    ``about`` is the one of several inputs that they are about, the main one where none is told.
    """
    many = picked.scores.ndim == 2
    shown = batch.inputs if about is None else batch.inputs.alone(about)
    size = input_axes(shown)[1]
    samples, note = samples_of(shown, study.subject)
    for text in filter(None, (note, picked.note, _one_of_several(method, batch.inputs))):
        study.note(text)
    study.facts["target"] = batch.target.description
    if (outputs := batch.target.more_than(picked)) is not None:
        study.note(f"{batch.target.wanted} was asked for, but the network has {outputs} outputs: all are shown")
    return Attribution(
        title=method.title,
        caption=caption,
        data=to_numpy(values),
        axes=(ax.N, ax.K, *axes[1:]) if many else axes,
        scores=to_numpy(picked.scores),
        targets=np.asarray(picked.indices),
        labels=picked.labels,
        size=size,
        signed=signed,
        unit=unit,
        samples=samples,
        regions=masks_of(batch.target),
        boxes=boxes_of(batch.target, size),
    )


def _one_of_several(method: Method, inputs: Inputs) -> str | None:
    """Which input a result is about, where another could be meant and none was named."""
    alike = [i for i, t in enumerate(inputs.tensors) if t.is_floating_point() and t.ndim == inputs.main.ndim]
    if len(alike) < 2 or getattr(method, "input", None) is not None:
        return None
    other = f" (another: input={alike[1]})" if hasattr(method, "input") else ""
    return f"of {len(alike)} inputs of this kind the first is shown, and positions are its own{other}"


def note_empty_maps(result: Attribution, study: Study, why: str) -> None:
    """Say which examples have a map that is zero everywhere, and what that means."""
    rows = result.data.reshape(len(result.data), -1)
    empty = np.flatnonzero(~rows.any(axis=1))
    if len(empty):
        which = ", ".join(map(str, empty[:8])) + (" …" if len(empty) > 8 else "")
        study.note(f"the map is zero everywhere for example {which}: {why}")
