"""From a network's input back to a picture: how the preprocess scaled it, found out or measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

__all__ = ["Inversion", "displayable", "infer_invert"]

Pictures = npt.NDArray[np.uint8]
PROBE_SIDE = 64
TOLERANCE = 0.02


@dataclass(frozen=True)
class Inversion:
    """Undoes ``(x / 255 - mean) / std`` channel by channel: input (N, C, H, W) to ``uint8`` pictures (N, H, W, 3).

    ``reversed`` says that the network reads blue first.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reversed: bool = False

    def __call__(self, batch: torch.Tensor) -> Pictures:
        """The pictures, clipped to 0 ... 255; grey ones repeat their channel."""
        values = _real(batch)
        mean, std = (torch.tensor(v, dtype=values.dtype).view(1, -1, 1, 1) for v in (self.mean, self.std))
        values = torch.addcmul(mean, values, std)
        return _pictures(values.flip(1) if self.reversed else values)


def _pictures(values: torch.Tensor) -> Pictures:
    """(N, C, H, W) in [0, 1], with 1 or 3 channels, as ``uint8`` (N, H, W, 3); NaN is black."""
    scaled = (values * 255).nan_to_num_(nan=0.0).round_().clamp_(0, 255).to(torch.uint8)
    rgb = scaled.expand(-1, 3, -1, -1) if scaled.shape[1] == 1 else scaled
    pictures: Pictures = rgb.permute(0, 2, 3, 1).contiguous().numpy()
    return pictures


def _real(batch: torch.Tensor) -> torch.Tensor:
    """The values on the CPU; 24 bits are plenty for pictures of 8, and twice as quick as 53."""
    return batch.detach().to("cpu", batch.dtype if batch.dtype == torch.float64 else torch.float32)


def infer_invert(preprocess: Any) -> Callable[[torch.Tensor], Any] | None:
    """A function that undoes ``preprocess``, or None.

    Asked in this order: its own ``invert``; ``mean`` and ``std`` of a step or preset (torchvision, timm);
    ``image_mean`` and ``image_std`` (transformers); and, for any other function, a measurement: it is given plain
    black, white, grey and coloured pictures, and if each channel answers along a straight line, that line is undone.
    """
    if preprocess is None:
        return None
    own = getattr(preprocess, "invert", None)
    if callable(own):
        return own  # type: ignore[no-any-return]
    return _declared(preprocess) or _measured(preprocess)


def _declared(preprocess: Any) -> Inversion | None:
    processor = getattr(preprocess, "image_processor", preprocess)
    if hasattr(processor, "image_mean") and hasattr(processor, "image_std"):
        if getattr(processor, "do_normalize", True):
            return _inversion(processor.image_mean, processor.image_std)
        return Inversion((0.0,), (1.0,)) if getattr(processor, "do_rescale", True) else Inversion((0.0,), (1 / 255,))
    steps = [s for s in _steps(preprocess) if hasattr(s, "mean") and hasattr(s, "std")]
    return _inversion(steps[-1].mean, steps[-1].std) if steps else None


def _steps(transform: Any) -> Iterator[Any]:
    """A transform and the transforms inside it, in order of use."""
    inner = getattr(transform, "transforms", None)
    if inner is None and isinstance(transform, torch.nn.Sequential):
        inner = transform
    if isinstance(inner, Iterable):
        for step in inner:
            yield from _steps(step)
    else:
        yield transform


def _inversion(mean: Any, std: Any) -> Inversion | None:
    try:
        means, stds = (tuple(np.asarray(v, dtype=float).reshape(-1).tolist()) for v in (mean, std))
    except (TypeError, ValueError):  # a method or None of that name is no number
        return None
    return Inversion(means, stds) if means and len(means) in (1, len(stds)) and all(s > 0 for s in stds) else None


