"""Positions: which axis is what, for the layouts that networks use."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fluoroscope.model.positions import channels_of, layout_of

IMAGE = (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("shape", "given", "axes", "grid", "prefix"),
    [
        ((1, 512, 7, 7), IMAGE, "NCHW", (7, 7), 0),
        ((1, 7, 7, 768), IMAGE, "NHWC", (7, 7), 0),  # Swin
        ((1, 14, 14, 14), IMAGE, "NCHW", (14, 14), 0),
        ((1, 24, 32, 64), (1, 3, 384, 512), "NHWC", (24, 32), 0),
        ((1, 8, 8, 16), (1, 32, 32, 3), "NHWC", (8, 8), 0),  # Keras
        ((1, 197, 768), IMAGE, "NLD", (14, 14), 1),  # ViT
        ((1, 198, 768), IMAGE, "NLD", (14, 14), 2),  # DeiT, distilled
        ((1, 201, 768), IMAGE, "NLD", (14, 14), 5),  # registers
        ((1, 49, 768), IMAGE, "NLD", (7, 7), 0),
        ((1, 25, 8), (1, 3, 16, 24), "NLD", (4, 6), 1),
        ((1, 64, 40), (1, 2, 80), "NCT", (40,), 0),
        ((1, 12, 64), (1, 12), "NLD", (12,), 0),
        ((1, 64, 12), (1, 12), "NCT", (12,), 0),  # a convolution over tokens
        ((1, 64, 10), (1, 12), "NCT", (10,), 0),  # without padding
        ((1, 6, 64), (1, 12), "NLD", (6,), 0),  # pooled tokens
        ((1, 12, 12), (1, 12), "NLD", (12,), 0),
        ((1, 4, 5, 6, 7), (1, 1, 10, 12, 14), "NCZHW", (5, 6, 7), 0),
        ((1, 10), IMAGE, "ND", (), 0),
    ],
)
def test_layouts(shape: tuple[int, ...], given: tuple[int, ...], axes: str, grid: tuple[int, ...], prefix: int) -> None:
    layout = layout_of(shape, given)
    assert layout is not None
    assert ("".join(layout.axes), layout.grid, layout.prefix) == (axes, grid, prefix)


def test_convolutions_have_channels_first_whatever_their_number() -> None:
    shape, given = (1, 256, 126, 62), (1, 1, 128, 64)  # 256 to 126 is nearer to 2 : 1 than 126 to 62 is
    layout = layout_of(shape, given, channels=channels_of(nn.Conv2d(1, 256, 3)))
    assert layout is not None
    assert ("".join(layout.axes), layout.grid) == ("NCHW", (126, 62))


def test_the_axes_of_the_input_count_where_they_are_known() -> None:
    layout = layout_of((1, 8, 6, 4), (1, 5, 6, 4), tuple("NCHW"))
    assert layout is not None
    assert ("".join(layout.axes), layout.grid) == ("NCHW", (6, 4))


def test_positions_are_tokens_where_there_is_one_for_each() -> None:
    spatial = {
        shape: getattr(layout_of(shape, (1, 12)), "spatial", None) for shape in ((1, 12, 64), (1, 64, 12), (1, 6, 64))
    }
    assert list(spatial.values()) == [("L",), ("L",), ("T",)]
    assert getattr(layout_of((1, 49, 64), IMAGE), "spatial", None) == ("H", "W")


def test_a_grid_of_a_layer_before_goes_before_one_that_would_do() -> None:
    found = [layout_of((1, 21, 8), (1, 3, 32, 32), grids=grids) for grids in ((), {(4, 4)}, {(8, 8)})]
    assert [(f.grid, f.prefix) for f in found if f is not None] == [((4, 5), 1), ((4, 4), 5), ((4, 5), 1)]


def test_tokens_go_back_to_their_places() -> None:
    layout = layout_of((2, 7, 3), (2, 3, 32, 48))
    assert layout is not None
    tokens = torch.arange(42.0).reshape(2, 7, 3)
    maps = layout.to_maps(tokens)
    assert maps.shape == (2, 3, 2, 3)
    for i in range(2):
        for j in range(3):
            assert torch.equal(maps[1, :, i, j], tokens[1, 1 + 3 * i + j])
