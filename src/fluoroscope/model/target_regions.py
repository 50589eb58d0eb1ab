"""Where in the input a target asks: the region or the box of each example, for those who look at its map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fluoroscope.model.targets import Region, Target
from fluoroscope.model.tasks import Detection

__all__ = ["boxes_of", "masks_of"]


def masks_of(target: Target) -> np.ndarray[Any, Any] | None:
    """Masks (N, H, W) of a :class:`Region` over the positions of the output; None for any other target, for all
    positions, and for regions of a volume.
    """
    wanted = target.wanted
    if not isinstance(wanted, Region) or wanted.mask is None:
        return None
    masks = torch.as_tensor(wanted.mask).detach().cpu().numpy() != 0
    if masks.ndim == 3 and len(masks) == target.total:
        return np.asarray(masks[np.asarray(target.rows)])
    if masks.ndim == 2 or (masks.ndim == 3 and len(masks) == 1):
        return np.repeat(masks.reshape(1, *masks.shape[-2:]), len(target.rows), axis=0)
    return None


def boxes_of(target: Target, size: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
    """Boxes (N, 4) of a :class:`Detection`, x0, y0, x1, y1 as shares of the input's width and height (H, W); None for
    any other target.

    Detectors write boxes in pixels of the input or as shares of it: what goes beyond 1 is in pixels.
    """
    wanted = target.wanted
    if not isinstance(wanted, Detection) or len(size) != 2:
        return None
    boxes = torch.as_tensor(wanted.box, dtype=torch.float32).detach().cpu().numpy().reshape(-1, 4)
    boxes = boxes[np.asarray(target.rows)] if len(boxes) == target.total else np.repeat(boxes, len(target.rows), axis=0)
    height, width = size
    return boxes / np.array([width, height, width, height], np.float32) if boxes.max() > 1 else boxes
