"""What Score-CAM and its variants share: feature maps as masks on the input, and the scores of the masked inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)

from fluoroscope import axes as ax
from fluoroscope.errors import NotApplicable
from fluoroscope.methods.attributing import input_axes, per_target
from fluoroscope.methods.base import option
from fluoroscope.methods.cam.layer_map import LayerMap, LayerView, padding_of, weighted_sum
from fluoroscope.model.fast_forward import PRECISION, PRECISIONS, FastForward
from fluoroscope.model.study import Study

__all__ = ["MaskedScores", "ScoreMap", "normalised"]

WORTH_A_COPY = 256
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def normalised(maps: torch.Tensor, real: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Each channel (N, C, *positions) from 0 to 1; which channels (N, C) are the same everywhere, and so become 0.

    Where ``real`` (N, positions) is False there is padding: 0, and not part of the range.
    """
    flat = maps.flatten(2)
    own = torch.ones_like(flat, dtype=torch.bool) if real is None else real[:, None].expand_as(flat)
    low = flat.masked_fill(~own, torch.inf).amin(2, keepdim=True)
    span = flat.masked_fill(~own, -torch.inf).amax(2, keepdim=True) - low
    scaled = torch.where((span == 0) | ~own, 0, (flat - low) / torch.where(span == 0, 1, span))
    return scaled.view_as(maps), span[..., 0] == 0


class MaskedScores:
    """Scores of one batch's inputs under masks: each example's masks in turn, many to a forward, without gradients.

    Where there are many, a faster way through the network runs them, which is verified first.
    """

    def __init__(self, view: LayerView, chunk: int, runs: int, precision: str = "float32") -> None:
        self.view, self.chunk = view, chunk
        self.study, self.batch = view.shared.study, view.shared.batch
        main = self.batch.inputs.main
        axes, self.size = input_axes(self.batch.inputs)
        grid = view.layout.grid
        if not main.is_floating_point() or len(self.size) != len(grid):
            raise NotApplicable(
                "the layer's maps can't be laid over the input",
                got=f"an input {tuple(main.shape)} of {main.dtype}, maps over {len(grid)} axes",
                expected="real numbers over the same axes as the layer",
                remedy="use a method that works at the layer itself: Ablation-CAM or Grad-CAM",
            )
        self.channel = axes.index(ax.C)
        self.network: Study | FastForward = self.study
        if runs >= WORTH_A_COPY or precision != "float32":
            self.network = FastForward(self.study, self.batch.inputs.part(0, 1), precision)
            self.study.facts["runs_as"] = self.network.kind
            if self.network.note:
                self.study.note(self.network.note)
        self.target_of = self.batch.target.settled(view.picked, view.shared.tape.scores)

    def unseen(self, n: int) -> torch.Tensor | None:
        """Where the input of example ``n`` is padding (*size), None where there is none."""
        unseen = self.batch.inputs.unseen
        return None if unseen is None or unseen.shape[1:] != self.size else unseen[n]

    def enlarged(self, masks: torch.Tensor) -> torch.Tensor:
        """Masks (M, *grid) at the input's size (M, *size)."""
        made = F.interpolate(masks[:, None], self.size, mode=MODES[len(self.size)], align_corners=False)
        return made[:, 0]

    def of(self, n: int, masks: Iterable[torch.Tensor]) -> torch.Tensor:
        """Scores (M, K) of example ``n`` under masks that come in parts (m, *size)."""
        return torch.cat([self._scores(n, part) for part in masks])

    def distinct(self, n: int, masks: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """Scores (C, K) under masks (C, *grid); those that ``flat`` (C,) calls empty are found once for all."""
        first_empty = torch.nonzero(flat)[:1, 0]
        chosen = torch.cat([torch.nonzero(~flat)[:, 0], first_empty])
        found = self.of(n, (self.enlarged(masks[chosen[a:b]]) for a, b in self.parts(len(chosen))))
        scores = found[-1:].expand(len(masks), -1).clone()
        scores[chosen] = found
        return scores

    def parts(self, count: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of parts of nearly the same length, none longer than what goes into one forward."""
        parts = math.ceil(count / self.chunk)
        for i in range(parts):
            yield i * count // parts, (i + 1) * count // parts

    def _scores(self, n: int, masks: torch.Tensor) -> torch.Tensor:
        one = self.batch.inputs.part(n, n + 1)
        main = one.main.contiguous(memory_format=torch.channels_last) if one.main.ndim == 4 else one.main
        masked = main * masks.unsqueeze(self.channel).to(one.main)
        rows = one.repeated(len(masks)).with_main(masked)
        with torch.no_grad():
            output, scores = self.network.scored(rows)
        self.study.check_finite(scores, rows)
        picked = self.target_of([n] * len(masks)).pick(scores, output)
        return torch.stack(per_target(picked.scores, picked.scores.ndim == 2), 1)


@dataclass(frozen=True, kw_only=True)
class ScoreMap(LayerMap):
    """Feature maps weighed by the scores of inputs that they mask; subclasses write :meth:`channel_scores`."""

    unit: ClassVar[str] = "activation"
    empty: ClassVar[str] = "nothing of the layer is positive where the weights are"

    chunk: int = option(16, "masked inputs in one forward", low=1)
    precision: str = option("float32", PRECISION, choices=PRECISIONS)

    @property
    def rounds(self) -> int:
        """Masked inputs for each channel."""
        return 1

    def channel_scores(self, masked: MaskedScores, n: int, masks: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """Scores (C, K) of example ``n`` under masks (C, *grid); ``flat`` (C,) says which are the same everywhere."""
        raise NotImplementedError

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """Softmax over channels of the masked inputs' scores, times the feature maps, for each target."""
        maps = view.maps
        masks, flat = normalised(maps, padding_of(view.shared.batch.inputs, view.layout))
        masked = MaskedScores(view, self.chunk, self.rounds * flat.numel(), self.precision)
        scores = torch.stack([self.channel_scores(masked, n, masks[n], flat[n]) for n in range(len(maps))])
        weights = scores.to(maps).softmax(1)
        return [weighted_sum(w, maps).relu() for w in weights.unbind(2)]
