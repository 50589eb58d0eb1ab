"""Masked: scores of one picture under many masks, what masks have in common computed once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from fluoroscope.model.fast_forward import FastForward
from fluoroscope.model.program.runner import TAIL_ROWS, portions
from fluoroscope.model.program.shared import Prepared, Receptive, Shared

__all__ = ["Masked"]

FEWEST = 16
"""Masks from which on it is looked for what they have in common."""
MOST_FEATURES = 1024
"""Features up to which it is looked for: with more of them there is little in common, and much to look through."""
WORTH = 0.9
"""Share of the whole forwards' cost above which they are run."""


class Masked:
    """Pictures on a CPU of which ``labels`` (H, W) are the ``count`` features, through the program of ``fast``."""

    def __init__(self, fast: FastForward, labels: torch.Tensor, count: int) -> None:
        self.fast, self.labels = fast, labels.cpu().numpy().astype(np.int64)
        self._receptive = Receptive(self.labels, count) if count <= MOST_FEATURES else None

    def run(self, image: torch.Tensor, base: torch.Tensor, masks: torch.Tensor) -> MaskedRun | None:
        """Forwards of an example (1, C, H, W) under masks (n, features), with ``base`` where they say so; None where
        little would be saved.
        """
        runner, receptive = self.fast.runner, self._receptive
        if runner is None or receptive is None or len(masks) < FEWEST or image.ndim != 4 or image.device.type != "cpu":
            return None
        bytes_each = torch.finfo(self.fast.format).bits // 8
        shared = Shared(runner.program, receptive, masks.numpy(), image.shape[1], bytes_each)
        return MaskedRun(self, shared, image, base.expand_as(image), masks) if shared.cut.share <= WORTH else None


class MaskedRun:
    """``share`` is the cost, as a share of that of whole forwards."""

    def __init__(
        self, masked: Masked, shared: Shared, image: torch.Tensor, base: torch.Tensor, masks: torch.Tensor
    ) -> None:
        self.masked, self.shared, self.masks, self.share = masked, shared, masks, shared.cut.share
        self._image, self._base = (t[0].flatten(1).T.contiguous() for t in (image, base))
        self._dtype = image.dtype

    def scored(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(whole output, scores) for all masks in turn, some at a time."""
        prepared: Prepared = self.shared.prepared(self._contents)
        for a, b in portions(len(self.masks), TAIL_ROWS):
            found = [v.to(self._dtype) for v in prepared.outputs(a, b)]
            yield found[0], found[-1]

    def _contents(self, positions: npt.NDArray[np.int64], masks: npt.NDArray[np.int64]) -> torch.Tensor:
        """What the input has at these positions under these masks: (R, C)."""
        place = torch.from_numpy(positions)
        weight = self.masks[torch.from_numpy(masks), torch.from_numpy(self.masked.labels.reshape(-1)[positions])][
            :, None
        ]
        image, base = self._image[place], self._base[place]
        if weight.dtype == torch.bool:
            mixed = torch.where(weight, image, base)
        else:
            mixed = base + weight.to(image.dtype) * (image - base)
        return mixed.to(self.masked.fast.format)
