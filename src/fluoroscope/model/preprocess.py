"""From a picture to a network's input and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from PIL import Image

from fluoroscope.arguments import checked
from fluoroscope.errors import InputError, OptionError, nearest
from fluoroscope.model.inversion import Inversion, Pictures, displayable, infer_invert

__all__ = ["PRESETS", "ImagePreprocess", "displayable", "infer_invert", "preset"]

Crop = Literal["center", "stretch", "pad"]
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


@checked
@dataclass(frozen=True)
class ImagePreprocess:
    """PIL image to a tensor (C, H, W): fitted to ``size``, divided by 255, then ``(x - mean) / std`` by channel.

    ``size`` is the side in pixels, or (height, width). ``crop`` is ``center`` (the shorter side is brought to
    ``size / keep`` and the middle is cut out: 256 and 224 with the usual ``keep`` of 0.875), ``stretch`` (aspect ratio
    given up) or ``pad`` (all of the picture on a ground of the mean colour). ``channels`` is 3 (RGB) or 1 (grey).
    One number in ``mean`` or ``std`` counts for all channels.

    Raises:
        OptionError: a value that is none of these.
    """

    size: int | tuple[int, int] = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: Crop = "center"
    channels: int = 3
    interpolation: str = "bilinear"
    keep: float = 0.875

    def __post_init__(self) -> None:
        _one_of("channels", self.channels, (1, 3))
        _one_of("crop", self.crop, get_args(Crop))
        _one_of("interpolation", self.interpolation, tuple(RESAMPLING))
        for name in ("mean", "std"):
            if not _numbers(getattr(self, name)):
                raise OptionError(
                    f"{name} are numbers", got=getattr(self, name), expected="one, or one for each channel"
                )
        if not isinstance(self.size, int) and not (_numbers(self.size) and len(self.size) == 2):
            raise OptionError("size is no size", got=self.size, expected="pixels, or (height, width)")
        if min(self.shape) < 1:
            raise OptionError("size must be positive", got=self.size, expected="pixels, or (height, width)")
        if not 0 < self.keep <= 1:
            raise OptionError("keep is a share of the picture", got=self.keep, expected="above 0, at most 1")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise OptionError(
                    f"{name} does not fit the channels", got=values, expected=f"1 or {self.channels} numbers"
                )
        if min(self.std) <= 0:
            raise OptionError("std must be positive", got=self.std)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what it makes."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return self.channels, height, width

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The network's input (C, H, W), float32. Raises InputError where it is given no PIL image."""
        if not isinstance(image, Image.Image):
            raise InputError("not a picture", got=type(image).__name__, expected="a PIL image")
        picture = self.fitted(image.convert("RGB" if self.channels == 3 else "L"))
        pixels = np.asarray(picture, np.float32).reshape(picture.height, picture.width, self.channels) / 255
        values = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))

    def fitted(self, image: Image.Image) -> Image.Image:
        """The picture at the network's size, before any scaling of its values."""
        _, height, width = self.shape
        how = RESAMPLING[self.interpolation]
        if self.crop == "stretch":
            return image if image.size == (width, height) else image.resize((width, height), how)
        if self.crop == "pad":
            return self._padded(image, height, width)
        factor = max(int(height / self.keep) / image.height, int(width / self.keep) / image.width)
        resized = _resized(image, factor, how)
        left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
        return resized.crop((left, top, left + width, top + height))

    def _padded(self, image: Image.Image, height: int, width: int) -> Image.Image:
        resized = _resized(image, min(height / image.height, width / image.width), RESAMPLING[self.interpolation])
        ground = [round(255 * min(max(m, 0.0), 1.0)) for m in self.mean] * self.channels
        canvas = Image.new(image.mode, (width, height), tuple(ground[:3]) if self.channels == 3 else ground[0])
        canvas.paste(resized, ((width - resized.width) // 2, (height - resized.height) // 2))
        return canvas

    def invert(self, batch: torch.Tensor) -> Pictures:
        """Input batch (N, C, H, W) back to ``uint8`` pictures (N, H, W, 3), at the network's size."""
        return Inversion(self.mean, self.std)(batch)

    def with_size(self, size: int | tuple[int, int]) -> Self:
        """The same for another size."""
        return replace(self, size=size)


def _resized(image: Image.Image, factor: float, how: Image.Resampling) -> Image.Image:
    """Both sides times ``factor``, rounded down as torchvision does, at least one pixel."""
    width, height = (max(1, int(side * factor + 1e-6)) for side in image.size)
    return image if (width, height) == image.size else image.resize((width, height), how)


def _numbers(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(v, (int, float)) for v in value)


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise OptionError(
            f"{name} has an unknown value",
            got=value,
            expected=", ".join(map(repr, known)),
            nearest=nearest(value, map(str, known)) if isinstance(value, str) else None,
        )


PRESETS = {
    "imagenet": ImagePreprocess(),
    "cifar10": ImagePreprocess(32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), keep=1.0),
    "mnist": ImagePreprocess(28, (0.1307,), (0.3081,), channels=1, keep=1.0),
    "unit": ImagePreprocess(mean=(0.0,), std=(1.0,)),
    "signed": ImagePreprocess(mean=(0.5,), std=(0.5,)),
}
"""The usual scalings by name: means and stds of the data set's pixels; ``unit`` is [0, 1], ``signed`` is [-1, 1]."""


def preset(name: str, size: int | tuple[int, int] | None = None) -> ImagePreprocess:
    """One of :data:`PRESETS`, for another size where one is given. Raises OptionError."""
    _one_of("preprocess", name, tuple(PRESETS))
    return PRESETS[name] if size is None else PRESETS[name].with_size(size)