def _measured(preprocess: Callable[[Any], Any]) -> Inversion | None:
    """Mean and std from the answers to plain pictures; None unless a coloured and a grey one come out as predicted."""
    answers = [
        _flat_answer(preprocess, colour) for colour in ((0, 0, 0), (255, 255, 255), (51, 51, 51), (204, 102, 51))
    ]
    if any(a is None or a.shape != answers[0].shape for a in answers):  # type: ignore[union-attr]
        return None
    black, white, grey, colour = (a for a in answers if a is not None)
    if len(black) not in (1, 3) or not np.isfinite(np.concatenate([black, white])).all() or (white <= black).any():
        return None
    span = white - black
    if np.abs((grey - black) / span - 0.2).max() > TOLERANCE:
        return None
    share = (colour - black) / span
    order = next(
        (r for r in (False, True) if np.abs(share - np.array([0.8, 0.4, 0.2])[:: -1 if r else 1]).max() < TOLERANCE),
        None,
    )
    if len(black) == 3 and order is None:
        return None
    return Inversion(tuple((-black / span).tolist()), tuple((1 / span).tolist()), bool(order) and len(black) == 3)


def _flat_answer(preprocess: Callable[[Any], Any], colour: tuple[int, int, int]) -> npt.NDArray[np.float64] | None:
    """The value of each channel (C,) that the preprocess makes of a plain picture; None unless they are plain too."""
    try:
        answer = preprocess(Image.new("RGB", (PROBE_SIDE, PROBE_SIDE), colour))
        if isinstance(answer, Mapping):
            answer = answer["pixel_values"]
        values = np.asarray(answer, dtype=np.float64)
    except Exception:  # noqa: BLE001 (a preprocess of text or tables answers a picture with whatever it likes)
        return None
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.ndim != 3 or values.size == 0:
        return None
    first = values[:, 0, 0]
    return first if np.abs(values - first[:, None, None]).max() < 1e-3 * (1 + np.abs(first).max()) else None


def displayable(
    batch: torch.Tensor, invert: Callable[[torch.Tensor], Any] | None = None
) -> tuple[Pictures | None, str | None]:
    """Pictures of an input batch, and a note on what had to be assumed.

    ``batch`` is (N, C, H, W), or (N, H, W, C) as Keras has it, with 1, 3 or 4 channels. ``invert`` is used where there
    is one; values within [0, 1], or whole numbers within 0 ... 255, are shown as they are; others are stretched between
    the smallest and the largest value of each picture, and the note says so.

    Returns:
        ``uint8`` (N, H, W, 3) or None where the input is no picture, and the note or None.
    """
    if batch.ndim != 4 or 0 in batch.shape or batch.is_complex():
        return None, None
    note = None
    if invert is not None:
        pictures, note = _inverted(batch, invert)
        if pictures is not None:
            return pictures, None
    values = _real(batch)
    if values.shape[1] not in (1, 3, 4) and values.shape[3] in (1, 3, 4):
        values = values.permute(0, 3, 1, 2)
    if values.shape[1] not in (1, 3, 4):
        return None, f"an input of {values.shape[1]} channels can't be shown as a picture"
    extra = "the fourth channel is not shown" if values.shape[1] == 4 else None
    scaled, stretched = _into_unit(values[:, :3])
    return _pictures(scaled), "; ".join(n for n in (note, stretched, extra) if n) or None


def _inverted(batch: torch.Tensor, invert: Callable[[torch.Tensor], Any]) -> tuple[Pictures | None, str | None]:
    try:
        pictures = np.asarray(invert(batch))
    except Exception as error:  # noqa: BLE001 (the user's function; its failure is told, and the numbers stand)
        return None, f"invert failed ({type(error).__name__}: {error}), so pictures show the numbers of the input"
    shape = (len(batch), *pictures.shape[1:3], 3)
    if pictures.dtype != np.uint8 or pictures.shape != shape:
        got = f"{pictures.dtype} {pictures.shape}"
        return None, f"invert gave {got}, not uint8 (N, H, W, 3), so pictures show the numbers of the input"
    return pictures, None


def _into_unit(values: torch.Tensor) -> tuple[torch.Tensor, str | None]:
    finite = torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    lows, highs = finite.flatten(1).amin(1), finite.flatten(1).amax(1)
    low, high = float(lows.min()), float(highs.max())
    if low >= -1e-6 and high <= 1 + 1e-6:
        return finite, None
    if low >= 0 and high <= 255 and bool((finite == finite.round()).all()):
        return finite / 255, None
    lows, highs = lows.view(-1, 1, 1, 1), highs.view(-1, 1, 1, 1)
    stretched = finite.sub_(lows).div_((highs - lows).clamp_min(1e-12))
    return (
        stretched,
        "the scaling of the input is not known: each picture is stretched between its smallest and largest value",
    )
